//! Who may run a job, how well, and who wins it: pure integer policy.
//!
//! The crate answers four questions, each in its own module, and nothing else:
//!
//! - [`could_ever_run`] and [`can_run_now`]: may this worker run this job, and if not, why not;
//! - [`Reputation`]: what a worker's past says about its next result;
//! - [`score`] and [`hold`]: how good an offer is, term by term, who wins an auction and what the
//!   winner is paid;
//! - [`threshold`] and [`rank_candidates`]: who should bid at all, and who should sit on the
//!   committee.
//!
//! Two peers given the same values reach the same answer: there are no floats, every order is
//! total, and the result never depends on the order in which offers arrived. Peers are known only
//! by an opaque key `K: Ord + Clone`; identities, signatures, clocks and messages are left to the
//! callers.
//!
//! Never does this crate read a clock, draw a random number, or panic on a value a peer sent.

mod auction;
mod candidate;
mod capability;
mod eligibility;
mod policy;
mod quantity;
mod reputation;
mod requirement;
mod score;
mod sortition;

pub use auction::{Decision, Ranked, Refused, hold};
pub use candidate::{Candidate, RankedCandidate, Reachability, rank_candidates};
pub use capability::{Capability, Device, Load};
pub use eligibility::{Ineligible, can_run_now, could_ever_run};
pub use policy::{Factor, Policy, Weights};
pub use quantity::{Permille, PermilleOutOfRange};
pub use reputation::{Evidence, Reputation};
pub use requirement::{DeviceKind, Requirements, UnknownDevice};
pub use score::{Offer, Score, Term, score};
pub use sortition::{selected, threshold, widen};
