//! What goes into a peer and what comes out. One input is one transaction: its [`Effects`] are
//! carried out in the order of their fields, and nothing of `sends` or `tasks` may happen before
//! `writes` are on disk.

use std::{fmt, sync::Arc, time::Duration};

use cyxwiz_scoring::DeviceKind;
use serde::{Deserialize, Serialize};

use crate::{
    JobId, PeerId, Run,
    charter::Founding,
    message::pausing::OrderRefusal,
    message::query::{Answer, Question},
    message::submission::Refusal,
    report::{Checkpoint, Ending, Progress, Report},
    signed::Verified,
    spec::{FileRef, JobSpec, Wish},
};

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// A direct frame, over a connection that proved who sent it.
    Frame { from: PeerId, bytes: Vec<u8> },
    /// A gossip message; `from` passed it on and need not have written it.
    Gossip { from: PeerId, bytes: Vec<u8> },
    /// A connection to a peer of this network stands.
    Connected(PeerId),
    /// The last connection to a peer is gone.
    Disconnected(PeerId),
    /// The user of this peer wants something.
    Command { id: CommandId, command: Command },
    /// The outside world did what a [`Task`] asked.
    Task(TaskEvent),
    /// Every write batch up to this number is on disk.
    Flushed { batch: u64 },
    /// Whether the disk can take new jobs.
    DiskFull(bool),
    /// A deadline may have passed.
    Timeout,
}

/// Tells which of the outside's calls an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// What the user of a peer may want.
#[derive(Debug)]
pub enum Command {
    /// Sign the spec, keep it, and hand it in until it is accepted or refused.
    Submit(Box<JobSpec>),
    /// Stop a job of this peer's.
    Cancel(JobId),
    /// Pause a job of this peer's, or let it go on.
    Order(JobId, Wish),
    /// Ask the leader.
    Ask(Question),
    /// Tell every report of this job from now on.
    Watch(JobId),
    /// No longer.
    Unwatch(JobId),
    /// Fetch the outputs of a job from whoever holds them.
    Collect { job: JobId, files: Vec<FileRef>, from: Vec<PeerId> },
    /// The charter lets this replica begin the committee.
    Found(Box<Founding>),
    /// Take no more jobs and end what runs.
    Leave,
}

/// A bounded list of outcomes, in the order of their carrying out.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// The number of this write batch: [`Input::Flushed`] names it. None without writes.
    pub batch: Option<u64>,
    /// One atomic batch.
    pub writes: Vec<Write>,
    pub sends: Vec<Send>,
    pub tasks: Vec<Task>,
    pub events: Vec<Event>,
    /// What to tell gossip about the message that was the input.
    pub verdict: Option<Acceptance>,
}

/// One record of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub key: Vec<u8>,
    /// None removes the record.
    pub value: Option<Vec<u8>>,
}

/// Something for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// To one peer, which may be this one.
    Direct {
        to: PeerId,
        frame: Vec<u8>,
    },
    /// To everyone on a topic, this peer included when it is subscribed.
    Publish {
        topic: Topic,
        frame: Vec<u8>,
    },
    Subscribe(Topic),
    Unsubscribe(Topic),
    /// Close the connection and refuse new ones for a while.
    Ban {
        peer: PeerId,
        for_: Duration,
        why: String,
    },
}

/// What is talked about on a gossip topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who coordinates.
    Committee,
    /// Jobs for one class of device.
    Jobs(DeviceKind),
    /// Reports of the jobs of one shard.
    Reports(u8),
}

/// Reports are spread over this many topics, so that a watcher carries few that it ignores.
const REPORT_SHARDS: u8 = 16;

impl Topic {
    /// Where the reports of `job` go.
    #[must_use]
    pub const fn reports_of(job: JobId) -> Self {
        // The last byte of a UUID version 7 is random.
        Self::Reports(job.0[15] % REPORT_SHARDS)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committee => f.write_str("committee"),
            Self::Jobs(device) => write!(f, "jobs/{device}"),
            Self::Reports(shard) => write!(f, "reports/{shard}"),
        }
    }
}

/// Whether gossip passes a message on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    Accept,
    /// Wrong, and whoever sent it should have known.
    Reject,
    /// Old or not for us: nobody's fault.
    Ignore,
}

