//! Deadlines with reasons. One table for all roles, so that the earliest is found in one place
//! and a test can ask what a peer waits for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Instant, JobId, PeerId, RequestId, Run};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Coordinator: no leader was heard of, or an election takes too long.
    Election,
    /// As leader: say so, and look after the members.
    Beat,
    /// Coordinator: ask for a seat.
    Stand,
    /// Coordinator: tell again who coordinates.
    CommitteeRecord,
    /// Coordinator: call for bids on what waits.
    Announce,
    /// Coordinator: the window of a round closes.
    Round(u64),
    /// Coordinator: the worker of this run has been silent for too long.
    Lease(Run),
    /// Coordinator: the award has not been acknowledged.
    Award(Run),
    /// Coordinator: a cancelled run has not ended.
    Stop(Run),
    /// Coordinator: a job has waited for too long.
    Queue(JobId),
    /// Coordinator: a job has taken longer than it may, waiting and running together.
    Total(JobId),
    /// Coordinator: a job has been paused for longer than it may.
    Paused(JobId),
    /// Coordinator: a worker's offer has run out.
    Offer(PeerId),
    /// Worker: tell the leader that it is ready.
    Ready,
    /// Worker: renew the leases.
    Renew,
    /// Worker: a lease and its grace are over.
    LeaseLost(Run),
    /// Worker: send a receipt that was not counted yet.
    Receipt(Run),
    /// Worker: publish the progress that was held back.
    Report(Run),
    /// Submitter: send a spec that was not accepted yet.
    Submit(JobId),
    /// Submitter: see whether a job has ended.
    Poll(JobId),
    /// Submitter: send a wish to cancel that was not noted yet.
    Cancel(JobId),
    /// Submitter: send an order to pause or resume that was not answered yet.
    Order(JobId),
    /// Anyone: ask again, or give up.
    Question(RequestId),
    /// Anyone: ask who coordinates.
    AskCommittee,
}

impl Timer {
    /// Whether only a leader waits for it.
    const fn is_of_leader(self) -> bool {
        match self {
            Self::Beat
            | Self::CommitteeRecord
            | Self::Announce
            | Self::Round(_)
            | Self::Lease(_)
            | Self::Award(_)
            | Self::Stop(_)
            | Self::Queue(_)
            | Self::Total(_)
            | Self::Paused(_)
            | Self::Offer(_) => true,
            Self::Election
            | Self::Stand
            | Self::Ready
            | Self::Renew
            | Self::LeaseLost(_)
            | Self::Receipt(_)
            | Self::Report(_)
            | Self::Submit(_)
            | Self::Poll(_)
            | Self::Cancel(_)
            | Self::Order(_)
            | Self::Question(_)
            | Self::AskCommittee => false,
        }
    }
}

/// The next thing that happens if nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub at: Instant,
    pub why: Timer,
}

/// At most one deadline for each reason.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_reason: BTreeMap<Timer, Instant>,
    by_time: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets or moves the deadline of `why`.
    pub(crate) fn set(&mut self, why: Timer, at: Instant) {
        if let Some(before) = self.by_reason.insert(why, at) {
            self.by_time.remove(&(before, why));
        }
        self.by_time.insert((at, why));
    }

    /// Sets the deadline unless an earlier one stands.
    pub(crate) fn set_no_later(&mut self, why: Timer, at: Instant) {
        if self.by_reason.get(&why).is_none_or(|standing| *standing > at) {
            self.set(why, at);
        }
    }

    pub(crate) fn clear(&mut self, why: Timer) {
        if let Some(at) = self.by_reason.remove(&why) {
            self.by_time.remove(&(at, why));
        }
    }

    /// Clears what a leader waits for and nobody else does.
    pub(crate) fn clear_of_leader(&mut self) {
        self.by_reason.retain(|why, _| !why.is_of_leader());
        self.by_time.retain(|(_, why)| !why.is_of_leader());
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        self.by_time.first().map(|&(at, why)| Deadline { at, why })
    }

    /// Takes the earliest deadline that has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let &(at, why) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_reason.remove(&why);
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_each_reason_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Announce, Instant(30));
        timers.set(Timer::Ready, Instant(10));
        timers.set(Timer::Announce, Instant(5));
        timers.set_no_later(Timer::Announce, Instant(20));
        assert_eq!(timers.next(), Some(Deadline { at: Instant(5), why: Timer::Announce }));
        assert_eq!(timers.expired(Instant(4)), None);
        assert_eq!(timers.expired(Instant(40)), Some(Timer::Announce));
        assert_eq!(timers.expired(Instant(40)), Some(Timer::Ready));
        assert_eq!(timers.expired(Instant(40)), None);
        timers.set(Timer::Ready, Instant(1));
        timers.clear(Timer::Ready);
        assert_eq!(timers.next(), None);
    }
}
