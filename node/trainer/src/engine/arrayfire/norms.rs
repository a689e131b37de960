//! Batch norm over `[points, channels, rows]` and layer norm over `[length, parts]`. The library
//! adds up one value after the other in 32 bits, so sums are taken along one axis after the other,
//! and a mean once more of what is left without it.

use arrayfire::{eval_multiple, rsqrt};

use super::values::{Values, add, mul, plus, shaped, sub, sum, times};
use crate::engine::images::NormGradients;

/// Values of which a statistic is one number.
#[derive(Clone, Copy)]
pub(super) enum Over {
    /// Points and rows of a channel.
    Channel,
    /// The first axis.
    Part,
}

impl Over {
    fn sum(self, x: &Values) -> Values {
        match self {
            Self::Channel => sum(&sum(x, 0), 2),
            Self::Part => sum(x, 0),
        }
    }

    fn share(self, x: &Values) -> f32 {
        let lengths = x.dims();
        let count = match self {
            Self::Channel => lengths[0] * lengths[2],
            Self::Part => lengths[0],
        };
        1.0 / count as f32
    }
}

/// Mean and variance.
pub(super) struct Moments {
    pub(super) mean: Values,
    pub(super) variance: Values,
}

pub(super) fn moments(x: &Values, over: Over) -> Moments {
    let share = over.share(x);
    let rough = times(&over.sum(x), share);
    let rest = sub(x, &rough);
    rest.eval();
    let left = times(&over.sum(&rest), share);
    let mean = add(&rough, &left);
    let squares = times(&over.sum(&mul(&rest, &rest)), share);
    let variance = sub(&squares, &mul(&left, &left));
    eval_multiple(vec![&mean, &variance]);
    Moments { mean, variance }
}

pub(super) fn inverse_deviation(variance: &Values, epsilon: f64) -> Values {
    rsqrt(&plus(variance, epsilon as f32))
}

/// `(x - mean) * inverse`, of which `weight` and `bias` make the result.
pub(super) fn normal(x: &Values, mean: &Values, inverse: &Values) -> Values {
    mul(&sub(x, mean), inverse)
}

pub(super) fn batch_backward(
    x: &Values,
    weight: &Values,
    [mean, variance]: [&Values; 2],
    dy: &Values,
    epsilon: f64,
) -> NormGradients<Values> {
    let share = Over::Channel.share(x);
    let inverse = inverse_deviation(variance, epsilon);
    let normal = normal(x, mean, &inverse);
    inverse.eval();
    normal.eval();
    let dw = Over::Channel.sum(&mul(&normal, dy));
    let db = Over::Channel.sum(dy);
    eval_multiple(vec![&dw, &db]);
    let along = mul(&normal, &times(&dw, share));
    let centered = sub(&sub(dy, &times(&db, share)), &along);
    let dx = mul(&centered, &mul(weight, &inverse));
    NormGradients { input: dx, weight: dw, bias: db }
}

/// `weight` is `[length]`.
pub(super) fn layer_backward(
    x: &Values,
    weight: &Values,
    dy: &Values,
    epsilon: f64,
) -> NormGradients<Values> {
    let share = Over::Part.share(x);
    let Moments { mean, variance } = moments(x, Over::Part);
    let inverse = inverse_deviation(&variance, epsilon);
    let normal = normal(x, &mean, &inverse);
    inverse.eval();
    normal.eval();
    let slopes = mul(dy, weight);
    slopes.eval();
    let level = times(&sum(&slopes, 0), share);
    let along = times(&sum(&mul(&slopes, &normal), 0), share);
    let dx = mul(&sub(&sub(&slopes, &level), &mul(&normal, &along)), &inverse);
    let parts = |x: &Values| {
        let sums = sum(x, 1);
        shaped(&sums, [sums.elements(), 1, 1, 1])
    };
    NormGradients { input: dx, weight: parts(&mul(dy, &normal)), bias: parts(dy) }
}
