//! The coordinator: keeps the jobs of its cell from submission to settlement.
//!
//! It proposes changes to the [`Committee`] and tells the outside only what was chosen: one place,
//! [`Coordinator::on_chosen`], turns a chosen state into answers, awards and wake-ups. Taking jobs
//! in is `admission`, finding workers `auction`, silence `supervision`, receipts `settlement`,
//! orders to pause `pausing`, questions `inquiry`, what it knows of workers `workforce`.

mod admission;
mod auction;
mod inquiry;
mod pausing;
mod settlement;
mod supervision;
mod workforce;

pub(crate) use auction::lot;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use cyxwiz_scoring::Policy;
use serde::{Deserialize, Serialize};

pub use workforce::Record as WorkerRecord;

use crate::{
    ArtifactId, Instant, JobId, PeerId, RequestId, Run, StoreId, Timing, UnixMillis,
    charter::{Credential, Founding},
    committee::{Committee, CommitteeStatus, Entries, Entry, Register, SeatRecord, files_of},
    context::Context,
    effects::Topic,
    job::{JobRecord, JobState},
    message::{
        Gossip, Message,
        auction::Award,
        membership::{CommitteeRecord, Member},
        query::DecisionRecord,
        run::Verdict,
        submission::Submission,
    },
    report::{Checkpoint, Progress, Receipt},
    signed::{Signed, Verified},
    spec::{KeptSpec, Priority},
    timers::Timer,
};

/// The right to coordinate, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoordinatorConfig {
    pub credential: Credential,
    /// How to choose workers.
    pub policy: Policy,
    /// Finished jobs that it still knows when it leads; the oldest are forgotten first.
    /// [`FINISHED_JOBS`](crate::limits::FINISHED_JOBS), but where forgetting is tested.
    pub finished_jobs: usize,
    /// Present on the one replica that the charter lets begin the committee.
    pub founding: Option<Founding>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Coordinator {
    committee: Committee,
    policy: Policy,
    finished_jobs: usize,
    timing: Timing,
    disk_full: bool,
    workforce: workforce::Workforce,
    /// As leader: what it knows of each job beside its register.
    jobs: BTreeMap<JobId, Box<Job>>,
    /// What waits for a worker, the next one first.
    queue: BTreeSet<(Urgency, JobId)>,
    /// What is paused.
    shelf: BTreeSet<JobId>,
    admissions: BTreeMap<JobId, admission::Admission>,
    auctions: auction::Auctions,
    /// Finished jobs in the order in which they ended.
    finished: VecDeque<JobId>,
    unfinished_of: BTreeMap<PeerId, usize>,
    /// Jobs of leaders before this one, until their state is certain.
    inherited: BTreeSet<JobId>,
}

/// What the leader knows of a job beside its register: soft, and gone with its office.
#[derive(Debug, Default)]
struct Job {
    /// Who is told when it is accepted, or when a wish to cancel it is noted.
    submit_waiters: Vec<(PeerId, RequestId)>,
    cancel_waiters: Vec<(PeerId, RequestId)>,
    /// Whose orders to pause or to go on were not answered yet.
    orderers: Vec<pausing::Orderer>,
    progress: Option<Box<Progress>>,
    started_at: Option<UnixMillis>,
    /// The round in which it is called out.
    round: Option<u64>,
    /// Rounds that brought no bid since it was queued.
    dry_rounds: u32,
    /// No call before this, after a dry round.
    call_after: Instant,
    /// The award of the attempt that runs, as it was signed: sent again, it is the same.
    award: Option<Box<(Run, Signed<Award>)>>,
    /// What is being fetched of its worker.
    keeping: Option<Keeping>,
    collect_failures: u32,
    /// Its worker is being stopped, and has the time that this takes.
    stopping: bool,
}

impl Job {
    /// Nothing of the last attempt is of interest any more.
    fn forget_attempt(&mut self) {
        (self.round, self.dry_rounds, self.collect_failures) = (None, 0, 0);
        (self.progress, self.started_at, self.award) = (None, None, None);
        self.stopping = false;
    }
}

