//! What a worker holds of a run while it goes on, and until its receipt is counted.

use std::sync::Arc;

use crate::{
    Digest, Instant,
    effects::StopReason,
    message::auction::Award,
    report::{Checkpoint, Progress, Receipt},
    signed::{Signed, Verified},
    spec::JobSpec,
};

#[derive(Debug)]
pub(super) struct RunState {
    pub(super) award: Signed<Award>,
    pub(super) spec: Arc<Verified<JobSpec>>,
    pub(super) stopping: Option<StopReason>,
    /// The batch with which it begins, until that is on disk. An order to stop it would overtake
    /// the order to begin it, and waits.
    pub(super) begins_with: Option<u64>,
    pub(super) receipt: Option<Signed<Receipt>>,
    /// The chain of reports: how many, and the digest of the last.
    pub(super) reports: u32,
    pub(super) chain: Digest,
    pub(super) reported_at: Option<Instant>,
    pub(super) progress: Option<Progress>,
    /// Progress that was not published yet.
    pub(super) held: bool,
    /// The newest state to go on from.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl RunState {
    pub(super) fn new(award: Signed<Award>, spec: Arc<Verified<JobSpec>>) -> Self {
        let chain = award.digest();
        Self {
            award,
            spec,
            stopping: None,
            begins_with: None,
            receipt: None,
            reports: 0,
            chain,
            reported_at: None,
            progress: None,
            held: false,
            checkpoint: None,
        }
    }
}
