//! Silence is handled here and nowhere else: awards that nobody takes, leases that run out,
//! workers that go, jobs that nobody comes for.

use std::time::Duration;

use cyxwiz_scoring::Evidence;

use super::{Coordinator, Keeping};
use crate::{
    JobId, PeerId, Run,
    context::Context,
    job::{EndReason, FailReason, JobRecord, JobState, Transition, clip},
    limits,
    message::{
        Message,
        query::{RefusedWorker, Waiting},
        run::{Renewal, RunStep, Standing, Verdict},
    },
    report::FailureClass,
    timers::Timer,
};

impl Coordinator {
    /// The worker has the award on disk.
    pub(crate) fn on_taken(&mut self, from: PeerId, run: Run, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        if let Standing::Leased { .. } = self.standing(from, run) {
            cx.timers.clear(Timer::Award(run));
            cx.after(self.timing.lease, Timer::Lease(run));
        }
    }

    /// The worker will not run it.
    pub(crate) fn on_declined(&mut self, from: PeerId, run: Run, cx: &mut Context<'_>) {
        if self.is_running_at(from, run) {
            self.release(run, EndReason::Declined, cx);
        }
    }

    /// A worker says what it runs: those that are not its own any more are stopped.
    pub(super) fn on_running(&mut self, from: PeerId, running: &[Run], cx: &mut Context<'_>) {
        for &run in running {
            if self.is_running_at(from, run) {
                cx.timers.clear(Timer::Award(run));
            } else if self.standing(from, run) == Standing::Superseded {
                cx.send(from, &Message::Run(RunStep::Stop(run)));
            }
        }
    }

    /// A worker renews what it runs.
    pub(crate) fn on_renew(&mut self, from: PeerId, items: Vec<Renewal>, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let mut standings = Vec::with_capacity(items.len());
        for Renewal { run, progress, checkpoint } in items {
            let standing = match self.standing(from, run) {
                Standing::Leased { .. } | Standing::Paused if self.is_overdue(run, cx) => {
                    let class = FailureClass::TimedOut;
                    let message = "it ran for longer than the job allows".to_owned();
                    self.release(run, EndReason::Failed { class, message }, cx);
                    Standing::Superseded
                }
                standing @ (Standing::Leased { .. }
                | Standing::Paused
                | Standing::Cancelled
                | Standing::Superseded) => standing,
            };
            match standing {
                Standing::Leased { .. } => {
                    cx.timers.clear(Timer::Award(run));
                    cx.after(self.timing.lease, Timer::Lease(run));
                }
                Standing::Paused | Standing::Cancelled => {
                    cx.after(self.longest_life(), Timer::Lease(run));
                }
                Standing::Superseded => {}
            }
            if let Standing::Leased { .. } | Standing::Paused = standing {
                if let (Some(job), Some(progress)) = (self.jobs.get_mut(&run.job), progress) {
                    job.started_at = job.started_at.or(Some(cx.unix));
                    job.progress = Some(Box::new(progress));
                }
                if let Some(checkpoint) = checkpoint {
                    self.on_checkpoint(from, run, checkpoint, cx);
                }
            }
            standings.push((run, standing));
        }
        cx.send(from, &Message::Run(RunStep::Renewed(standings)));
    }