/// Work for the outside world; it answers with a [`TaskEvent`].
#[derive(Debug)]
pub enum Task {
    /// Fetch the inputs of a job from `from` and check its definition against them.
    Inspect { spec: Arc<Verified<JobSpec>>, from: PeerId },
    /// Fetch the inputs from `sources`, then train in a process of its own.
    /// `resume` is the state that an earlier attempt left, which is among what is to be fetched.
    Run { run: Run, spec: Arc<Verified<JobSpec>>, resume: Option<Checkpoint>, sources: Vec<PeerId> },
    /// End the process of a run; it answers with `Ended` when the process is dead.
    Stop { run: Run, why: StopReason },
    /// The receipt was counted: what the run left on disk may go.
    Discard { run: Run },
    /// Hold these files, fetched from any of `from`.
    Collect { job: JobId, why: Collecting, files: Vec<FileRef>, from: Vec<PeerId> },
}

/// What files are fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Collecting {
    /// As submitter: the result comes home.
    Home,
    /// As leader: a result that shall count, or a checkpoint that shall be kept.
    Keeping,
    /// As member of the committee: what a job needs to outlive its leader.
    Replica,
}

/// Why a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The submitter wants it.
    Cancelled,
    /// Another attempt took its place.
    Superseded,
    /// The leader was out of reach for too long.
    LeaseLost,
    /// The worker leaves.
    Leaving,
    /// The submitter wants it paused: it may finish the batch that it is at, and writes down how
    /// far it is. Another reason may follow, and takes its place.
    Paused,
}

/// What became of a [`Task`].
#[derive(Debug)]
pub enum TaskEvent {
    /// The answer to [`Task::Inspect`].
    Inspected { job: JobId, result: Result<(), Refusal> },
    /// The process is up.
    Started { run: Run },
    /// Training goes on.
    Progress { run: Run, progress: Progress },
    /// The process wrote down a state to go on from; it is an artifact of this peer.
    Checkpointed { run: Run, checkpoint: Checkpoint },
    /// The process is dead, its outputs are artifacts of this peer.
    Ended { run: Run, ending: Ending, compute_ms: u64 },
    /// The answer to [`Task::Collect`]: a text that names who failed how.
    Collected { job: JobId, why: Collecting, result: Result<(), String> },
}

/// Something that people or programs on this machine may want to know.
#[derive(Debug)]
pub enum Event {
    /// The answer to a command; each gets exactly one.
    Reply { id: CommandId, reply: Reply },
    /// A report of a watched job.
    Report { report: Box<Verified<Report>> },
    /// A job of this peer's ended.
    Ended { job: JobId },
    /// A job of this peer's was accepted, and ended longer ago than the committee remembers.
    Forgotten { job: JobId },
    /// A peer's clock, or this one's, is too far off for its gossip to be believed.
    ClockDiffers { author: PeerId, by: Duration },
    /// The committee is known, or is another.
    Committee { leader: PeerId },
    /// As leader: bids are taken for these jobs.
    Announced { jobs: Vec<JobId> },
    /// As leader: the decision on one of them.
    Awarded { run: Run, worker: PeerId, score: i32, bids: u32 },
    /// As worker: the run begins.
    RunTaken { run: Run },
}

/// The answer to a [`Command`].
#[derive(Debug)]
pub enum Reply {
    /// The job is on the disks of a majority.
    Accepted {
        job: JobId,
    },
    Refused {
        job: JobId,
        refusal: Refusal,
    },
    /// The wish to cancel is noted.
    CancelNoted {
        job: JobId,
    },
    /// The order to pause or resume is noted, and whether it changed what was wanted; or why it
    /// means nothing.
    Order {
        job: JobId,
        result: Result<bool, OrderRefusal>,
    },
    Answer(Box<Answer>),
    /// The outputs are here.
    Collected,
    CollectFailed(String),
    /// Nothing more to say.
    Done,
    /// Nobody answered in time.
    Unreachable(Unreachable),
    /// A limit of this peer.
    Busy(&'static str),
}

/// Why a question found no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error("no coordinator has been found on this network yet")]
    NoCommittee,
    #[error("the coordinator …{} does not answer", .0.short())]
    Silent(PeerId),
}
