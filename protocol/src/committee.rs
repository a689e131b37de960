//! The seam of replication: job registers go in as proposals and come out as chosen facts.
//!
//! The committee's members keep one register for each job, `(ballot, version, record)`, and no
//! log. A ballot belongs to one leader, who holds it by the promise of a majority; a state is
//! chosen when a majority has it on disk; a new leader collects what a majority holds, keeps what
//! is chosen and proposes the rest again before it acts on it. Who sits is a register like the
//! others. This is Paxos for many registers under one ballot (Lamport, "Paxos Made Simple", 2001;
//! Rystsov, "CASPaxos", 2018) with the elections of Raft (Ongaro and Ousterhout, 2014; pre-vote
//! and joint configurations included).
//!
//! Becoming leader is in `electing` and `inheriting`, being one in `leading` (what it knows in
//! `leadership`), following one in `following`, who sits in `growth`, the rules in [`rules`]. Callers propose, and act only on what [`Committee::take_turn`] hands back.

mod electing;
mod flight;
mod following;
mod growth;
mod inheriting;
mod leadership;
mod leading;
pub mod rules;
mod seating;
mod takeover;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub(crate) use following::files_of;
pub(crate) use seating::Replica;

use crate::{
    Ballot, CellId, Instant, JobId, PeerId, Timing,
    charter::Founding,
    context::Context,
    job::JobRecord,
    message::{
        Message,
        membership::{CommitteeRecord, Member},
        query::DecisionRecord,
        replication::{Copied, Replication, Seating, SeatingRegister, Step},
    },
    record::Key,
    signed::Verified,
    spec::JobSpec,
    timers::Timer,
};

/// One job's state under one ballot. A larger `(ballot, version)` replaces a smaller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub(crate) ballot: Ballot,
    pub(crate) version: u64,
    pub(crate) record: JobRecord,
}

/// What decides which of two states of a job is newer.
pub(crate) type Rank = rules::Rank<Ballot>;

impl Register {
    pub(crate) const fn rank(&self) -> Rank {
        Rank { ballot: self.ballot, version: self.version }
    }
}

/// A job as it is on this replica's disk.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) register: Register,
    pub(crate) spec: Arc<Verified<JobSpec>>,
    pub(crate) decisions: Vec<DecisionRecord>,
}

impl Entry {
    /// The newest state, chosen or not.
    pub(crate) const fn record(&self) -> &JobRecord {
        &self.register.record
    }

    /// For a replica that has the spec, or for one that may have nothing.
    fn copy(&self, whole: bool) -> Copied {
        let newest = self.register.record.newest_attempt();
        let decisions = self.decisions.iter().filter(|it| whole || it.attempt == newest);
        Copied {
            job: self.register.record.job,
            register: self.register.clone(),
            spec: whole.then(|| self.spec.signed().clone()),
            decisions: decisions.cloned().collect(),
        }
    }
}

/// What a replica has promised, and who sits as far as it knows. Kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatRecord {
    pub(crate) promised: Ballot,
    pub(crate) seating: Option<SeatingRegister>,
    /// The latest generation whose committee went on without this replica: it founds none of it,
    /// and none before it, whatever the charter said once.
    dismissed: Option<u32>,
}

/// What a replica knows and does as one.
#[derive(Debug)]
pub(crate) struct Committee {
    me: Member,
    founding: Option<Founding>,
    timing: Timing,
    seat: SeatRecord,
    entries: BTreeMap<JobId, Entry>,
    office: Office,
    /// When a leader was last heard of.
    heard: Option<Instant>,
    /// The highest term that anyone spoke of.
    highest_term: u64,
    /// Messages of this ballot before this one are overtaken: what it forgot must not come back.
    forgot_at: (Ballot, u64),
    /// Copies whose files are being fetched: they are not held before.
    awaiting_files: BTreeMap<JobId, following::AwaitingFiles>,
    /// States that this leader took over without their files, and when it last asked for those.
    lacks_files: BTreeMap<JobId, Instant>,
    candidates: growth::Candidates,
    turn: Turn,
}

#[derive(Debug)]
enum Office {
    /// Follows whoever leads.
    Following,
    /// Asks whether it would be followed.
    Canvassing {
        ballot: Ballot,
        supporters: BTreeSet<Replica>,
    },
    Preparing(takeover::Takeover),
    Leading(Box<leadership::Leadership>),
}

/// What has become certain.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// This replica leads from now on.
    pub(crate) elected: bool,
    /// It did, and does no more.
    pub(crate) deposed: bool,
    /// In the order in which they were chosen.
    pub(crate) records: Vec<JobRecord>,
    /// The committee has changed, and this is what everyone may know of it.
    pub(crate) record: Option<Verified<CommitteeRecord>>,
    /// How workers did, by the word of the leader.
    pub(crate) ratings: Vec<(PeerId, crate::coordinator::WorkerRecord)>,
}

impl Turn {
    pub(crate) fn is_empty(&self) -> bool {
        !self.elected
            && !self.deposed
            && self.records.is_empty()
            && self.record.is_none()
            && self.ratings.is_empty()
    }
}

