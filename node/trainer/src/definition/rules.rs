//! What makes a definition impossible whatever the data are: empty models, numbers out of range,
//! keys that exclude each other, names that are no plain file names.

pub(super) mod data;
mod layers;

use super::{Activation, LayerSpec, Loss, ModelSpec, OptimizerSpec, TrainingSpec};
use crate::limits;

/// Why a definition cannot be run by anyone.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    #[error("the definition does not parse: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("{place}: {problem}")]
    Fault { place: String, problem: Problem },
}

/// What is wrong at a place of a definition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("there are no layers; add at least one of type dense")]
    NoLayers,
    #[error("padding \"same\" needs a stride of 1; write the padding as a number")]
    SameWithStride,
    #[error("no layer has weights; there would be nothing to train, add one of type dense")]
    NothingTrainable,
    #[error("{found} is more than the {limit} allowed")]
    TooMany { found: u64, limit: u64 },
    #[error("{found} is out of range; use {allowed}")]
    Range { found: String, allowed: &'static str },
    #[error(
        "softmax before the loss softmax_cross_entropy would be applied twice; remove it, the \
         loss contains it"
    )]
    DoubleSoftmax,
    #[error("\"{0}\" is not a plain file name; use letters, digits and . _ - without folders")]
    FileName(String),
    #[error(
        "\"{0}\" is of no known format; use .csv, .csv.gz, .parquet, .npy, .npz, .idx, an IDX file \
         named as MNIST's are, .zip (images in folders) or .txt"
    )]
    Format(String),
    #[error("a .csv or .parquet source needs `label`, the name of its target column")]
    LabelMissing,
    #[error("a .npy or IDX source needs `labels`, the name of the file with its targets")]
    LabelsMissing,
    #[error("\"{0}\" is not of the same format as the source")]
    LabelFormat(String),
    #[error("{0} arrays are named; an .npz source takes one for the features, one for the labels")]
    OneArray(usize),
    #[error("\"{0}\" is no feature column; list features only")]
    NoFeature(String),
    #[error("a .zip source needs `images`, as {{ size = [32, 32], channels = 3 }}")]
    ImagesMissing,
    #[error("a .txt source needs `text`, as {{ context = 64 }}")]
    TextMissing,
    #[error("`scale` and `normalize` would change the numbers of characters; remove them")]
    ScaledText,
    #[error(
        "{{ every = .. }} would test on text that was trained on, as windows overlap; use \
         {{ fraction = .. }}, which takes the end of the text"
    )]
    OverlappingTest,
    #[error("this source has classes; use the loss softmax_cross_entropy")]
    NeedsClasses,
    #[error("`{key}` is only for {format} sources; remove it")]
    WrongFormat { key: &'static str, format: &'static str },
    #[error("the loss softmax_cross_entropy takes one label column, {0} are named")]
    ManyLabels(usize),
    #[error("no column is named; name at least one")]
    NoColumns,
    #[error("column \"{0}\" is named twice")]
    Repeated(String),
    #[error("column \"{0}\" is both feature and label")]
    LabelAsFeature(String),
    #[error("`scale` and `normalize` exclude each other; keep one")]
    ScaleAndNormalize,
    #[error("nesterov needs a momentum above 0")]
    NesterovWithoutMomentum,
}

pub(super) fn model(model: &ModelSpec) -> Result<(), DefinitionError> {
    let place = || "model.layers".to_owned();
    if model.layers.is_empty() {
        return Err(fault(place(), Problem::NoLayers));
    }
    at_most(place(), layers::count(&model.layers) as u64, limits::MAX_LAYERS as u64)?;
    if !layers::row(&model.layers, "model.layers", 0)? {
        return Err(fault(place(), Problem::NothingTrainable));
    }
    Ok(())
}

/// Whether the last layer gives what the loss takes.
pub(super) fn end(model: &ModelSpec, loss: Loss) -> Result<(), DefinitionError> {
    match loss {
        Loss::SoftmaxCrossEntropy => no_softmax_at_the_end(model),
        Loss::Mse => Ok(()),
    }
}

