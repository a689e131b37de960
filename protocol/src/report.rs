//! What a worker says of a run: reports while it goes, one receipt at its end. Each report names
//! the hash of the one before it and the receipt the last, so that the history cannot be edited
//! afterwards without the worker's key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, Digest, JobId, Run,
    codec::bounded,
    limits,
    signed::{Document, Kind},
    spec::FileRef,
};

/// A named number: loss, accuracy, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    #[serde(deserialize_with = "bounded::text::<_, { limits::NAME_BYTES }>")]
    pub name: String,
    pub value: f64,
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Counted from 1; 0 before training begins.
    pub epoch: u32,
    pub epochs: u32,
    pub batch: u32,
    pub batches: u32,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::METRICS }>")]
    pub metrics: Vec<Metric>,
    pub learning_rate: f64,
    pub samples_processed: u64,
    pub samples_per_second: f64,
    pub elapsed_ms: u64,
    pub eta_ms: Option<u64>,
    /// What the process uses, as far as its machine tells.
    pub memory_mb: Option<u32>,
    /// Of one core: 250 is two cores and a half.
    pub cpu_percent: Option<u32>,
    /// Of the GPU that it computes on; none without one.
    pub gpu_percent: Option<u8>,
    pub gpu_memory_mb: Option<u32>,
}

impl Progress {
    /// Thousandths of the work that are done.
    #[must_use]
    pub fn permille(&self) -> u16 {
        let total = u64::from(self.epochs) * u64::from(self.batches);
        if total == 0 {
            return 0;
        }
        let epochs = u64::from(self.epoch.saturating_sub(1));
        let done = epochs * u64::from(self.batches) + u64::from(self.batch);
        u16::try_from(done.min(total) * 1_000 / total).expect("at most 1000")
    }

    /// The metric called `name`.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}

/// A state of training from which another attempt can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Epochs that are done in it.
    pub epoch: u32,
    /// Batches of the next epoch that are done in it.
    pub batch: u32,
    pub file: FileRef,
}

impl Checkpoint {
    /// Whether more is done in it than in `other`, or than in nothing.
    #[must_use]
    pub fn is_beyond(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| (self.epoch, self.batch) > (other.epoch, other.batch))
    }
}

/// One link of a run's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub job: JobId,
    pub attempt: Attempt,
    /// Counted from 1 within the attempt.
    pub number: u32,
    /// Digest of the report before; of the award for the first.
    pub previous: Digest,
    pub progress: Progress,
}

impl Document for Report {
    const KIND: Kind = Kind::Report;
    const MAX_BYTES: usize = limits::REPORT_BYTES;
}

/// Whether a failed attempt is worth another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// Nobody can run this definition, or with as little as it asks for: no retry.
    InvalidJob,
    /// The data do not fit or cannot be read: no retry.
    InvalidData,
    /// The loss stopped being a number: no retry, it would again.
    Diverged,
    /// The memory of a machine or a device ran out; a worker with more may do.
    OutOfMemory,
    /// The attempt took longer than the job allows.
    TimedOut,
    /// The worker gave the run up: it was asked to leave, or lost its lease.
    Abandoned,
    /// A fault of this worker; another may do better.
    Internal,
}

impl FailureClass {
    /// Whether another worker may succeed.
    #[must_use]
    pub const fn is_recoverable(self) -> bool {
        match self {
            Self::InvalidJob | Self::InvalidData | Self::Diverged => false,
            Self::OutOfMemory | Self::TimedOut | Self::Abandoned | Self::Internal => true,
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InvalidJob => "invalid job",
            Self::InvalidData => "invalid data",
            Self::Diverged => "diverged",
            Self::OutOfMemory => "out of memory",
            Self::TimedOut => "timed out",
            Self::Abandoned => "given up by the worker",
            Self::Internal => "fault of the worker",
        })
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ending {
    /// As specified; every output is named by content.
    Succeeded(Success),
    /// Not as specified, and why.
    Failed {
        class: FailureClass,
        #[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")]
        message: String,
    },
    /// Stopped because the submitter wanted it; the process is dead.
    Cancelled,
    /// Paused because the submitter wanted it; the process is dead. The newest state to go on from
    /// that it left, if it came so far.
    Paused { checkpoint: Option<Checkpoint> },
}

/// What a run that did as asked leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Success {
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::OUTPUTS }>")]
    pub outputs: Vec<FileRef>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::METRICS }>")]
    pub metrics: Vec<Metric>,
    pub parameters: u64,
    #[serde(deserialize_with = "bounded::text::<_, { limits::NAME_BYTES }>")]
    pub engine: String,
    pub threads: u32,
}

/// Signed completion: the only thing that can settle a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub job: JobId,
    pub attempt: Attempt,
    pub ending: Ending,
    /// Wall time of the process, in milliseconds.
    pub compute_ms: u64,
    /// Reports of the attempt, and the digest of the last (of the award when there were none).
    pub reports: u32,
    pub chain: Digest,
}

impl Receipt {
    /// The attempt that it ends.
    #[must_use]
    pub const fn run(&self) -> Run {
        Run { job: self.job, attempt: self.attempt }
    }
}

impl Document for Receipt {
    const KIND: Kind = Kind::Receipt;
    const MAX_BYTES: usize = limits::RECEIPT_BYTES;
}
