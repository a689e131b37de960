//! Losses, summed in f64 in the order of rows; their gradients take the place of the outputs.
//! Rows are divided over threads, sums are not.

use super::functions::exp;
use super::vectors::wide;
use super::{CpuEngine, CpuTensor, lanes, row_length, same, unfit};
use crate::engine::{EngineError, LossFunction, LossGradient, Target};

pub(super) fn loss(
    engine: &mut CpuEngine,
    function: &LossFunction<CpuTensor>,
    output: &CpuTensor,
    target: Target<'_, CpuEngine>,
    divisor: f64,
) -> Result<LossGradient<CpuTensor>, EngineError> {
    let width = row_length(output);
    if let Target::Values(values) = target {
        same("loss", output, values)?;
    }
    let mut gradient = engine.copy_of(output)?;
    let share = 1.0 / divisor as f32;
    let work = Work { engine, values: &mut gradient.values, width };
    let total = match (function, target) {
        (LossFunction::SoftmaxCrossEntropy { smoothing, weights }, target) => {
            let weights = per_value(output, weights.as_ref())?;
            let terms = Terms { smoothing: *smoothing as f32, weights, share };
            softmax_cross_entropy(work, output, target, &terms)?
        }
        (LossFunction::BinaryCrossEntropy { positive_weight }, Target::Values(target)) => {
            let weights = per_value(output, positive_weight.as_ref())?;
            work.each(target, share, |column, x, t| {
                binary_cross_entropy(x, t, weights.map_or(1.0, |weights| weights[column]))
            })?
        }
        (LossFunction::Squared, Target::Values(target)) => {
            // From f64, so that the factor 2 costs no digit.
            let share = (2.0 / divisor) as f32;
            work.each(target, share, |_, x, t| {
                let difference = x - t;
                (f64::from(difference) * f64::from(difference), difference)
            })?
        }
        (LossFunction::Absolute, Target::Values(target)) => {
            work.each(target, share, |_, x, t| (f64::from((x - t).abs()), sign(x - t)))?
        }
        (LossFunction::Huber { delta }, Target::Values(target)) => {
            let delta = *delta as f32;
            work.each(target, share, |_, x, t| huber(x - t, delta))?
        }
        (_, Target::Classes(classes)) => {
            return Err(unfit("loss", &output.shape, &[classes.len()]));
        }
    };
    Ok(LossGradient { loss: total / divisor, gradient })
}

/// Outputs on their way to become gradients.
struct Work<'a> {
    engine: &'a CpuEngine,
    values: &'a mut [f32],
    width: usize,
}

impl Work<'_> {
    /// Replaces each value by its slope times `share`; `function` is given the place in its row,
    /// the value and the target, and gives the loss and the slope.
    fn each(
        self,
        target: &CpuTensor,
        share: f32,
        function: impl Fn(usize, f32, f32) -> (f64, f32) + Sync,
    ) -> Result<f64, EngineError> {
        let Work { width, .. } = self;
        self.rows(|row, values| {
            let target = &target.values[row * width..][..width];
            let mut total = 0.0;
            for (column, (value, target)) in values.iter_mut().zip(target).enumerate() {
                let (loss, slope) = function(column, *value, *target);
                total += loss;
                *value = share * slope;
            }
            total
        })
    }

    /// Calls `function` with the number and the values of each row, and adds up what it gives.
    fn rows(self, function: impl Fn(usize, &mut [f32]) -> f64 + Sync) -> Result<f64, EngineError> {
        /// Values that take longer than to share them out.
        const PIECE: usize = 4 * 1024;
        let Work { engine, values, width } = self;
        let count = values.len() / width;
        let mut losses: Vec<f64> = Vec::new();
        if losses.try_reserve_exact(count).is_err() {
            return Err(EngineError::OutOfMemory { bytes: count as u64 * 8 });
        }
        losses.resize(count, 0.0);
        let several = (PIECE / width).max(1);
        let pieces = values.chunks_mut(several * width).zip(losses.chunks_mut(several));
        engine.team.share(pieces.enumerate(), |(piece, (values, losses))| {
            for (index, (values, loss)) in values.chunks_exact_mut(width).zip(losses).enumerate() {
                *loss = function(piece * several + index, values);
            }
        });
        Ok(losses.iter().sum())
    }
}

/// What the rows of a cross-entropy have in common.
struct Terms<'a> {
    smoothing: f32,
    weights: Option<&'a [f32]>,
    /// Factor on every gradient.
    share: f32,
}

