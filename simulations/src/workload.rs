//! The users: what they want when, and what became of it. A user whose machine fell over asks
//! again when it is back; asking twice is harmless.

use std::{collections::BTreeMap, time::Duration};

use cyxwiz_protocol::{
    CellId, CommandId, Instant, JobId, Rng, Run, UnixMillis,
    job::{EndReason, JobRecord, JobState},
    limits,
    spec::{Estimate, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::Requirements;

use crate::{
    chance::{Span, below, happens, place},
    queue::HostId,
    scenario::Plan,
    trainer::data,
};

/// Something that a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Submit(usize),
    Cancel(usize),
    /// The order of this number for the job: the even ones pause it, the others resume it.
    Order(usize, u32),
}

impl Wish {
    /// The job that it is about.
    pub(crate) const fn job(self) -> usize {
        match self {
            Self::Submit(index) | Self::Cancel(index) | Self::Order(index, _) => index,
        }
    }
}

/// One job, as its user sees it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) spec: JobSpec,
    pub(crate) submitter: HostId,
    /// When it was first handed in.
    pub(crate) wanted_at: Option<Instant>,
    pub(crate) accepted_at: Option<Instant>,
    pub(crate) started_at: Option<Instant>,
    pub(crate) refused: bool,
    /// The user wants it cancelled, and whether that was noted or refused.
    cancel: Option<bool>,
    /// The newest order to pause or resume, and whether it was answered.
    order: Option<(u32, bool)>,
    /// What its record said when it was first seen to have ended: a coordinator may forget it.
    pub(crate) ending: Option<Ending>,
    /// How many jobs had been seen to end when this one did; until then, when it was accepted.
    ended_before: usize,
}

/// How a job ended, and what that took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// By what this run made.
    Completed(Option<Run>),
    Failed,
    Cancelled,
}

#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) cases: Vec<Case>,
    by_job: BTreeMap<JobId, usize>,
    commands: BTreeMap<CommandId, Wish>,
    asked: u64,
    /// Jobs that were seen to have ended.
    ended: usize,
    /// Those that coordinators still know.
    remembered: usize,
}

/// A user cancels within this long after handing in, in milliseconds: half of them at once, while
/// the job is being awarded, where races are.
const CANCEL_WITHIN: [u64; 2] = [1_000, 20_000];

/// A job is resumed within this long after it was paused: half of them before that can have come to
/// its worker.
const RESUMED_WITHIN: [u64; 2] = [300, 30_000];
/// A job is paused this many times at most.
const PAUSES: usize = 3;

/// Jobs that may have ended without being seen to, or in another order: those of a moment before
/// a crash, and those that are settled at once. Where fewer are remembered, any may be forgotten.
const ENDED_UNSEEN: usize = limits::FINISHED_JOBS / 100;

impl Workload {
    /// Draws the jobs; returns when each wish comes up, counted from `first`.
    pub(crate) fn draw(
        plan: &Plan,
        submitters: &[HostId],
        first: UnixMillis,
        rng: &mut Rng,
    ) -> (Self, Vec<(Duration, Wish)>) {
        let mut workload = Self {
            cases: Vec::new(),
            by_job: BTreeMap::new(),
            commands: BTreeMap::new(),
            asked: 0,
            ended: 0,
            remembered: plan.finished_jobs as usize,
        };
        let mut wishes = Vec::new();
        for index in 0..plan.jobs as usize {
            let arrival = u64::try_from(plan.arrival.as_micros()).unwrap_or(u64::MAX);
            let at = Duration::from_micros(below(rng, arrival.max(1)));
            wishes.push((at, Wish::Submit(index)));
            if happens(rng, plan.cancelled_permille) {
                let within = CANCEL_WITHIN[place(rng, CANCEL_WITHIN.len())];
                let later = Span::millis(0, within).draw(rng);
                wishes.push((at + later, Wish::Cancel(index)));
            }
            draw_orders(plan, index, at, rng, &mut wishes);
            let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            let spec = spec(index, UnixMillis(first.0 + millis), rng);
            workload.by_job.insert(spec.id, index);
            workload.cases.push(Case {
                spec,
                submitter: submitters[index % submitters.len()],
                wanted_at: None,
                accepted_at: None,
                started_at: None,
                refused: false,
                cancel: None,
                order: None,
                ending: None,
                ended_before: 0,
            });
        }
        (workload, wishes)
    }

    pub(crate) fn index_of(&self, job: JobId) -> Option<usize> {
        self.by_job.get(&job).copied()
    }

    pub(crate) fn case_of(&mut self, job: JobId) -> Option<&mut Case> {
        self.by_job.get(&job).map(|index| &mut self.cases[*index])
    }

    /// A coordinator's word that it has the job leaves it.
    pub(crate) fn note_accepted(&mut self, job: JobId) {
        let ended = self.ended;
        if let Some(case) = self.case_of(job)
            && case.ending.is_none()
        {
            case.ended_before = ended;
        }
    }

