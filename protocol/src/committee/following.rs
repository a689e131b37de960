//! Following a leader: have on disk what it sends, and say so. Every answer that claims something
//! follows a write of the same input, so that it leaves only when the claim is true on disk.

use std::{collections::BTreeSet, sync::Arc};

use super::{Committee, Entry, Office, Replica, rules};
use crate::{
    ArtifactId, Ballot, JobId, NetworkId, PeerId, Run,
    context::Context,
    effects::{Collecting, Task},
    job::{JobRecord, JobState},
    limits,
    message::{
        query::DecisionRecord,
        replication::{Accept, Copied, Held, Step},
    },
    mutant::{self, Mutant},
    record::Key,
    report::Ending,
    signed::Signed,
    spec::{FileRef, JobSpec, KeptSpec},
    timers::Timer,
};

/// A state that is held when its files are here.
#[derive(Debug)]
pub(super) struct AwaitingFiles {
    leads: Ballot,
    copy: Copied,
    spec: Arc<KeptSpec>,
}

/// Jobs whose files are fetched at once; the leader sends the others again.
const FETCHES: usize = 256;

impl Committee {
    /// Whether `from` leads with `ballot` as far as this replica may follow; notes that it is here.
    fn heeds(&mut self, from: Replica, ballot: Ballot, cx: &mut Context<'_>) -> bool {
        if !self.is_seated() || !self.sits(from) || ballot.leader != from.peer {
            return false;
        }
        if !rules::may_accept(Some(self.seat.promised), ballot)
            && !mutant::is(Mutant::FollowLowerBallots)
        {
            let promised = self.seat.promised;
            self.tell(from, Step::Refused { promised }, cx);
            return false;
        }
        if ballot > self.seat.promised {
            self.promise(ballot, cx);
        }
        self.heard = Some(cx.now);
        self.follow(cx);
        true
    }

    pub(super) fn on_beat(&mut self, from: Replica, ballot: Ballot, cx: &mut Context<'_>) {
        if self.heeds(from, ballot, cx) {
            self.tell(from, Step::Heard { ballot }, cx);
        }
    }

    pub(super) fn on_accept(&mut self, from: Replica, accept: Accept, cx: &mut Context<'_>) {
        let Accept { ballot, serial, seating, copies, forget, ratings } = accept;
        let had_seating = seating.is_some();
        // Who sits is a register like the others: not taken from a leader that is overtaken.
        if let Some(seating) = seating
            && rules::may_accept(Some(self.seat.promised), ballot)
        {
            self.learn_seating(from, *seating, cx);
        }
        if !self.heeds(from, ballot, cx) || (ballot, serial) < self.forgot_at {
            return;
        }
        if !forget.is_empty() {
            self.forgot_at = (ballot, serial);
        }
        if had_seating {
            // Said again below, and perhaps not on disk since the last time.
            self.save_seat(cx);
        }
        let mut items = Vec::with_capacity(copies.len());
        for copy in copies {
            let job = copy.job;
            if let Some(held) = self.take_copy(ballot, copy, cx) {
                items.push((job, held));
            }
        }
        for job in forget {
            if self.newest(job).is_some_and(JobRecord::is_finished) {
                self.erase(job, cx);
            }
        }
        for (peer, rating) in &ratings {
            cx.save(Key::Reputation(*peer), rating);
        }
        self.turn.ratings.extend(ratings);
        let epoch = self.epoch_under(ballot);
        self.tell(from, Step::Accepted { ballot, serial, epoch, items }, cx);
    }

    /// Takes one job's state; none when that must wait for its files.
    fn take_copy(&mut self, leads: Ballot, copy: Copied, cx: &mut Context<'_>) -> Option<Held> {
        let (job, rank) = (copy.job, copy.register.rank());
        if rank.ballot > leads || copy.register.record.job != job {
            return None;
        }
        if let Some(entry) = self.entries.get(&job) {
            let own = entry.register.rank();
            if own > rank && !mutant::is(Mutant::OverwriteNewer) {
                if own.ballot != leads {
                    return Some(Held::Later);
                }
                // The leader's own later word came first.
                cx.save(Key::Register(job), &entry.register);
                return Some(Held::Version(own.version));
            }
        } else if copy.spec.is_none() {
            return Some(Held::NoSpec);
        }
        let spec = self.spec_of(&copy, cx.network)?;
        let files = self.files_lacking(&copy.register.record, &spec, cx.network);
        if files.is_empty() {
            return Some(Held::Version(self.keep_copy(copy, spec, cx)));
        }
        self.fetch_files(leads, copy, spec, files, cx);
        None
    }

