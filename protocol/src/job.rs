//! The register of a job: what must not be lost, and the only ways in which it may change.
//! [`JobRecord::apply`] is the transition function of the proof in the design notes: it never
//! removes a job, and a finished job never changes again. What pausing does to it is in `pause`.

mod pause;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use pause::Pause;

use crate::{
    Attempt, Digest, JobId, PeerId, UnixMillis,
    codec::bounded,
    limits,
    mutant::{self, Mutant},
    report::{Checkpoint, Ending, FailureClass, Receipt},
    signed::{Signed, Verified},
    spec::Wish,
};

/// Everything that the committee decides about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub job: JobId,
    pub submitter: PeerId,
    /// Digest of the signed spec.
    pub spec: Digest,
    pub accepted_at: UnixMillis,
    /// The submitter wants it stopped.
    pub cancel_requested: bool,
    /// The submitter's orders to pause it and to go on.
    pub pause: Pause,
    pub state: JobState,
    /// The newest state of training that the committee holds, from which the next attempt goes on.
    pub checkpoint: Option<Checkpoint>,
    /// The attempts, oldest first. When there is no room for another, the oldest that was paused
    /// goes.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ATTEMPTS as usize }>")]
    pub attempts: Vec<AttemptRecord>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for a worker.
    Queued { since: UnixMillis },
    /// The newest attempt has a worker.
    Assigned,
    /// One receipt was counted, and no other ever will be.
    Completed { at: UnixMillis, receipt: Box<Signed<Receipt>> },
    /// Given up.
    Failed { at: UnixMillis, reason: FailReason },
    /// Stopped at the submitter's wish; nothing runs any more.
    Cancelled { at: UnixMillis },
    /// Nothing runs, until the submitter wants it to go on.
    Paused { since: UnixMillis },
}

/// Why a job was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailReason {
    /// No worker that could run it came in time.
    NobodyCould {
        #[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")]
        detail: String,
    },
    /// An attempt failed in a way that no other would repair.
    Fatal {
        class: FailureClass,
        #[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")]
        message: String,
    },
    /// Waiting and running together took longer than the job may.
    TookTooLong { total_ms: u64 },
    /// Every allowed attempt failed; this is how the last did.
    AttemptsUsedUp {
        #[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")]
        last: String,
    },
    /// Nobody wanted it to go on for as long as a job may be paused.
    PausedTooLong,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyCould { detail } => write!(f, "nobody could run it: {detail}"),
            Self::Fatal { class, message } => write!(f, "{class}: {message}"),
            Self::TookTooLong { total_ms } => {
                write!(f, "it was not done within {} s of its acceptance", total_ms / 1_000)
            }
            Self::AttemptsUsedUp { last } => write!(f, "every attempt failed, the last: {last}"),
            Self::PausedTooLong => {
                let days = limits::PAUSE.as_secs() / 86_400;
                write!(f, "it was paused for {days} days, and nobody resumed it")
            }
        }
    }
}

/// One try on one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub attempt: Attempt,
    pub worker: PeerId,
    /// What the submitter owes for it, in the network's unit.
    pub price: u64,
    pub awarded_at: UnixMillis,
    pub end: Option<AttemptEnd>,
}

/// How a try ended that did not complete the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    pub at: UnixMillis,
    pub why: EndReason,
}

/// Why a try ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    Completed,
    Cancelled,
    /// The worker fell silent for longer than its lease.
    LeaseExpired,
    /// The worker did not take the award.
    Declined,
    /// The time of the whole job was over.
    TimeOver,
    Failed {
        class: FailureClass,
        #[serde(deserialize_with = "bounded::text::<_, { limits::TEXT_BYTES }>")]
        message: String,
    },
    /// The submitter paused the job.
    Paused,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.pad("completed"),
            Self::Cancelled => f.pad("cancelled"),
            Self::LeaseExpired => f.pad("the worker fell silent"),
            Self::Declined => f.pad("the worker declined the award"),
            Self::TimeOver => f.pad("the time of the job was over"),
            Self::Failed { class, message } => write!(f, "{class}: {message}"),
            Self::Paused => f.pad("paused"),
        }
    }
}

/// A change that someone wants.
#[derive(Clone, Debug)]
pub enum Transition {
    Award {
        worker: PeerId,
        price: u64,
    },
    RequestCancel,
    /// The submitter's order, by the number that it was signed with.
    Order {
        wish: Wish,
        number: u64,
    },
    /// The newest attempt is over without a receipt.
    Release {
        why: EndReason,
    },
    /// A receipt of an awarded attempt counts.
    Settle {
        receipt: Box<Verified<Receipt>>,
    },
    /// The running attempt left a state to go on from.
    Checkpoint {
        attempt: Attempt,
        checkpoint: Checkpoint,
    },
    /// Nobody came in time, or the job took longer than it may, or was paused for longer.
    Expire {
        reason: FailReason,
    },
}

