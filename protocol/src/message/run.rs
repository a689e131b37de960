//! An attempt while it runs: leases, stopping, and the receipt at its end.

use serde::{Deserialize, Serialize};

use crate::{
    Run,
    codec::bounded,
    limits,
    report::{Checkpoint, Progress, Receipt},
    signed::Signed,
};

/// Steps of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RunStep {
    /// The worker still has these; one message for all of them.
    Renew(#[serde(deserialize_with = "bounded::list::<_, _, { limits::RENEWALS }>")] Vec<Renewal>),
    /// The leader's answer for each.
    Renewed(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::RENEWALS }>")]
        Vec<(Run, Standing)>,
    ),
    /// The submitter wants it stopped, or it was superseded.
    Stop(Run),
    /// The attempt ended. Sent until counted.
    Receipt(Signed<Receipt>),
    /// The receipt needs to be sent no more.
    Counted { run: Run, verdict: Verdict },
    /// The submitter wants it paused: write down how far it is, and end.
    Pause(Run),
}

/// One attempt that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renewal {
    pub run: Run,
    /// None until the process is up.
    pub progress: Option<Progress>,
    /// The newest state that it has written down.
    pub checkpoint: Option<Checkpoint>,
}

/// What an attempt is worth by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Go on for this many milliseconds.
    Leased { lease_ms: u32 },
    /// Stop: the submitter wants it.
    Cancelled,
    /// Stop: another attempt took its place, or the job has ended.
    Superseded,
    /// Write down how far it is, and end: the submitter wants it paused.
    Paused,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It settled the job or ended the attempt, on the disks of a majority.
    Counted,
    /// Another did before it.
    Superseded,
    /// No such job or attempt was ever awarded to this worker.
    Unknown,
}
