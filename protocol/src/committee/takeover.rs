//! Becoming leader: promises of a majority, and the newest state of every job that they tell of.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rank, seating::Replica};
use crate::{
    Ballot, JobId,
    message::replication::{Copied, Seating, SeatingRegister, Summary},
    mutant::{self, Mutant},
};

/// A ballot that is being prepared.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) ballot: Ballot,
    /// The batch with this replica's own promise, until it is on disk.
    own: Option<u64>,
    promises: BTreeMap<Replica, Promised>,
    /// Newest states that this replica lacks, and who has them. None before a majority promised.
    missing: Option<BTreeMap<JobId, Replica>>,
    fetched: BTreeMap<JobId, Copied>,
    /// Times that it was tried again.
    pub(super) tries: u32,
}

/// What one member holds.
#[derive(Debug, Default)]
struct Promised {
    parts: u32,
    received: BTreeSet<u32>,
    seating: Option<SeatingRegister>,
    holds: BTreeMap<JobId, Rank>,
}

/// Everything that a leader begins with.
#[derive(Debug)]
pub(super) struct Inheritance {
    /// What each of those who promised holds; this replica is not among them.
    pub(super) holds: BTreeMap<Replica, BTreeMap<JobId, Rank>>,
    /// States that this replica lacked.
    pub(super) fetched: BTreeMap<JobId, Copied>,
}

impl Takeover {
    pub(super) const fn new(ballot: Ballot, batch: u64) -> Self {
        Self {
            ballot,
            own: Some(batch),
            promises: BTreeMap::new(),
            missing: None,
            fetched: BTreeMap::new(),
            tries: 0,
        }
    }

    pub(super) fn on_flushed(&mut self, batch: u64) {
        self.own = self.own.filter(|own| *own > batch);
    }

    /// Notes a part of a promise. Parts that contradict each other are left out.
    pub(super) fn on_promise(
        &mut self,
        from: Replica,
        seating: Option<SeatingRegister>,
        (part, parts): (u32, u32),
        holds: Vec<Summary>,
    ) {
        let promised = self.promises.entry(from).or_default();
        if promised.received.is_empty() {
            promised.parts = parts;
        }
        if parts != promised.parts || part >= parts || self.missing.is_some() {
            return;
        }
        promised.received.insert(part);
        promised.seating = seating;
        let ranks = holds
            .into_iter()
            .map(|held| (held.job, Rank { ballot: held.ballot, version: held.version }));
        promised.holds.extend(ranks);
    }

    fn is_complete(&self, replica: Replica) -> bool {
        let whole = |it: &Promised| it.received.len() == it.parts as usize;
        self.promises.get(&replica).is_some_and(whole)
    }

    /// The newest seating that anyone told of.
    pub(super) fn newest_seating(&self) -> Option<&SeatingRegister> {
        let told = self.promises.iter().filter(|(replica, _)| self.is_complete(**replica));
        told.filter_map(|(_, promised)| promised.seating.as_ref())
            .max_by_key(|it| (it.seating.founding.generation, it.ballot, it.seating.epoch))
    }

    /// Those who have not promised yet.
    pub(super) fn silent(&self, seating: &Seating, me: Replica) -> Vec<Replica> {
        let all = seating.replicas().into_iter();
        all.filter(|replica| *replica != me && !self.is_complete(*replica)).collect()
    }

    /// Whether enough have promised.
    pub(super) fn has_quorum(&self, seating: &Seating, me: Replica) -> bool {
        let own = self.own.is_none();
        seating.is_quorum(|replica| if replica == me { own } else { self.is_complete(replica) })
    }

    /// With a majority behind it: what is to be fetched from whom, given what this replica has.
    pub(super) fn look_for(&mut self, own: impl Fn(JobId) -> Option<Rank>) {
        if self.missing.is_some() {
            return;
        }
        let mut newest: BTreeMap<JobId, (Rank, Replica)> = BTreeMap::new();
        let complete: Vec<Replica> =
            self.promises.keys().copied().filter(|replica| self.is_complete(*replica)).collect();
        self.promises.retain(|replica, _| complete.contains(replica));
        for (replica, promised) in &self.promises {
            for (job, rank) in &promised.holds {
                let best = newest.get(job).map(|(best, _)| *best).max(own(*job));
                if best.is_none_or(|best| is_older(best, *rank)) {
                    newest.insert(*job, (*rank, *replica));
                }
            }
        }
        if mutant::is(Mutant::ForgetWhatOthersHold) {
            newest.clear();
        }
        self.missing = Some(newest.into_iter().map(|(job, (_, replica))| (job, replica)).collect());
    }

    /// What is still to be fetched, by who has it.
    pub(super) fn to_fetch(&self) -> BTreeMap<Replica, Vec<JobId>> {
        let mut by_replica: BTreeMap<Replica, Vec<JobId>> = BTreeMap::new();
        for (job, replica) in self.missing.iter().flatten() {
            by_replica.entry(*replica).or_default().push(*job);
        }
        by_replica
    }

    /// Takes what was asked for.
    pub(super) fn on_fetched(&mut self, from: Replica, copies: Vec<Copied>) {
        for copy in copies {
            let asked = self.missing.as_ref().and_then(|missing| missing.get(&copy.job));
            let told = self.promises.get(&from).and_then(|it| it.holds.get(&copy.job));
            let same = told == Some(&copy.register.rank());
            if asked == Some(&from) && same && copy.spec.is_some() {
                if let Some(missing) = &mut self.missing {
                    missing.remove(&copy.job);
                }
                self.fetched.insert(copy.job, copy);
            }
        }
    }

    /// Whether everything is here.
    pub(super) fn is_ready(&self) -> bool {
        self.missing.as_ref().is_some_and(BTreeMap::is_empty)
    }

    pub(super) fn into_inheritance(self) -> Inheritance {
        let holds = self.promises.into_iter().map(|(replica, it)| (replica, it.holds)).collect();
        Inheritance { holds, fetched: self.fetched }
    }
}

fn is_older(one: Rank, other: Rank) -> bool {
    if mutant::is(Mutant::VersionsBeforeBallots) {
        return (one.version, one.ballot) < (other.version, other.ballot);
    }
    one < other
}
