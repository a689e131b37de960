//! What a submitter asks for: the signed job spec and the order to cancel it.
//!
//! The workload itself (model, data description, training) is text that the trainer reads; this
//! crate carries it and knows only what scheduling needs.

use std::{fmt, str::FromStr, time::Duration};

use cyxwiz_scoring::Requirements;
use serde::{Deserialize, Serialize};

use crate::{
    ArtifactId, CellId, JobId,
    codec::bounded,
    limits,
    signed::{Document, Kind, Signed, Verified},
};

/// A plain file or job name: letters, digits, `.`, `_`, `-`; never starts with a dot, never a
/// path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name(String);

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a plain name: use letters, digits, '.', '_' and '-', at most {max}, not starting with '.'", max = limits::NAME_BYTES)]
pub struct NameError(String);

impl Name {
    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty()
            || text.len() > limits::NAME_BYTES
            || text.starts_with('.')
            || !text.bytes().all(plain)
        {
            return Err(NameError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is to be done with the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Fit a new model to data.
    Train,
    /// Go on training one that was trained before.
    FineTune,
    /// Measure a trained model.
    Evaluate,
    /// Predict with a trained model.
    Infer,
    /// Take what a layer in the middle of a trained model gives.
    Extract,
}

impl JobKind {
    /// All that a worker of this version can carry out.
    pub const ALL: [Self; 5] =
        [Self::Train, Self::FineTune, Self::Evaluate, Self::Infer, Self::Extract];
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train => f.pad("train"),
            Self::FineTune => f.pad("fine_tune"),
            Self::Evaluate => f.pad("evaluate"),
            Self::Infer => f.pad("infer"),
            Self::Extract => f.pad("extract"),
        }
    }
}

/// A file that goes in or comes out: its name at the trainer and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    pub name: Name,
    pub artifact: ArtifactId,
    /// In bytes.
    pub size: u64,
}

/// 1 (least) to 10 (most urgent); 5 unless told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Priority(pub u8);

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// How long and how often the network tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLimits {
    /// How long the job may wait for a worker each time it is queued, in milliseconds.
    pub queue_ms: u64,
    /// How long one attempt may run, in milliseconds.
    pub attempt_ms: u64,
    /// How long waiting and running may take together from the acceptance on, in milliseconds.
    pub total_ms: u64,
    /// Attempts before the job fails, 1 to [`limits::ATTEMPTS`].
    pub attempts: u8,
    /// The size of all output files together, in MB.
    pub output_mb: u32,
}

impl JobLimits {
    /// [`Self::queue_ms`] as a duration.
    #[must_use]
    pub const fn queue(&self) -> Duration {
        Duration::from_millis(self.queue_ms)
    }

    /// [`Self::attempt_ms`] as a duration.
    #[must_use]
    pub const fn attempt(&self) -> Duration {
        Duration::from_millis(self.attempt_ms)
    }
}

impl JobLimits {
    /// [`Self::total_ms`] as a duration.
    #[must_use]
    pub const fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            queue_ms: 24 * 3_600_000,
            attempt_ms: 24 * 3_600_000,
            total_ms: 7 * 24 * 3_600_000,
            // The retry count that users of the central server know, plus the first try.
            attempts: 4,
            output_mb: 1_024,
        }
    }
}

/// What a job is expected to take, as its submitter's node worked it out from definition and data.
/// For people; nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// At the peak, data included, in MB.
    pub memory_mb: u32,
    /// Millions of floating-point operations, all epochs together.
    pub mflop: u64,
}

/// A job as its submitter signed it. Resubmitting the same one is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    pub id: JobId,
    pub cell: CellId,
    pub name: Name,
    pub kind: JobKind,
    /// The trainer's definition, JSON.
    #[serde(deserialize_with = "bounded::text::<_, { limits::WORKLOAD_BYTES }>")]
    pub workload: String,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::INPUTS }>")]
    pub inputs: Vec<FileRef>,
    pub requirements: Requirements,
    pub priority: Priority,
    pub limits: JobLimits,
    pub estimate: Estimate,
}

