//! The network in virtual time: production [`cyxwiz_protocol::Peer`]s, unchanged, over a modelled
//! network, disk and trainer.
//!
//! One seed decides everything. A run has a safety phase with the faults of its scenario, then
//! heals, then a liveness phase in which every accepted job must end. The promises of the
//! protocol are invariants that are looked at all the way; the first that is broken ends the run
//! and names the command that repeats it.
//!
//! - [`scenario`] says what is simulated; [`simulate`] does it and returns [`Figures`].
//! - `world` is the loop: it takes the next thing that happens from the queue, hands it to a
//!   peer and carries the effects out as a node does: disk before wire.
//! - `network`, `mesh`, `disk` and `trainer` are the models of what surrounds a peer.
//! - `invariant` holds one file for each promise.
//!
//! Never does this crate read a clock, use a socket or a file, or depend on the node.

mod chance;
mod churn;
mod clock;
mod compare;
mod disk;
pub mod faults;
mod figures;
mod host;
mod hostile;
mod invariant;
mod laws;
mod life;
mod links;
mod mesh;
mod network;
mod observe;
mod partition;
mod queue;
mod regions;
pub mod report;
pub mod scenario;
mod tape;
mod trace;
mod trainer;
mod workload;
mod world;

pub use chance::Span;
pub use churn::{ChurnTrace, ChurnTraceError};
pub use compare::{Compared, compare};
pub use faults::Faults;
pub use figures::{Figures, Quantiles};
pub use invariant::Violation;
pub use life::{Life, Lived, Sums};
pub use network::NetworkModel;
pub use observe::{JobEnd, JobLine, Mark, MarkKind, Observation, PeerLine, Recorded, Second};
pub use scenario::{
    Crashes, FAULT_KINDS, FsyncModel, Place, Plan, Scenario, ScenarioError, Signatures, TimingModel,
};
pub use world::{observe, simulate};
