//! The workers that a leader knows: what they offered, what it awarded them, how they did. Soft
//! but for the reputation, which is on disk; workers announce themselves again to a new leader.

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_scoring::{
    Capability, Evidence, Ineligible, Load, Permille, Reputation, Requirements, can_run_now,
    could_ever_run,
};
use serde::{Deserialize, Serialize};

use crate::{Instant, PeerId, Run, UnixMillis, limits};

/// How a worker did for this coordinator. Kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    reputation: Reputation,
    pub completed: u32,
    pub failed: u32,
}

impl Default for Record {
    fn default() -> Self {
        Self { reputation: Reputation::new(), completed: 0, failed: 0 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Workforce {
    workers: BTreeMap<PeerId, Worker>,
    records: BTreeMap<PeerId, Record>,
    /// Awarded and not yet released, with the memory that each was promised. Counted at once, so
    /// that a burst spreads before any worker has told of its new load.
    assigned: BTreeMap<PeerId, BTreeMap<Run, u32>>,
}

/// A standing offer.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) capability: Capability,
    load: Load,
    pub(crate) since: Instant,
}

impl Workforce {
    pub(crate) fn new(records: BTreeMap<PeerId, Record>) -> Self {
        Self { records, ..Self::default() }
    }

    /// What an earlier leader knew of a worker.
    pub(crate) fn learn(&mut self, peer: PeerId, record: Record) {
        if self.records.len() < limits::WORKERS * 2 || self.records.contains_key(&peer) {
            self.records.insert(peer, record);
        }
    }

    /// Who is here and what they run must be learnt anew; how they did stays.
    pub(crate) fn forget_present(&mut self) {
        self.workers.clear();
        self.assigned.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Notes an offer; false when it is malformed or there are too many workers.
    pub(crate) fn note(
        &mut self,
        peer: PeerId,
        capability: Capability,
        load: Load,
        now: Instant,
    ) -> bool {
        let sane = capability.devices.len() <= limits::DEVICES
            && capability.devices.iter().all(|device| device.name.len() <= limits::NAME_BYTES * 2)
            && capability.max_concurrent <= limits::RUNS_PER_WORKER;
        let room = self.workers.len() < limits::WORKERS || self.workers.contains_key(&peer);
        if !sane || !room {
            return false;
        }
        let since = self.workers.get(&peer).map_or(now, |worker| worker.since);
        self.workers.insert(peer, Worker { capability, load, since });
        true
    }

    pub(crate) fn remove(&mut self, peer: PeerId) {
        self.workers.remove(&peer);
    }

    pub(crate) fn get(&self, peer: PeerId) -> Option<&Worker> {
        self.workers.get(&peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Worker)> {
        self.workers.iter().map(|(peer, worker)| (*peer, worker))
    }

    pub(crate) fn assign(&mut self, peer: PeerId, run: Run, memory_mb: u32) {
        self.assigned.entry(peer).or_default().insert(run, memory_mb);
    }

    /// Frees what the run had; false when it had nothing.
    pub(crate) fn release(&mut self, peer: PeerId, run: Run) -> bool {
        let Some(runs) = self.assigned.get_mut(&peer) else {
            return false;
        };
        let had = runs.remove(&run).is_some();
        if runs.is_empty() {
            self.assigned.remove(&peer);
        }
        had
    }

    pub(crate) fn running(&self, peer: PeerId) -> usize {
        self.assigned.get(&peer).map_or(0, BTreeMap::len)
    }

    /// What the worker says of itself, which leaves out the awards of this cell, and those.
    pub(crate) fn load(&self, peer: PeerId, capability: &Capability, said: &Load) -> Load {
        let none = BTreeMap::new();
        let runs = self.assigned.get(&peer).unwrap_or(&none);
        let promised = runs.values().fold(0_u32, |sum, memory| sum.saturating_add(*memory));
        Load {
            active: said.active.saturating_add(u16::try_from(runs.len()).unwrap_or(u16::MAX)),
            memory_free_mb: said.memory_free_mb.min(capability.memory_mb).saturating_sub(promised),
            disk_free_mb: said.disk_free_mb,
        }
    }

    /// The load of a known worker.
    pub(crate) fn load_of(&self, peer: PeerId, worker: &Worker) -> Load {
        self.load(peer, &worker.capability, &worker.load)
    }

    pub(crate) fn reputation(&self, peer: PeerId, now: UnixMillis) -> Permille {
        let fresh = || Reputation::new().score(now.seconds());
        self.records.get(&peer).map_or_else(fresh, |record| record.reputation.score(now.seconds()))
    }

    pub(crate) fn record(&self, peer: PeerId) -> Option<&Record> {
        self.records.get(&peer)
    }

    /// Moves a worker's reputation; hands back what is to be kept on disk. Records of workers
    /// that are gone make room for new ones.
    pub(crate) fn rate(&mut self, peer: PeerId, evidence: Evidence, now: UnixMillis) -> &Record {
        if self.records.len() >= limits::WORKERS * 2
            && !self.records.contains_key(&peer)
            && let Some(gone) = self.records.keys().find(|key| !self.workers.contains_key(key))
        {
            let gone = *gone;
            self.records.remove(&gone);
        }
        let record = self.records.entry(peer).or_default();
        record.reputation.record(now.seconds(), evidence);
        match evidence {
            Evidence::Success => record.completed = record.completed.saturating_add(1),
            Evidence::Failure | Evidence::Fraud => record.failed = record.failed.saturating_add(1),
        }
        record
    }

    /// Why this worker could never run it; empty when it could.
    pub(crate) fn never(
        &self,
        peer: PeerId,
        worker: &Worker,
        needs: &Requirements,
        now: UnixMillis,
    ) -> Vec<Ineligible> {
        could_ever_run(needs, &worker.capability, self.reputation(peer, now))
            .err()
            .unwrap_or_default()
    }

    /// Why this worker cannot run it now; empty when it can.
    pub(crate) fn not_now(
        &self,
        peer: PeerId,
        worker: &Worker,
        needs: &Requirements,
        now: UnixMillis,
    ) -> Vec<Ineligible> {
        let load = self.load_of(peer, worker);
        can_run_now(needs, &worker.capability, &load, self.reputation(peer, now))
            .err()
            .unwrap_or_default()
    }

    /// Workers that could run it at some time, but for `excluded`.
    pub(crate) fn could_ever(
        &self,
        needs: &Requirements,
        excluded: &BTreeSet<PeerId>,
        now: UnixMillis,
    ) -> bool {
        self.iter().any(|(peer, worker)| {
            !excluded.contains(&peer) && self.never(peer, worker, needs, now).is_empty()
        })
    }
}
