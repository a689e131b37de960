//! The largest definition and data set this crate accepts. A job is a stranger's input: whatever
//! is above a limit is refused with its name before memory is taken for it.

/// Entries of `model.layers`.
pub const MAX_LAYERS: usize = 256;
/// Width of any layer, and number of input columns.
pub const MAX_UNITS: usize = 65_536;
/// Trainable numbers of a model: 1 GiB of f32, four times that with Adam's state and gradients.
pub const MAX_PARAMETERS: u64 = 1 << 28;
/// Passes over the training rows.
pub const MAX_EPOCHS: u32 = 1_000_000;
/// Rows of one optimizer step.
pub const MAX_BATCH: u32 = 65_536;
/// Values of one activation matrix (batch rows times widest layer): 1 GiB of f32.
pub const MAX_ACTIVATION_VALUES: u64 = 1 << 28;
/// Classes of a classification, and target columns of a regression.
pub const MAX_OUTPUTS: usize = MAX_UNITS;
/// Bytes of a `job.json` or `model.json`; a model's scaling lists two numbers a column.
pub const MAX_DEFINITION_BYTES: u64 = 16 << 20;
/// Bytes that the rows of a data set may take in memory, as f32.
pub const MAX_DATA_BYTES: u64 = 1 << 31;
/// Bytes of one CSV field or column name.
pub const MAX_FIELD_BYTES: usize = 1024;
/// Bytes of a `model.safetensors`: the parameters and a header.
pub const MAX_MODEL_BYTES: u64 = MAX_PARAMETERS * 4 + (64 << 20);
/// Classes up to which a confusion matrix is written; above, it would dwarf the model.
pub const MAX_CONFUSION_CLASSES: usize = 100;
/// Classes up to which each has its own line of scores in `metrics.json`.
pub const MAX_CLASS_SCORES: usize = 1000;
/// Epochs listed in `metrics.json`; of longer runs every n-th is kept, and the last.
pub const MAX_HISTORY: u32 = 10_000;
/// `checkpoint_min_seconds`: a week.
pub const MAX_CHECKPOINT_PAUSE_S: u32 = 7 * 24 * 3600;
/// Bytes of a checkpoint besides its tensors: their names, and the metrics of [`MAX_HISTORY`]
/// epochs.
pub const MAX_CHECKPOINT_HEADER_BYTES: u64 = 16 << 20;
/// Checkpoint files that a run keeps: one may be read while the next is written.
pub const KEPT_CHECKPOINTS: usize = 2;
/// Threads that the CPU engine accepts.
pub const MAX_THREADS: usize = 1024;
/// Rows that pass through a model at once outside training, at most.
pub const SCORED_AT_ONCE: usize = 256;
/// Values of the largest tensor that these rows become, at most: 64 MiB of f32. A single row may
/// be larger.
pub const SCORED_VALUES: u64 = (SCORED_AT_ONCE * MAX_UNITS) as u64;
/// Values of one row at any place of a model: a picture of 512 x 512 points in 64 channels.
pub const MAX_ROW_VALUES: u64 = 1 << 24;
/// Layers within layers.
pub const MAX_LAYER_DEPTH: usize = 8;
/// Kernel, stride, padding and dilation, along height or width.
pub const MAX_WINDOW: usize = 1024;
/// Axes of a row.
pub const MAX_AXES: usize = 6;
/// Bytes of a failure's message; with JSON escapes it still fits one frame.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

const _: () = assert!(MAX_MESSAGE_BYTES * 6 < crate::frames::MAX_LINE_BYTES);
const _: () = assert!(MAX_PARAMETERS * 4 <= MAX_DATA_BYTES);
