//! The coordinator: keeps the jobs of its cell from submission to settlement.
//!
//! It proposes changes to the [`Committee`] and tells the outside only what was chosen: one place,
//! [`Coordinator::on_chosen`], turns a chosen state into answers, awards and wake-ups. Taking jobs
//! in is `admission`, finding workers `auction`, silence `supervision`, receipts `settlement`,
//! questions `inquiry`, what it knows of workers `workforce`.

mod admission;
mod auction;
mod inquiry;
mod settlement;
mod supervision;
mod workforce;

pub(crate) use auction::lot;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use cyxwiz_scoring::Policy;

pub(crate) use workforce::Record as WorkerRecord;

use crate::{
    ArtifactId, CoordinatorConfig, Instant, JobId, PeerId, RequestId, Run, StoreId, Timing,
    UnixMillis,
    committee::{Committee, Register},
    context::Context,
    effects::{Event, Topic},
    job::{JobRecord, JobState},
    limits,
    message::{
        Gossip, Message,
        membership::{CommitteeRecord, Member, Membership},
        query::DecisionRecord,
        run::Verdict,
        submission::Submission,
    },
    record::Key,
    report::{Ending, Progress, Receipt},
    signed::Verified,
    spec::{JobSpec, Priority},
    timers::Timer,
};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Coordinator {
    committee: Committee,
    policy: Policy,
    timing: Timing,
    jobs: BTreeMap<JobId, Job>,
    /// What waits for a worker: most urgent first, then oldest.
    queue: BTreeSet<(Reverse<Priority>, UnixMillis, JobId)>,
    admissions: BTreeMap<JobId, admission::Admission>,
    workforce: workforce::Workforce,
    rounds: BTreeMap<u64, auction::Round>,
    next_round: u64,
    /// Finished jobs in the order in which they ended.
    finished: VecDeque<JobId>,
    unfinished_of: BTreeMap<PeerId, usize>,
    disk_full: bool,
    earlier: Option<CommitteeRecord>,
}

/// What the leader knows of a job beside its register. Rebuilt after a restart.
#[derive(Debug)]
struct Job {
    spec: Arc<Verified<JobSpec>>,
    /// Who is told when it is accepted, or when a wish to cancel it is noted.
    submit_waiters: Vec<(PeerId, RequestId)>,
    cancel_waiters: Vec<(PeerId, RequestId)>,
    /// The newest state that was chosen, if one was in this life.
    chosen: bool,
    progress: Option<Progress>,
    started_at: Option<UnixMillis>,
    decisions: Vec<DecisionRecord>,
    /// The round in which it is called out.
    round: Option<u64>,
    /// Rounds that brought no bid since it was queued.
    dry_rounds: u32,
    /// No call before this, after a dry round.
    call_after: Instant,
    /// A receipt whose files are being fetched.
    collecting: Option<Box<Verified<Receipt>>>,
    collect_failures: u32,
}

impl Job {
    const fn new(spec: Arc<Verified<JobSpec>>) -> Self {
        Self {
            spec,
            submit_waiters: Vec::new(),
            cancel_waiters: Vec::new(),
            chosen: false,
            progress: None,
            started_at: None,
            decisions: Vec::new(),
            round: None,
            dry_rounds: 0,
            call_after: Instant::START,
            collecting: None,
            collect_failures: 0,
        }
    }
}

/// What the store held of a coordinator's life before.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) committee: Option<CommitteeRecord>,
    pub(crate) registers: BTreeMap<JobId, Register>,
    pub(crate) specs: BTreeMap<JobId, Verified<JobSpec>>,
    pub(crate) decisions: BTreeMap<Run, DecisionRecord>,
    pub(crate) workers: BTreeMap<PeerId, WorkerRecord>,
}

/// How many jobs stand where, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorCounts {
    pub leading: bool,
    pub queued: usize,
    pub running: usize,
    pub finished: usize,
    pub workers: usize,
}

