//! What crosses the pipe between a node and the process that trains for it: one JSON object a
//! line. [`Frame`]s come out on standard output, [`Control`]s go in on standard input. The node
//! treats every frame as hostile input; this module only gives the shapes and the line limit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of this vocabulary; the node refuses a trainer process that says another.
pub const FRAMES_VERSION: u32 = 2;

/// The longest line either side accepts, in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What the training process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Frame {
    /// The process is up; nothing has been read yet.
    Hello { version: u32, engine: String, threads: u32 },
    /// Data are being read; at most one a second, none where they are small.
    Reading(ReadSoFar),
    /// Definition and data were checked, training begins.
    Started(Started),
    /// A batch or an epoch has passed; at most a few a second, always one at an epoch's end.
    Progress(Progress),
    /// A state to go on from is on disk.
    Checkpoint(CheckpointFile),
    /// Something did not go as it should, and the run goes on without it.
    Warning { message: String },
    /// The last frame of a run that ended as specified; all output files are on disk.
    Finished(Summary),
    /// The last frame of a run that obeyed [`Control::Pause`]: it can go on from its newest
    /// checkpoint, which was told of before, or which it was given.
    Paused(Paused),
    /// The last frame of a run that ended otherwise.
    Failed(Failure),
}

/// How far the data are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSoFar {
    /// Single values, of all passes over the data together.
    pub values: u64,
    pub elapsed_ms: u64,
}

/// The size of the work, known before the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub parameters: u64,
    pub train_rows: u64,
    pub validation_rows: u64,
    pub test_rows: u64,
    pub epochs: u32,
    pub batches_per_epoch: u32,
    /// Epochs that a checkpoint brought along; the first to be trained is the next.
    #[serde(default)]
    pub resumed_epochs: u32,
    /// Batches of that epoch that it brought along too.
    #[serde(default)]
    pub resumed_batches: u32,
    /// Whether features are read from disk as they are needed, as they do not fit into memory or
    /// the job wants it so.
    #[serde(default)]
    pub streamed: bool,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Counted from 1.
    pub epoch: u32,
    pub epochs: u32,
    /// Batches done in this epoch.
    pub batch: u32,
    pub batches: u32,
    /// `loss`, `accuracy`, `val_loss`, `val_accuracy`, … as far as they are known.
    pub metrics: BTreeMap<String, f64>,
    pub learning_rate: f64,
    pub samples_processed: u64,
    pub samples_per_second: f64,
    pub elapsed_ms: u64,
    pub eta_ms: Option<u64>,
    /// Resident memory of the process, where the system tells it.
    pub memory_bytes: Option<u64>,
}

/// A checkpoint, complete and synced. The newest stay, as many as the job wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Epochs that are done in it.
    pub epoch: u32,
    /// Batches of the epoch after those that are done in it; fewer than the epoch has.
    #[serde(default)]
    pub batch: u32,
    /// A file below `checkpoints/`.
    pub name: String,
    pub size: u64,
}

/// How a run ended that did what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub metrics: BTreeMap<String, f64>,
    /// Files below `output/`, complete and synced.
    pub outputs: Vec<OutputFile>,
    pub compute_ms: u64,
    pub engine: String,
    pub threads: u32,
    pub parameters: u64,
}

/// One file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub name: String,
    pub size: u64,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
}

/// How far the newest checkpoint of a paused run is; both are 0 where there is none, and where it
/// was paused before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Epochs that are done.
    pub epoch: u32,
    /// Batches of the epoch after those that are done.
    pub batch: u32,
}

/// Why a run did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    pub message: String,
}

/// Whether another try can help, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The definition cannot be run by anyone.
    InvalidJob,
    /// The data do not fit the definition or cannot be read.
    InvalidData,
    /// The loss is not a finite number any more.
    Diverged,
    /// Host or device memory ran out.
    OutOfMemory,
    /// The checkpoint to go on from is none of this work, or damaged; the same run without it may
    /// do.
    BadCheckpoint,
    /// A [`Control::Stop`] was obeyed.
    Stopped,
    /// Disk, engine or program fault on this machine; another machine may do better.
    Internal,
}

/// What the node says to the training process, heard while data are read and between two batches.
/// End of input means the node is gone: stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// End at once; nothing more is written.
    Stop,
    /// Leave a checkpoint and go on.
    Checkpoint,
    /// Leave a checkpoint and end.
    Pause,
}
