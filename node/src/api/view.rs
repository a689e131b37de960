//! What the local API says, as JSON: the shapes that the command line, a dashboard and scripts
//! share. Ids are text in the form that people paste; times are Unix milliseconds; sizes are bytes
//! unless the name says otherwise.

use std::{collections::BTreeMap, path::PathBuf};

use cyxwiz_protocol::{JobId, Rng};
use serde::{Deserialize, Serialize};

use crate::clock::unix_now;

/// `GET /v1/node`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeView {
    pub peer: String,
    pub version: String,
    pub network: String,
    /// The line with which others join this network through this peer.
    pub invite: String,
    pub started_at: u64,
    pub data_dir: PathBuf,
    pub listening: Vec<String>,
    pub connected: usize,
    pub committee: Option<CommitteeView>,
    pub coordinator: Option<CoordinatorView>,
    pub worker: Option<WorkerView>,
    pub submitter: SubmitterView,
    pub traffic: TrafficView,
    pub dropped: DroppedView,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitteeView {
    pub leader: String,
    pub members: Vec<String>,
    pub epoch: u64,
    pub term: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoordinatorView {
    pub leading: bool,
    pub queued: usize,
    pub running: usize,
    pub paused: usize,
    pub finished: usize,
    pub workers: usize,
    pub seat: SeatView,
}

/// How a coordinator stands in its committee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeatView {
    pub office: OfficeView,
    /// The ballot that it has promised to keep to, and who leads under it.
    pub term: u64,
    pub leader: String,
    pub epoch: u64,
    /// Whether members are being exchanged: the old and the new majority both decide meanwhile.
    pub joint: bool,
    /// Who sits. Only the leader knows how each does.
    pub members: Vec<MemberView>,
    /// Coordinators that would take a seat, as the leader knows them.
    pub candidates: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfficeView {
    Leader,
    Follower,
    /// It hears of no leader and asks to be one.
    Electing,
    /// It has no seat.
    Candidate,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberView {
    pub peer: String,
    /// Milliseconds since the leader heard of it.
    pub silent_ms: Option<u64>,
    /// Jobs whose newest state is not on its disk yet, as far as the leader knows.
    pub behind: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerView {
    pub running: usize,
    pub max_concurrent: u16,
    pub cores: u16,
    pub memory_mb: u32,
    pub devices: Vec<DeviceView>,
    pub mflops: u32,
    pub price: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceView {
    pub kind: String,
    pub name: String,
    pub memory_mb: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitterView {
    /// Jobs that no coordinator has accepted yet.
    pub unaccepted: usize,
    /// Accepted jobs whose result is not here yet.
    pub unfinished: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct TrafficView {
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct DroppedView {
    pub unreadable: u64,
    pub version: u64,
    pub network: u64,
    pub unsigned: u64,
    pub stale: u64,
}

/// `GET /v1/peers`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerView {
    pub peer: String,
    pub addresses: Vec<String>,
    pub agent: Option<String>,
    pub rtt_ms: Option<f64>,
}

/// `GET /v1/workers`: as the leader knows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerLineView {
    pub worker: String,
    pub cores: u16,
    pub memory_mb: u32,
    pub devices: Vec<String>,
    pub max_concurrent: u16,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    /// 0 to 1.
    pub reputation: f64,
}

/// `POST /v1/jobs`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The job's id, a UUID of version 7. Whoever sends a request again under the id of before
    /// hands nothing in twice; without one the node makes it.
    #[serde(default)]
    pub id: Option<String>,
    /// A job file's content, as JSON, see [`crate::job_file::JobFile`].
    pub job: crate::job_file::JobFile,
    /// Where each input file that the job names lies on this machine: absolute paths.
    pub files: BTreeMap<String, PathBuf>,
}

impl SubmitRequest {
    /// One under an id of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(
        job: crate::job_file::JobFile,
        files: BTreeMap<String, PathBuf>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self { id: Some(Self::new_id()?.to_string()), job, files })
    }

    pub(super) fn new_id() -> Result<JobId, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(JobId::new(unix_now(), &mut Rng::new(seed)))
    }
}

/// The answer to `POST /v1/jobs`: the job is on the disks of a majority of the committee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitAnswer {
    pub job: String,
    pub kind: cyxwiz_trainer::JobKind,
    /// Numbers of the model that are learnt, now or before.
    pub parameters: u64,
    /// Of these, the ones that learn now.
    pub trainable: u64,
    /// All that are read.
    pub rows: u64,
    /// Of these, the ones that are trained on.
    pub train_rows: u64,
    pub estimate: EstimateView,
}

/// What a job is expected to take, as its submitter's node worked it out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct EstimateView {
    /// At the peak, data included.
    pub memory_mb: u32,
    /// Millions of floating-point operations, all epochs together.
    pub mflop: u64,
    /// At the speed that the worker has measured of itself, or the fastest that could run it: no
    /// more than a yardstick. None while nobody could.
    pub duration_ms: Option<u64>,
}