impl Document for JobSpec {
    const KIND: Kind = Kind::JobSpec;
    const MAX_BYTES: usize = limits::SPEC_BYTES;
}

/// What is wrong with a spec that reads well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SpecError {
    #[error("priority {0} is not between 1 and 10")]
    Priority(u8),
    #[error("{0} attempts are not between 1 and {max}", max = limits::ATTEMPTS)]
    Attempts(u8),
    #[error("a time limit of {0} ms is not between 1 s and 30 days")]
    TimeLimit(u64),
    #[error("two inputs are called '{0}'")]
    TwiceNamed(Name),
    #[error("the workload has {0} bytes, {max} may be", max = limits::WORKLOAD_BYTES)]
    Workload(u64),
    #[error("{0} input files, {max} may be", max = limits::INPUTS)]
    Inputs(u64),
    #[error("cell {0} is not this cell")]
    Cell(u32),
}

impl JobSpec {
    /// Checks what types cannot express. Both sides do: the submitter to tell its user early,
    /// the leader because it believes nobody.
    pub fn check(&self) -> Result<(), SpecError> {
        if !(1..=10).contains(&self.priority.0) {
            return Err(SpecError::Priority(self.priority.0));
        }
        if !(1..=limits::ATTEMPTS).contains(&self.limits.attempts) {
            return Err(SpecError::Attempts(self.limits.attempts));
        }
        for time in [self.limits.queue_ms, self.limits.attempt_ms, self.limits.total_ms] {
            if !(1_000..=30 * 24 * 3_600_000).contains(&time) {
                return Err(SpecError::TimeLimit(time));
            }
        }
        if self.workload.len() > limits::WORKLOAD_BYTES {
            return Err(SpecError::Workload(self.workload.len() as u64));
        }
        if self.inputs.len() > limits::INPUTS {
            return Err(SpecError::Inputs(self.inputs.len() as u64));
        }
        let mut names: Vec<_> = self.inputs.iter().map(|input| &input.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SpecError::TwiceNamed(twice[0].clone()));
        }
        if self.cell != CellId::default() {
            return Err(SpecError::Cell(self.cell.0));
        }
        Ok(())
    }
}

/// A spec as a coordinator keeps it: as it was signed, and what is decided by. The workload is for
/// the worker that runs it, so it is kept signed and not a second time as text.
#[derive(Debug)]
pub(crate) struct KeptSpec {
    signed: Signed<JobSpec>,
    pub(crate) name: Name,
    pub(crate) kind: JobKind,
    pub(crate) inputs: Vec<FileRef>,
    pub(crate) requirements: Requirements,
    pub(crate) priority: Priority,
    pub(crate) limits: JobLimits,
}

impl KeptSpec {
    /// The form that travels on.
    pub(crate) const fn signed(&self) -> &Signed<JobSpec> {
        &self.signed
    }
}

impl From<Verified<JobSpec>> for KeptSpec {
    fn from(spec: Verified<JobSpec>) -> Self {
        let (name, inputs) = (spec.name.clone(), spec.inputs.clone());
        let JobSpec { kind, priority, limits, ref requirements, .. } = *spec;
        let requirements = requirements.clone();
        Self { name, kind, inputs, requirements, priority, limits, signed: spec.into_signed() }
    }
}

/// What a submitter may want of a job that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wish {
    /// That nothing of it runs, until it is resumed.
    Pause,
    /// That it goes on from where it was paused.
    Resume,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        })
    }
}

/// The submitter wants a job paused, or to go on. Of several such orders the one with the highest
/// sequence number in its header counts, in whatever order they come. Durable once noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseOrder {
    pub job: JobId,
    pub wish: Wish,
}

impl Document for PauseOrder {
    const KIND: Kind = Kind::PauseOrder;
    const MAX_BYTES: usize = 256;
}

/// The submitter wants a job stopped. Durable once noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    pub job: JobId,
}

impl Document for CancelOrder {
    const KIND: Kind = Kind::CancelOrder;
    const MAX_BYTES: usize = 256;
}
