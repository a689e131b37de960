//! One job on its way to the disks of the members.

use std::collections::{BTreeMap, VecDeque};

use super::seating::Replica;
use crate::{
    job::JobRecord,
    message::replication::Seating,
    mutant::{self, Mutant},
};

/// A job whose newest state is not on every member's disk. A job without one is.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// The newest state that was chosen, unless that is not known.
    chosen: Option<JobRecord>,
    /// States that were proposed since, by version, oldest first.
    pending: VecDeque<(u64, JobRecord)>,
    /// The version that later members must not lack: it was told, or a leader before may have told
    /// it. What was proposed since needs their own majority anyway.
    vouched: u64,
    /// The version that each has on disk, counted in the states that this leader vouches for; 0
    /// for one that has the job in some other state.
    holders: BTreeMap<Replica, u64>,
}

impl Flight {
    /// A job whose newest state is chosen, in this version.
    pub(super) const fn chosen_before(
        version: u64,
        record: JobRecord,
        holders: BTreeMap<Replica, u64>,
    ) -> Self {
        Self { chosen: Some(record), pending: VecDeque::new(), vouched: version, holders }
    }

    /// A job of an earlier leader in a state that may have been chosen: proposed again.
    pub(super) fn doubtful(
        version: u64,
        record: JobRecord,
        holders: BTreeMap<Replica, u64>,
    ) -> Self {
        let mut flight = Self { holders, ..Self::default() };
        flight.restate(version, record);
        flight
    }

    pub(super) fn propose(&mut self, version: u64, record: JobRecord) {
        self.pending.push_back((version, record));
    }

    /// The newest state must be held anew: it is proposed again under another ballot.
    pub(super) fn restate(&mut self, version: u64, record: JobRecord) {
        self.holders.values_mut().for_each(|held| *held = 0);
        self.pending = VecDeque::from([(version, record)]);
        self.vouched = version;
    }

    /// Whether `replica` has what must not be lost when others decide from now on.
    pub(super) fn is_vouched_by(&self, replica: Replica) -> bool {
        self.holds(replica, self.vouched)
    }

    pub(super) const fn chosen(&self) -> Option<&JobRecord> {
        self.chosen.as_ref()
    }

    pub(super) fn is_certain(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether `replica` has the job in any state, and so its spec.
    pub(super) fn knows(&self, replica: Replica) -> bool {
        self.holders.contains_key(&replica)
    }

    pub(super) fn holds(&self, replica: Replica, version: u64) -> bool {
        self.holders.get(&replica).is_some_and(|held| *held >= version)
    }

    pub(super) fn note(&mut self, replica: Replica, version: u64) {
        let held = self.holders.entry(replica).or_default();
        *held = version.max(*held);
    }

    /// The replica does not have the job at all.
    pub(super) fn note_without_spec(&mut self, replica: Replica) {
        self.holders.remove(&replica);
    }

    /// The next state that is on enough disks, if there is one. A state that was known to be chosen
    /// and was only said again under another ballot is no news.
    pub(super) fn next_chosen(&mut self, seating: &Seating) -> Option<JobRecord> {
        loop {
            let (version, _) = self.pending.front()?;
            let one = || self.holders.values().any(|held| held >= version);
            if !(seating.is_quorum(|replica| self.holds(replica, *version))
                || mutant::is(Mutant::OneDiskIsEnough) && one())
            {
                return None;
            }
            let (version, record) = self.pending.pop_front()?;
            self.vouched = version;
            if self.chosen.as_ref() != Some(&record) {
                self.chosen = Some(record.clone());
                return Some(record);
            }
        }
    }

    /// Whether everyone has `newest`.
    pub(super) fn has_landed(&self, seating: &Seating, newest: u64) -> bool {
        self.pending.is_empty()
            && seating.replicas().into_iter().all(|replica| self.holds(replica, newest))
    }
}
