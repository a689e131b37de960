//! The promises, looked at all the way. Each is a file that sees every fact as it comes and says
//! when one cannot be; the first to say so ends the run.

mod accepted_is_kept;
mod bounded;
mod cancelled_stays;
mod chosen_is_extended;
mod copies;
mod durable_before_told;
mod everything_ends;
mod leased_to_one;
mod one_leader_a_ballot;
mod orders_stand;
mod promises_are_kept;
mod settled_once;
mod stopped_is_dead;
#[cfg(test)]
mod tests;
mod told_survives;
mod within_capacity;

use cyxwiz_protocol::{
    Ballot, Instant, JobId, NetworkId, PeerId, Run, StoreId, inspect::SeatingAge, job::JobRecord,
    report::Ending, spec::Wish,
};

pub(crate) use copies::Copies;
use copies::extends;

/// Something that is certain, whatever any peer believes.
#[derive(Debug)]
pub(crate) enum Fact<'a> {
    /// A coordinator's "accepted" left it.
    AcceptedTold { job: JobId },
    /// A coordinator's "your wish to cancel is noted" left it.
    CancelTold { job: JobId },
    /// A user's order to pause or resume left its machine.
    Ordered { job: JobId, number: u64, wish: Wish },
    /// A coordinator's "your order is noted" left it.
    OrderTold { job: JobId, number: u64 },
    /// A coordinator's "your receipt was counted" left it.
    CountedTold { run: Run },
    /// A coordinator's promise about a job left it, when so many of the members of its committee
    /// had the job on their disks.
    Told { job: JobId, what: &'static str, holding: usize, members: usize },
    /// A coordinator acts under a ballot: it calls for bids, awards, or says that it leads.
    Acted { author: PeerId, ballot: Ballot, life: u32 },
    /// An award left its coordinator.
    Awarded { run: Run, worker: PeerId },
    /// A leader's chosen state of a job of this network; not the newest when another leads under
    /// a higher ballot.
    Chosen { record: &'a JobRecord, network: NetworkId, newest: bool },
    /// The leader of the highest ballot knows no such job.
    Unknown { job: JobId },
    /// What those who may decide about a job have of it on their disks.
    OnDisks(Copies<'a>),
    /// A seating stands on a disk beside the one that is in force.
    Seated { in_force: SeatingAge, other: SeatingAge },
    /// A replica's promise of a ballot left it, and which it has on disk.
    Promised { replica: (PeerId, StoreId), ballot: Ballot, on_disk: Ballot },
    /// A replica's "I have these" left it; a job that its disk does not have so.
    Followed { replica: (PeerId, StoreId), ballot: Ballot, lacking: Option<JobId> },
    /// A job is cancelled or paused, and one of its processes lives.
    RunsOn { job: JobId, worker: PeerId },
    /// A worker begins a process; how many it has with it.
    Began { worker: PeerId, running: usize, slots: u16 },
    /// A process ended.
    Ended { worker: PeerId, run: Run, ending: &'a Ending },
    /// A peer was shut out; none of this world deserves it.
    ShutOut { peer: PeerId, why: &'a str },
    /// Sizes of what could grow.
    Sizes(Sizes),
    /// The run is over, one way or the other.
    Over(Remains),
}

/// How large things are at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) hosts: usize,
    pub(crate) jobs: usize,
    /// Happenings that are planned.
    pub(crate) planned: usize,
    /// The most effects that one host holds back for its disk.
    pub(crate) held: usize,
    /// The most timeouts that one host had at this very moment.
    pub(crate) spins: u32,
}

/// What should have been gone when a run is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remains {
    /// Accepted jobs that have not ended, a few of them by name.
    pub(crate) unfinished: Vec<JobId>,
    /// Wishes of users without an answer.
    pub(crate) unanswered: usize,
    /// Jobs that submitters still follow.
    pub(crate) followed: usize,
    /// Runs that workers still have in their stores or as processes.
    pub(crate) runs: usize,
}

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what} (at {at})")]
pub struct Violation {
    /// Which promise.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
    /// The virtual time at which it was noticed.
    pub at: Instant,
}

/// One promise.
pub(crate) trait Invariant: std::fmt::Debug {
    fn name(&self) -> &'static str;
    /// Says in words how `fact` breaks the promise, if it does.
    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String>;
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Judge {
    invariants: Vec<Box<dyn Invariant>>,
    first: Option<Violation>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let invariants: Vec<Box<dyn Invariant>> = vec![
            Box::new(accepted_is_kept::AcceptedIsKept::default()),
            Box::new(durable_before_told::DurableBeforeTold),
            Box::new(one_leader_a_ballot::OneLeaderABallot::default()),
            Box::new(leased_to_one::LeasedToOne::default()),
            Box::new(settled_once::SettledOnce::default()),
            Box::new(cancelled_stays::CancelledStays::default()),
            Box::new(orders_stand::OrdersStand::default()),
            Box::new(stopped_is_dead::StoppedIsDead),
            Box::new(told_survives::ToldSurvives::default()),
            Box::new(chosen_is_extended::ChosenIsExtended::default()),
            Box::new(promises_are_kept::PromisesAreKept::default()),
            Box::new(within_capacity::WithinCapacity),
            Box::new(bounded::Bounded),
            Box::new(everything_ends::EverythingEnds),
        ];
        Self { invariants, first: None }
    }

    pub(crate) fn see(&mut self, at: Instant, fact: &Fact<'_>) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.look(fact) {
                let invariant = invariant.name();
                self.first.get_or_insert(Violation { invariant, what, at });
            }
        }
    }

    /// Something that no invariant sees went wrong.
    pub(crate) fn accuse(&mut self, at: Instant, invariant: &'static str, what: String) {
        self.first.get_or_insert(Violation { invariant, what, at });
    }

    /// The first violation.
    pub(crate) const fn verdict(&self) -> Option<&Violation> {
        self.first.as_ref()
    }
}