/// A line of `GET /v1/jobs`, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobLineView {
    pub job: String,
    pub name: String,
    pub submitter: String,
    pub mine: bool,
    pub state: JobPhase,
    pub worker: Option<String>,
    pub attempts: u32,
    pub accepted_at: u64,
    pub ended_at: Option<u64>,
    /// 0 to 1, while it runs.
    pub progress: Option<f64>,
    /// Since when it is paused, if it is.
    pub paused_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    Queued,
    Running,
    /// It runs, and its worker has been told to pause it.
    Pausing,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl JobPhase {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Pausing | Self::Paused => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// `GET /v1/jobs/{job}`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobView {
    pub job: String,
    pub name: String,
    pub submitter: String,
    pub mine: bool,
    pub state: JobPhase,
    pub cancel_requested: bool,
    /// Since when it is paused, if it is; it goes on from its checkpoint.
    pub paused_at: Option<u64>,
    /// How long it was paused before, in milliseconds: this is not time of the job's.
    pub paused_ms: u64,
    pub priority: u8,
    pub accepted_at: u64,
    /// When the process of the newest attempt was up.
    pub started_at: Option<u64>,
    pub ended_at: Option<u64>,
    /// Why it was given up, when it was.
    pub failure: Option<FailureView>,
    /// Why it has no worker yet.
    pub waiting: Option<WaitingView>,
    pub progress: Option<ProgressView>,
    /// The newest state of training that the committee keeps: a next attempt goes on from it.
    pub checkpoint: Option<CheckpointView>,
    pub attempts: Vec<AttemptView>,
    /// Why each attempt went where it did.
    pub decisions: Vec<DecisionView>,
    pub result: Option<ResultView>,
    /// The definition as it was signed: model, data, training.
    pub workload: serde_json::Value,
    pub requirements: serde_json::Value,
    /// How long and how often the network tries, and how much may come out.
    pub limits: serde_json::Value,
    pub estimate: EstimateView,
}

/// The answer to `POST /v1/jobs/{job}/pause` and `…/resume`: the order is on the disks of a majority
/// of the committee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderView {
    /// Whether it changed what was wanted; a job may have been paused before.
    pub changed: bool,
    pub job: JobView,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureView {
    /// `nobody_could`, `fatal`, `took_too_long`, `attempts_used_up` or `paused_too_long`.
    pub kind: String,
    pub message: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingView {
    /// One sentence.
    pub why: String,
    /// Each worker's reasons.
    pub workers: Vec<RefusedView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedView {
    pub worker: String,
    pub reasons: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProgressView {
    /// 0 to 1.
    pub done: f64,
    pub epoch: u32,
    pub epochs: u32,
    pub batch: u32,
    pub batches: u32,
    pub metrics: BTreeMap<String, f64>,
    pub learning_rate: f64,
    pub samples_processed: u64,
    pub samples_per_second: f64,
    pub elapsed_ms: u64,
    pub eta_ms: Option<u64>,
    pub memory_mb: Option<u32>,
    /// Of one core: 250 is two cores and a half.
    pub cpu_percent: Option<u32>,
    /// Of the GPU that it computes on; none without one.
    pub gpu_percent: Option<u8>,
    pub gpu_memory_mb: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointView {
    /// Epochs that it has behind it.
    pub epoch: u32,
    /// Batches of the epoch after those that it has behind it too.
    pub batch: u32,
    pub size: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptView {
    pub attempt: u32,
    pub worker: String,
    pub price: u64,
    pub awarded_at: u64,
    pub ended_at: Option<u64>,
    /// How it ended, in words.
    pub end: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionView {
    pub attempt: u32,
    pub at: u64,
    pub took_ms: f64,
    pub policy: String,
    pub price_paid: u64,
    /// Best first; the first one won.
    pub bids: Vec<BidView>,
    pub refused: Vec<RefusedView>,
    pub unlisted: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BidView {
    pub worker: String,
    pub price: u64,
    /// 0 to 1000.
    pub score: i32,
    pub terms: Vec<TermView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TermView {
    pub factor: String,
    /// 0 to 1.
    pub value: f64,
    /// Of the score's 1000.
    pub points: i32,
    pub weight: u16,
}

/// What a completed job left, as its worker signed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultView {
    pub worker: String,
    pub attempt: u32,
    pub metrics: BTreeMap<String, f64>,
    pub parameters: u64,
    pub engine: String,
    pub threads: u32,
    pub compute_ms: u64,
    pub reports: u32,
    /// Digest of the last report: the head of the signed chain.
    pub chain: String,
    pub files: Vec<FileView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileView {
    pub name: String,
    pub size: u64,
    pub sha256: String,
}

/// One event of `GET /v1/jobs/{job}/events` (server-sent events; the data of each is this).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// The job as it stands: the first event, then whenever its state changes, and the last one.
    State { job: Box<JobView> },
    /// A signed report of the attempt that runs.
    Report { attempt: u32, number: u32, worker: String, progress: ProgressView },
    /// The coordinator does not answer at the moment; it is asked again.
    Trouble { message: String },
}

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorView {
    pub kind: ErrorKind,
    /// What went wrong and where, one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Which exit code a command line gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense (exit 2).
    Usage,
    /// The token is missing or wrong (exit 1).
    Forbidden,
    /// No coordinator could be reached (exit 3).
    Unreachable,
    /// The coordinator is there and has not confirmed it yet; asking for the same again does no
    /// harm (exit 3).
    Unconfirmed,
    /// No such job or file (exit 102).
    NotFound,
    /// The job did not complete (exit 100).
    NotCompleted,
    /// The job has not ended yet (exit 101).
    NotFinished,
    /// No worker could ever run it (exit 104).
    NobodyCould,
    /// The coordinator refused (exit 1).
    Refused,
    /// A limit of this node (exit 1).
    Busy,
    /// A fault of this node or machine (exit 1).
    Internal,
}
