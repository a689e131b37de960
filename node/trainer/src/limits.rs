//! The largest definition and data set this crate accepts. A job is a stranger's input: whatever
//! is above a limit is refused with its name before memory is taken for it.

/// Threads that estimates of memory are for, which is what most machines give a job; each takes
/// room of its own.
pub const ESTIMATED_THREADS: u16 = 4;
/// Entries of `model.layers`.
pub const MAX_LAYERS: usize = 256;
/// Width of any layer, and number of input columns.
pub const MAX_UNITS: usize = 65_536;
/// Ids of an embedding: as far as f32 counts without gaps.
pub const MAX_VOCABULARY: usize = 1 << 24;
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
/// Bytes of a `job.json` or `model.json`; a model lists up to three numbers for each feature: how
/// it is scaled, and what stands for a missing value.
pub const MAX_DEFINITION_BYTES: u64 = 32 << 20;
/// Bytes that the features of a data set may take in memory, as f32, and so many its targets.
pub const MAX_DATA_BYTES: u64 = 1 << 31;
/// Bytes that the features of a data set may take on disk, as f32.
pub const MAX_STREAMED_BYTES: u64 = 1 << 42;
/// Rows of a data set: each has a target of four bytes at least.
pub const MAX_ROWS: usize = (MAX_DATA_BYTES / 4) as usize;
/// Features of one row, as after one-hot encoding: an image of 3 times 295 times 295.
pub const MAX_FEATURES: usize = 1 << 18;
/// Columns of a table, used or not.
pub const MAX_COLUMNS: usize = 2 * MAX_UNITS;
/// Distinct texts of a column that is one-hot encoded.
pub const MAX_CATEGORIES: usize = 1 << 12;
/// Bytes of one row of a CSV file.
pub const MAX_ROW_BYTES: u64 = 16 << 20;
/// Bytes of a CSV file after decompression; a packed file of some megabytes can claim more.
pub const MAX_UNPACKED_BYTES: u64 = 1 << 36;
/// Files in an archive.
pub const MAX_ARCHIVE_ENTRIES: usize = 1 << 18;
/// Bytes of an archive's table of contents.
pub const MAX_ARCHIVE_CONTENTS_BYTES: u64 = 64 << 20;
/// Bytes of one image file.
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;
/// Pixels of one side of an image before it is brought to size.
pub const MAX_IMAGE_SIDE: u32 = 16_384;
/// Bytes that decoding one image may take.
pub const MAX_IMAGE_MEMORY: u64 = 256 << 20;
/// Bytes of a text that is learnt.
pub const MAX_TEXT_BYTES: u64 = 1 << 28;
/// Characters of one window of text.
pub const MAX_CONTEXT: usize = 1 << 16;
/// Bytes of a Parquet file's footer.
pub const MAX_PARQUET_FOOTER_BYTES: u32 = 16 << 20;
/// Bytes of one CSV field or column name.
pub const MAX_FIELD_BYTES: usize = 1024;
/// Bytes of a `model.safetensors`: the parameters and a header.
pub const MAX_MODEL_BYTES: u64 = MAX_PARAMETERS * 4 + (64 << 20);
/// Bytes of a file of predictions or features; a job may allow fewer.
pub const MAX_RESULT_BYTES: u64 = 1 << 36;
/// Classes up to which each has its own column of probabilities.
pub const MAX_PROBABILITIES: usize = 100;
/// Classes up to which a confusion matrix is written; above, it would dwarf the model.
pub const MAX_CONFUSION_CLASSES: usize = 100;
/// Classes up to which each has its own line of scores in `metrics.json`.
pub const MAX_CLASS_SCORES: usize = 1000;
/// Epochs listed in `metrics.json`; of longer runs every n-th is kept, and the last.
pub const MAX_HISTORY: u32 = 10_000;
/// `checkpoint_min_seconds` and `checkpoint_every_minutes`: a week.
pub const MAX_CHECKPOINT_PAUSE_S: u32 = 7 * 24 * 3600;
/// Bytes of a checkpoint besides its tensors: their names, the metrics of [`MAX_HISTORY`] epochs,
/// and the sums of one that is begun.
pub const MAX_CHECKPOINT_HEADER_BYTES: u64 = 16 << 20;
/// `checkpoint_keep`.
pub const MAX_KEPT_CHECKPOINTS: usize = 5;
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
const _: () = assert!(MAX_FEATURES as u64 <= MAX_ROW_VALUES);
// A number takes 32 bytes at most, indented and on a line of its own.
const _: () = assert!(3 * 32 * MAX_FEATURES as u64 <= MAX_DEFINITION_BYTES);
const _: () = assert!(MAX_CATEGORIES < 1 << f32::MANTISSA_DIGITS);
const _: () = assert!(MAX_PARAMETERS * 4 <= MAX_DATA_BYTES);
const _: () = assert!(MAX_ROWS < u32::MAX as usize);
