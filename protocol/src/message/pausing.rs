//! Wanting a job paused, and wanting it to go on.

use serde::{Deserialize, Serialize};

use crate::{JobId, PeerId, RequestId, message::query::Phase, signed::Signed, spec::PauseOrder};

/// Steps of the conversation. An order is sent until it is answered; the answer names it by its
/// number, so that no other is taken for answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pausing {
    Order {
        request: RequestId,
        order: Signed<PauseOrder>,
    },
    /// The order is on the disks of a majority, and whether it changed what was wanted.
    Noted {
        request: RequestId,
        job: JobId,
        number: u64,
        changed: bool,
    },
    /// The order means nothing, and was not noted.
    Refused {
        request: RequestId,
        job: JobId,
        number: u64,
        refusal: OrderRefusal,
    },
    /// Ask this peer instead.
    Redirect {
        request: RequestId,
        leader: Option<PeerId>,
    },
}

/// Why an order to pause or to go on means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OrderRefusal {
    #[error("no such job")]
    Unknown,
    #[error("only the peer that submitted the job may do this")]
    NotYours,
    #[error("the job has ended already: it {}", ended(*.0))]
    Ended(Phase),
    #[error("the job is being cancelled")]
    Cancelling,
    #[error("a later order to pause or resume the job was there before")]
    Overtaken,
}

const fn ended(phase: Phase) -> &'static str {
    match phase {
        Phase::Completed => "completed",
        Phase::Failed => "failed",
        Phase::Cancelled => "was cancelled",
        // No job that ended is in these.
        Phase::Queued | Phase::Running | Phase::Pausing | Phase::Paused => "is over",
    }
}
