//! Activation functions and their derivatives, value by value; softmax row by row. All of it is
//! drawn into whoever calls it, to be compiled for the registers that it works on.

use super::functions::{exp, normal_below, sigmoid, tanh};
use super::lanes;
use crate::definition::Activation;

const LEAK: f32 = 0.01;
/// `1 / sqrt(2 pi)`.
const NORMAL: f32 = 0.398_942_3;

/// Replaces each value by the function of it.
#[inline(always)]
pub(super) fn forward(function: Activation, values: &mut [f32]) {
    match function {
        Activation::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::LeakyRelu => each(values, |x| if x > 0.0 { x } else { LEAK * x }),
        Activation::Tanh => each(values, tanh),
        Activation::Sigmoid => each(values, sigmoid),
        Activation::Gelu => each(values, |x| x * normal_below(x)),
        Activation::Silu => each(values, |x| x * sigmoid(x)),
        Activation::Elu => each(values, |x| if x > 0.0 { x } else { libm::expm1f(x) }),
        Activation::Softmax => unreachable!("softmax works on rows"),
    }
}

/// Multiplies `slope` by the derivative at input `x` and output `y`.
#[inline(always)]
pub(super) fn backward(function: Activation, x: &[f32], y: &[f32], slope: &mut [f32]) {
    match function {
        Activation::Relu => from_one(x, slope, |x| if x > 0.0 { 1.0 } else { 0.0 }),
        Activation::LeakyRelu => from_one(x, slope, |x| if x > 0.0 { 1.0 } else { LEAK }),
        Activation::Tanh => from_one(y, slope, |y| 1.0 - y * y),
        Activation::Sigmoid => from_one(y, slope, |y| y * (1.0 - y)),
        Activation::Gelu => {
            from_one(x, slope, |x| normal_below(x) + x * NORMAL * exp(-0.5 * x * x))
        }
        Activation::Silu => from_one(x, slope, |x| {
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

/// Softmax of each row of `width` values; the largest is taken out first so that nothing
/// overflows.
#[inline(always)]
pub(super) fn softmax(values: &mut [f32], width: usize) {
    for row in values.chunks_exact_mut(width) {
        let largest = lanes::largest(row);
        row.iter_mut().for_each(|value| *value = exp(*value - largest));
        let share = 1.0 / lanes::sum(row);
        row.iter_mut().for_each(|value| *value *= share);
    }
}

/// `dx = y * (dy - sum(y * dy))` for each row; `slope` is `dy` and becomes `dx`.
#[inline(always)]
pub(super) fn softmax_backward(y: &[f32], slope: &mut [f32], width: usize) {
    for (y, slope) in y.chunks_exact(width).zip(slope.chunks_exact_mut(width)) {
        let sum = lanes::sum_of_products(y, slope);
        y.iter().zip(slope).for_each(|(y, slope)| *slope = y * (*slope - sum));
    }
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|value| *value = function(*value));
}

#[inline(always)]
fn from_one(known: &[f32], slope: &mut [f32], derivative: impl Fn(f32) -> f32) {
    slope.iter_mut().zip(known).for_each(|(slope, known)| *slope *= derivative(*known));
}
