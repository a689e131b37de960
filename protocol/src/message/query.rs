//! Asking a coordinator what it knows. Answers are for people and for reconciling; nothing is
//! decided by them.

use std::fmt;

use cyxwiz_scoring::{Capability, Ineligible, Permille, Score};
use serde::{Deserialize, Serialize};

use crate::{
    Attempt, JobId, PeerId, RequestId, UnixMillis,
    codec::bounded,
    job::JobRecord,
    limits,
    report::Progress,
    signed::Signed,
    spec::{JobSpec, Name},
};

/// Steps of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    Ask { request: RequestId, question: Question },
    Answer { request: RequestId, answer: Box<Answer> },
    Redirect { request: RequestId, leader: Option<PeerId> },
}

/// What one may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Everything about one job.
    Job(JobId),
    /// The newest jobs, `after` one of an earlier page.
    Jobs { submitter: Option<PeerId>, after: Option<JobId> },
    /// The workers that the leader knows.
    Workers,
}

/// What one is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Job(Option<Box<JobDetail>>),
    Jobs(#[serde(deserialize_with = "bounded::list::<_, _, { limits::PAGE }>")] Vec<JobLine>),
    Workers(#[serde(deserialize_with = "bounded::list::<_, _, { limits::PAGE }>")] Vec<WorkerLine>),
}

/// One job, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDetail {
    pub record: JobRecord,
    pub spec: Signed<JobSpec>,
    /// Of the attempt that runs, as the worker last told.
    pub progress: Option<Progress>,
    /// When the leader learnt that the process of the newest attempt is up.
    pub started_at: Option<UnixMillis>,
    /// Why each attempt went where it did, as far as this coordinator decided it.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ATTEMPTS as usize }>")]
    pub decisions: Vec<DecisionRecord>,
    /// Why it still waits, if it does.
    pub waiting: Option<Waiting>,
    /// Of the worker that has it, or of the fastest that could: millions of floating-point
    /// operations a second.
    pub speed: Option<u32>,
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// No worker is here.
    NoWorkers,
    /// These workers are here; this is what keeps each from it.
    NobodyFree {
        workers: u32,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::REFUSALS }>")]
        reasons: Vec<RefusedWorker>,
    },
    /// Bids are being taken.
    Auction,
}

/// A decision, kept with the job it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    pub attempt: Attempt,
    pub at: UnixMillis,
    /// How long the auction took, in microseconds.
    pub took_us: u64,
    /// How many workers were invited to bid; none when everyone who heard of it could.
    pub invited: Option<u32>,
    #[serde(deserialize_with = "bounded::text::<_, { limits::NAME_BYTES }>")]
    pub policy: String,
    /// Best first.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RANKED }>")]
    pub ranking: Vec<RankedBid>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::REFUSALS }>")]
    pub refused: Vec<RefusedWorker>,
    /// Bids that are not listed above for lack of room.
    pub unlisted: u32,
    pub price_paid: u64,
}

/// One bid and what it was worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedBid {
    pub worker: PeerId,
    pub price: u64,
    pub score: Score,
}

/// A worker that could not have it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedWorker {
    pub worker: PeerId,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::REFUSALS }>")]
    pub reasons: Vec<Ineligible>,
}

impl fmt::Display for RefusedWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker …{}: ", self.worker.short())?;
        for (index, reason) in self.reasons.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{reason}")?;
        }
        Ok(())
    }
}

/// One job, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    pub job: JobId,
    pub name: Name,
    pub submitter: PeerId,
    pub state: Phase,
    pub worker: Option<PeerId>,
    pub attempts: u32,
    pub accepted_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    pub permille: Option<u16>,
    /// Since when it is paused, if it is.
    pub paused_at: Option<UnixMillis>,
}

/// Where a job stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
    /// It runs, and its worker has been told to pause it.
    Pausing,
    Paused,
}

/// One worker as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLine {
    pub worker: PeerId,
    pub capability: Capability,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    pub reputation: Permille,
}
