//! Optimizer steps, each one pass over parameter, gradient and moments; and the size of a gradient.

use arrayfire::{abs, eval_multiple, maxof, sqrt};

use super::values::{
    Values, add, div, flushed, full, largest, mul, part, plus, shaped, stretch, sub, sum, times,
};
use crate::engine::{AdamStep, RmsStep, SgdStep};

/// The parameter after a step and, where there is momentum, its velocity.
pub(super) fn sgd(
    parameter: &Values,
    gradient: &Values,
    velocity: Option<&Values>,
    step: &SgdStep,
) -> (Values, Option<Values>) {
    let (rate, momentum) = (step.learning_rate as f32, step.momentum as f32);
    let gradient = add(gradient, &times(parameter, step.weight_decay as f32));
    let velocity = velocity.map(|velocity| flushed(&add(&times(velocity, momentum), &gradient)));
    let ahead = match &velocity {
        None => gradient,
        Some(velocity) if step.nesterov => add(&gradient, &times(velocity, momentum)),
        Some(velocity) => velocity.clone(),
    };
    let parameter = sub(parameter, &times(&ahead, rate));
    let results = [Some(&parameter), velocity.as_ref()];
    eval_multiple(results.into_iter().flatten().collect());
    (parameter, velocity)
}

/// The parameter and both moments after a step.
pub(super) fn adam(
    parameter: &Values,
    gradient: &Values,
    [first, second]: [&Values; 2],
    step: &AdamStep,
) -> [Values; 3] {
    let (beta1, beta2) = (step.beta1 as f32, step.beta2 as f32);
    // From f64, as 1 - beta2 in f32 would be off in the fourth digit.
    let (rest1, rest2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
    let rate = (step.learning_rate / step.correction1) as f32;
    let root = (1.0 / step.correction2.sqrt()) as f32;
    let gradient = match step.weight_decay {
        0.0 => gradient.clone(),
        decay => add(gradient, &times(parameter, decay as f32)),
    };
    let first = flushed(&add(&times(first, beta1), &times(&gradient, rest1)));
    let square = times(&mul(&gradient, &gradient), rest2);
    let second = flushed(&add(&times(second, beta2), &square));
    let spread = plus(&times(&sqrt(&second), root), step.epsilon as f32);
    let kept = match step.shrink {
        1.0 => parameter.clone(),
        shrink => times(parameter, shrink as f32),
    };
    let parameter = sub(&kept, &times(&div(&first, &spread), rate));
    eval_multiple(vec![&parameter, &first, &second]);
    [parameter, first, second]
}

/// What RMSprop keeps, before a step or after it.
pub(super) struct Rms {
    pub(super) square: Values,
    pub(super) mean: Option<Values>,
    pub(super) velocity: Option<Values>,
}

/// The parameter and the state after a step.
pub(super) fn rmsprop(
    parameter: &Values,
    gradient: &Values,
    state: &Rms,
    step: &RmsStep,
) -> (Values, Rms) {
    let (alpha, rest) = (step.alpha as f32, (1.0 - step.alpha) as f32);
    let gradient = add(gradient, &times(parameter, step.weight_decay as f32));
    let running =
        |kept: &Values, new: &Values| flushed(&add(&times(kept, alpha), &times(new, rest)));
    let square = running(&state.square, &mul(&gradient, &gradient));
    let mean = state.mean.as_ref().map(|mean| running(mean, &gradient));
    let spread = match &mean {
        None => square.clone(),
        // Rounding can make the mean's square the larger of the two.
        Some(mean) => maxof(&sub(&square, &mul(mean, mean)), &full(mean, 0.0), false),
    };
    let scaled = div(&gradient, &plus(&sqrt(&spread), step.epsilon as f32));
    let velocity = state
        .velocity
        .as_ref()
        .map(|velocity| flushed(&add(&times(velocity, step.momentum as f32), &scaled)));
    let change = velocity.as_ref().unwrap_or(&scaled);
    let parameter = sub(parameter, &times(change, step.learning_rate as f32));
    let results = [Some(&parameter), Some(&square), mean.as_ref(), velocity.as_ref()];
    eval_multiple(results.into_iter().flatten().collect());
    (parameter, Rms { square, mean, velocity })
}

/// Sum of the squares, of which there is at least one. Squares of 32-bit floats do not always fit
/// into one: where they do not, the largest value is taken out first.
pub(super) fn sum_of_squares(x: &Values) -> f64 {
    /// Far from where a square is rounded to nothing, or its sum to infinity.
    const SAFE: std::ops::Range<f64> = 1e-25..1e35;
    let plain = total(&mul(x, x));
    if SAFE.contains(&plain) {
        return plain;
    }
    let unit = only(&largest(&abs(x), 0));
    if unit == 0.0 {
        // Zeros alone, as what is no number is not among the largest.
        return total(x);
    }
    let shares = div(x, &full(x, unit));
    f64::from(unit) * f64::from(unit) * total(&mul(&shares, &shares))
}

/// Sum of what lies along the first axis: of short stretches on the device, one value after the
/// other as the library does it, of those in f64 on the host.
fn total(x: &Values) -> f64 {
    const STRETCH: usize = 256;
    let count = x.elements();
    let (stretches, rest) = (count / STRETCH, count % STRETCH);
    let mut sums = vec![0.0; stretches];
    if stretches > 0 {
        let even = part(x, &[stretch(0, stretches * STRETCH, 1)]);
        sum(&shaped(&even, [STRETCH, stretches, 1, 1]), 0).host(&mut sums);
    }
    if rest > 0 {
        sums.push(only(&sum(&part(x, &[stretch(count - rest, rest, 1)]), 0)));
    }
    sums.into_iter().map(f64::from).sum()
}

fn only(x: &Values) -> f32 {
    let mut value = [0.0];
    x.host(&mut value);
    value[0]
}