fn no_softmax_at_the_end(model: &ModelSpec) -> Result<(), DefinitionError> {
    for (index, layer) in model.layers.iter().enumerate().rev() {
        let function = match layer {
            LayerSpec::Dropout { .. } | LayerSpec::Flatten {} | LayerSpec::Reshape { .. } => {
                continue;
            }
            LayerSpec::Dense { activation, .. }
            | LayerSpec::Conv2d { activation, .. }
            | LayerSpec::Residual { activation, .. } => *activation,
            LayerSpec::Activation { function } => Some(*function),
            LayerSpec::MaxPool2d { .. }
            | LayerSpec::AvgPool2d { .. }
            | LayerSpec::GlobalAvgPool {}
            | LayerSpec::BatchNorm { .. }
            | LayerSpec::LayerNorm { .. } => None,
        };
        if function == Some(Activation::Softmax) {
            let place = format!("model.layers, layer {index}");
            return Err(fault(place, Problem::DoubleSoftmax));
        }
        break;
    }
    Ok(())
}

pub(super) fn training(training: &TrainingSpec) -> Result<(), DefinitionError> {
    for (place, found, limit) in [
        ("training.epochs", training.epochs, limits::MAX_EPOCHS),
        ("training.batch_size", training.batch_size, limits::MAX_BATCH),
    ] {
        if found == 0 {
            return Err(range(place.into(), found, "1 or more"));
        }
        at_most(place.into(), u64::from(found), u64::from(limit))?;
    }
    for (place, found, limit) in [
        ("training.checkpoint_every_epochs", training.checkpoint_every_epochs, limits::MAX_EPOCHS),
        (
            "training.checkpoint_min_seconds",
            training.checkpoint_min_seconds,
            limits::MAX_CHECKPOINT_PAUSE_S,
        ),
    ] {
        at_most(place.into(), u64::from(found), u64::from(limit))?;
    }
    match training.optimizer {
        OptimizerSpec::Sgd { learning_rate, momentum, nesterov, weight_decay } => {
            rates(learning_rate, weight_decay)?;
            share("momentum", momentum)?;
            if nesterov && momentum == 0.0 {
                let place = "training.optimizer, nesterov".into();
                return Err(fault(place, Problem::NesterovWithoutMomentum));
            }
            Ok(())
        }
        OptimizerSpec::Adam { learning_rate, beta1, beta2, epsilon, weight_decay }
        | OptimizerSpec::Adamw { learning_rate, beta1, beta2, epsilon, weight_decay } => {
            rates(learning_rate, weight_decay)?;
            share("beta1", beta1)?;
            share("beta2", beta2)?;
            // Below this, f32 makes it zero and the first step divides by zero.
            if !(1e-30..=1.0).contains(&epsilon) {
                let place = "training.optimizer, epsilon".into();
                return Err(range(place, epsilon, "a number from 1e-30 to 1"));
            }
            Ok(())
        }
    }
}

fn rates(learning_rate: f64, weight_decay: f64) -> Result<(), DefinitionError> {
    if !(learning_rate > 0.0 && learning_rate <= 1e3) {
        let place = "training.optimizer, learning_rate".into();
        return Err(range(place, learning_rate, "a number above 0, at most 1000"));
    }
    if !(0.0..=1e3).contains(&weight_decay) {
        let place = "training.optimizer, weight_decay".into();
        return Err(range(place, weight_decay, "a number from 0 to 1000"));
    }
    Ok(())
}

fn share(key: &str, value: f64) -> Result<(), DefinitionError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    let allowed = "0 up to, but not including, 1";
    Err(range(format!("training.optimizer, {key}"), value, allowed))
}

fn at_most(place: String, found: u64, limit: u64) -> Result<(), DefinitionError> {
    if found <= limit { Ok(()) } else { Err(fault(place, Problem::TooMany { found, limit })) }
}

fn range(place: String, found: impl ToString, allowed: &'static str) -> DefinitionError {
    fault(place, Problem::Range { found: found.to_string(), allowed })
}

fn fault(place: String, problem: Problem) -> DefinitionError {
    DefinitionError::Fault { place, problem }
}
