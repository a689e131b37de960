//! What is trained: model, data and training as the user writes them, and nothing derived.
//! Unknown keys and kinds are refused while parsing, so that a TOML or JSON error names the place.
//! What can be judged without data is judged in [`Workload::validate`]; fitting the definition to
//! its data, shape by shape, is left to [`crate::plan`].

mod data;
mod graph;
mod images;
mod job;
mod layer;
mod loss;
mod rules;
mod training;

use serde::{Deserialize, Serialize};

pub(crate) use data::Format;
pub use data::{Columns, DataSpec, ImageSpec, Missing, Normalize, Streaming, TestSplit, TextSpec};
pub use graph::{FromGraph, GraphError};
pub use images::{NamedPadding, Padding, Pair};
pub use job::{
    Application, EvaluateSpec, ExtractSpec, FineTune, FineTuneSpec, Freeze, InferSpec, Job,
    JobKind, JobTables, LayerRef, StartSpec, TableFormat, Task,
};
pub use loss::{ClassWeights, Loss, LossSpec, NamedWeights, PositiveWeight};
pub(crate) use rules::data::{Targets as WantedTargets, check as check_data};
pub use rules::{DefinitionError, Problem};
pub use training::{
    EarlyStoppingSpec, OnOutOfMemory, OptimizerSpec, ScheduleSpec, TrainingSpec, WarmupSpec,
};

/// A training: model, data, and how one is fitted to the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    pub model: ModelSpec,
    pub data: DataSpec,
    pub training: TrainingSpec,
}

/// The network, from input to output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    pub layers: Vec<LayerSpec>,
}

/// One entry of `model.layers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// Fully connected, with bias; weights start as `torch.nn.Linear`'s do.
    Dense {
        units: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activation: Option<Activation>,
    },
    /// An activation function by itself.
    Activation { function: Activation },
    /// Zeroes each value with probability `rate` while training, scales the others up by
    /// `1 / (1 - rate)`; does nothing afterwards.
    Dropout { rate: f64 },
    /// All axes of a row in one.
    Flatten {},
    /// A learned vector for each value, which is a whole number below `vocabulary`: the first
    /// layer of a model for sequences. `[positions]` becomes `[positions, dimensions]`.
    Embedding { vocabulary: u32, dimensions: u32 },
    /// Adds a learned vector to each position of `[positions, dimensions]`.
    PositionalEmbedding {},
    /// Multi-head self-attention over the positions of `[positions, dimensions]`; weights start as
    /// `torch.nn.MultiheadAttention`'s do.
    Attention {
        /// Divides the dimensions.
        heads: u32,
        /// Whether a position sees itself and those before it only.
        #[serde(default)]
        causal: bool,
        /// Probability that a position does not see another, while training.
        #[serde(default)]
        dropout: f64,
    },
    /// Goes through the positions of `[positions, inputs]`, as `torch.nn.GRU`.
    Gru {
        units: u32,
        /// Gives `[positions, units]` instead of the last position's `[units]`.
        #[serde(default)]
        return_sequences: bool,
    },
    /// Goes through the positions of `[positions, inputs]`, as `torch.nn.LSTM`.
    Lstm {
        units: u32,
        /// Gives `[positions, units]` instead of the last position's `[units]`.
        #[serde(default)]
        return_sequences: bool,
    },
    /// The same values under another shape, without the batch axis.
    Reshape { shape: Vec<u32> },
    /// Filters over pictures `[channels, height, width]`; weights start as `torch.nn.Conv2d`'s do.
    #[serde(rename = "conv2d")]
    Conv2d {
        filters: u32,
        kernel: Pair,
        #[serde(default = "images::one")]
        stride: Pair,
        #[serde(default = "Padding::none")]
        padding: Padding,
        #[serde(default = "images::one")]
        dilation: Pair,
        /// Parts of the channels, each with filters of its own.
        #[serde(default = "images::one_group")]
        groups: u32,
        #[serde(default = "images::yes")]
        bias: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activation: Option<Activation>,
    },
    /// The largest value of each window.
    #[serde(rename = "max_pool2d")]
    MaxPool2d {
        kernel: Pair,
        /// Default: the kernel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Pair>,
        #[serde(default = "images::none")]
        padding: Pair,
    },
    /// The mean of each window, padding included.
    #[serde(rename = "avg_pool2d")]
    AvgPool2d {
        kernel: Pair,
        /// Default: the kernel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Pair>,
        #[serde(default = "images::none")]
        padding: Pair,
    },
    /// The mean of each channel: `[channels, height, width]` becomes `[channels]`.
    GlobalAvgPool {},
    /// Brings each channel, the first axis of a row, to mean 0 and variance 1 over a batch; by
    /// running statistics after training. A batch of one value a channel has variance 0.
    BatchNorm {
        /// How far the running statistics move towards those of a batch.
        #[serde(default = "images::momentum")]
        momentum: f64,
        #[serde(default = "images::norm_epsilon")]
        epsilon: f64,
    },
    /// Brings the last axis of each row, or the last several together, to mean 0 and variance 1.
    LayerNorm {
        /// How many.
        #[serde(default = "images::one_axis")]
        axes: u32,
        #[serde(default = "images::norm_epsilon")]
        epsilon: f64,
    },
    /// Adds its input to the output of `layers`; through a learned projection where their shapes
    /// differ, a 1x1 convolution with the stride that fits or a dense layer.
    Residual {
        layers: Vec<Self>,
        /// After the sum.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activation: Option<Activation>,
    },
}

