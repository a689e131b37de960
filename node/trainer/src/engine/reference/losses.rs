//! Losses in f64 straight from their definitions; gradients by formula, which the tests compare
//! with differences of the loss itself.

use super::{Exact, Reference, softmax};
use crate::engine::{LossFunction, LossGradient, Target};

pub(super) fn loss(
    function: &LossFunction<Exact>,
    output: &Exact,
    target: Target<'_, Reference>,
    divisor: f64,
) -> LossGradient<Exact> {
    let columns = output.columns();
    let target = match target {
        Target::Values(target) => target.clone(),
        Target::Classes(classes) => {
            let one_hot = |&class: &u32| {
                (0..columns).map(move |column| if column == class as usize { 1.0 } else { 0.0 })
            };
            let values = classes.iter().flat_map(one_hot).collect();
            Exact { values, shape: output.shape.clone() }
        }
    };
    let rows = output.values.chunks(columns).zip(target.values.chunks(columns));
    let (mut total, mut values) = (0.0, Vec::new());
    for (output, target) in rows {
        let (loss, slopes) = row(function, output, target);
        total += loss;
        values.extend(slopes.into_iter().map(|slope| slope / divisor));
    }
    let gradient = Exact { values, shape: output.shape.clone() };
    LossGradient { loss: total / divisor, gradient }
}

fn row(function: &LossFunction<Exact>, output: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    let weight = |weights: &Option<Exact>, column: usize| {
        weights.as_ref().map_or(1.0, |weights| weights.values[column])
    };
    let pairs = output.iter().zip(target);
    match function {
        LossFunction::SoftmaxCrossEntropy { smoothing, weights } => {
            let classes = output.len() as f64;
            let smooth = |(class, target): (usize, &f64)| {
                weight(weights, class) * (target * (1.0 - smoothing) + smoothing / classes)
            };
            let shares: Vec<f64> = target.iter().enumerate().map(smooth).collect();
            let chances = softmax(output);
            let loss = shares.iter().zip(&chances).map(|(share, chance)| -share * chance.ln());
            let whole: f64 = shares.iter().sum();
            let slopes = chances.iter().zip(&shares).map(|(chance, share)| chance * whole - share);
            (loss.sum(), slopes.collect())
        }
        LossFunction::BinaryCrossEntropy { positive_weight } => {
            let each = pairs.enumerate().map(|(column, (x, t))| {
                let w = weight(positive_weight, column);
                let yes = 1.0 / (1.0 + (-x).exp());
                let loss = -w * t * yes.ln() - (1.0 - t) * (1.0 - yes).ln();
                (loss, (1.0 - t) * yes - w * t * (1.0 - yes))
            });
            added(each)
        }
        LossFunction::Squared => added(pairs.map(|(x, t)| ((x - t) * (x - t), 2.0 * (x - t)))),
        LossFunction::Absolute => added(pairs.map(|(x, t)| {
            let slope = if x == t { 0.0 } else { (x - t).signum() };
            ((x - t).abs(), slope)
        })),
        LossFunction::Huber { delta } => added(pairs.map(|(x, t)| {
            let difference: f64 = x - t;
            if difference.abs() <= *delta {
                (0.5 * difference * difference, difference)
            } else {
                (delta * (difference.abs() - 0.5 * delta), delta * difference.signum())
            }
        })),
    }
}

fn added(each: impl Iterator<Item = (f64, f64)>) -> (f64, Vec<f64>) {
    let (losses, slopes): (Vec<f64>, Vec<f64>) = each.unzip();
    (losses.iter().sum(), slopes)
}
