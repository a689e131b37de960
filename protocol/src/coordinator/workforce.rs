//! The workers that a leader knows: what they offered, what it awarded them, how they did. Soft
//! but for the reputation, which is on disk; workers announce themselves again to a new leader.
//! Who is asked next is in `line`.

mod line;

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_scoring::{
    Capability, DeviceKind, Evidence, Ineligible, Load, Permille, Reputation, Requirements,
    can_run_now, could_ever_run,
};
use line::{Line, Place};
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
    line: Line,
    /// Invitations so far.
    turn: u64,
}

/// A standing offer.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) capability: Capability,
    load: Load,
    pub(crate) since: Instant,
    kinds: Vec<DeviceKind>,
    /// Slots for which jobs are being called out.
    reserved: u16,
    /// Where it stands, if it has room.
    place: Option<Place>,
    silence: u8,
    poor: bool,
    asked: u64,
}

/// What an offer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing: it is malformed, or there are too many workers.
    Refused,
    /// It is what was known.
    Known,
    News,
}

/// Workers that could take a job at once.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// In the order in which they are to be asked.
    pub(crate) workers: Vec<PeerId>,
    /// About how many there are, those included.
    pub(crate) estimate: u32,
    /// How many were looked at.
    pub(crate) looked: usize,
}

/// What leaving an invitation without an answer costs: offers until it is forgotten.
const SILENCE: u8 = 2;
/// The most that silences add up to.
const SILENCE_MAX: u8 = 8;

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
        self.line.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Notes an offer, or what a bid says of its worker.
    pub(crate) fn note(
        &mut self,
        peer: PeerId,
        capability: Capability,
        load: Load,
        now: Instant,
        unix: UnixMillis,
    ) -> Noted {
        let sane = capability.devices.len() <= limits::DEVICES
            && capability.devices.iter().all(|device| device.name.len() <= limits::NAME_BYTES * 2)
            && capability.max_concurrent <= limits::RUNS_PER_WORKER;
        let known = self.workers.get(&peer);
        let room = self.workers.len() < limits::WORKERS || known.is_some();
        if !sane || !room {
            return Noted::Refused;
        }
        let poor = self.is_poor(peer, unix);
        if known.is_some_and(|it| (&it.capability, &it.load) == (&capability, &load)) {
            self.change(peer, |worker| worker.poor = poor);
            return Noted::Known;
        }
        let kinds = capability.device_kinds();
        let turn = self.turn;
        self.leave_line(peer);
        let worker = self.workers.entry(peer).or_insert_with(|| Worker {
            capability: Capability::default(),
            load: Load::default(),
            since: now,
            kinds: Vec::new(),
            reserved: 0,
            place: None,
            silence: 0,
            poor,
            asked: turn,
        });
        (worker.capability, worker.load, worker.kinds) = (capability, load, kinds);
        self.change(peer, |worker| worker.poor = poor);
        Noted::News
    }

    /// A worker says again that it is here: an old silence counts less.
    pub(crate) fn note_presence(&mut self, peer: PeerId) {
        self.change(peer, |worker| worker.silence = worker.silence.saturating_sub(1));
    }

    pub(crate) fn remove(&mut self, peer: PeerId) {
        self.leave_line(peer);
        self.workers.remove(&peer);
    }

    /// A worker is invited to bid: it goes to the end of the line.
    pub(crate) fn note_invited(&mut self, peer: PeerId) {
        self.turn += 1;
        let turn = self.turn;
        self.change(peer, |worker| worker.asked = turn);
    }

    /// An invitation was answered, or not in time.
    pub(crate) fn note_answered(&mut self, peer: PeerId, answered: bool) {
        self.change(peer, |worker| {
            let silence = worker.silence.saturating_add(SILENCE).min(SILENCE_MAX);
            worker.silence = if answered { 0 } else { silence };
        });
    }

    /// Keeps a slot for a job that is called out.
    pub(crate) fn reserve(&mut self, peer: PeerId) {
        self.change(peer, |worker| worker.reserved = worker.reserved.saturating_add(1));
    }

    /// Gives up what [`Self::reserve`] kept.
    pub(crate) fn unreserve(&mut self, peer: PeerId) {
        self.change(peer, |worker| worker.reserved = worker.reserved.saturating_sub(1));
    }

    /// Whether nobody has room for a job.
    pub(crate) fn is_full(&self) -> bool {
        self.line.is_empty()
    }

    /// How many more jobs a worker could take, beside those that are called out for it already.
    pub(crate) fn room(&self, peer: PeerId) -> u16 {
        self.workers.get(&peer).map_or(0, |worker| {
            let taken = self.load_of(peer, worker).active.saturating_add(worker.reserved);
            worker.capability.max_concurrent.saturating_sub(taken)
        })
    }

    /// The first `most` in line that could begin at once, but for `excluded`.
    pub(crate) fn candidates(
        &self,
        needs: &Requirements,
        excluded: &BTreeSet<PeerId>,
        most: usize,
        now: UnixMillis,
    ) -> Candidates {
        let mut found = Candidates::default();
        for peer in self.line.of(needs.device) {
            found.looked += 1;
            let able = self.workers.get(&peer).is_some_and(|worker| {
                !excluded.contains(&peer) && self.not_now(peer, worker, needs, now).is_empty()
            });
            if able {
                found.workers.push(peer);
            }
            if found.workers.len() == most {
                break;
            }
        }
        // Those behind are taken to be like those before.
        let all = self.line.len_of(needs.device) * found.workers.len() / found.looked.max(1);
        found.estimate = u32::try_from(all).unwrap_or(u32::MAX);
        found
    }

    /// Changes a worker and puts it where it then belongs in the line.
    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.get_mut(&peer) {
            change(worker);
        }
        let room = self.room(peer);
        let Some(worker) = self.workers.get_mut(&peer) else {
            return;
        };
        let slots = worker.capability.max_concurrent;
        let place = (room > 0).then(|| Place {
            silence: worker.silence,
            poor: worker.poor,
            busy: u8::try_from(u32::from(slots - room) * 8 / u32::from(slots)).unwrap_or(8),
            asked: worker.asked,
        });
        if place != worker.place {
            if let Some(before) = worker.place {
                self.line.leave(&worker.kinds, before, peer);
            }
            if let Some(after) = place {
                self.line.enter(&worker.kinds, after, peer);
            }
            worker.place = place;
        }
    }

    fn leave_line(&mut self, peer: PeerId) {
        if let Some(worker) = self.workers.get_mut(&peer)
            && let Some(place) = worker.place.take()
        {
            self.line.leave(&worker.kinds, place, peer);
        }
    }

    fn is_poor(&self, peer: PeerId, now: UnixMillis) -> bool {
        let newcomer = || Reputation::new().score(now.seconds());
        self.records.contains_key(&peer) && self.reputation(peer, now) < newcomer()
    }

    pub(crate) fn get(&self, peer: PeerId) -> Option<&Worker> {
        self.workers.get(&peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Worker)> {
        self.workers.iter().map(|(peer, worker)| (*peer, worker))
    }

    pub(crate) fn assign(&mut self, peer: PeerId, run: Run, memory_mb: u32) {
        self.assigned.entry(peer).or_default().insert(run, memory_mb);
        self.change(peer, |_| {});
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
        self.change(peer, |_| {});
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
    pub(crate) fn rate(&mut self, peer: PeerId, evidence: Evidence, now: UnixMillis) -> Record {
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
        let record = record.clone();
        let poor = self.is_poor(peer, now);
        self.change(peer, |worker| worker.poor = poor);
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