/// Files that the leader fetches before it counts on them.
#[derive(Debug)]
enum Keeping {
    Result(Box<Verified<Receipt>>),
    Checkpoint(Run, Box<Checkpoint>),
}

/// Smaller is more urgent: when the job was accepted, set back by what its priority is worth in
/// waiting. So the urgent go first, and whoever waits long enough goes before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Urgency(i64);

impl Urgency {
    /// Nothing is more urgent.
    const FIRST: Self = Self(i64::MIN);
    /// What one step of priority is worth.
    const STEP_MS: i64 = 60_000;

    fn of(record: &JobRecord, priority: Priority) -> Self {
        let accepted = i64::try_from(record.accepted_at.0).unwrap_or(i64::MAX);
        Self(accepted.saturating_sub(i64::from(priority.0) * Self::STEP_MS))
    }
}

/// What the store held of a coordinator's life before.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) seat: SeatRecord,
    pub(crate) registers: BTreeMap<JobId, Register>,
    pub(crate) specs: BTreeMap<JobId, KeptSpec>,
    pub(crate) decisions: BTreeMap<Run, DecisionRecord>,
    pub(crate) workers: BTreeMap<PeerId, WorkerRecord>,
}

impl Remembered {
    fn entries(self) -> (SeatRecord, Entries, BTreeMap<PeerId, WorkerRecord>) {
        let Self { seat, registers, mut specs, decisions, workers } = self;
        let mut entries = Entries::new();
        for (job, register) in registers {
            if let Some(spec) = specs.remove(&job) {
                let entry = Entry { register, spec: Arc::new(spec), decisions: Vec::new() };
                entries.insert(job, Box::new(entry));
            }
        }
        for (run, decision) in decisions {
            if let Some(entry) = entries.get_mut(&run.job) {
                entry.decisions.push(decision);
            }
        }
        (seat, entries, workers)
    }
}

/// How many jobs stand where, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorCounts {
    pub leading: bool,
    pub queued: usize,
    pub running: usize,
    pub paused: usize,
    pub finished: usize,
    pub workers: usize,
    pub committee: CommitteeStatus,
}

impl Coordinator {
    pub(crate) fn new(
        peer: PeerId,
        store: StoreId,
        config: CoordinatorConfig,
        timing: Timing,
        before: Remembered,
    ) -> Self {
        let CoordinatorConfig { credential, policy, finished_jobs, founding } = config;
        let (seat, entries, workers) = before.entries();
        let me = Member { peer, store, credential };
        Self {
            committee: Committee::new(me, founding, timing, seat, entries),
            policy,
            finished_jobs,
            timing,
            disk_full: false,
            workforce: workforce::Workforce::new(workers),
            jobs: BTreeMap::new(),
            queue: BTreeSet::new(),
            shelf: BTreeSet::new(),
            admissions: BTreeMap::new(),
            auctions: auction::Auctions::default(),
            finished: VecDeque::new(),
            unfinished_of: BTreeMap::new(),
            inherited: BTreeSet::new(),
        }
    }

    /// The peer's life begins.
    pub(crate) fn on_start(&mut self, cx: &mut Context<'_>) {
        self.committee.on_start(cx);
    }

    /// What it is to the others who coordinate.
    pub(crate) const fn committee(&mut self) -> &mut Committee {
        &mut self.committee
    }

    /// Another committee's record is in force: perhaps this peer sits no more.
    pub(crate) fn on_record(&mut self, record: &CommitteeRecord, cx: &mut Context<'_>) {
        self.committee.on_record(record, cx);
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.committee.is_leading()
    }

