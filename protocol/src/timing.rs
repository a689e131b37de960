//! How long a peer waits for what. The defaults are those of a real network; simulations and
//! tests may tighten them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Every waiting time of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How often a leader says that it is here.
    pub beat: Duration,
    /// A member that hears of no leader for this long, and up to twice as long by lot, would be
    /// one.
    pub election: Duration,
    /// A leader that hears of no majority for this long is none.
    pub step_down: Duration,
    /// How long a leader waits for a member's answer before it sends again.
    pub accept_resend: Duration,
    /// How often a coordinator without a seat asks for one.
    pub stand: Duration,
    /// A member that is silent for this long loses its seat, if another would have it.
    pub replace_after: Duration,
    /// How often the committee is told of. A peer that missed it on joining waits so long.
    pub committee_record: Duration,
    /// The longest that bids are waited for.
    pub bid_window: Duration,
    /// An attempt whose worker is silent for this long goes to another. With the bids and the disks
    /// that follow, the other has it within ten seconds of the first one's death.
    pub lease: Duration,
    /// How often a worker renews. Three fit into a lease, so that two may be lost.
    pub renew: Duration,
    /// Added by the worker before it stops itself, and given by a new leader to attempts that it
    /// finds running. Waste is allowed, counting twice is not.
    pub lease_grace: Duration,
    /// How often a worker says that it is ready; its offer stands three times as long.
    pub offer: Duration,
    pub award_resend: Duration,
    pub receipt_resend: Duration,
    /// The first pause before a spec is sent again; it grows.
    pub submit_resend: Duration,
    pub question_resend: Duration,
    /// How often a submitter asks whether its job has ended, in case it was not told.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(200),
            election: Duration::from_secs(1),
            step_down: Duration::from_secs(3),
            accept_resend: Duration::from_millis(500),
            stand: Duration::from_secs(2),
            replace_after: Duration::from_secs(60),
            committee_record: Duration::from_secs(5),
            bid_window: Duration::from_millis(250),
            lease: Duration::from_secs(9),
            renew: Duration::from_millis(2_500),
            lease_grace: Duration::from_secs(30),
            offer: Duration::from_secs(10),
            award_resend: Duration::from_secs(2),
            receipt_resend: Duration::from_secs(3),
            submit_resend: Duration::from_millis(1_500),
            question_resend: Duration::from_secs(1),
            poll: Duration::from_secs(30),
        }
    }
}
