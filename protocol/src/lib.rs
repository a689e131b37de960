//! The CyxWiz protocol: what peers say to each other, and what a peer does about it.
//!
//! Everything here is a function of its inputs. There is no I/O, no clock, no thread, no async and
//! no order that differs from run to run, so that the same code serves a node on real sockets and
//! thousands of peers in virtual time.
//!
//! - [`Peer`] is the machine: [`Peer::handle`] takes one [`Input`] and returns its [`Effects`];
//!   [`Peer::next_deadline`] says when it wants to be woken. Within it the roles: coordinator,
//!   worker, submitter.
//! - [`message`] and [`signed`] are the wire: direct messages in two levels, and documents that
//!   are signed over their exact bytes.
//! - [`spec`], [`job`] and [`report`] are what it is all about: a job as it was asked for, its
//!   register, and what a worker says of it.
//! - [`charter`] says who may coordinate; [`limits`] how much of anything there may be.
//! - [`rules`] are the few lines on which the promises of a committee rest.
//!
//! Never does this crate believe what is not signed, promise what is not on disk, or panic on what
//! a peer sent.

pub mod charter;
mod codec;
mod committee;
mod conduct;
mod context;
mod coordinator;
mod directory;
pub mod effects;
mod id;
#[cfg(feature = "simulation")]
pub mod inspect;
pub mod job;
pub mod limits;
pub mod message;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
#[expect(unreachable_pub, reason = "it is public where it is of use")]
mod mutant;
pub mod notice;
mod peer;
mod record;
pub mod recording;
mod replay;
pub mod report;
mod rng;
pub mod signed;
#[cfg(feature = "simulation")]
mod simulated;
pub mod spec;
mod submitter;
mod time;
mod timers;
mod timing;
mod worker;

pub use charter::Network;
pub use codec::DecodeError;
pub use committee::rules;
pub use committee::{CommitteeStatus, MemberStatus, OfficeKind, Register};
pub use conduct::Dropped;
pub use coordinator::{CoordinatorConfig, CoordinatorCounts, WorkerRecord};
pub use effects::{Command, CommandId, Effects, Event, Input, Reply, Send, Task, TaskEvent, Topic};
pub use id::{
    ArtifactId, Attempt, Ballot, CellId, Digest, JobId, NetworkId, ParseIdError, PeerId, RequestId,
    Run, StoreId,
};
pub use peer::{Config, Peer, PeerStatus, RecoverError, WorkerStatus};
pub use record::{Key, RecordError};
pub use replay::{CLOCK_TOLERANCE, ReplayWindow, Stale};
pub use rng::Rng;
pub use signed::{Identity, Signed, Verified};
pub use time::{Epoch, Instant, UnixMillis};
pub use timers::{Deadline, Timer};
pub use timing::Timing;
pub use worker::WorkerConfig;
