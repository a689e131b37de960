//! What makes a definition impossible whatever the data are: empty models, numbers out of range,
//! keys that exclude each other, names that are no plain file names.

mod layers;
pub(super) mod training;

use super::{Activation, DataSpec, LayerSpec, Loss, ModelSpec, Normalize, TestSplit};
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
    #[error(
        "sigmoid before the loss binary_cross_entropy would be applied twice; remove it, the \
         loss contains it"
    )]
    DoubleSigmoid,
    #[error("\"{0}\" is not a plain file name; use letters, digits and . _ - without folders")]
    FileName(String),
    #[error("\"{0}\" is neither .csv nor .npy")]
    Format(String),
    #[error("a .csv source needs `label`, the name of its target column")]
    LabelMissing,
    #[error("a .npy source needs `labels`, the name of the .npy file with its targets")]
    LabelsMissing,
    #[error("`{key}` is only for {format} sources; remove it")]
    WrongFormat { key: &'static str, format: &'static str },
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
    #[error("`clip_norm` and `clip_value` exclude each other; keep one")]
    TwoClippings,
    #[error("warmup needs exactly one key of steps and epochs: {{steps = 100}} or {{epochs = 2}}")]
    WarmupKeys,
    #[error("`top_k` is for the loss softmax_cross_entropy, not for {0}; remove it")]
    TopKWithoutClasses(&'static str),
    #[error(
        "\"{found}\" is no metric of this loss; use one of {known}, or one of them behind val_ \
         for the validation rows"
    )]
    Metric { found: String, known: String },
    #[error(
        "there is no {metric} without validation rows; set data.validation above 0, or use \
         \"{bare}\""
    )]
    NoValidation { metric: String, bare: String },
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
        Loss::SoftmaxCrossEntropy => {
            not_at_the_end(model, Activation::Softmax, Problem::DoubleSoftmax)
        }
        Loss::BinaryCrossEntropy => {
            not_at_the_end(model, Activation::Sigmoid, Problem::DoubleSigmoid)
        }
        Loss::Mse | Loss::Mae | Loss::Huber => Ok(()),
    }
}

fn not_at_the_end(
    model: &ModelSpec,
    contained: Activation,
    problem: Problem,
) -> Result<(), DefinitionError> {
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
        if function == Some(contained) {
            return Err(fault(format!("model.layers, layer {index}"), problem));
        }
        break;
    }
    Ok(())
}

pub(super) fn data(data: &DataSpec) -> Result<(), DefinitionError> {
    plain_file_name("data.source", &data.source)?;
    if has_extension(&data.source, "csv") {
        csv(data)?;
    } else if has_extension(&data.source, "npy") {
        npy(data)?;
    } else {
        return Err(fault("data.source".into(), Problem::Format(data.source.clone())));
    }
    if let Some(scale) = data.scale {
        if data.normalize != Normalize::None {
            return Err(fault("data".into(), Problem::ScaleAndNormalize));
        }
        // The factor is applied in f32, where it must still be a number other than zero.
        let factor = scale as f32;
        if !factor.is_finite() || factor == 0.0 {
            return Err(range("data.scale".into(), scale, "a finite number other than 0"));
        }
    }
    match data.test {
        Some(TestSplit::Every(every)) if every < 2 => {
            return Err(range("data.test, every".into(), every, "2 or more"));
        }
        Some(TestSplit::Fraction(fraction)) if !(fraction > 0.0 && fraction < 1.0) => {
            return Err(range("data.test, fraction".into(), fraction, "a number between 0 and 1"));
        }
        Some(TestSplit::Every(_) | TestSplit::Fraction(_)) | None => {}
    }
    if !(0.0..1.0).contains(&data.validation) {
        let allowed = "0 up to, but not including, 1";
        return Err(range("data.validation".into(), data.validation, allowed));
    }
    Ok(())
}

fn csv(data: &DataSpec) -> Result<(), DefinitionError> {
    if data.labels.is_some() {
        let problem = Problem::WrongFormat { key: "labels", format: ".npy" };
        return Err(fault("data.labels".into(), problem));
    }
    let Some(label) = &data.label else {
        return Err(fault("data.label".into(), Problem::LabelMissing));
    };
    distinct("data.label", label.names(), limits::MAX_OUTPUTS)?;
    if let Some(features) = &data.features {
        distinct("data.features", features, limits::MAX_UNITS)?;
        if let Some(both) = label.names().iter().find(|name| features.contains(name)) {
            let problem = Problem::LabelAsFeature(both.clone());
            return Err(fault("data.features".into(), problem));
        }
    }
    Ok(())
}

fn npy(data: &DataSpec) -> Result<(), DefinitionError> {
    let only_csv = |key| Problem::WrongFormat { key, format: ".csv" };
    if data.label.is_some() {
        return Err(fault("data.label".into(), only_csv("label")));
    }
    if data.features.is_some() {
        return Err(fault("data.features".into(), only_csv("features")));
    }
    let Some(labels) = &data.labels else {
        return Err(fault("data.labels".into(), Problem::LabelsMissing));
    };
    plain_file_name("data.labels", labels)?;
    if has_extension(labels, "npy") {
        Ok(())
    } else {
        Err(fault("data.labels".into(), Problem::Format(labels.clone())))
    }
}

fn distinct(place: &str, names: &[String], limit: usize) -> Result<(), DefinitionError> {
    if names.is_empty() {
        return Err(fault(place.into(), Problem::NoColumns));
    }
    at_most(place.into(), names.len() as u64, limit as u64)?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(fault(place.into(), Problem::Repeated(pair[0].clone()))),
        None => Ok(()),
    }
}

/// The node puts inputs into one flat directory; anything that could leave it is refused.
fn plain_file_name(place: &str, name: &str) -> Result<(), DefinitionError> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain { Ok(()) } else { Err(fault(place.into(), Problem::FileName(name.into()))) }
}

pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case(extension))
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