impl Coordinator {
    pub(crate) fn new(
        peer: PeerId,
        store: StoreId,
        config: CoordinatorConfig,
        timing: Timing,
        before: Remembered,
    ) -> Self {
        let CoordinatorConfig { credential, policy, founding } = config;
        let Remembered { committee: earlier, registers, specs, decisions, workers } = before;
        let mut coordinator = Self {
            committee: Committee::new(Member { peer, store, credential }, founding, registers),
            policy,
            timing,
            jobs: BTreeMap::new(),
            queue: BTreeSet::new(),
            admissions: BTreeMap::new(),
            workforce: workforce::Workforce::new(workers),
            rounds: BTreeMap::new(),
            next_round: 1,
            finished: VecDeque::new(),
            unfinished_of: BTreeMap::new(),
            disk_full: false,
            earlier,
        };
        for (job, spec) in specs {
            if coordinator.committee.newest(job).is_some() {
                coordinator.jobs.insert(job, Job::new(Arc::new(spec)));
            }
        }
        for (run, decision) in decisions {
            if let Some(job) = coordinator.jobs.get_mut(&run.job) {
                job.decisions.push(decision);
            }
        }
        coordinator
    }

    /// The peer's life begins: goes on with what it founded, or waits to hear of a committee
    /// before it founds one.
    pub(crate) fn on_start(&mut self, cx: &mut Context<'_>) {
        let resumed = match self.earlier.take() {
            Some(record) => self.committee.resume(&record, cx),
            None => false,
        };
        if !resumed {
            cx.after(self.timing.found_after, Timer::Found);
        }
    }

    /// Nobody was heard of: found a committee.
    pub(crate) fn on_found_timeout(&mut self, cx: &mut Context<'_>) {
        if self.committee.is_out_of_office() && cx.directory.leader().is_none() {
            self.committee.found(cx);
        }
    }

    /// Another committee is in force.
    pub(crate) fn on_other_leader(&mut self) {
        self.committee.stand_down();
    }

    pub(crate) const fn is_leading(&self) -> bool {
        self.committee.is_leading()
    }

    /// What is certain now, and what follows from it.
    pub(crate) fn on_flushed(
        &mut self,
        batch: u64,
        cx: &mut Context<'_>,
    ) -> Option<Verified<CommitteeRecord>> {
        let chosen = self.committee.on_flushed(batch);
        if chosen.founded.is_some() {
            self.take_up(cx);
        }
        for record in chosen.records {
            self.on_chosen(&record, cx);
        }
        chosen.founded
    }

    /// As the new leader: every job goes on from its register. Workers that run attempts get
    /// time to announce themselves again.
    fn take_up(&mut self, cx: &mut Context<'_>) {
        let records: Vec<JobRecord> = self.committee.jobs().cloned().collect();
        for record in records {
            let Some(job) = self.jobs.get_mut(&record.job) else {
                continue;
            };
            job.chosen = true;
            if record.is_finished() {
                self.finished.push_back(record.job);
                continue;
            }
            *self.unfinished_of.entry(record.submitter).or_default() += 1;
            if let Some(attempt) = record.running() {
                let run = Run { job: record.job, attempt: attempt.attempt };
                self.workforce.assign(attempt.worker, run, job.spec.requirements.memory_mb);
                if record.cancel_requested {
                    self.begin_stop(&record, cx);
                } else {
                    cx.after(self.timing.lease_grace, Timer::Lease(run));
                    cx.after(self.timing.award_resend, Timer::Award(run));
                }
            } else {
                self.enqueue(&record, cx);
            }
        }
        self.tell_committee(cx);
    }