/// Functions between layers; parameters are PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Relu,
    /// Slope 0.01 below zero.
    LeakyRelu,
    Tanh,
    Sigmoid,
    /// Over the values of a row.
    Softmax,
    /// The exact form, with the error function.
    Gelu,
    Silu,
    /// `exp(x) - 1` below zero.
    Elu,
}

impl Activation {
    /// The name it has in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Elu => "elu",
        }
    }
}

impl ModelSpec {
    /// Judges the layers by themselves, and against the loss that follows them.
    ///
    /// # Errors
    /// The first fault, with the layer it was found in.
    pub fn validate(&self, loss: Loss) -> Result<(), DefinitionError> {
        rules::model(self)?;
        rules::end(self, loss)
    }

    /// Ids that the features are, if the model begins with an embedding.
    pub(crate) fn vocabulary(&self) -> Option<u32> {
        rules::vocabulary(&self.layers)
    }

    /// Judges the layers by themselves.
    ///
    /// # Errors
    /// The first fault, with the layer it was found in.
    pub fn validate_layers(&self) -> Result<(), DefinitionError> {
        rules::model(self)
    }
}

impl Workload {
    /// Reads a `job.json` of the kind `train`.
    ///
    /// # Errors
    /// As [`Job::from_json`], and that the job is of another kind.
    pub fn from_json(text: &str) -> Result<Self, DefinitionError> {
        match Job::from_json(text)? {
            Job::Train(workload) => Ok(workload),
            other @ (Job::FineTune(_) | Job::Apply(_)) => Err(rules::job::not_train(other.kind())),
        }
    }

    /// The canonical text of its job.
    pub fn to_json(&self) -> String {
        Job::Train(self.clone()).to_json()
    }

    /// Names of the files that must lie in the input directory.
    pub fn input_names(&self) -> Vec<&str> {
        self.data.file_names().collect()
    }

    /// Judges everything that can be judged without data.
    ///
    /// # Errors
    /// The first fault, with the place it was found in and what is allowed there.
    pub fn validate(&self) -> Result<(), DefinitionError> {
        let loss = self.training.loss.kind();
        self.model.validate(loss)?;
        rules::data::check(&self.data, rules::data::Targets::Of(loss))?;
        rules::ids_unscaled(&self.model, &self.data)?;
        rules::training::training(&self.training, &self.data)
    }
}