fn softmax_cross_entropy(
    work: Work<'_>,
    logits: &CpuTensor,
    target: Target<'_, CpuEngine>,
    terms: &Terms<'_>,
) -> Result<f64, EngineError> {
    let width = work.width;
    let rows = logits.values.len() / width;
    let classes = match target {
        Target::Values(target) => {
            return shares_cross_entropy(work, terms, |row, values| {
                values.copy_from_slice(&target.values[row * width..][..width]);
            });
        }
        Target::Classes(classes) => classes,
    };
    if classes.len() != rows || rows == 0 {
        return Err(unfit("softmax_cross_entropy", &logits.shape, &[classes.len()]));
    }
    if let Some(&class) = classes.iter().find(|&&class| class as usize >= width) {
        let operation = "softmax_cross_entropy";
        return Err(EngineError::Class { operation, class, classes: width });
    }
    if terms.smoothing != 0.0 || terms.weights.is_some() {
        return shares_cross_entropy(work, terms, |row, values| {
            values.fill(0.0);
            values[classes[row] as usize] = 1.0;
        });
    }
    work.rows(|row, values| {
        let class = classes[row] as usize;
        let largest = lanes::largest(values);
        let chosen = values[class] - largest;
        let sum = exponentials(values, largest);
        values.iter_mut().for_each(|value| *value *= terms.share / sum);
        values[class] -= terms.share;
        f64::from(libm::logf(sum)) - f64::from(chosen)
    })
}

/// Where the target has a share for each class, which `fill` puts into a row.
fn shares_cross_entropy(
    work: Work<'_>,
    terms: &Terms<'_>,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<f64, EngineError> {
    let width = work.width;
    let (kept, spread) = (1.0 - terms.smoothing, terms.smoothing / width as f32);
    work.rows(|row, values| {
        // One row of classes is small beside the tensors of a step.
        let mut shares = vec![0.0; width];
        fill(row, &mut shares);
        for (class, share) in shares.iter_mut().enumerate() {
            *share = (*share * kept + spread) * terms.weights.map_or(1.0, |weights| weights[class]);
        }
        let largest = lanes::largest(values);
        let mut below = 0.0;
        let mut whole = 0.0_f32;
        for (value, share) in values.iter().zip(&shares) {
            below += f64::from(*share) * f64::from(*value - largest);
            whole += share;
        }
        let sum = exponentials(values, largest);
        let slope = whole * terms.share / sum;
        for (value, share) in values.iter_mut().zip(&shares) {
            *value = *value * slope - share * terms.share;
        }
        f64::from(whole) * f64::from(libm::logf(sum)) - below
    })
}

wide! {
    /// Replaces each value by `exp(value - largest)`; gives the sum.
    fn exponentials(values: &mut [f32], largest: f32) -> f32 {
        values.iter_mut().for_each(|value| *value = exp(*value - largest));
        lanes::sum(values)
    }
}

fn binary_cross_entropy(x: f32, t: f32, weight: f32) -> (f64, f32) {
    // exp of the negative side only, so that nothing overflows.
    let small = libm::expf(-x.abs());
    let rest = libm::log1pf(small);
    let (below, above) = (x.max(0.0) + rest, (-x).max(0.0) + rest);
    let (less, more) = (small / (1.0 + small), 1.0 / (1.0 + small));
    let (yes, no) = if x < 0.0 { (less, more) } else { (more, less) };
    let (true_part, false_part) = (weight * t, 1.0 - t);
    let loss = f64::from(true_part) * f64::from(above) + f64::from(false_part) * f64::from(below);
    (loss, false_part * yes - true_part * no)
}

fn huber(difference: f32, delta: f32) -> (f64, f32) {
    let size = f64::from(difference.abs());
    // Not a test for the smaller: a NaN must stay one.
    if difference.abs() > delta {
        let delta64 = f64::from(delta);
        (delta64 * (size - 0.5 * delta64), delta * sign(difference))
    } else {
        (0.5 * size * size, difference)
    }
}

/// 0 for 0, where `f32::signum` has a side.
fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Weights that are there once for each value of a row of `output`.
fn per_value<'a>(
    output: &CpuTensor,
    weights: Option<&'a CpuTensor>,
) -> Result<Option<&'a [f32]>, EngineError> {
    match weights {
        Some(weights) if weights.values.len() != row_length(output) => {
            Err(unfit("loss", &output.shape, &weights.shape))
        }
        Some(weights) => Ok(Some(&weights.values)),
        None => Ok(None),
    }
}
