//! Waiting times of the protocol as a scenario may have them: what happens once a minute in
//! production must happen often where it is to be tested.

use std::time::Duration;

use cyxwiz_protocol::Timing;
use serde::{Deserialize, Serialize};

use super::notation::as_text;

/// What a scenario says of [`Timing`]; what it leaves out is as in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimingModel {
    #[serde(with = "as_text")]
    pub beat: Duration,
    #[serde(with = "as_text")]
    pub election: Duration,
    #[serde(with = "as_text")]
    pub step_down: Duration,
    #[serde(with = "as_text")]
    pub accept_resend: Duration,
    #[serde(with = "as_text")]
    pub stand: Duration,
    #[serde(with = "as_text")]
    pub replace_after: Duration,
    #[serde(with = "as_text")]
    pub lease: Duration,
    #[serde(with = "as_text")]
    pub renew: Duration,
    #[serde(with = "as_text")]
    pub lease_grace: Duration,
}

impl Default for TimingModel {
    fn default() -> Self {
        let Timing {
            beat,
            election,
            step_down,
            accept_resend,
            stand,
            replace_after,
            lease,
            renew,
            lease_grace,
            ..
        } = Timing::default();
        Self {
            beat,
            election,
            step_down,
            accept_resend,
            stand,
            replace_after,
            lease,
            renew,
            lease_grace,
        }
    }
}

/// Below this a run is all timers.
const SHORTEST: Duration = Duration::from_millis(10);

impl TimingModel {
    pub(crate) fn timing(self) -> Timing {
        let Self {
            beat,
            election,
            step_down,
            accept_resend,
            stand,
            replace_after,
            lease,
            renew,
            lease_grace,
        } = self;
        Timing {
            beat,
            election,
            step_down,
            accept_resend,
            stand,
            replace_after,
            lease,
            renew,
            lease_grace,
            ..Timing::default()
        }
    }

    /// The key that has a value which cannot be simulated, and why.
    pub(super) fn check(self) -> Result<(), (&'static str, String)> {
        let all = [
            ("timing.beat", self.beat),
            ("timing.election", self.election),
            ("timing.step_down", self.step_down),
            ("timing.accept_resend", self.accept_resend),
            ("timing.stand", self.stand),
            ("timing.replace_after", self.replace_after),
            ("timing.lease", self.lease),
            ("timing.renew", self.renew),
            ("timing.lease_grace", self.lease_grace),
        ];
        match all.into_iter().find(|(_, value)| *value < SHORTEST) {
            Some((key, _)) => Err((key, "less than 10ms".to_owned())),
            None => Ok(()),
        }
    }
}
