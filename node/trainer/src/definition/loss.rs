//! What is made small, as it is written: a plain name where PyTorch's defaults are meant, or a
//! table with the loss's own settings. Whether settings are in range is judged in `rules`; the
//! arithmetic is the engine's.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which function measures the distance of outputs to targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Classification; the last layer gives one number a class, without softmax. The target is
    /// the class of a row (one label column), or a share for each class (several).
    SoftmaxCrossEntropy,
    /// Yes or no for each output by itself; the last layer gives logits, without sigmoid. Targets
    /// are numbers from 0 to 1.
    BinaryCrossEntropy,
    /// Regression: mean of the squared errors over rows and targets.
    Mse,
    /// Regression: mean of the absolute errors, `torch.nn.L1Loss`.
    Mae,
    /// Regression: squared near the target, absolute from `delta` on, `torch.nn.HuberLoss`.
    Huber,
}

impl Loss {
    /// Whether its targets are classes, one a row, rather than numbers, where so many columns
    /// hold them.
    pub fn wants_classes(self, label_columns: usize) -> bool {
        self == Self::SoftmaxCrossEntropy && label_columns == 1
    }

    /// Whether its outputs are the classes of one choice.
    pub(crate) fn has_classes(self) -> bool {
        self == Self::SoftmaxCrossEntropy
    }

    /// The name it has in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::SoftmaxCrossEntropy => "softmax_cross_entropy",
            Self::BinaryCrossEntropy => "binary_cross_entropy",
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::Huber => "huber",
        }
    }
}

/// `training.loss`: `"mse"`, or `{type = "huber", delta = 0.5}`.
#[derive(Clone, Debug, PartialEq)]
pub enum LossSpec {
    /// `torch.nn.CrossEntropyLoss`.
    SoftmaxCrossEntropy {
        /// Share of the target that is spread evenly over all classes; 0 by default.
        label_smoothing: f64,
        /// Factor on the loss of each class, whose mean is then taken by weight. With shares as
        /// targets each class's term has its factor, and the mean is over rows.
        class_weights: Option<ClassWeights>,
    },
    /// `torch.nn.BCEWithLogitsLoss`.
    BinaryCrossEntropy {
        /// Factor on the loss of what is true, `pos_weight`; 1 by default.
        positive_weight: Option<PositiveWeight>,
    },
    Mse,
    Mae,
    Huber {
        /// Where the square ends and the straight line begins; 1 by default.
        delta: f64,
    },
}

/// How much each class counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"balanced\" or a list with one number for each class")]
pub enum ClassWeights {
    Named(NamedWeights),
    /// In the order of the classes: by number if all labels are numbers, else by text.
    Each(Vec<f64>),
}

/// Weights that are worked out from the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedWeights {
    /// `rows / (classes * rows of the class)`, as scikit-learn's `class_weight="balanced"`.
    Balanced,
}

/// One factor for all outputs, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or a list with one number for each output")]
pub enum PositiveWeight {
    All(f64),
    Each(Vec<f64>),
}

impl PositiveWeight {
    /// The factors as they are written.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }
}

impl LossSpec {
    /// How many numbers it lists, one for each class or output, if it lists any.
    pub(crate) fn listed(&self) -> Option<usize> {
        match self {
            Self::SoftmaxCrossEntropy { class_weights: Some(ClassWeights::Each(each)), .. } => {
                Some(each.len())
            }
            Self::BinaryCrossEntropy { positive_weight: Some(PositiveWeight::Each(each)) } => {
                Some(each.len())
            }
            Self::SoftmaxCrossEntropy { .. }
            | Self::BinaryCrossEntropy { .. }
            | Self::Mse
            | Self::Mae
            | Self::Huber { .. } => None,
        }
    }

    /// The loss without its settings.
    pub fn kind(&self) -> Loss {
        match self {
            Self::SoftmaxCrossEntropy { .. } => Loss::SoftmaxCrossEntropy,
            Self::BinaryCrossEntropy { .. } => Loss::BinaryCrossEntropy,
            Self::Mse => Loss::Mse,
            Self::Mae => Loss::Mae,
            Self::Huber { .. } => Loss::Huber,
        }
    }
}

impl From<Loss> for LossSpec {
    /// With PyTorch's defaults.
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::SoftmaxCrossEntropy => {
                Self::SoftmaxCrossEntropy { label_smoothing: 0.0, class_weights: None }
            }
            Loss::BinaryCrossEntropy => Self::BinaryCrossEntropy { positive_weight: None },
            Loss::Mse => Self::Mse,
            Loss::Mae => Self::Mae,
            Loss::Huber => Self::Huber { delta: delta() },
        }
    }
}

/// `LossSpec` as it is written with settings.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum LossTable {
    SoftmaxCrossEntropy {
        #[serde(default)]
        label_smoothing: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class_weights: Option<ClassWeights>,
    },
    BinaryCrossEntropy {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        positive_weight: Option<PositiveWeight>,
    },
    Mse {},
    Mae {},
    Huber {
        #[serde(default = "delta")]
        delta: f64,
    },
}

impl From<LossTable> for LossSpec {
    fn from(table: LossTable) -> Self {
        match table {
            LossTable::SoftmaxCrossEntropy { label_smoothing, class_weights } => {
                Self::SoftmaxCrossEntropy { label_smoothing, class_weights }
            }
            LossTable::BinaryCrossEntropy { positive_weight } => {
                Self::BinaryCrossEntropy { positive_weight }
            }
            LossTable::Mse {} => Self::Mse,
            LossTable::Mae {} => Self::Mae,
            LossTable::Huber { delta } => Self::Huber { delta },
        }
    }
}

impl From<LossSpec> for LossTable {
    fn from(spec: LossSpec) -> Self {
        match spec {
            LossSpec::SoftmaxCrossEntropy { label_smoothing, class_weights } => {
                Self::SoftmaxCrossEntropy { label_smoothing, class_weights }
            }
            LossSpec::BinaryCrossEntropy { positive_weight } => {
                Self::BinaryCrossEntropy { positive_weight }
            }
            LossSpec::Mse => Self::Mse {},
            LossSpec::Mae => Self::Mae {},
            LossSpec::Huber { delta } => Self::Huber { delta },
        }
    }
}

impl Serialize for LossSpec {
    /// The plain name where nothing else is said, so that equal losses have equal texts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind();
        if *self == Self::from(kind) {
            kind.serialize(serializer)
        } else {
            LossTable::from(self.clone()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for LossSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

/// Written out, because serde's untagged enums forget what was wrong in either form.
struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = LossSpec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a loss, or a table such as {type = \"huber\", delta = 1}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<LossSpec, E> {
        Loss::deserialize(StrDeserializer::new(name)).map(LossSpec::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LossSpec, A::Error> {
        LossTable::deserialize(MapAccessDeserializer::new(map)).map(LossSpec::from)
    }
}

/// PyTorch's.
fn delta() -> f64 {
    1.0
}