    /// The record of a job was seen; counts it when it is the first that has ended.
    pub(crate) fn note_record(&mut self, record: &JobRecord) {
        let outcome = match &record.state {
            JobState::Completed { .. } => Outcome::Completed(completed_by(record)),
            JobState::Failed { .. } => Outcome::Failed,
            JobState::Cancelled { .. } => Outcome::Cancelled,
            JobState::Queued { .. } | JobState::Assigned | JobState::Paused { .. } => return,
        };
        let ended = self.ended;
        let Some(case) = self.case_of(record.job) else {
            return;
        };
        if case.ending.is_none() {
            case.ending = Some(Ending { outcome, attempts: record.attempts.len() as u64 });
            case.ended_before = ended;
            self.ended += 1;
        }
    }

    /// Whether a coordinator that keeps its word may have forgotten the job: so many others have
    /// ended since.
    pub(crate) fn may_be_forgotten(&mut self, job: JobId) -> bool {
        let ended = self.ended + ENDED_UNSEEN;
        let remembered = self.remembered;
        self.case_of(job).is_some_and(|case| ended - case.ended_before > remembered)
    }

    /// A wish becomes a command.
    pub(crate) fn ask(&mut self, wish: Wish, now: Instant) -> CommandId {
        self.asked += 1;
        let id = CommandId(self.asked);
        self.commands.insert(id, wish);
        match wish {
            Wish::Submit(index) => {
                self.cases[index].wanted_at.get_or_insert(now);
            }
            Wish::Cancel(index) => {
                self.cases[index].cancel.get_or_insert(false);
            }
            Wish::Order(index, number) => self.cases[index].order = Some((number, false)),
        }
        id
    }

    /// An answer came: the wish that it is for.
    pub(crate) fn answered(&mut self, id: CommandId) -> Option<Wish> {
        self.commands.remove(&id)
    }

    pub(crate) fn note_cancel_answer(&mut self, index: usize) {
        self.cases[index].cancel = Some(true);
    }

    pub(crate) fn note_order_answer(&mut self, index: usize, number: u32) {
        if let Some((newest, answered)) = &mut self.cases[index].order {
            *answered |= *newest == number;
        }
    }

    /// Whether the user has wanted something else since.
    pub(crate) fn is_overtaken(&self, wish: Wish) -> bool {
        match wish {
            Wish::Order(index, number) => {
                self.cases[index].order.is_some_and(|(newest, _)| newest > number)
            }
            Wish::Submit(_) | Wish::Cancel(_) => false,
        }
    }

    /// The submitter fell over: what was not answered must be asked again.
    pub(crate) fn lost_with(&mut self, submitter: HostId) -> Vec<Wish> {
        let cases = &self.cases;
        let of = |wish: &Wish| cases[wish.job()].submitter;
        let lost = self.commands.extract_if(.., |_, wish| of(wish) == submitter);
        lost.map(|(_, wish)| wish).collect()
    }

    /// Wishes that no answer came to yet.
    pub(crate) fn open(&self) -> usize {
        self.commands.len()
    }

    /// Jobs that were neither accepted nor refused, and wishes of other kinds without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        let open = |case: &&Case| {
            (case.accepted_at.is_none() && !case.refused)
                || case.cancel == Some(false)
                || case.order.is_some_and(|(_, answered)| !answered)
        };
        self.cases.iter().filter(open).count()
    }
}

/// When a user pauses a job and resumes it, if at all.
fn draw_orders(
    plan: &Plan,
    index: usize,
    handed_in: Duration,
    rng: &mut Rng,
    wishes: &mut Vec<(Duration, Wish)>,
) {
    if !happens(rng, plan.paused_permille) {
        return;
    }
    let mut at = handed_in;
    for turn in 0..=place(rng, PAUSES) {
        let number = 2 * u32::try_from(turn).expect("a few");
        for (number, within) in [(number, CANCEL_WITHIN), (number + 1, RESUMED_WITHIN)] {
            let within = within[place(rng, within.len())];
            at += Span::millis(0, within).draw(rng);
            wishes.push((at, Wish::Order(index, number)));
        }
    }
}

fn completed_by(record: &JobRecord) -> Option<Run> {
    let completed = record.attempts.iter().find(|attempt| {
        attempt.end.as_ref().is_some_and(|end| matches!(end.why, EndReason::Completed))
    })?;
    Some(Run { job: record.job, attempt: completed.attempt })
}

fn spec(index: usize, made_at: UnixMillis, rng: &mut Rng) -> JobSpec {
    JobSpec {
        id: JobId::new(made_at, rng),
        cell: CellId::default(),
        name: format!("job-{index}").parse().expect("letters, digits and a dash"),
        kind: JobKind::Train,
        // Of the length that a small model's definition has; nobody reads it here.
        workload: " ".repeat(600),
        // Every other job has data, which must outlive its submitter as the job does.
        inputs: (index % 2 == 1).then(|| data(index)).into_iter().collect(),
        requirements: Requirements { memory_mb: 256, ..Requirements::default() },
        priority: Priority::default(),
        limits: JobLimits { attempts: 8, ..JobLimits::default() },
        estimate: Estimate::default(),
    }
}
