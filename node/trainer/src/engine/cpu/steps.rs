//! Optimizer steps in place, each value by itself; and the size of a gradient.

use super::lanes;
use super::rows::PIECE;
use super::team::Team;
use super::vectors::wide;
use crate::engine::{AdamStep, RmsState, RmsStep, SgdStep};

pub(super) fn sgd(parameter: &mut [f32], gradient: &[f32], step: &SgdStep) {
    let (rate, decay) = (step.learning_rate as f32, step.weight_decay as f32);
    for (parameter, gradient) in parameter.iter_mut().zip(gradient) {
        *parameter -= rate * (gradient + decay * *parameter);
    }
}

pub(super) fn momentum(
    team: &Team,
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
    step: &SgdStep,
) {
    let (rate, decay) = (step.learning_rate as f32, step.weight_decay as f32);
    let momentum = step.momentum as f32;
    let work = |parameter: &mut [f32], gradient: &[f32], velocity: &mut [f32]| {
        for ((parameter, gradient), velocity) in parameter.iter_mut().zip(gradient).zip(velocity) {
            let gradient = gradient + decay * *parameter;
            *velocity = flushed(momentum * *velocity + gradient);
            let ahead = if step.nesterov { gradient + momentum * *velocity } else { *velocity };
            *parameter -= rate * ahead;
        }
    };
    let pieces = parameter.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
    let pieces = pieces.zip(velocity.chunks_mut(PIECE));
    team.share(pieces, |((parameter, gradient), velocity)| work(parameter, gradient, velocity));
}

pub(super) fn adam(
    team: &Team,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    step: &AdamStep,
) {
    let pieces = parameter.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
    let moments = first.chunks_mut(PIECE).zip(second.chunks_mut(PIECE));
    team.share(pieces.zip(moments), |((parameter, gradient), (first, second))| {
        adam_piece(parameter, gradient, first, second, step);
    });
}

wide! {
    fn adam_piece(
        parameter: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        step: &AdamStep,
    ) {
        let (beta1, beta2) = (step.beta1 as f32, step.beta2 as f32);
        // From f64, as 1 - beta2 in f32 would be off in the fourth digit.
        let (rest1, rest2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
        let rate = (step.learning_rate / step.correction1) as f32;
        let root = (1.0 / step.correction2.sqrt()) as f32;
        let (epsilon, decay) = (step.epsilon as f32, step.weight_decay as f32);
        let shrink = step.shrink as f32;
        let moments = first.iter_mut().zip(second);
        for ((parameter, gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments)
        {
            let gradient = gradient + decay * *parameter;
            *first = flushed(beta1 * *first + rest1 * gradient);
            *second = flushed(beta2 * *second + rest2 * gradient * gradient);
            *parameter = *parameter * shrink - rate * *first / (second.sqrt() * root + epsilon);
        }
    }
}

pub(super) fn rmsprop(
    team: &Team,
    parameter: &mut [f32],
    gradient: &[f32],
    state: RmsState<'_, [f32]>,
    step: &RmsStep,
) {
    let RmsState { square, mean, velocity } = state;
    let count = parameter.len();
    // Without a mean or a velocity as many empty pieces take their place.
    let pieces = parameter.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
    let pieces = pieces.zip(square.chunks_mut(PIECE));
    let states = optional_pieces(mean, count).into_iter().zip(optional_pieces(velocity, count));
    let work = |(((parameter, gradient), square), (mean, velocity)): (_, (_, _))| {
        rms_piece(parameter, gradient, RmsState { square, mean, velocity }, step);
    };
    team.share(pieces.zip(states), work);
}

fn optional_pieces(values: Option<&mut [f32]>, count: usize) -> Vec<Option<&mut [f32]>> {
    match values {
        Some(values) => values.chunks_mut(PIECE).map(Some).collect(),
        None => (0..count.div_ceil(PIECE)).map(|_| None).collect(),
    }
}

fn rms_piece(
    parameter: &mut [f32],
    gradient: &[f32],
    mut state: RmsState<'_, [f32]>,
    step: &RmsStep,
) {
    let (alpha, rest) = (step.alpha as f32, (1.0 - step.alpha) as f32);
    let (rate, epsilon) = (step.learning_rate as f32, step.epsilon as f32);
    let (momentum, decay) = (step.momentum as f32, step.weight_decay as f32);
    let places = parameter.iter_mut().zip(gradient).zip(&mut *state.square);
    for (index, ((parameter, gradient), square)) in places.enumerate() {
        let gradient = gradient + decay * *parameter;
        *square = flushed(alpha * *square + rest * gradient * gradient);
        let spread = match &mut state.mean {
            None => *square,
            Some(mean) => {
                let mean = &mut mean[index];
                *mean = flushed(alpha * *mean + rest * gradient);
                // Rounding can make the mean's square the larger of the two.
                (*square - *mean * *mean).max(0.0)
            }
        };
        let scaled = gradient / (spread.sqrt() + epsilon);
        let change = match &mut state.velocity {
            None => scaled,
            Some(velocity) => {
                let velocity = &mut velocity[index];
                *velocity = flushed(momentum * *velocity + scaled);
                *velocity
            }
        };
        *parameter -= rate * change;
    }
}

/// In f64: sixteen sums side by side in each piece, then those of a piece, then the pieces, each
/// in its order, whatever the number of threads.
pub(super) fn sum_of_squares(team: &Team, values: &[f32]) -> f64 {
    let mut sums = vec![0.0; values.len().div_ceil(PIECE)];
    let pieces = values.chunks(PIECE).zip(&mut sums);
    team.share(pieces, |(piece, sum)| *sum = squares(piece));
    sums.iter().sum()
}

wide! {
    fn squares(values: &[f32]) -> f64 {
        lanes::sum_of_pairs(values, values, |left, right| left * right)
    }
}

/// Zero instead of numbers so small that they soon become subnormal, on which processors are many
/// times slower; moments of weights without gradient decay into that range and stay there.
#[inline(always)]
fn flushed(value: f32) -> f32 {
    const SMALLEST: f32 = 1e-34;
    if value.abs() < SMALLEST { 0.0 } else { value }
}
