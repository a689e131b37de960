//! Receipts: one settles a job, no other ever does. A success counts only when another peer than
//! its worker holds the files, so the leader fetches them first; so it does with what an attempt
//! left that was paused.

use super::{Coordinator, Keeping};
use crate::{
    JobId, PeerId, Run,
    context::Context,
    effects::{Collecting, Task},
    job::{EndReason, Transition, TransitionError},
    message::{
        Message,
        run::{RunStep, Verdict},
    },
    mutant::{self, Mutant},
    report::{Checkpoint, Ending, FailureClass, Receipt, Success},
    signed::{Signed, Verified},
    spec::{FileRef, JobLimits},
};

/// Fetches of one result that may fail before the attempt is given up.
const COLLECT_FAILURES: u32 = 3;

impl Coordinator {
    pub(crate) fn on_receipt(
        &mut self,
        from: PeerId,
        receipt: &Signed<Receipt>,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            return;
        }
        let Ok(receipt) = receipt.verify(cx.network) else {
            return;
        };
        if receipt.author() != from {
            return;
        }
        let run = receipt.run();
        let Some(record) = self.committee.newest(run.job) else {
            return tell(from, run, Verdict::Unknown, cx);
        };
        let awarded = |attempt: &crate::job::AttemptRecord| {
            mutant::is(Mutant::AnybodySettles)
                || attempt.attempt == run.attempt && attempt.worker == from
        };
        let Some(attempt) = record.attempts.iter().find(|attempt| awarded(attempt)) else {
            return tell(from, run, Verdict::Unknown, cx);
        };
        if record.is_finished() && !mutant::is(Mutant::SettleTwice) {
            let counted = matches!(&attempt.end, Some(end) if end.why != EndReason::LeaseExpired);
            let verdict = if counted { Verdict::Counted } else { Verdict::Superseded };
            return self.tell_certain(from, run, verdict, cx);
        }
        let newest = record.running().is_some_and(awarded);
        let cancelling = record.cancel_requested;
        let (Some(spec), Some(job)) = (self.spec(run.job), self.jobs.get_mut(&run.job)) else {
            return;
        };
        match &receipt.ending {
            Ending::Succeeded(success) if !cancelling => {
                if let Err(message) = check_success(success, &spec.limits) {
                    return self.fail_attempt(from, run, message, cx);
                }
                if job.keeping.is_none() {
                    let files = success.outputs.clone();
                    job.keeping = Some(Keeping::Result(Box::new(receipt)));
                    fetch(run.job, files, from, cx);
                }
            }
            Ending::Paused { checkpoint: Some(left) }
                if newest
                    && !cancelling
                    && left.is_beyond(record.checkpoint.as_ref())
                    && fits(left, &spec.limits) =>
            {
                if job.keeping.is_none() {
                    let files = vec![left.file.clone()];
                    job.keeping = Some(Keeping::Result(Box::new(receipt)));
                    fetch(run.job, files, from, cx);
                }
            }
            // A success that does not count any more needs no files; the process is dead.
            Ending::Succeeded(_)
            | Ending::Failed { .. }
            | Ending::Cancelled
            | Ending::Paused { .. } => {
                if newest {
                    self.settle(receipt, cx);
                } else {
                    self.tell_certain(from, run, Verdict::Superseded, cx);
                }
            }
        }
    }

    /// What was to be kept is here, or could not be had.
    pub(crate) fn on_collected(
        &mut self,
        job: JobId,
        result: Result<(), String>,
        cx: &mut Context<'_>,
    ) {
        let Some(state) = self.jobs.get_mut(&job) else {
            return;
        };
        match (state.keeping.take(), result) {
            (Some(Keeping::Result(receipt)), Ok(())) => {
                if let Ending::Paused { checkpoint: Some(left) } = &receipt.ending {
                    self.keep_checkpoint(receipt.run(), left.clone(), cx);
                }
                self.settle(*receipt, cx);
            }
            // The worker sends its receipt again until it is told; that is the next try.
            (Some(Keeping::Result(receipt)), Err(error)) => {
                state.collect_failures += 1;
                if state.collect_failures < COLLECT_FAILURES {
                    return;
                }
                if let Ending::Paused { .. } = &receipt.ending {
                    // It goes on from what was left before that.
                    self.settle(*receipt, cx);
                } else {
                    let message = format!("the result could not be fetched: {error}");
                    self.fail_attempt(receipt.author(), receipt.run(), message, cx);
                }
            }
            (Some(Keeping::Checkpoint(run, checkpoint)), Ok(())) => {
                self.keep_checkpoint(run, *checkpoint, cx);
            }
            // The next renewal tells of it again, or of a newer one.
            (Some(Keeping::Checkpoint(..)), Err(_)) | (None, _) => {}
        }
    }

    /// A worker has written down how far it is: worth fetching, if nothing else is being fetched.
    pub(super) fn on_checkpoint(
        &mut self,
        from: PeerId,
        run: Run,
        checkpoint: Checkpoint,
        cx: &mut Context<'_>,
    ) {
        let known = self.committee.newest(run.job).and_then(|record| record.checkpoint.as_ref());
        let newer = checkpoint.is_beyond(known);
        let (Some(spec), Some(job)) = (self.spec(run.job), self.jobs.get_mut(&run.job)) else {
            return;
        };
        if newer && fits(&checkpoint, &spec.limits) && job.keeping.is_none() {
            let files = vec![checkpoint.file.clone()];
            job.keeping = Some(Keeping::Checkpoint(run, Box::new(checkpoint)));
            fetch(run.job, files, from, cx);
        }
    }

    fn keep_checkpoint(&mut self, run: Run, checkpoint: Checkpoint, cx: &mut Context<'_>) {
        let (Some(spec), Some(record)) = (self.spec(run.job), self.committee.newest(run.job))
        else {
            return;
        };
        let change = Transition::Checkpoint { attempt: run.attempt, checkpoint };
        if let Ok(next) = record.apply(change, spec.limits.attempts, cx.unix) {
            self.committee.propose(next, cx);
        }
    }

    fn settle(&mut self, receipt: Verified<Receipt>, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let (run, worker) = (receipt.run(), receipt.author());
        let (Some(spec), Some(record)) = (self.spec(run.job), self.committee.newest(run.job))
        else {
            return;
        };
        let change = Transition::Settle { receipt: Box::new(receipt) };
        match record.apply(change, spec.limits.attempts, cx.unix) {
            Ok(next) => {
                self.committee.propose(next, cx);
                if mutant::is(Mutant::CountBeforeMajority) {
                    tell(worker, run, Verdict::Counted, cx);
                }
            }
            Err(TransitionError::NotAwarded) => tell(worker, run, Verdict::Unknown, cx),
            Err(_finished_or_superseded) => {
                self.tell_certain(worker, run, Verdict::Superseded, cx);
            }
        }
    }

    /// Tells a worker how its receipt fared, if that is certain. What waits for the disk is told
    /// when it is there; until then the worker keeps its result, and asks again.
    fn tell_certain(&self, worker: PeerId, run: Run, verdict: Verdict, cx: &mut Context<'_>) {
        if self.committee.is_certain(run.job) {
            tell(worker, run, verdict, cx);
        }
    }

    fn fail_attempt(&mut self, worker: PeerId, run: Run, message: String, cx: &mut Context<'_>) {
        if self.is_running_at(worker, run) {
            let why = EndReason::Failed { class: FailureClass::Internal, message };
            self.release(run, why, cx);
        } else {
            self.tell_certain(worker, run, Verdict::Superseded, cx);
        }
    }
}

/// Has the files of a run's worker fetched, to be kept.
fn fetch(job: JobId, files: Vec<FileRef>, worker: PeerId, cx: &mut Context<'_>) {
    cx.start(Task::Collect { job, why: Collecting::Keeping, files, from: vec![worker] });
}

fn fits(checkpoint: &Checkpoint, limits: &JobLimits) -> bool {
    checkpoint.file.size <= u64::from(limits.output_mb) * 1_000_000
}

fn check_success(success: &Success, limits: &JobLimits) -> Result<(), String> {
    let bytes = success.outputs.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let allowed = u64::from(limits.output_mb) * 1_000_000;
    if success.outputs.is_empty() {
        return Err("the worker claims success without any file".to_owned());
    }
    if bytes > allowed {
        return Err(format!("outputs of {bytes} bytes where the job allows {allowed}"));
    }
    Ok(())
}

fn tell(worker: PeerId, run: Run, verdict: Verdict, cx: &mut Context<'_>) {
    cx.send(worker, &Message::Run(RunStep::Counted { run, verdict }));
}