    /// The spec that a state is about: the one that is here, or the one that came along.
    fn spec_of(&self, copy: &Copied, network: NetworkId) -> Option<Arc<KeptSpec>> {
        if let Some(entry) = self.entries.get(&copy.job) {
            return Some(Arc::clone(&entry.spec));
        }
        let spec = copy.spec.as_ref()?.verify(network).ok()?;
        let same = spec.id == copy.job && spec.signed().digest() == copy.register.record.spec;
        same.then(|| Arc::new(spec.into()))
    }

    /// Puts a state on disk.
    pub(super) fn keep_copy(
        &mut self,
        copy: Copied,
        spec: Arc<KeptSpec>,
        cx: &mut Context<'_>,
    ) -> u64 {
        let Copied { job, register, decisions, .. } = copy;
        let version = register.version;
        if !mutant::is(Mutant::AcknowledgeWithoutDisk) {
            cx.save(Key::Register(job), &register);
        }
        // An earlier state that waits for its files is overtaken.
        self.awaiting_files.remove(&job);
        match self.entries.get_mut(&job) {
            Some(entry) => entry.register = register,
            None => {
                cx.save::<Signed<JobSpec>>(Key::Spec(job), spec.signed());
                let entry = Entry { register, spec, decisions: Vec::new() };
                self.entries.insert(job, Box::new(entry));
            }
        }
        for decision in decisions {
            self.keep_decision(job, decision, cx);
        }
        version
    }

    /// Keeps how an attempt's worker was chosen, once.
    pub(super) fn keep_decision(
        &mut self,
        job: JobId,
        decision: DecisionRecord,
        cx: &mut Context<'_>,
    ) {
        if let Some(entry) = self.entries.get_mut(&job)
            && entry.decisions.iter().all(|known| known.attempt != decision.attempt)
        {
            if entry.decisions.len() >= usize::from(limits::ATTEMPTS) {
                let oldest = entry.decisions.remove(0);
                cx.erase(Key::Decision(Run { job, attempt: oldest.attempt }));
            }
            cx.save(Key::Decision(Run { job, attempt: decision.attempt }), &decision);
            entry.decisions.push(decision);
        }
    }

    /// The files of a state that this replica does not answer for yet: what is said to be held
    /// must be, or a job would outlive its leader without its data.
    pub(super) fn files_lacking(
        &self,
        record: &JobRecord,
        spec: &KeptSpec,
        network: NetworkId,
    ) -> Vec<FileRef> {
        let known = self.newest(record.job);
        let held = known.map(|known| files_of(known, spec, network)).unwrap_or_default();
        let held: BTreeSet<ArtifactId> = held.into_iter().map(|file| file.artifact).collect();
        let needed = files_of(record, spec, network).into_iter();
        needed.filter(|file| !held.contains(&file.artifact)).collect()
    }

    /// One state of a job at a time: the leader sends a later one again when this one is here.
    fn fetch_files(
        &mut self,
        leads: Ballot,
        copy: Copied,
        spec: Arc<KeptSpec>,
        files: Vec<FileRef>,
        cx: &mut Context<'_>,
    ) {
        let job = copy.job;
        let under_way = self.awaiting_files.contains_key(&job);
        if under_way || self.awaiting_files.len() >= FETCHES {
            return;
        }
        self.fetch(&copy.register.record, leads.leader, files, cx);
        self.awaiting_files.insert(job, AwaitingFiles { leads, copy, spec });
    }