/// How a replica stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitteeStatus {
    pub office: OfficeKind,
    /// The ballot that this replica has promised to.
    pub ballot: Ballot,
    pub epoch: u64,
    /// Whether members are being exchanged.
    pub joint: bool,
    /// As leader: how each member does. As another: who sits.
    pub members: Vec<MemberStatus>,
    /// As leader: peers that would take a seat.
    pub candidates: usize,
}

/// What a coordinator is to its committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfficeKind {
    Leader,
    Follower,
    /// It has not heard of a leader and would be one.
    Electing,
    /// It has no seat.
    Candidate,
}

/// How one member does, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub peer: PeerId,
    /// Milliseconds since it was heard of.
    pub silent_ms: Option<u64>,
    /// Jobs whose newest state it does not have yet.
    pub behind: usize,
}

impl Committee {
    /// A replica with the memory of its store.
    pub(crate) fn new(
        me: Member,
        founding: Option<Founding>,
        timing: Timing,
        seat: SeatRecord,
        entries: BTreeMap<JobId, Entry>,
    ) -> Self {
        let highest_term = seat.promised.term;
        Self {
            me,
            founding,
            timing,
            seat,
            entries,
            office: Office::Following,
            heard: None,
            highest_term,
            forgot_at: (Ballot::default(), 0),
            awaiting_files: BTreeMap::new(),
            lacks_files: BTreeMap::new(),
            candidates: growth::Candidates::default(),
            turn: Turn::default(),
        }
    }

    /// Begins: as founder, as a member that waits for its leader, or as one that would be one.
    pub(crate) fn on_start(&mut self, cx: &mut Context<'_>) {
        if let Some(founding) = self.founding.take() {
            self.found(founding, cx);
        }
        if matches!(self.office, Office::Following) {
            self.await_leader(cx);
        }
        cx.after(self.timing.stand, Timer::Stand);
    }

    /// Begins a committee of one, if the charter lets this replica and none began since.
    pub(crate) fn found(&mut self, founding: Founding, cx: &mut Context<'_>) {
        let me = self.me();
        let own = (founding.founder, founding.store) == (me.peer, me.store);
        let known = self.seating().map(|seating| seating.founding.generation);
        let later = known.max(self.seat.dismissed).is_none_or(|known| known < founding.generation);
        if !own || !later || founding.verify(cx.charter).is_err() {
            return;
        }
        let epoch = self.seating().map_or(0, |seating| seating.epoch) + 1;
        let seating = Seating {
            cell: CellId::default(),
            founding,
            epoch,
            members: vec![self.me],
            joining: Vec::new(),
        };
        self.step_down(cx);
        let ballot = self.next_ballot();
        self.seat.seating = Some(SeatingRegister { ballot, seating });
        self.prepare(ballot, cx);
    }

    /// One step of another replica.
    pub(crate) fn on_step(
        &mut self,
        from: PeerId,
        Replication { from: store, to, step }: Replication,
        cx: &mut Context<'_>,
    ) {
        let from = Replica { peer: from, store };
        if to != self.me.store || from == self.me() {
            return;
        }
        match step {
            Step::Canvass { ballot } => self.on_canvass(from, ballot, cx),
            Step::Supported { ballot } => self.on_supported(from, ballot, cx),
            Step::Prepare { ballot, seating } => self.on_prepare(from, ballot, *seating, cx),
            Step::Promise { ballot, seating, part, parts, holds } => {
                let seating = seating.map(|it| *it);
                self.on_promise(from, ballot, seating, (part, parts), holds, cx);
            }
            Step::Refused { promised } => self.on_refused(from, promised, cx),
            Step::Fetch { ballot, jobs } => self.on_fetch(from, ballot, &jobs, cx),
            Step::Fetched { ballot, copies } => self.on_fetched(from, ballot, copies, cx),
            Step::Accept(accept) => self.on_accept(from, accept, cx),
            Step::Accepted { ballot, serial, epoch, items } => {
                self.on_accepted(from, ballot, (serial, epoch), &items, cx);
            }
            Step::Beat { ballot } => self.on_beat(from, ballot, cx),
            Step::Heard { ballot } => self.on_heard(from, ballot, cx),
            Step::Stand { credential } => self.on_stand(from, credential, cx),
        }
    }

    /// A committee's record is in force. One that this replica is not in ends its seat.
    pub(crate) fn on_record(&mut self, record: &CommitteeRecord, cx: &mut Context<'_>) {
        let Some(SeatingRegister { ballot, seating }) = &self.seat.seating else {
            // Whoever it is that leads hears at once that there is a candidate.
            return cx.timers.set_no_later(Timer::Stand, cx.now);
        };
        // The ballot goes before the epoch: what this replica knows of may be a change that was
        // never chosen, and a later leader's committee counts its epochs from before it.
        let newer = (record.founding.generation, record.ballot, record.epoch)
            > (seating.founding.generation, *ballot, seating.epoch);
        let sits = record.members.iter().any(|member| member.replica() == self.me());
        if newer && !sits {
            self.on_dismissed(record.founding.generation, cx);
        }
    }

