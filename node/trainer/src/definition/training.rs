//! How a model is fitted, as it is written: optimizer, learning rate over time, clipping, when to
//! stop. Names, meanings and defaults are PyTorch's unless a field says otherwise. What is in
//! range is judged in `rules`.

use serde::{Deserialize, Serialize};

use super::LossSpec;

/// How the model is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Passes over the training rows.
    pub epochs: u32,
    /// Rows of one step; the last step of an epoch may have fewer.
    pub batch_size: u32,
    pub loss: LossSpec,
    /// All chance of the run comes from here.
    #[serde(default)]
    pub seed: u64,
    /// Epochs from one checkpoint to the next; 0 makes none. The last epoch needs none.
    #[serde(default = "checkpoint_every_epochs")]
    pub checkpoint_every_epochs: u32,
    /// Minutes from one checkpoint to the next, of whatever kind; such a one is also made inside an
    /// epoch, before its next batch. None by the clock unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every_minutes: Option<f64>,
    /// Seconds from one checkpoint to the next at least, so that short epochs do not drown in
    /// them; then it is made at the next epoch that is due. A pause also lasts forty times as long
    /// as the checkpoint before it took to write. 0 looks at no clock.
    #[serde(default = "checkpoint_min_seconds")]
    pub checkpoint_min_seconds: u32,
    /// Checkpoints that stay; the oldest goes when a newer one is safely on disk.
    #[serde(default = "checkpoint_keep")]
    pub checkpoint_keep: u32,
    /// Scales all gradients together down to this L2 norm, `torch.nn.utils.clip_grad_norm_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Cuts every value of a gradient to this size, `torch.nn.utils.clip_grad_value_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// Also tells the share of rows whose class is among the best so many, as `top_5_accuracy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    #[serde(default, skip_serializing_if = "OnOutOfMemory::is_fail")]
    pub on_out_of_memory: OnOutOfMemory,
    pub optimizer: OptimizerSpec,
    #[serde(default, skip_serializing_if = "ScheduleSpec::is_constant")]
    pub schedule: ScheduleSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<WarmupSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStoppingSpec>,
}

/// What is done when a step does not fit into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOutOfMemory {
    #[default]
    Fail,
    /// Goes on with halves of the batch, as small as one row if need be, whose gradients are
    /// added up before the step: batch size, steps and schedule stay what they are, and the result
    /// differs by rounding only.
    HalveBatch,
}

impl OnOutOfMemory {
    fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

/// How gradients change the parameters, as PyTorch's optimizers of these names do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    Sgd {
        learning_rate: f64,
        #[serde(default)]
        momentum: f64,
        #[serde(default)]
        nesterov: bool,
        #[serde(default)]
        weight_decay: f64,
    },
    Adam {
        learning_rate: f64,
        #[serde(default = "beta1")]
        beta1: f64,
        #[serde(default = "beta2")]
        beta2: f64,
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    Adamw {
        learning_rate: f64,
        #[serde(default = "beta1")]
        beta1: f64,
        #[serde(default = "beta2")]
        beta2: f64,
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Shrinks the parameters themselves, apart from the gradient.
        #[serde(default = "decoupled_decay")]
        weight_decay: f64,
    },
    Rmsprop {
        learning_rate: f64,
        /// How slowly the mean of the squared gradient changes.
        #[serde(default = "alpha")]
        alpha: f64,
        #[serde(default = "epsilon")]
        epsilon: f64,
        #[serde(default)]
        momentum: f64,
        /// Divides by the gradient's deviation from its mean instead of its size.
        #[serde(default)]
        centered: bool,
        /// Added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

impl OptimizerSpec {
    /// The step size before schedule and warm-up.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Sgd { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Adamw { learning_rate, .. }
            | Self::Rmsprop { learning_rate, .. } => learning_rate,
        }
    }

    /// Numbers that it keeps for each parameter.
    pub(crate) fn states(&self) -> u64 {
        match *self {
            Self::Sgd { momentum, .. } => u64::from(momentum != 0.0),
            Self::Adam { .. } | Self::Adamw { .. } => 2,
            Self::Rmsprop { momentum, centered, .. } => {
                1 + u64::from(centered) + u64::from(momentum != 0.0)
            }
        }
    }
}