    /// A state of a job is a fact: tell those who wait for it.
    fn on_chosen(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        job.chosen = true;
        for (to, request) in std::mem::take(&mut job.submit_waiters) {
            let accepted = Submission::Accepted { request, job: record.job };
            cx.send(to, &Message::Submission(accepted));
        }
        if record.cancel_requested || record.is_finished() {
            for (to, request) in std::mem::take(&mut job.cancel_waiters) {
                let noted = Submission::CancelNoted { request, job: record.job };
                cx.send(to, &Message::Submission(noted));
            }
        }
        let newest = self.committee.newest(record.job) == Some(record);
        match &record.state {
            JobState::Queued { .. } => {
                self.after_attempt(record, Verdict::Counted, cx);
                if newest {
                    self.enqueue(record, cx);
                }
            }
            JobState::Assigned if record.cancel_requested => self.begin_stop(record, cx),
            JobState::Assigned if newest => self.grant(record, cx),
            // What was decided since waits for the disk and speaks for itself.
            JobState::Assigned => {}
            JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                self.after_attempt(record, Verdict::Counted, cx);
                self.retire(record, cx);
            }
        }
    }

    /// A job waits for a worker, from now on.
    fn enqueue(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        (job.round, job.dry_rounds, job.collect_failures) = (None, 0, 0);
        (job.progress, job.started_at) = (None, None);
        job.call_after = cx.now;
        let queue_limit = job.spec.limits.queue();
        self.queue.insert((Reverse(job.spec.priority), record.accepted_at, record.job));
        cx.timers.set_no_later(Timer::Queue(record.job), cx.now + queue_limit);
        cx.timers.set_no_later(Timer::Announce, cx.now);
    }

    fn dequeue(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        job.round = None;
        self.queue.remove(&(Reverse(job.spec.priority), record.accepted_at, record.job));
        cx.timers.clear(Timer::Queue(record.job));
    }

    /// A job has ended: tell its submitter, and make room when too many ended ones are known.
    fn retire(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        self.dequeue(record, cx);
        if let Some(unfinished) = self.unfinished_of.get_mut(&record.submitter) {
            *unfinished = unfinished.saturating_sub(1);
            if *unfinished == 0 {
                self.unfinished_of.remove(&record.submitter);
            }
        }
        let ended = Submission::Ended { job: record.job };
        cx.send(record.submitter, &Message::Submission(ended));
        self.finished.push_back(record.job);
        while self.finished.len() > limits::FINISHED_JOBS {
            let Some(oldest) = self.finished.pop_front() else {
                break;
            };
            self.forget(oldest, cx);
        }
        cx.timers.set_no_later(Timer::Announce, cx.now);
    }

    fn forget(&mut self, job: JobId, cx: &mut Context<'_>) {
        let attempts = self.committee.newest(job).map_or(0, |record| record.attempts.len());
        for attempt in 1..=u32::try_from(attempts).unwrap_or(u32::MAX) {
            cx.erase(Key::Decision(Run { job, attempt: crate::Attempt(attempt) }));
        }
        cx.erase(Key::Spec(job));
        self.committee.forget(job, cx);
        self.jobs.remove(&job);
    }

    /// Tells everyone who coordinates, again and again. Signed anew each time: gossip carries
    /// nothing that was seen before or was signed long ago.
    pub(crate) fn tell_committee(&self, cx: &mut Context<'_>) {
        let Some(record) = self.committee.record() else {
            return;
        };
        let record = cx.sign((**record).clone()).into_signed();
        cx.publish(Topic::Committee, &Gossip::Committee(record));
        cx.after(self.timing.committee_record, Timer::CommitteeRecord);
    }

    /// Tells one peer who coordinates.
    pub(crate) fn greet(&self, peer: PeerId, cx: &mut Context<'_>) {
        if let Some(record) = self.committee.record() {
            let message = Membership::Committee(record.signed().clone());
            cx.send(peer, &Message::Membership(message));
        }
    }

    /// Whether the disk has room for new jobs.
    pub(crate) const fn on_disk_full(&mut self, full: bool) {
        self.disk_full = full;
    }

    /// The files that this coordinator answers for: inputs of jobs that may still run, outputs of
    /// those that are known to have ended.
    pub(crate) fn artifacts(&self, network: crate::NetworkId) -> Vec<ArtifactId> {
        let mut held = Vec::new();
        for record in self.committee.jobs() {
            let Some(job) = self.jobs.get(&record.job) else { continue };
            if !record.is_finished() {
                held.extend(job.spec.inputs.iter().map(|input| input.artifact));
            }
            if let JobState::Completed { receipt, .. } = &record.state
                && let Ok(receipt) = receipt.verify(network)
                && let Ending::Succeeded(success) = &receipt.ending
            {
                held.extend(success.outputs.iter().map(|output| output.artifact));
            }
        }
        held
    }

    /// Every job that waits or runs is counted here, for `node status`.
    pub(crate) fn counts(&self) -> CoordinatorCounts {
        CoordinatorCounts {
            leading: self.is_leading(),
            queued: self.queue.len(),
            running: self.committee.len() - self.queue.len() - self.finished.len(),
            finished: self.finished.len(),
            workers: self.workforce.len(),
        }
    }

    fn emit_announced(jobs: Vec<JobId>, cx: &mut Context<'_>) {
        cx.emit(Event::Announced { jobs });
    }
}
