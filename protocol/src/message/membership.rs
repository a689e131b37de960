//! Who is here: the committee's record, and the standing offers of workers.

use cyxwiz_scoring::{Capability, Load};
use serde::{Deserialize, Serialize};

use crate::{
    Ballot, CellId, PeerId, Run, StoreId,
    charter::{Credential, Founding},
    codec::bounded,
    limits,
    signed::{Document, Kind, Signed},
};

/// Steps of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Membership {
    /// Who coordinates?
    AskCommittee,
    /// They do.
    Committee(Signed<CommitteeRecord>),
    /// A worker is ready, to the leader; repeated while it is.
    Offer(Offer),
    /// The leader knows the worker.
    Offered,
    /// The worker takes no more jobs.
    Leaving,
}

/// The coordinators of a cell, signed by their leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteeRecord {
    pub cell: CellId,
    /// The charter's word for the first member.
    pub founding: Founding,
    /// Rises with every change of the members.
    pub epoch: u64,
    pub ballot: Ballot,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::MEMBERS }>")]
    pub members: Vec<Member>,
}

/// One seat. The credential proves that the peer may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub peer: PeerId,
    pub store: StoreId,
    pub credential: Credential,
}

impl Document for CommitteeRecord {
    const KIND: Kind = Kind::Committee;
    const MAX_BYTES: usize = 4 * 1024;
}

/// What a worker can do, and how busy it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub capability: Capability,
    /// Beside what this cell awarded: the leader counts that itself, at once.
    pub load: Load,
    /// What it runs by awards of this cell, so that a new leader learns of it.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RUNS_PER_WORKER as usize }>")]
    pub running: Vec<Run>,
    /// For how long the offer stands, in milliseconds.
    pub stands_ms: u32,
}