    /// The disk has everything up to `batch`.
    pub(crate) fn on_flushed(&mut self, batch: u64, cx: &mut Context<'_>) {
        match &mut self.office {
            Office::Preparing(takeover) => {
                takeover.on_flushed(batch);
                self.go_on_preparing(cx);
            }
            Office::Leading(_) => self.on_own_flushed(batch, cx),
            Office::Following | Office::Canvassing { .. } => {}
        }
    }

    /// What has become certain since the last time.
    pub(crate) fn take_turn(&mut self) -> Turn {
        std::mem::take(&mut self.turn)
    }

    /// Whether this replica acts: it was elected and a majority keeps to its ballot.
    pub(crate) fn is_leading(&self) -> bool {
        self.record().is_some()
    }

    /// The ballot under which this replica acts.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        match &self.office {
            Office::Leading(leadership) if leadership.acts() => Some(leadership.ballot),
            Office::Leading(_)
            | Office::Following
            | Office::Canvassing { .. }
            | Office::Preparing(_) => None,
        }
    }

    /// What everyone may know of the committee, if this replica leads it.
    pub(crate) fn record(&self) -> Option<&Verified<CommitteeRecord>> {
        match &self.office {
            Office::Leading(leadership) => leadership.record(),
            Office::Following | Office::Canvassing { .. } | Office::Preparing(_) => None,
        }
    }

    /// The newest state of a job, which may not be chosen yet: the base of the next proposal,
    /// never of an answer.
    pub(crate) fn newest(&self, job: JobId) -> Option<&JobRecord> {
        self.entries.get(&job).map(|entry| &entry.register.record)
    }

    /// The newest state of a job that this leader knows to be chosen: what an answer may tell.
    pub(crate) fn chosen(&self, job: JobId) -> Option<&JobRecord> {
        let Office::Leading(leadership) = &self.office else {
            return None;
        };
        match leadership.flight(job) {
            Some(flight) => flight.chosen(),
            None => self.newest(job),
        }
    }

    /// Whether the newest state of a job was chosen.
    pub(crate) fn is_certain(&self, job: JobId) -> bool {
        let Office::Leading(leadership) = &self.office else {
            return false;
        };
        leadership.flight(job).is_none_or(flight::Flight::is_certain)
    }

    /// A job as it is on this replica's disk, chosen or not.
    pub(crate) fn entry(&self, job: JobId) -> Option<&Entry> {
        self.entries.get(&job)
    }

    /// Every job, by id.
    pub(crate) fn jobs(&self) -> impl DoubleEndedIterator<Item = &JobRecord> {
        self.entries.values().map(|entry| &entry.register.record)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who sits, as far as this replica knows.
    fn seating(&self) -> Option<&Seating> {
        self.seat.seating.as_ref().map(|register| &register.seating)
    }

    fn me(&self) -> Replica {
        self.me.replica()
    }

    fn is_seated(&self) -> bool {
        self.sits(self.me())
    }

    /// Whether `replica` sits as far as this one knows.
    fn sits(&self, replica: Replica) -> bool {
        self.seating().is_some_and(|seating| seating.seats(replica))
    }

    fn next_ballot(&self) -> Ballot {
        let term = self.highest_term.max(self.seat.promised.term).saturating_add(1);
        Ballot { term, leader: self.me.peer }
    }

    fn save_seat(&self, cx: &mut Context<'_>) {
        cx.save(Key::Seat, &self.seat);
    }

    fn tell(&self, to: Replica, step: Step, cx: &mut Context<'_>) {
        let replication = Replication { from: self.me.store, to: to.store, step };
        cx.send(to.peer, &Message::Replication(replication));
    }

    /// Everyone else who sits.
    fn others(&self) -> Vec<Replica> {
        let me = self.me();
        let all = self.seating().map(Seating::replicas).unwrap_or_default();
        all.into_iter().filter(|replica| *replica != me).collect()
    }

    /// How this replica stands.
    pub(crate) fn status(&self, now: Instant) -> CommitteeStatus {
        let office = match &self.office {
            Office::Leading(_) => OfficeKind::Leader,
            Office::Canvassing { .. } | Office::Preparing(_) => OfficeKind::Electing,
            Office::Following if self.is_seated() => OfficeKind::Follower,
            Office::Following => OfficeKind::Candidate,
        };
        let members = match &self.office {
            Office::Leading(leadership) => leadership.members(self.me(), now),
            Office::Following | Office::Canvassing { .. } | Office::Preparing(_) => {
                let seated = self.seating().map(Seating::everyone).unwrap_or_default();
                let unknown = |peer| MemberStatus { peer, silent_ms: None, behind: 0 };
                seated.into_iter().map(|member| unknown(member.peer)).collect()
            }
        };
        CommitteeStatus {
            office,
            ballot: self.seat.promised,
            epoch: self.seating().map_or(0, |seating| seating.epoch),
            joint: self.seating().is_some_and(Seating::is_joint),
            members,
            candidates: self.candidates.len(),
        }
    }
}
