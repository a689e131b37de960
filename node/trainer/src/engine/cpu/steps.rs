//! Optimizer steps in place, each value by itself.

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::engine::{AdamStep, SgdStep};

/// Below this, waking a thread takes longer than the work.
const PIECE: usize = 16 * 1024;

pub(super) fn sgd(parameter: &mut [f32], gradient: &[f32], step: &SgdStep) {
    let (rate, decay) = (step.learning_rate as f32, step.weight_decay as f32);
    for (parameter, gradient) in parameter.iter_mut().zip(gradient) {
        *parameter -= rate * (gradient + decay * *parameter);
    }
}

pub(super) fn momentum(
    pool: Option<&ThreadPool>,
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
    match pool {
        Some(pool) if parameter.len() > PIECE => pool.install(|| {
            let pieces = parameter.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
            let pieces = pieces.zip(velocity.par_chunks_mut(PIECE));
            pieces.for_each(|((parameter, gradient), velocity)| {
                work(parameter, gradient, velocity);
            });
        }),
        Some(_) | None => work(parameter, gradient, velocity),
    }
}

pub(super) fn adam(
    pool: Option<&ThreadPool>,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    step: &AdamStep,
) {
    let work = |parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]| {
        adam_piece(parameter, gradient, first, second, step);
    };
    match pool {
        Some(pool) if parameter.len() > PIECE => pool.install(|| {
            let pieces = parameter.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
            let moments = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
            pieces.zip(moments).for_each(|((parameter, gradient), (first, second))| {
                work(parameter, gradient, first, second);
            });
        }),
        Some(_) | None => work(parameter, gradient, first, second),
    }
}

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

/// Zero instead of numbers so small that they soon become subnormal, on which processors are many
/// times slower; moments of weights without gradient decay into that range and stay there.
fn flushed(value: f32) -> f32 {
    const SMALLEST: f32 = 1e-34;
    if value.abs() < SMALLEST { 0.0 } else { value }
}