    /// Called at the end of every input: what has become certain, and what follows from it. Hands
    /// back what everyone may know of the committee, when that has changed.
    pub(crate) fn conclude(&mut self, cx: &mut Context<'_>) -> Option<Verified<CommitteeRecord>> {
        let mut news = None;
        loop {
            let turn = self.committee.take_turn();
            if turn.is_empty() {
                break;
            }
            for (peer, rating) in turn.ratings {
                self.workforce.learn(peer, rating);
            }
            if turn.deposed {
                self.stand_down(cx);
            }
            if turn.elected {
                // What was chosen before is among what it takes up.
                self.take_up(cx);
            } else {
                for record in turn.records {
                    self.on_chosen(&record, cx);
                }
            }
            if turn.record.is_some() {
                news = turn.record;
                self.tell_committee(cx);
            }
        }
        self.committee.pump(cx);
        news
    }

    /// As the new leader: every job goes on from its register.
    fn take_up(&mut self, cx: &mut Context<'_>) {
        self.stand_down(cx);
        let mut records: Vec<JobRecord> = self.committee.jobs().cloned().collect();
        // Those that ended first are forgotten first.
        records.sort_by_key(|record| (record.ended_at(), record.job));
        for record in records {
            self.jobs.insert(record.job, Box::default());
            if record.is_finished() {
                self.finished.push_back(record.job);
            } else {
                *self.unfinished_of.entry(record.submitter).or_default() += 1;
            }
            // Also when it is only being said again under this ballot: that it is chosen is known.
            if self.committee.chosen(record.job) == Some(&record) {
                self.take_up_job(&record, cx);
            } else {
                self.inherited.insert(record.job);
            }
        }
        self.make_room(cx);
    }

    /// A job of an earlier leader goes on. Workers that run attempts get time to announce
    /// themselves again.
    fn take_up_job(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        if record.is_finished() {
            return;
        }
        let Some(spec) = self.spec(record.job) else {
            return;
        };
        if record.paused_since().is_some() {
            return self.shelve(record, cx);
        }
        let left = record.total_left(spec.limits.total(), cx.unix);
        cx.after(left, Timer::Total(record.job));
        let Some(attempt) = record.running() else {
            return self.enqueue(record, cx);
        };
        let run = Run { job: record.job, attempt: attempt.attempt };
        self.workforce.assign(attempt.worker, run, spec.requirements.memory_mb);
        if record.cancel_requested || record.pause.requested {
            self.begin_stop(record, cx);
        } else {
            cx.after(self.timing.lease_grace, Timer::Lease(run));
            cx.after(self.timing.award_resend, Timer::Award(run));
        }
    }

    /// Another leads, or nobody: what this leader knew beside the registers is of no use.
    fn stand_down(&mut self, cx: &mut Context<'_>) {
        let beat = self.committee.is_leading();
        cx.timers.clear_of_leader();
        if beat {
            cx.after(self.timing.beat, Timer::Beat);
        }
        self.jobs.clear();
        self.queue.clear();
        self.shelf.clear();
        self.admissions.clear();
        self.auctions.clear();
        self.finished.clear();
        self.unfinished_of.clear();
        self.inherited.clear();
        self.workforce.forget_present();
    }

    /// The spec of a known job.
    fn spec(&self, job: JobId) -> Option<Arc<KeptSpec>> {
        self.committee.entry(job).map(|entry| Arc::clone(&entry.spec))
    }

