//! Activation functions and their derivatives. What is no number stays none: the loss must tell.

use arrayfire::{erf, exp, expm1, selectl, selectr, sigmoid, tanh};

use super::values::{
    Values, above, add, below, choose, div, full, largest, mul, plus, sub, sum, times,
};
use crate::definition::Activation;

const LEAK: f32 = 0.01;
/// `1 / sqrt(2 pi)`.
const NORMAL: f32 = 0.398_942_3;

/// Softmax is along the first axis.
pub(super) fn forward(function: Activation, x: &Values) -> Values {
    match function {
        Activation::Relu => selectl(0.0, &below(x, 0.0), x),
        Activation::LeakyRelu => choose(&above(x, 0.0), x, &times(x, LEAK)),
        Activation::Tanh => tanh(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Gelu => mul(x, &normal_below(x)),
        Activation::Silu => mul(x, &sigmoid(x)),
        Activation::Elu => choose(&above(x, 0.0), x, &expm1(x)),
        Activation::Softmax => softmax(x),
    }
}

/// Whether [`backward`] may be given the output as input: it has the same sign, or is not looked
/// at.
pub(super) fn is_known_by_output(function: Activation) -> bool {
    match function {
        Activation::Relu
        | Activation::LeakyRelu
        | Activation::Tanh
        | Activation::Sigmoid
        | Activation::Elu
        | Activation::Softmax => true,
        Activation::Gelu | Activation::Silu => false,
    }
}

/// From the input `x`, the output `y` and its slope `dy`.
pub(super) fn backward(function: Activation, x: &Values, y: &Values, dy: &Values) -> Values {
    match function {
        Activation::Relu => selectr(dy, &above(x, 0.0), 0.0),
        Activation::LeakyRelu => choose(&above(x, 0.0), dy, &times(dy, LEAK)),
        Activation::Tanh => mul(dy, &sub(&full(y, 1.0), &mul(y, y))),
        Activation::Sigmoid => mul(dy, &mul(y, &sub(&full(y, 1.0), y))),
        Activation::Gelu => {
            let density = times(&exp(&times(&mul(x, x), -0.5)), NORMAL);
            mul(dy, &add(&normal_below(x), &mul(x, &density)))
        }
        Activation::Silu => {
            let share = sigmoid(x);
            let rest = mul(x, &sub(&full(x, 1.0), &share));
            mul(dy, &mul(&share, &plus(&rest, 1.0)))
        }
        Activation::Elu => choose(&above(x, 0.0), dy, &mul(dy, &plus(y, 1.0))),
        Activation::Softmax => softmax_backward(y, dy),
    }
}

/// Of each stretch along the first axis; the largest is taken out first so that nothing overflows.
pub(super) fn softmax(x: &Values) -> Values {
    let powers = exp(&sub(x, &largest(x, 0)));
    powers.eval();
    div(&powers, &sum(&powers, 0))
}

pub(super) fn softmax_backward(y: &Values, dy: &Values) -> Values {
    mul(y, &sub(dy, &sum(&mul(y, dy), 0)))
}

/// The normal distribution's share below `x`.
fn normal_below(x: &Values) -> Values {
    times(&plus(&erf(&times(x, std::f32::consts::FRAC_1_SQRT_2)), 1.0), 0.5)
}