/// Why a change cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    #[error("the job is finished")]
    Finished,
    #[error("the job does not wait for a worker")]
    NotQueued,
    #[error("the job has no worker")]
    NotAssigned,
    #[error("the job shall be cancelled")]
    Cancelling,
    #[error("no attempt of this number was awarded to this worker")]
    NotAwarded,
    #[error("the attempt was superseded")]
    Superseded,
    #[error("a later order of the submitter's was there before")]
    Overtaken,
    #[error("the job is paused")]
    Paused,
    #[error("the job is not paused")]
    NotPaused,
}

impl JobRecord {
    /// A job that was just accepted.
    #[must_use]
    pub const fn new(job: JobId, submitter: PeerId, spec: Digest, now: UnixMillis) -> Self {
        Self {
            job,
            submitter,
            spec,
            accepted_at: now,
            cancel_requested: false,
            pause: Pause::NEVER,
            state: JobState::Queued { since: now },
            checkpoint: None,
            attempts: Vec::new(),
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        match self.state {
            JobState::Queued { .. } | JobState::Assigned | JobState::Paused { .. } => false,
            JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                true
            }
        }
    }

    /// When it ended, if it did.
    #[must_use]
    pub const fn ended_at(&self) -> Option<UnixMillis> {
        match self.state {
            JobState::Queued { .. } | JobState::Assigned | JobState::Paused { .. } => None,
            JobState::Completed { at, .. }
            | JobState::Failed { at, .. }
            | JobState::Cancelled { at } => Some(at),
        }
    }

