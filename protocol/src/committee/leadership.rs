//! What a leader knows of its ballot: which states are on their way, and what each member has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Entries, MemberStatus, Replica, flight::Flight, rules};
use crate::{
    Ballot, Instant, JobId, PeerId,
    coordinator::WorkerRecord,
    job::JobState,
    limits,
    message::{
        membership::CommitteeRecord,
        replication::{Copied, Seating},
    },
    mutant::{self, Mutant},
    signed::{Signed, Verified},
};

/// A ballot that a majority promised to.
#[derive(Debug)]
pub(super) struct Leadership {
    pub(super) ballot: Ballot,
    pub(super) since: Instant,
    /// When who sits was last changed: newcomers get time to answer.
    pub(super) seated: Instant,
    /// What everyone may know, since a majority has the seating under this ballot.
    pub(super) record: Option<Box<Verified<CommitteeRecord>>>,
    pub(super) flights: BTreeMap<JobId, Flight>,
    pub(super) followers: BTreeMap<Replica, Follower>,
    /// Own writes that wait for the disk, oldest first.
    pub(super) own: VecDeque<Own>,
    pub(super) seating_holders: BTreeSet<Replica>,
    pub(super) serial: u64,
}

/// Another member, as its leader sees it.
#[derive(Debug, Default)]
pub(super) struct Follower {
    pub(super) heard: Option<Instant>,
    /// Jobs with a new state: somebody waits for it.
    pub(super) fresh: BTreeSet<JobId>,
    /// Jobs whose newest state it lacks for longer.
    pub(super) behind: BTreeSet<JobId>,
    pub(super) sent: BTreeMap<u64, Sent>,
    /// Jobs that it was sent and whose files it fetches, and since when.
    pub(super) late: BTreeMap<JobId, Instant>,
    pub(super) seating_due: bool,
    pub(super) forget: VecDeque<JobId>,
    pub(super) ratings: BTreeMap<PeerId, WorkerRecord>,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) jobs: Vec<JobId>,
    pub(super) seating: bool,
}

/// Writes of one input.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) batch: u64,
    pub(super) jobs: Vec<(JobId, u64)>,
    pub(super) epoch: Option<u64>,
}

impl Leadership {
    pub(super) const fn new(ballot: Ballot, since: Instant) -> Self {
        Self {
            ballot,
            since,
            seated: since,
            record: None,
            flights: BTreeMap::new(),
            followers: BTreeMap::new(),
            own: VecDeque::new(),
            seating_holders: BTreeSet::new(),
            serial: 0,
        }
    }

    pub(super) const fn acts(&self) -> bool {
        self.record.is_some()
    }

    pub(super) fn record(&self) -> Option<&Verified<CommitteeRecord>> {
        self.record.as_deref()
    }

    pub(super) fn flight(&self, job: JobId) -> Option<&Flight> {
        self.flights.get(&job)
    }

    /// Whether those who joined may decide alone: who sits, and of every job what was told or may
    /// have been, is on enough disks of both sides. What is on its way needs both sides anyway.
    pub(super) fn may_leave_joint(&self, seating: &Seating) -> bool {
        let jobs = self.flights.keys().copied().map(Some);
        rules::may_leave_joint(&seating.seats_by_side(), None, jobs, |member, job| {
            let replica = member.replica();
            match job {
                None => self.seating_holders.contains(&replica),
                Some(_) if mutant::is(Mutant::LeaveJointEarly) => true,
                Some(job) => self.flights.get(job).is_none_or(|it| it.is_vouched_by(replica)),
            }
        })
    }

    /// Whether the seating is on enough disks.
    pub(super) fn seating_is_chosen(&self, seating: &Seating) -> bool {
        seating.is_quorum(|replica| self.seating_holders.contains(&replica))
    }

    /// When a member was last heard of.
    pub(super) fn heard(&self, replica: Replica) -> Option<Instant> {
        self.followers.get(&replica).and_then(|follower| follower.heard)
    }

    pub(super) fn members(&self, me: Replica, now: Instant) -> Vec<MemberStatus> {
        let own = MemberStatus { peer: me.peer, silent_ms: Some(0), behind: 0 };
        let others = self.followers.iter().map(|(replica, follower)| MemberStatus {
            peer: replica.peer,
            silent_ms: follower
                .heard
                .map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
            behind: follower.fresh.len()
                + follower.behind.len()
                + follower.late.len()
                + follower.sent.values().map(|sent| sent.jobs.len()).sum::<usize>(),
        });
        std::iter::once(own).chain(others).collect()
    }

    pub(super) fn note_own(&mut self, batch: u64, job: Option<(JobId, u64)>, epoch: Option<u64>) {
        match self.own.back_mut() {
            Some(own) if own.batch == batch => {
                own.jobs.extend(job);
                own.epoch = epoch.or(own.epoch);
            }
            _ => self.own.push_back(Own { batch, jobs: job.into_iter().collect(), epoch }),
        }
    }

    /// Members that were not here before begin with nothing, others stay.
    pub(super) fn seat_followers(&mut self, seating: &Seating, me: Replica) {
        let seated = seating.replicas();
        self.followers.retain(|replica, _| seated.contains(replica));
        for replica in seated.into_iter().filter(|replica| *replica != me) {
            self.followers.entry(replica).or_default();
        }
    }
}

impl Follower {
    pub(super) fn wants_something(&self) -> bool {
        let idle = self.sent.is_empty() && (!self.forget.is_empty() || !self.ratings.is_empty());
        self.seating_due || !self.fresh.is_empty() || !self.behind.is_empty() || idle
    }

    pub(super) fn next_copies(
        &mut self,
        me: Replica,
        entries: &Entries,
        flights: &BTreeMap<JobId, Flight>,
    ) -> Vec<Copied> {
        let (mut copies, mut bytes) = (Vec::new(), 0);
        while copies.len() < limits::COPIES && bytes < limits::COPIES_BYTES {
            let Some(job) = self.fresh.pop_first().or_else(|| self.behind.pop_first()) else {
                break;
            };
            let (Some(entry), Some(flight)) = (entries.get(&job), flights.get(&job)) else {
                continue;
            };
            let copy = entry.copy(!flight.knows(me));
            bytes += copy.weight();
            copies.push(copy);
        }
        copies
    }

    pub(super) fn next_forgotten(&mut self) -> Vec<JobId> {
        let count = self.forget.len().min(limits::COPIES);
        self.forget.drain(..count).collect()
    }

    pub(super) fn next_ratings(&mut self) -> Vec<(PeerId, WorkerRecord)> {
        let mut next = Vec::new();
        while next.len() < limits::COPIES
            && let Some(rating) = self.ratings.pop_first()
        {
            next.push(rating);
        }
        next
    }
}

impl Copied {
    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let spec = self.spec.as_ref().map_or(0, Signed::len);
        let record = &self.register.record;
        let receipt = match &record.state {
            JobState::Completed { receipt, .. } => receipt.len(),
            JobState::Queued { .. }
            | JobState::Assigned
            | JobState::Paused { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => limits::TEXT_BYTES,
        };
        let attempts = record.attempts.len() * 512;
        let decisions =
            self.decisions.iter().map(|it| 512 * (it.ranking.len() + it.refused.len() + 1));
        512 + spec + receipt + attempts + decisions.sum::<usize>()
    }
}
