//! Whether targets are such as the loss can be computed for, and settings that are listed by
//! class or output are as many as those. What a loss takes from its training rows is settled here.

use crate::data::{Dataset, Targets};
use crate::definition::{
    ClassWeights, DataSpec, Loss, LossSpec, NamedWeights, PositiveWeight, Workload,
};

/// Why a loss does not fit its targets.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(
        "training.loss, {key}: {found} numbers, but {file} has {expected} {what}; give one for \
         each"
    )]
    Weights { key: &'static str, found: usize, file: String, expected: usize, what: &'static str },
    #[error("{place}: {file} has {classes} classes to choose from; use a number below that")]
    TopK { place: &'static str, file: String, classes: usize },
    #[error("evaluate.top_k: it is for models of softmax_cross_entropy, not of {0}; remove it")]
    TopKWithoutClasses(&'static str),
    #[error(
        "{file}, row {row}, \"{column}\" is {value}; {loss} takes targets from 0 to 1, of which \
         numbers between are chances"
    )]
    Chance { file: String, row: usize, column: String, value: f32, loss: &'static str },
    #[error(
        "{file}, row {row}: the shares of the classes add up to {sum}, not to 1; name one label \
         column, or shares that do"
    )]
    Shares { file: String, row: usize, sum: f64 },
}

/// A loss with nothing left to be worked out from its training rows.
pub(super) fn settled(loss: &LossSpec, targets: &Targets, train: &[u32]) -> LossSpec {
    match loss {
        LossSpec::SoftmaxCrossEntropy {
            label_smoothing,
            class_weights: Some(ClassWeights::Named(NamedWeights::Balanced)),
        } => LossSpec::SoftmaxCrossEntropy {
            label_smoothing: *label_smoothing,
            class_weights: Some(ClassWeights::Each(balanced(targets, train))),
        },
        LossSpec::SoftmaxCrossEntropy { .. }
        | LossSpec::BinaryCrossEntropy { .. }
        | LossSpec::Mse
        | LossSpec::Mae
        | LossSpec::Huber { .. } => loss.clone(),
    }
}

/// `rows / (classes * rows of the class)`; by shares where rows have those. A class that no
/// training row has is taken to have one.
fn balanced(targets: &Targets, rows: &[u32]) -> Vec<f64> {
    let classes = targets.names().len();
    let mut counts = vec![0.0_f64; classes];
    match targets {
        Targets::Classes { .. } | Targets::Positions { .. } => {
            targets.classes(rows).for_each(|class| counts[class as usize] += 1.0);
        }
        Targets::Values { values, .. } => {
            for &row in rows {
                let shares = &values[row as usize * classes..][..classes];
                counts.iter_mut().zip(shares).for_each(|(it, share)| *it += f64::from(*share));
            }
        }
    }
    let each = counts.iter().sum::<f64>() / classes as f64;
    counts.iter().map(|count| each / count.max(1.0)).collect()
}

pub(super) fn fit(workload: &Workload, data: &Dataset) -> Result<(), TargetError> {
    let file = || workload.data.labels.as_ref().unwrap_or(&workload.data.source).clone();
    let expected = data.targets.names().len();
    let listed = |key, found: usize, what| {
        if found == expected {
            return Ok(());
        }
        Err(TargetError::Weights { key, found, file: file(), expected, what })
    };
    match &workload.training.loss {
        LossSpec::SoftmaxCrossEntropy {
            class_weights: Some(ClassWeights::Each(weights)), ..
        } => listed("class_weights", weights.len(), "classes")?,
        LossSpec::BinaryCrossEntropy {
            positive_weight: Some(PositiveWeight::Each(weights)),
            ..
        } => listed("positive_weight", weights.len(), "outputs")?,
        LossSpec::SoftmaxCrossEntropy { .. }
        | LossSpec::BinaryCrossEntropy { .. }
        | LossSpec::Mse
        | LossSpec::Mae
        | LossSpec::Huber { .. } => {}
    }
    if workload.training.top_k.is_some_and(|top_k| top_k as usize >= expected) {
        return Err(TargetError::TopK { place: "training.top_k", file: file(), classes: expected });
    }
    numbers(workload.training.loss.kind(), data, &file)
}

/// As [`fit`], of the loss of a trained model, whose settings are as many as its outputs.
pub(super) fn fit_trained(
    spec: &DataSpec,
    loss: Loss,
    top_k: Option<u32>,
    data: &Dataset,
) -> Result<(), TargetError> {
    let file = || spec.labels.as_ref().unwrap_or(&spec.source).clone();
    let classes = data.targets.names().len();
    if top_k.is_some() && !loss.has_classes() {
        return Err(TargetError::TopKWithoutClasses(loss.name()));
    }
    if top_k.is_some_and(|top_k| top_k as usize >= classes) {
        return Err(TargetError::TopK { place: "evaluate.top_k", file: file(), classes });
    }
    numbers(loss, data, &file)
}

/// Whether targets that are numbers are such as the loss takes.
fn numbers(loss: Loss, data: &Dataset, file: &impl Fn() -> String) -> Result<(), TargetError> {
    let Targets::Values { values, names } = &data.targets else {
        return Ok(());
    };
    match loss {
        Loss::SoftmaxCrossEntropy => {
            chances(values, names, loss, file)?;
            shares(values, names.len(), file)
        }
        Loss::BinaryCrossEntropy => chances(values, names, loss, file),
        Loss::Mse | Loss::Mae | Loss::Huber => Ok(()),
    }
}

fn chances(
    values: &[f32],
    names: &[String],
    loss: Loss,
    file: &impl Fn() -> String,
) -> Result<(), TargetError> {
    let Some(at) = values.iter().position(|value| !(0.0..=1.0).contains(value)) else {
        return Ok(());
    };
    let (row, column) = (at / names.len() + 1, names[at % names.len()].clone());
    Err(TargetError::Chance { file: file(), row, column, value: values[at], loss: loss.name() })
}

fn shares(values: &[f32], width: usize, file: &impl Fn() -> String) -> Result<(), TargetError> {
    /// Shares written with three digits add up to 1 as nearly as this.
    const NEARLY: f64 = 2e-3;
    for (index, row) in values.chunks_exact(width).enumerate() {
        let sum: f64 = row.iter().map(|share| f64::from(*share)).sum();
        if (sum - 1.0).abs() > NEARLY {
            return Err(TargetError::Shares { file: file(), row: index + 1, sum });
        }
    }
    Ok(())
}