    /// Begins to fetch files of a job, from `first` or whoever else has them.
    pub(super) fn fetch(
        &self,
        record: &JobRecord,
        first: PeerId,
        files: Vec<FileRef>,
        cx: &mut Context<'_>,
    ) {
        let mut from = vec![first];
        from.extend(self.others().into_iter().map(|replica| replica.peer));
        from.push(record.submitter);
        from.extend(record.attempts.last().map(|attempt| attempt.worker));
        let mut known = BTreeSet::new();
        from.retain(|peer| *peer != self.me.peer && known.insert(*peer));
        let job = record.job;
        cx.start(Task::Collect { job, why: Collecting::Replica, files, from });
    }

    /// The files of a state are here, or could not be had: then the leader sends it again.
    pub(crate) fn on_replica_collected(
        &mut self,
        job: JobId,
        result: Result<(), String>,
        cx: &mut Context<'_>,
    ) {
        if result.is_ok() {
            self.lacks_files.remove(&job);
        }
        let Some(AwaitingFiles { leads, copy, spec }) = self.awaiting_files.remove(&job) else {
            return;
        };
        let rank = copy.register.rank();
        let older = self.entries.get(&job).is_some_and(|it| it.register.rank() > rank);
        let follows = matches!(self.office, Office::Following) && leads == self.seat.promised;
        let leader = self.others().into_iter().find(|replica| replica.peer == leads.leader);
        let (Ok(()), false, true, Some(leader)) = (result, older, follows, leader) else {
            return;
        };
        let version = self.keep_copy(copy, spec, cx);
        let epoch = self.epoch_under(leads);
        let items = vec![(job, Held::Version(version))];
        self.tell(leader, Step::Accepted { ballot: leads, serial: 0, epoch, items }, cx);
    }

    /// The epoch of the seating on disk, if that is of `ballot`.
    fn epoch_under(&self, ballot: Ballot) -> u64 {
        let register = self.seat.seating.as_ref().filter(|register| register.ballot == ballot);
        register.map_or(0, |register| register.seating.epoch)
    }

    /// Nothing of a job stays.
    pub(super) fn erase(&mut self, job: JobId, cx: &mut Context<'_>) {
        self.awaiting_files.remove(&job);
        self.lacks_files.remove(&job);
        let Some(entry) = self.entries.remove(&job) else {
            return;
        };
        for decision in entry.decisions {
            cx.erase(Key::Decision(Run { job, attempt: decision.attempt }));
        }
        cx.erase(Key::Spec(job));
        cx.erase(Key::Register(job));
    }

    /// The committee goes on without this replica, by a record that its leader signed: what it
    /// has is history, and must not come back as news should it sit again.
    pub(crate) fn on_dismissed(&mut self, generation: u32, cx: &mut Context<'_>) {
        self.step_down(cx);
        cx.timers.clear(Timer::Election);
        let jobs: Vec<JobId> = self.entries.keys().copied().collect();
        for job in jobs {
            self.erase(job, cx);
        }
        self.awaiting_files.clear();
        self.seat.seating = None;
        self.seat.dismissed = self.seat.dismissed.max(Some(generation));
        self.heard = None;
        self.save_seat(cx);
        cx.timers.set_no_later(Timer::Stand, cx.now);
    }
}

/// What a job in this state cannot do without.
pub(crate) fn files_of(record: &JobRecord, spec: &KeptSpec, network: NetworkId) -> Vec<FileRef> {
    match &record.state {
        JobState::Queued { .. } | JobState::Assigned | JobState::Paused { .. } => {
            let checkpoint = record.checkpoint.as_ref().map(|it| &it.file);
            spec.inputs.iter().chain(checkpoint).cloned().collect()
        }
        JobState::Completed { receipt, .. } => match receipt.verify(network) {
            Ok(receipt) => match &receipt.ending {
                Ending::Succeeded(success) => success.outputs.clone(),
                Ending::Failed { .. } | Ending::Cancelled | Ending::Paused { .. } => Vec::new(),
            },
            Err(_not_signed) => Vec::new(),
        },
        JobState::Failed { .. } | JobState::Cancelled { .. } => Vec::new(),
    }
}