    /// A state of a job is a fact: tell those who wait for it.
    fn on_chosen(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        tell_accepted(&std::mem::take(&mut job.submit_waiters), record.job, cx);
        if record.cancel_requested || record.is_finished() {
            for (to, request) in std::mem::take(&mut job.cancel_waiters) {
                let noted = Submission::CancelNoted { request, job: record.job };
                cx.send(to, &Message::Submission(noted));
            }
        }
        self.answer_orders(record, cx);
        if self.inherited.remove(&record.job) {
            return self.take_up_job(record, cx);
        }
        let newest = self.committee.newest(record.job) == Some(record);
        match &record.state {
            JobState::Queued { .. } => {
                self.after_attempt(record, Verdict::Counted, cx);
                if newest {
                    self.enqueue(record, cx);
                }
            }
            JobState::Paused { .. } => {
                self.after_attempt(record, Verdict::Counted, cx);
                if newest {
                    self.shelve(record, cx);
                }
            }
            JobState::Assigned if record.cancel_requested || record.pause.requested => {
                self.begin_stop(record, cx);
            }
            JobState::Assigned if newest => self.grant(record, cx),
            // What was decided since waits for the disks and speaks for itself.
            JobState::Assigned => {}
            JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                self.after_attempt(record, Verdict::Counted, cx);
                self.retire(record, cx);
            }
        }
    }

    /// A job waits for a worker, from now on.
    fn enqueue(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        self.unshelve(record.job, cx);
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        let Some(entry) = self.committee.entry(record.job) else {
            return;
        };
        job.forget_attempt();
        job.call_after = cx.now;
        let (queue_limit, total) = (entry.spec.limits.queue(), entry.spec.limits.total());
        self.queue.insert((Urgency::of(record, entry.spec.priority), record.job));
        cx.timers.set_no_later(Timer::Queue(record.job), cx.now + queue_limit);
        let left = record.total_left(total, cx.unix);
        cx.timers.set_no_later(Timer::Total(record.job), cx.now + left);
        self.wake_queue(cx);
    }

    fn dequeue(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(entry) = self.committee.entry(record.job) else {
            return;
        };
        self.queue.remove(&(Urgency::of(record, entry.spec.priority), record.job));
        if let Some(job) = self.jobs.get_mut(&record.job) {
            job.round = None;
        }
        cx.timers.clear(Timer::Queue(record.job));
    }

    /// A job has ended: tell its submitter, and make room when too many ended ones are known.
    fn retire(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        self.dequeue(record, cx);
        self.unshelve(record.job, cx);
        if let Some(unfinished) = self.unfinished_of.get_mut(&record.submitter) {
            *unfinished = unfinished.saturating_sub(1);
            if *unfinished == 0 {
                self.unfinished_of.remove(&record.submitter);
            }
        }
        let ended = Submission::Ended { job: record.job };
        cx.send(record.submitter, &Message::Submission(ended));
        cx.timers.clear(Timer::Total(record.job));
        self.finished.push_back(record.job);
        self.make_room(cx);
        self.wake_queue(cx);
    }

    /// Forgets the oldest finished jobs when there are too many. One that some member does not
    /// have as finished is kept, and so are those after it, so that it cannot come back.
    fn make_room(&mut self, cx: &mut Context<'_>) {
        while self.finished.len() > self.finished_jobs
            && let Some(&oldest) = self.finished.front()
            && self.committee.may_forget(oldest)
        {
            self.finished.pop_front();
            self.committee.forget(oldest, cx);
            self.jobs.remove(&oldest);
        }
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

    /// The files that this replica answers for: inputs of jobs that may still run, outputs of
    /// those that are known to have ended.
    pub(crate) fn artifacts(&self, network: crate::NetworkId) -> Vec<ArtifactId> {
        let files = self.committee.jobs().flat_map(|record| {
            let entry = self.committee.entry(record.job);
            entry.map(|entry| files_of(record, &entry.spec, network)).unwrap_or_default()
        });
        files.map(|file| file.artifact).collect()
    }

    /// Whether the disk has room for new jobs.
    pub(crate) const fn on_disk_full(&mut self, full: bool) {
        self.disk_full = full;
    }

    /// Every job that waits or runs is counted here, for `node status`.
    pub(crate) fn counts(&self, now: Instant) -> CoordinatorCounts {
        let unfinished: usize = self.unfinished_of.values().sum();
        CoordinatorCounts {
            leading: self.is_leading(),
            queued: self.queue.len(),
            running: unfinished.saturating_sub(self.queue.len() + self.shelf.len()),
            paused: self.shelf.len(),
            finished: self.finished.len(),
            workers: self.workforce.len(),
            committee: self.committee.status(now),
        }
    }
}

fn tell_accepted(waiters: &[(PeerId, RequestId)], job: JobId, cx: &mut Context<'_>) {
    for &(to, request) in waiters {
        cx.send(to, &Message::Submission(Submission::Accepted { request, job }));
    }
}