/// The learning rate over time. Epochs and steps are counted from the end of the warm-up, as
/// `SequentialLR` counts them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleSpec {
    #[default]
    Constant,
    /// Multiplied by `factor` after every so many epochs, `StepLR`.
    Step {
        every_epochs: u32,
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Multiplied by `factor` after every epoch, `ExponentialLR`.
    Exponential { factor: f64 },
    /// Falls to `final` along half a cosine, epoch by epoch, `CosineAnnealingLR` with `T_max` the
    /// epochs that there are.
    Cosine {
        #[serde(default, rename = "final")]
        last: f64,
    },
    /// Rises from `max / div_factor` to `max` over the first `pct_start` of the steps, and falls
    /// to `max / div_factor / final_div_factor` over the others, along cosines and batch by batch:
    /// `OneCycleLR` with `cycle_momentum=False`.
    OneCycle {
        /// The optimizer's learning rate unless given; if it is, that is not used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
        #[serde(default = "pct_start")]
        pct_start: f64,
        #[serde(default = "div_factor")]
        div_factor: f64,
        #[serde(default = "final_div_factor")]
        final_div_factor: f64,
    },
    /// Multiplied by `factor` when a metric has not become better for more than `patience`
    /// epochs, never below `min`, `ReduceLROnPlateau`.
    ReduceOnPlateau {
        /// A metric of an epoch, as `loss` or `val_accuracy`. `val_loss` unless given.
        #[serde(default = "validation_loss")]
        metric: String,
        #[serde(default = "tenth")]
        factor: f64,
        #[serde(default = "plateau_patience")]
        patience: u32,
        #[serde(default)]
        min: f64,
        /// Less than this part of the best value is no improvement.
        #[serde(default = "plateau_threshold")]
        threshold: f64,
    },
}

impl ScheduleSpec {
    fn is_constant(&self) -> bool {
        *self == Self::Constant
    }
}

/// A rise of the learning rate, batch by batch, from `start_factor` of what it shall be, before
/// any schedule begins: `LinearLR` with `total_iters` the steps. `{steps = 100}` or
/// `{epochs = 2}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmupSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    #[serde(default = "third")]
    pub start_factor: f64,
}

/// Ends the run when a metric does not become better any more. PyTorch has none; names are those
/// of its Lightning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingSpec {
    /// A metric of an epoch, as `loss` or `val_accuracy`. `val_loss` unless given.
    #[serde(default = "validation_loss")]
    pub metric: String,
    /// So many epochs in a row without improvement end the run.
    #[serde(default = "stopping_patience")]
    pub patience: u32,
    /// A smaller change is no improvement.
    #[serde(default)]
    pub min_delta: f64,
    /// Whether the result is the model of the best epoch instead of that of the last, however the
    /// run ends.
    #[serde(default)]
    pub restore_best: bool,
}

/// What users of `checkpoint_interval_epochs` know.
fn checkpoint_every_epochs() -> u32 {
    5
}

/// Less work than this is not worth the way of a checkpoint to another machine.
fn checkpoint_min_seconds() -> u32 {
    2
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

/// What users of `max_checkpoints` know.
fn checkpoint_keep() -> u32 {
    3
}

fn alpha() -> f64 {
    0.99
}

fn epsilon() -> f64 {
    1e-8
}

fn decoupled_decay() -> f64 {
    0.01
}

fn tenth() -> f64 {
    0.1
}

fn third() -> f64 {
    1.0 / 3.0
}

fn pct_start() -> f64 {
    0.3
}

fn div_factor() -> f64 {
    25.0
}

fn final_div_factor() -> f64 {
    1e4
}

fn plateau_patience() -> u32 {
    10
}

fn plateau_threshold() -> f64 {
    1e-4
}

fn stopping_patience() -> u32 {
    3
}

fn validation_loss() -> String {
    "val_loss".to_owned()
}
