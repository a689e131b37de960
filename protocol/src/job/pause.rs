//! Pausing in the register. The submitter's orders to pause and to go on are numbered, since they
//! may overtake each other on their way: the highest number counts, whatever comes when. What an
//! order means for a worker is supervision's business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EndReason, JobRecord, JobState, TransitionError};
use crate::{
    Attempt, UnixMillis,
    mutant::{self, Mutant},
    report::FailureClass,
    spec::Wish,
};

/// What the submitter's orders to pause and to go on came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The submitter wants it paused.
    pub requested: bool,
    /// The number of the newest order; 0 when there was none.
    pub order: u64,
    /// Whether that order changed what was wanted.
    pub changed: bool,
    /// The newest attempt that was to be paused; 0 when none was.
    pub asked: Attempt,
    /// How long the job was paused until it went on the last time, in milliseconds.
    pub past_ms: u64,
}

impl Pause {
    pub(super) const NEVER: Self =
        Self { requested: false, order: 0, changed: false, asked: Attempt(0), past_ms: 0 };
}

impl JobRecord {
    /// Since when it is paused, if it is.
    #[must_use]
    pub const fn paused_since(&self) -> Option<UnixMillis> {
        match self.state {
            JobState::Paused { since } => Some(since),
            JobState::Queued { .. }
            | JobState::Assigned
            | JobState::Completed { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => None,
        }
    }

    /// What is left at `now` of the `total` that waiting and running may take together. The time
    /// in which it was paused is not the job's.
    #[must_use]
    pub fn total_left(&self, total: Duration, now: UnixMillis) -> Duration {
        let taken = now.0.saturating_sub(self.accepted_at.0).saturating_sub(self.pause.past_ms);
        total.saturating_sub(Duration::from_millis(taken))
    }

    /// A job that waits is paused at once; a running one when its process is dead. One that goes
    /// on waits for a worker, or stays with the one that it has.
    pub(super) fn obey(
        &mut self,
        wish: Wish,
        number: u64,
        now: UnixMillis,
    ) -> Result<(), TransitionError> {
        if self.cancel_requested {
            return Err(TransitionError::Cancelling);
        }
        if number <= self.pause.order && !mutant::is(Mutant::ObeyOldOrders) {
            return Err(TransitionError::Overtaken);
        }
        self.pause.order = number;
        self.pause.changed = self.pause.requested != (wish == Wish::Pause);
        self.pause.requested = wish == Wish::Pause;
        match (wish, &self.state) {
            (Wish::Pause, JobState::Queued { .. }) => self.state = JobState::Paused { since: now },
            (Wish::Pause, JobState::Assigned) => {
                self.pause.asked = self.newest_attempt();
                if mutant::is(Mutant::PausedBeforeDead) {
                    self.end_attempt(EndReason::Paused, u8::MAX, now);
                }
            }
            (Wish::Resume, JobState::Paused { since }) => {
                let paused_ms = now.0.saturating_sub(since.0);
                self.pause.past_ms = self.pause.past_ms.saturating_add(paused_ms);
                self.state = JobState::Queued { since: now };
            }
            (Wish::Pause, JobState::Paused { .. })
            | (Wish::Resume, JobState::Queued { .. } | JobState::Assigned)
            | (
                _,
                JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. },
            ) => {}
        }
        Ok(())
    }

    /// What [`Mutant::ForgetOrdersAtTakeover`] takes over.
    pub(crate) fn forget_orders(&mut self) {
        self.pause = Pause::NEVER;
        if let JobState::Paused { since } = self.state {
            self.state = JobState::Queued { since };
        }
    }

    /// A worker says that it has paused the newest attempt.
    pub(super) fn settle_paused(&mut self, attempt: Attempt, max_attempts: u8, now: UnixMillis) {
        let why = if self.pause.asked == attempt {
            EndReason::Paused
        } else {
            let message = "the worker paused it, and nobody had asked for that".to_owned();
            EndReason::Failed { class: FailureClass::Internal, message }
        };
        self.end_attempt(why, max_attempts, now);
    }
}
