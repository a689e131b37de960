//! What the members of a committee say to each other: who leads, and what each has on disk.
//!
//! A step is from one replica to another, and a replica is a peer with a store: a peer that lost
//! its disk neither speaks nor hears for the one that it was.

use serde::{Deserialize, Serialize};

use crate::{
    Ballot, CellId, JobId, PeerId, StoreId,
    charter::{Credential, Founding},
    codec::bounded,
    committee::Register,
    coordinator::WorkerRecord,
    limits,
    message::{membership::Member, query::DecisionRecord},
    signed::Signed,
    spec::JobSpec,
};

/// One step, addressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replication {
    /// The sender's store.
    pub from: StoreId,
    /// The receiver's store; a receiver with another one is not meant.
    pub to: StoreId,
    pub step: Step,
}

/// Steps of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Would you follow me into this ballot? Nothing is promised, so that a member that was away
    /// deposes nobody by asking.
    Canvass { ballot: Ballot },
    /// I would: I have heard of no leader for a while.
    Supported { ballot: Ballot },
    /// Follow no older ballot from now on, and tell me what you hold. The seating shows one that
    /// sits since a moment ago that it does.
    Prepare { ballot: Ballot, seating: Box<SeatingRegister> },
    /// I promise, and this is what I hold; one of `parts` messages.
    Promise {
        ballot: Ballot,
        seating: Option<Box<SeatingRegister>>,
        part: u32,
        parts: u32,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::SUMMARIES }>")]
        holds: Vec<Summary>,
    },
    /// I have promised not to listen to a ballot as old as yours.
    Refused { promised: Ballot },
    /// Send me your copies of these.
    Fetch {
        ballot: Ballot,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
        jobs: Vec<JobId>,
    },
    /// Here they are; those that are missing I do not have.
    Fetched {
        ballot: Ballot,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
        copies: Vec<Copied>,
    },
    /// Have these on disk.
    Accept(Accept),
    /// They are on disk.
    Accepted {
        ballot: Ballot,
        serial: u64,
        /// The epoch of the seating on disk.
        epoch: u64,
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
        items: Vec<(JobId, Held)>,
    },
    /// I lead, and am here.
    Beat { ballot: Ballot },
    /// I follow, and am here.
    Heard { ballot: Ballot },
    /// I have a right to a seat and would take one.
    Stand { credential: Credential },
}

/// States that the leader wants on a majority of disks, and what else a successor should know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    pub ballot: Ballot,
    /// Names this message in the answer.
    pub serial: u64,
    pub seating: Option<Box<SeatingRegister>>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
    pub copies: Vec<Copied>,
    /// Finished jobs that every member has as such, and that nobody will ask for any more.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
    pub forget: Vec<JobId>,
    /// How workers did. Nothing is promised of these: a successor without them trusts less.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES }>")]
    pub ratings: Vec<(PeerId, WorkerRecord)>,
}

/// A job as one member has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    pub job: JobId,
    pub register: Register,
    /// Left out for those that have it.
    pub spec: Option<Signed<JobSpec>>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ATTEMPTS as usize }>")]
    pub decisions: Vec<DecisionRecord>,
}

/// What a member has of a job that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// This version of the leader's.
    Version(u64),
    /// Nothing: the spec was not sent along.
    NoSpec,
    /// A state under a later ballot than the one that was sent; perhaps never chosen.
    Later,
}

/// Which state of a job a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub job: JobId,
    pub ballot: Ballot,
    pub version: u64,
}

/// The members, under the ballot that proposed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatingRegister {
    pub ballot: Ballot,
    pub seating: Seating,
}

/// Who sits. While members change, the old and the new ones decide together: what counts needs a
/// majority of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seating {
    pub cell: CellId,
    pub founding: Founding,
    /// Rises with every change.
    pub epoch: u64,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::MEMBERS }>")]
    pub members: Vec<Member>,
    /// Those that take over; empty while nothing changes.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::MEMBERS }>")]
    pub joining: Vec<Member>,
}
