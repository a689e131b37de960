//! Finding a worker: invitation, bids and award directly; the call to everyone on gossip.

use cyxwiz_scoring::{Capability, Load, Requirements};
use serde::{Deserialize, Serialize};

use crate::{
    Attempt, Ballot, JobId, Run,
    codec::bounded,
    limits,
    report::Checkpoint,
    signed::{Document, Kind, Signed},
    spec::{JobKind, JobSpec},
};

/// Steps of the conversation that go directly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Auction {
    Bids(Signed<Bids>),
    /// The job is the worker's: the award, and the spec that it is for.
    Award {
        award: Signed<Award>,
        spec: Signed<JobSpec>,
    },
    /// The worker has the award on disk.
    Taken(Run),
    /// The worker cannot, after all.
    Declined(Run),
    /// The leader asks this worker in person.
    Invitation(Signed<Announcement>),
}

/// Jobs that wait for a worker. One announcement carries many, so that a burst costs little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub ballot: Ballot,
    pub round: u64,
    /// How long bids are taken, in milliseconds.
    pub window_ms: u32,
    pub audience: Audience,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CALLS }>")]
    pub calls: Vec<Call>,
}

impl Document for Announcement {
    const KIND: Kind = Kind::Announcement;
    const MAX_BYTES: usize = limits::DOCUMENT_BYTES;
}

/// Who answers an announcement. Signed with it, so that nobody can make everyone answer what was
/// meant for a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// The workers that the leader sent it to itself, whatever their lots.
    Invited,
    /// Everyone who hears of it and has a lot below the threshold for one of its calls.
    ByLot { threshold: u64 },
}

/// One job that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub job: JobId,
    pub attempt: Attempt,
    pub kind: JobKind,
    pub requirements: Requirements,
    /// Size of all input files, in bytes.
    pub input_bytes: u64,
}

/// A worker's answer to one round: also sent when it bids for nothing, so that the leader need
/// not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bids {
    pub ballot: Ballot,
    pub round: u64,
    pub capability: Capability,
    /// Beside what this cell awarded, as in an offer.
    pub load: Load,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CALLS }>")]
    pub bids: Vec<Bid>,
}

impl Document for Bids {
    const KIND: Kind = Kind::Bids;
    const MAX_BYTES: usize = limits::DOCUMENT_BYTES;
}

/// A worker wants a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    pub job: JobId,
    pub attempt: Attempt,
    pub price: u64,
    /// When it could begin, in milliseconds from now.
    pub start_ms: u32,
    /// Thousandths of the input bytes that it has already.
    pub warm_permille: u16,
}

/// The committee chose this worker; it may run the attempt while its lease holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Award {
    pub job: JobId,
    pub attempt: Attempt,
    pub ballot: Ballot,
    pub worker: crate::PeerId,
    pub price: u64,
    /// The lease, in milliseconds from receipt.
    pub lease_ms: u32,
    /// Where an earlier attempt left off.
    pub resume: Option<Checkpoint>,
}

impl Award {
    /// The attempt that was awarded.
    #[must_use]
    pub const fn run(&self) -> Run {
        Run { job: self.job, attempt: self.attempt }
    }
}

impl Document for Award {
    const KIND: Kind = Kind::Award;
    const MAX_BYTES: usize = 1_024;
}
