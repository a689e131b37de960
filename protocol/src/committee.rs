//! The seam of replication: job registers go in as proposals and come out as chosen facts.
//!
//! A proposal is chosen when a majority of the members has it on disk. The committee of today has
//! one member, its founder, so that its own flush is the majority; more members add messages and
//! a quorum in here, and change nothing for the callers. They propose, and act only on what
//! [`Committee::on_flushed`] hands back.

pub mod rules;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    Ballot, CellId, JobId, StoreId, UnixMillis,
    charter::Credential,
    context::Context,
    job::JobRecord,
    message::membership::{CommitteeRecord, Member},
    record::Key,
    signed::{Signed, Verified},
};

/// One job's state under one ballot. A larger `(ballot, version)` replaces a smaller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Register {
    ballot: Ballot,
    version: u64,
    record: JobRecord,
}

/// What a member knows and does as one.
#[derive(Debug)]
pub(crate) struct Committee {
    seat: Member,
    office: Office,
    registers: BTreeMap<JobId, Register>,
    /// Proposals that wait for the disk, oldest first.
    proposals: VecDeque<Proposal>,
    /// The jobs that they are about.
    uncertain: BTreeMap<JobId, Uncertain>,
}

/// A job whose newest state waits for the disk.
#[derive(Debug)]
struct Uncertain {
    proposals: u32,
    /// The state before them.
    chosen: Option<JobRecord>,
}

#[derive(Debug)]
enum Office {
    /// No committee stands yet, or another peer leads it.
    None,
    /// The founding is being written.
    Founding { batch: u64, record: Box<Verified<CommitteeRecord>> },
    /// This peer acts.
    Leading { ballot: Ballot, record: Box<Verified<CommitteeRecord>> },
}

#[derive(Debug)]
struct Proposal {
    batch: u64,
    record: JobRecord,
}

/// What a flush made certain.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// The committee stands, led by this peer.
    pub(crate) founded: Option<Verified<CommitteeRecord>>,
    /// In the order of their proposal.
    pub(crate) records: Vec<JobRecord>,
}

impl Committee {
    /// A member's memory. `registers` are those of the store.
    pub(crate) fn new(
        peer: crate::PeerId,
        store: StoreId,
        credential: Credential,
        registers: BTreeMap<JobId, Register>,
    ) -> Self {
        Self {
            seat: Member { peer, store, credential },
            office: Office::None,
            registers,
            proposals: VecDeque::new(),
            uncertain: BTreeMap::new(),
        }
    }

    /// Founds a committee of one.
    pub(crate) fn found(&mut self, cx: &mut Context<'_>) {
        self.take_office(CellId::default(), 1, 1, cx.unix, cx);
    }

    /// Takes up again what this peer founded in an earlier life, under a new ballot. A store with
    /// another id is another replica and may not.
    pub(crate) fn resume(&mut self, before: &CommitteeRecord, cx: &mut Context<'_>) -> bool {
        let ours = before.ballot.leader == self.seat.peer
            && before
                .members
                .iter()
                .any(|member| (member.peer, member.store) == (self.seat.peer, self.seat.store));
        if ours {
            let term = before.ballot.term + 1;
            self.take_office(before.cell, before.epoch, term, before.founded_at, cx);
        }
        ours
    }

    fn take_office(
        &mut self,
        cell: CellId,
        epoch: u64,
        term: u64,
        founded_at: UnixMillis,
        cx: &mut Context<'_>,
    ) {
        let ballot = Ballot { term, leader: self.seat.peer };
        let members = vec![self.seat];
        let record = cx.sign(CommitteeRecord { cell, epoch, ballot, founded_at, members });
        cx.save::<Signed<CommitteeRecord>>(Key::Committee, record.signed());
        self.office = Office::Founding { batch: cx.batch, record: Box::new(record) };
    }

    /// Another peer leads: what this one proposed and did not see chosen will not be.
    pub(crate) fn stand_down(&mut self) {
        self.office = Office::None;
        self.proposals.clear();
        self.uncertain.clear();
    }