    /// Whether an attempt takes longer than its job allows and its worker has not ended it: it
    /// has the time of a lease beyond, to say so itself.
    fn is_overdue(&self, run: Run, cx: &Context<'_>) -> bool {
        let (Some(spec), Some(record)) = (self.spec(run.job), self.committee.newest(run.job))
        else {
            return false;
        };
        let allowed = spec.limits.attempt() + self.timing.lease + self.timing.lease_grace;
        let allowed_ms = u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX);
        record.running().is_some_and(|attempt| {
            attempt.attempt == run.attempt
                && cx.unix.0 > attempt.awarded_at.0.saturating_add(allowed_ms)
        })
    }

    fn standing(&self, worker: PeerId, run: Run) -> Standing {
        let lease_ms = u32::try_from(self.timing.lease.as_millis()).unwrap_or(u32::MAX);
        match self.committee.chosen(run.job) {
            Some(record) if is_running_at(record, worker, run) => {
                if record.cancel_requested {
                    Standing::Cancelled
                } else if record.pause.requested {
                    Standing::Paused
                } else {
                    Standing::Leased { lease_ms }
                }
            }
            // Nothing is certain of it yet; in doubt what was awarded goes on, and asks again.
            None if self
                .committee
                .newest(run.job)
                .is_some_and(|it| was_awarded(it, worker, run)) =>
            {
                Standing::Leased { lease_ms }
            }
            Some(_) | None => Standing::Superseded,
        }
    }

    /// The lease ran out: the next attempt goes elsewhere.
    pub(crate) fn on_lease_timeout(&mut self, run: Run, cx: &mut Context<'_>) {
        let keeping = self.jobs.get(&run.job).and_then(|job| job.keeping.as_ref());
        if matches!(keeping, Some(Keeping::Result(_))) {
            return cx.after(self.timing.lease_grace, Timer::Lease(run));
        }
        // The wish to stop it is on its way to the disks: it is not over before its process is.
        let newest = self.committee.newest(run.job);
        let wished = newest.is_some_and(|it| it.cancel_requested || it.pause.requested);
        if let Some(job) = self.jobs.get_mut(&run.job).filter(|job| wished && !job.stopping) {
            job.stopping = true;
            return cx.after(self.longest_life(), Timer::Lease(run));
        }
        self.release(run, EndReason::LeaseExpired, cx);
    }

    /// Ends the newest attempt without a receipt.
    pub(super) fn release(&mut self, run: Run, why: EndReason, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let (Some(spec), Some(record)) = (self.spec(run.job), self.committee.newest(run.job))
        else {
            return;
        };
        if record.running().is_none_or(|attempt| attempt.attempt != run.attempt) {
            return;
        }
        let change = Transition::Release { why };
        if let Ok(next) = record.apply(change, spec.limits.attempts, cx.unix) {
            self.committee.propose(next, cx);
        }
    }

    /// The offer of a worker ran out, or it said that it leaves.
    pub(crate) fn on_worker_gone(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        self.workforce.remove(peer);
        cx.timers.clear(Timer::Offer(peer));
    }

    /// Nobody came for a job in the time that its submitter gives it.
    pub(crate) fn on_queue_timeout(&mut self, id: JobId, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let detail = match self.why_waiting(id, cx) {
            Some(Waiting::NoWorkers) | None => "no worker was on the network".to_owned(),
            Some(Waiting::Auction) => "no worker took it in time".to_owned(),
            Some(Waiting::NobodyFree { reasons, .. }) => {
                let reasons: Vec<_> = reasons.iter().map(RefusedWorker::to_string).collect();
                reasons.join("; ")
            }
        };
        self.expire(id, FailReason::NobodyCould { detail: clip(detail) }, cx);
    }

    /// The job took longer than its submitter gives it, waiting and running together.
    pub(crate) fn on_total_timeout(&mut self, id: JobId, cx: &mut Context<'_>) {
        let Some(spec) = self.spec(id) else {
            return;
        };
        let total_ms = spec.limits.total_ms;
        // A result that is being fetched is as good as here.
        let keeping = self.jobs.get(&id).and_then(|job| job.keeping.as_ref());
        if matches!(keeping, Some(Keeping::Result(_))) {
            return cx.after(self.timing.lease_grace, Timer::Total(id));
        }
        self.expire(id, FailReason::TookTooLong { total_ms }, cx);
    }

    pub(super) fn expire(&mut self, id: JobId, reason: FailReason, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let (Some(spec), Some(record)) = (self.spec(id), self.committee.newest(id)) else {
            return;
        };
        let change = Transition::Expire { reason };
        if let Ok(next) = record.apply(change, spec.limits.attempts, cx.unix) {
            self.committee.propose(next, cx);
        }
    }

    /// The job runs and shall not. It is over when its process is dead: when the receipt says
    /// so, or after the time in which a worker that hears of nobody ends it by itself.
    pub(super) fn begin_stop(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        if let Some(attempt) = record.running() {
            if let Some(job) = self.jobs.get_mut(&record.job) {
                job.stopping = true;
            }
            let run = Run { job: record.job, attempt: attempt.attempt };
            cx.timers.clear(Timer::Award(run));
            cx.after(self.longest_life(), Timer::Lease(run));
            self.stop_worker(record, cx);
        }
    }

    /// How long a worker goes on that hears nothing more: its lease, which began when the last
    /// word reached it, and its grace.
    fn longest_life(&self) -> Duration {
        self.timing.lease * 2 + self.timing.lease_grace
    }

    /// The job runs and shall not: tell its worker until the receipt comes.
    pub(super) fn stop_worker(&self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(attempt) = record.running() else {
            return;
        };
        let run = Run { job: record.job, attempt: attempt.attempt };
        let step = if record.cancel_requested {
            RunStep::Stop(run)
        } else if record.pause.requested {
            RunStep::Pause(run)
        } else {
            return;
        };
        cx.send(attempt.worker, &Message::Run(step));
        cx.after(self.timing.award_resend, Timer::Stop(run));
    }

    pub(crate) fn on_stop_timeout(&self, run: Run, cx: &mut Context<'_>) {
        if let Some(record) = self.committee.newest(run.job)
            && record.running().is_some_and(|attempt| attempt.attempt == run.attempt)
        {
            self.stop_worker(record, cx);
        }
    }

    /// Attempts that ended with this state: free their workers, tell them, rate them.
    pub(super) fn after_attempt(
        &mut self,
        record: &JobRecord,
        verdict: Verdict,
        cx: &mut Context<'_>,
    ) {
        for attempt in &record.attempts {
            let run = Run { job: record.job, attempt: attempt.attempt };
            let was_assigned = self.workforce.release(attempt.worker, run);
            let Some(end) = &attempt.end else {
                // A late receipt of an older attempt settled the job: this one is for nothing.
                cx.send(attempt.worker, &Message::Run(RunStep::Stop(run)));
                clear_timers(run, cx);
                continue;
            };
            if !was_assigned && end.why != EndReason::Completed {
                continue;
            }
            clear_timers(run, cx);
            if let Some(evidence) = evidence(&end.why) {
                let worker = attempt.worker;
                let rated = self.workforce.rate(worker, evidence, cx.unix);
                cx.save(crate::record::Key::Reputation(worker), &rated);
                self.committee.share_rating(worker, &rated);
            }
            match end.why {
                EndReason::Completed
                | EndReason::Cancelled
                | EndReason::Paused
                | EndReason::Failed { .. } => {
                    let counted = RunStep::Counted { run, verdict };
                    cx.send(attempt.worker, &Message::Run(counted));
                }
                EndReason::LeaseExpired | EndReason::Declined | EndReason::TimeOver => {
                    cx.send(attempt.worker, &Message::Run(RunStep::Stop(run)));
                }
            }
        }
    }

    pub(super) fn is_running_at(&self, worker: PeerId, run: Run) -> bool {
        self.committee.newest(run.job).is_some_and(|record| is_running_at(record, worker, run))
    }

    /// Why a job has no worker yet; none when it has, or has ended.
    pub(super) fn why_waiting(&self, id: JobId, cx: &Context<'_>) -> Option<Waiting> {
        let entry = self.committee.entry(id)?;
        let record = entry.record();
        let waits = matches!(record.state, JobState::Queued { .. });
        if !waits {
            return None;
        }
        if self.workforce.len() == 0 {
            return Some(Waiting::NoWorkers);
        }
        let mut reasons = Vec::new();
        for (peer, worker) in self.workforce.iter() {
            let not_now = self.workforce.not_now(peer, worker, &entry.spec.requirements, cx.unix);
            if not_now.is_empty() {
                return Some(Waiting::Auction);
            }
            if reasons.len() < limits::REFUSALS {
                reasons.push(RefusedWorker { worker: peer, reasons: not_now });
            }
        }
        let workers = u32::try_from(self.workforce.len()).unwrap_or(u32::MAX);
        Some(Waiting::NobodyFree { workers, reasons })
    }
}

fn is_running_at(record: &JobRecord, worker: PeerId, run: Run) -> bool {
    record.running().is_some_and(|now| now.worker == worker && now.attempt == run.attempt)
}

fn was_awarded(record: &JobRecord, worker: PeerId, run: Run) -> bool {
    record.attempts.iter().any(|it| it.worker == worker && it.attempt == run.attempt)
}

fn clear_timers(run: Run, cx: &mut Context<'_>) {
    for timer in [Timer::Lease(run), Timer::Award(run), Timer::Stop(run)] {
        cx.timers.clear(timer);
    }
}

/// What an ending says of the worker: nothing, when the job was at fault.
fn evidence(why: &EndReason) -> Option<Evidence> {
    match why {
        EndReason::Completed => Some(Evidence::Success),
        EndReason::LeaseExpired | EndReason::Declined => Some(Evidence::Failure),
        // Handed back in good order.
        EndReason::Failed { class: FailureClass::Abandoned, .. } => None,
        EndReason::Failed { class, .. } if class.is_recoverable() => Some(Evidence::Failure),
        EndReason::Failed { .. }
        | EndReason::Cancelled
        | EndReason::Paused
        | EndReason::TimeOver => None,
    }
}