    /// The attempt that runs now, if one does.
    #[must_use]
    pub fn running(&self) -> Option<&AttemptRecord> {
        match self.state {
            JobState::Assigned => self.attempts.last(),
            JobState::Queued { .. }
            | JobState::Paused { .. }
            | JobState::Completed { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => None,
        }
    }

    /// The number of the newest attempt; 0 when there was none.
    #[must_use]
    pub fn newest_attempt(&self) -> Attempt {
        self.attempts.last().map_or(Attempt(0), |last| last.attempt)
    }

    /// The job after `change`, or why it cannot be. `max_attempts` is the spec's.
    pub fn apply(
        &self,
        change: Transition,
        max_attempts: u8,
        now: UnixMillis,
    ) -> Result<Self, TransitionError> {
        if self.is_finished() && !mutant::is(Mutant::SettleTwice) {
            return Err(TransitionError::Finished);
        }
        let mut next = self.clone();
        match change {
            Transition::Award { worker, price } => next.award(worker, price, now)?,
            Transition::RequestCancel => next.request_cancel(now),
            Transition::Order { wish, number } => next.obey(wish, number, now)?,
            Transition::Release { why } => {
                next.running().ok_or(TransitionError::NotAssigned)?;
                next.end_attempt(why, max_attempts, now);
            }
            Transition::Settle { receipt } => next.settle(&receipt, max_attempts, now)?,
            Transition::Checkpoint { attempt, checkpoint } => {
                let running = next.running().ok_or(TransitionError::NotAssigned)?;
                if running.attempt != attempt || !checkpoint.is_beyond(next.checkpoint.as_ref()) {
                    return Err(TransitionError::Superseded);
                }
                next.checkpoint = Some(checkpoint);
            }
            Transition::Expire { reason } => next.expire(reason, now)?,
        }
        Ok(next)
    }

    fn expire(&mut self, reason: FailReason, now: UnixMillis) -> Result<(), TransitionError> {
        let paused = matches!(self.state, JobState::Paused { .. });
        match reason {
            FailReason::PausedTooLong if !paused => return Err(TransitionError::NotPaused),
            FailReason::PausedTooLong => {}
            _ if paused => return Err(TransitionError::Paused),
            FailReason::TookTooLong { .. } => {}
            FailReason::NobodyCould { .. }
            | FailReason::Fatal { .. }
            | FailReason::AttemptsUsedUp { .. } => {
                if self.running().is_some() {
                    return Err(TransitionError::NotQueued);
                }
            }
        }
        let running = self.running().is_some();
        if let Some(last) = self.attempts.last_mut().filter(|_| running) {
            last.end = Some(AttemptEnd { at: now, why: EndReason::TimeOver });
        }
        self.state = if self.cancel_requested {
            JobState::Cancelled { at: now }
        } else {
            JobState::Failed { at: now, reason }
        };
        Ok(())
    }

    fn award(
        &mut self,
        worker: PeerId,
        price: u64,
        now: UnixMillis,
    ) -> Result<(), TransitionError> {
        let JobState::Queued { .. } = self.state else {
            return Err(TransitionError::NotQueued);
        };
        if self.cancel_requested {
            return Err(TransitionError::Cancelling);
        }
        let attempt = match self.newest_attempt() {
            last if mutant::is(Mutant::ReuseAttempt) => last.max(Attempt(1)),
            last => last.next(),
        };
        self.make_room();
        self.attempts.push(AttemptRecord { attempt, worker, price, awarded_at: now, end: None });
        self.state = JobState::Assigned;
        Ok(())
    }

    /// A job that does not run is cancelled at once; a running one when its process is dead.
    fn request_cancel(&mut self, now: UnixMillis) {
        self.cancel_requested = true;
        if let JobState::Queued { .. } | JobState::Paused { .. } = self.state {
            self.state = JobState::Cancelled { at: now };
        }
    }

    fn settle(
        &mut self,
        receipt: &Verified<Receipt>,
        max_attempts: u8,
        now: UnixMillis,
    ) -> Result<(), TransitionError> {
        let index = self
            .attempts
            .iter()
            .position(|run| {
                mutant::is(Mutant::AnybodySettles)
                    || run.attempt == receipt.attempt && run.worker == receipt.author()
            })
            .ok_or(TransitionError::NotAwarded)?;
        let newest = self.running().is_some_and(|run| run.attempt == receipt.attempt);
        match &receipt.ending {
            // A late success of an older attempt may still settle the job: it was awarded, and
            // only one receipt ever counts. So may one that was made before its worker heard that
            // the job is to be paused: there is nothing left to go on with.
            Ending::Succeeded(_) if !self.cancel_requested => {
                let end = AttemptEnd { at: now, why: EndReason::Completed };
                self.attempts[index].end = Some(end);
                let receipt = Box::new(receipt.signed().clone());
                self.state = JobState::Completed { at: now, receipt };
            }
            _ if !newest => return Err(TransitionError::Superseded),
            Ending::Failed { class, message } => {
                let why = EndReason::Failed { class: *class, message: clip(message.clone()) };
                self.end_attempt(why, max_attempts, now);
            }
            // What it left to go on from was recorded before this, when it was here.
            Ending::Paused { .. } => self.settle_paused(receipt.attempt, max_attempts, now),
            // The wish to cancel was chosen first: a success that comes after it does not count.
            Ending::Succeeded(_) | Ending::Cancelled => {
                self.end_attempt(EndReason::Cancelled, max_attempts, now);
            }
        }
        Ok(())
    }

    /// The newest attempt is over: back into the queue, on the shelf, or the end of the job.
    fn end_attempt(&mut self, why: EndReason, max_attempts: u8, now: UnixMillis) {
        let silent = matches!(why, EndReason::LeaseExpired);
        let used_up = self.is_used_up_with(&why, max_attempts);
        self.state = if self.cancel_requested {
            JobState::Cancelled { at: now }
        } else if let EndReason::Failed { class, message } = &why
            && !class.is_recoverable()
        {
            let reason = FailReason::Fatal { class: *class, message: message.clone() };
            JobState::Failed { at: now, reason }
        } else if self.pause.requested && !(silent && mutant::is(Mutant::QueueSilentPaused)) {
            JobState::Paused { since: now }
        } else if used_up {
            let reason = FailReason::AttemptsUsedUp { last: clip(why.to_string()) };
            JobState::Failed { at: now, reason }
        } else {
            JobState::Queued { since: now }
        };
        if let Some(last) = self.attempts.last_mut() {
            last.end = Some(AttemptEnd { at: now, why });
        }
    }

    /// Whether no other attempt may follow when the newest ends like this.
    fn is_used_up_with(&self, why: &EndReason, max_attempts: u8) -> bool {
        let ended = self.attempts.iter().rev().skip(1).filter_map(|run| run.end.as_ref());
        let ends: Vec<_> = ended.map(|end| &end.why).chain([why]).collect();
        let paused = |end: &EndReason| matches!(end, EndReason::Paused);
        let tried = |end: &EndReason| !paused(end) && !matches!(end, EndReason::Declined);
        // An award that was declined was no try; only the record's own room bounds those. What was
        // paused was none either, and takes no room in the long run.
        ends.iter().filter(|end| tried(end)).count() >= usize::from(max_attempts)
            || ends.iter().filter(|end| !paused(end)).count() >= usize::from(limits::ATTEMPTS)
    }

    /// Makes room for another attempt: what was paused is not needed any more, and what its worker
    /// has of the oldest of all may be late, but hardly that late.
    fn make_room(&mut self) {
        if self.attempts.len() < usize::from(limits::ATTEMPTS) {
            return;
        }
        let paused = |run: &AttemptRecord| {
            run.end.as_ref().is_some_and(|end| matches!(end.why, EndReason::Paused))
        };
        let first = self.attempts.iter().position(paused);
        self.attempts.remove(first.unwrap_or(0));
    }
}

/// Cuts a text to what a record may hold, at a character's end.
pub(crate) fn clip(mut text: String) -> String {
    if text.len() > limits::TEXT_BYTES {
        let end = (0..=limits::TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}