    pub(crate) const fn is_leading(&self) -> bool {
        matches!(self.office, Office::Leading { .. })
    }

    /// Whether nobody leads as far as this member knows.
    pub(crate) const fn is_out_of_office(&self) -> bool {
        matches!(self.office, Office::None)
    }

    /// The ballot under which this peer acts.
    pub(crate) const fn ballot(&self) -> Option<Ballot> {
        match &self.office {
            Office::Leading { ballot, .. } => Some(*ballot),
            Office::None | Office::Founding { .. } => None,
        }
    }

    /// What everyone may know of the committee.
    pub(crate) fn record(&self) -> Option<&Verified<CommitteeRecord>> {
        match &self.office {
            Office::Leading { record, .. } => Some(record.as_ref()),
            Office::None | Office::Founding { .. } => None,
        }
    }

    /// The newest state of a job, which may not be chosen yet: the base of the next proposal,
    /// never of an answer.
    pub(crate) fn newest(&self, job: JobId) -> Option<&JobRecord> {
        self.registers.get(&job).map(|register| &register.record)
    }

    /// The newest state of a job that was chosen: what an answer may tell.
    pub(crate) fn chosen(&self, job: JobId) -> Option<&JobRecord> {
        match self.uncertain.get(&job) {
            Some(uncertain) => uncertain.chosen.as_ref(),
            None => self.newest(job),
        }
    }

    /// Whether the newest state of a job was chosen.
    pub(crate) fn is_certain(&self, job: JobId) -> bool {
        !self.uncertain.contains_key(&job)
    }

    /// Every job, by id.
    pub(crate) fn jobs(&self) -> impl DoubleEndedIterator<Item = &JobRecord> {
        self.registers.values().map(|register| &register.record)
    }

    pub(crate) fn len(&self) -> usize {
        self.registers.len()
    }

    /// Wants `record` to be the job's next state. The leader alone proposes.
    pub(crate) fn propose(&mut self, record: JobRecord, cx: &mut Context<'_>) {
        let ballot = self.ballot().expect("only a leader proposes");
        let version = self.registers.get(&record.job).map_or(1, |before| before.version + 1);
        let register = Register { ballot, version, record: record.clone() };
        cx.save(Key::Register(record.job), &register);
        let before = self.registers.insert(record.job, register);
        let chosen = before.map(|register| register.record);
        let uncertain =
            self.uncertain.entry(record.job).or_insert(Uncertain { proposals: 0, chosen });
        uncertain.proposals += 1;
        self.proposals.push_back(Proposal { batch: cx.batch, record });
    }

    /// The disk has everything up to `batch`.
    pub(crate) fn on_flushed(&mut self, batch: u64) -> Chosen {
        let mut chosen = Chosen::default();
        if let Office::Founding { batch: waits_for, record } = &self.office
            && *waits_for <= batch
        {
            let record = record.clone();
            chosen.founded = Some(record.as_ref().clone());
            self.office = Office::Leading { ballot: record.ballot, record };
        }
        while let Some(proposal) = self.proposals.pop_front_if(|first| first.batch <= batch) {
            self.make_certain(&proposal.record);
            chosen.records.push(proposal.record);
        }
        chosen
    }

    fn make_certain(&mut self, record: &JobRecord) {
        let Some(uncertain) = self.uncertain.get_mut(&record.job) else {
            return;
        };
        uncertain.proposals -= 1;
        if uncertain.proposals == 0 {
            self.uncertain.remove(&record.job);
        } else {
            uncertain.chosen = Some(record.clone());
        }
    }

    /// A finished job that nobody will ask for any more.
    pub(crate) fn forget(&mut self, job: JobId, cx: &mut Context<'_>) {
        let record = self.registers.remove(&job);
        assert!(record.is_none_or(|register| register.record.is_finished()), "a live job {job}");
        cx.erase(Key::Register(job));
    }
}
