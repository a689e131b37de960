//! Activation functions and their derivatives, value by value; softmax row by row.

use super::functions::{exp, normal_below, sigmoid, tanh};
use super::lanes;
use super::vectors::wide;
use crate::definition::Activation;

const LEAK: f32 = 0.01;
/// `1 / sqrt(2 pi)`.
const NORMAL: f32 = 0.398_942_3;

/// Replaces each value. No function that is handed a closure: what it does must be drawn into the
/// loop, to be compiled for the same registers.
macro_rules! each {
    ($values:expr, |$x:ident| $result:expr) => {
        for value in $values.iter_mut() {
            let $x = *value;
            *value = $result;
        }
    };
}

/// Multiplies each slope by what follows from the value at the same place.
macro_rules! from_one {
    ($known:expr, $slope:expr, |$x:ident| $derivative:expr) => {
        for (slope, known) in $slope.iter_mut().zip($known) {
            let $x = *known;
            *slope *= $derivative;
        }
    };
}

wide! {
    /// Replaces each value by the function of it.
    pub(super) fn forward(function: Activation, values: &mut [f32]) {
        match function {
            Activation::Relu => each!(values, |x| if x < 0.0 { 0.0 } else { x }),
            Activation::LeakyRelu => each!(values, |x| if x > 0.0 { x } else { LEAK * x }),
            Activation::Tanh => each!(values, |x| tanh(x)),
            Activation::Sigmoid => each!(values, |x| sigmoid(x)),
            Activation::Gelu => each!(values, |x| x * normal_below(x)),
            Activation::Silu => each!(values, |x| x * sigmoid(x)),
            Activation::Elu => each!(values, |x| if x > 0.0 { x } else { libm::expm1f(x) }),
            Activation::Softmax => unreachable!("softmax works on rows"),
        }
    }
}

wide! {
    /// Multiplies `slope` by the derivative at input `x` and output `y`.
    pub(super) fn backward(function: Activation, x: &[f32], y: &[f32], slope: &mut [f32]) {
        match function {
            Activation::Relu => from_one!(x, slope, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::LeakyRelu => from_one!(x, slope, |x| if x > 0.0 { 1.0 } else { LEAK }),
            Activation::Tanh => from_one!(y, slope, |y| 1.0 - y * y),
            Activation::Sigmoid => from_one!(y, slope, |y| y * (1.0 - y)),
            Activation::Gelu => {
                from_one!(x, slope, |x| normal_below(x) + x * NORMAL * exp(-0.5 * x * x))
            }
            Activation::Silu => from_one!(x, slope, |x| {
                let share = sigmoid(x);
                share * (1.0 + x * (1.0 - share))
            }),
            Activation::Elu => {
                for ((slope, x), y) in slope.iter_mut().zip(x).zip(y) {
                    *slope *= if *x > 0.0 { 1.0 } else { y + 1.0 };
                }
            }
            Activation::Softmax => unreachable!("softmax works on rows"),
        }
    }
}

/// Whether [`backward`] needs no input: it looks at the output, or at the sign, which is the same.
pub(super) fn is_known_by_output(function: Activation) -> bool {
    match function {
        Activation::Relu
        | Activation::LeakyRelu
        | Activation::Tanh
        | Activation::Sigmoid
        | Activation::Softmax
        | Activation::Elu => true,
        Activation::Gelu | Activation::Silu => false,
    }
}

wide! {
    /// Softmax of each row of `width` values; the largest is taken out first so that nothing
    /// overflows.
    pub(super) fn softmax(values: &mut [f32], width: usize) {
        for row in values.chunks_exact_mut(width) {
            let largest = lanes::largest(row);
            row.iter_mut().for_each(|value| *value = exp(*value - largest));
            let share = 1.0 / lanes::sum(row);
            row.iter_mut().for_each(|value| *value *= share);
        }
    }
}

wide! {
    /// `dx = y * (dy - sum(y * dy))` for each row; `slope` is `dy` and becomes `dx`.
    pub(super) fn softmax_backward(y: &[f32], slope: &mut [f32], width: usize) {
        for (y, slope) in y.chunks_exact(width).zip(slope.chunks_exact_mut(width)) {
            let sum = lanes::sum_of_products(y, slope);
            y.iter().zip(slope).for_each(|(y, slope)| *slope = y * (*slope - sum));
        }
    }
}
