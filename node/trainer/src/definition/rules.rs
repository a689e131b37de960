//! What makes a definition impossible whatever the data are: empty models, numbers out of range,
//! keys that exclude each other, names that are no plain file names.

pub(crate) mod data;
pub(super) mod job;
mod layers;
mod sequence;
pub(super) mod training;

use super::{Activation, LayerSpec, Loss, ModelSpec};
use crate::limits;
pub(super) use sequence::{ids_unscaled, vocabulary};

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
    #[error("kind = \"{kind}\" has no [{table}] table: remove it")]
    NotOfKind { kind: &'static str, table: &'static str },
    #[error("kind = \"{kind}\" needs a [{table}] table")]
    NeededByKind { kind: &'static str, table: &'static str },
    #[error("kind = \"{0}\" where a training is needed")]
    OtherKind(&'static str),
    #[error("\"{0}\" is no .safetensors file; save the weights as one")]
    NoSafetensors(String),
    #[error("the model itself says its {0}; remove it, or give [model] layers")]
    SaidByModel(&'static str),
    #[error("both [model] and start.definition say what the weights are; keep one")]
    TwoDefinitions,
    #[error("{0} does not fit these outputs; classes go with softmax_cross_entropy")]
    OtherOutputs(&'static str),
    #[error("a loss needs start.outputs, which says what it is the loss of")]
    LossWithoutOutputs,
    #[error(
        "kind = \"{0}\" with [model] layers needs it, as {{ classes = [\"cat\", \"dog\"] }} or \
         {{ targets = [\"price\"] }}"
    )]
    OutputsMissing(&'static str),
    #[error("it says where replace_head begins; give that too, or remove it")]
    HeadWithoutLayers,
    #[error("kind = \"{0}\" takes every row: remove it")]
    AllRows(&'static str),
    #[error("kind = \"{0}\" learns nothing from its rows: remove it; data.scale is a fixed factor")]
    LearntFromRows(&'static str),
    #[error("the model brings its own scaling: remove it")]
    ScaledByModel,
    #[error("kind = \"{0}\" has an answer for every row; use mean, zero or {{ value = .. }}")]
    DroppedRows(&'static str),
    #[error("kind = \"{kind}\" reads no targets: remove `{key}`; data.features lists the columns")]
    NoTargets { kind: &'static str, key: &'static str },
    #[error("\"{0}\" names the rows and is no feature or label; list it once")]
    IdElsewhere(String),
    #[error("there are no layers; add at least one of type dense")]
    NoLayers,
    #[error("padding \"same\" needs a stride of 1; write the padding as a number")]
    SameWithStride,
    #[error("no layer has weights; there would be nothing to train, add one of type dense")]
    NothingTrainable,
    #[error("an embedding takes ids from the data; make it the first layer")]
    EmbeddingNotFirst,
    #[error("the model begins with an embedding, which takes ids as they are; remove it")]
    ScaledIds,
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

/// Layers that are put behind others.
pub(super) fn head(head: &[LayerSpec]) -> Result<(), DefinitionError> {
    const PLACE: &str = "fine_tune.replace_head";
    if head.is_empty() {
        return Err(fault(PLACE.to_owned(), Problem::NoLayers));
    }
    at_most(PLACE.to_owned(), layers::count(head) as u64, limits::MAX_LAYERS as u64)?;
    layers::row(head, PLACE, 0).map(|_trainable| ())
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
            LayerSpec::Embedding { .. }
            | LayerSpec::PositionalEmbedding {}
            | LayerSpec::Attention { .. }
            | LayerSpec::Gru { .. }
            | LayerSpec::Lstm { .. }
            | LayerSpec::MaxPool2d { .. }
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

fn at_most(place: String, found: u64, limit: u64) -> Result<(), DefinitionError> {
    if found <= limit { Ok(()) } else { Err(fault(place, Problem::TooMany { found, limit })) }
}

fn range(place: String, found: impl ToString, allowed: &'static str) -> DefinitionError {
    fault(place, Problem::Range { found: found.to_string(), allowed })
}

fn fault(place: String, problem: Problem) -> DefinitionError {
    DefinitionError::Fault { place, problem }
}
