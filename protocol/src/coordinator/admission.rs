//! Taking jobs in: what can be checked is checked, then the job is recorded, then it is answered.

use std::sync::Arc;

use super::{Coordinator, Job};
use crate::{
    Digest, JobId, PeerId, RequestId,
    context::Context,
    effects::Task,
    job::{JobRecord, Transition},
    limits,
    message::{
        Message,
        query::RefusedWorker,
        submission::{Full, Refusal, Submission},
    },
    signed::{Signed, Verified},
    spec::{CancelOrder, JobSpec},
};

/// A spec whose inputs are being fetched and checked.
#[derive(Debug)]
pub(crate) struct Admission {
    spec: Arc<Verified<JobSpec>>,
    waiters: Vec<(PeerId, RequestId)>,
}

/// One asker needs few answers at a time; its newest question counts.
const WAITERS: usize = 4;

impl Coordinator {
    pub(crate) fn on_submit(
        &mut self,
        from: PeerId,
        request: RequestId,
        spec: &Signed<JobSpec>,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            let leader = cx.directory.leader();
            return cx.send(from, &Message::Submission(Submission::Redirect { request, leader }));
        }
        let Ok(spec) = spec.verify(cx.network) else {
            let job = JobId([0; 16]);
            return refuse(from, request, job, Refusal::NotSigned, cx);
        };
        if let Some(refusal) = self.refusal_at_sight(from, &spec, cx) {
            return refuse(from, request, spec.id, refusal, cx);
        }
        let digest = spec.signed().digest();
        if let Some(known) = self.jobs.get_mut(&spec.id) {
            if self.committee.chosen(spec.id).is_some() {
                let accepted = Submission::Accepted { request, job: spec.id };
                cx.send(from, &Message::Submission(accepted));
            } else {
                wait(&mut known.submit_waiters, from, request);
            }
            return;
        }
        if let Some(admission) = self.admissions.get_mut(&spec.id) {
            if admission.spec.signed().digest() == digest {
                wait(&mut admission.waiters, from, request);
            }
            return;
        }
        let spec = Arc::new(spec);
        let waiters = vec![(from, request)];
        self.admissions.insert(spec.id, Admission { spec: Arc::clone(&spec), waiters });
        cx.start(Task::Inspect { spec, from });
    }

    /// What can be said without looking at the inputs.
    fn refusal_at_sight(
        &self,
        from: PeerId,
        spec: &Verified<JobSpec>,
        cx: &Context<'_>,
    ) -> Option<Refusal> {
        if spec.author() != from {
            return Some(Refusal::NotSigned);
        }
        if let Some(known) = self.committee.newest(spec.id) {
            let same = known.spec == spec.signed().digest();
            return (!same).then_some(Refusal::OtherContent);
        }
        if let Err(error) = spec.check() {
            return Some(Refusal::Spec(error));
        }
        let unfinished = self.unfinished_of.get(&from).copied().unwrap_or(0);
        let live: usize = self.unfinished_of.values().sum();
        let full = if self.disk_full {
            Some(Full::Disk)
        } else if live >= limits::LIVE_JOBS
            || self.committee.len() >= limits::LIVE_JOBS + limits::FINISHED_JOBS
        {
            Some(Full::Jobs)
        } else if unfinished >= limits::LIVE_JOBS_PER_SUBMITTER {
            Some(Full::JobsOfSubmitter)
        } else if self.admissions.len() >= limits::ADMISSIONS
            && !self.admissions.contains_key(&spec.id)
        {
            Some(Full::Admissions)
        } else {
            None
        };
        full.map(Refusal::Full).or_else(|| self.nobody_could(spec, cx))
    }

    /// A refusal when workers are here and none could ever run the job. Without any worker the
    /// job may wait: they may still come.
    fn nobody_could(&self, spec: &JobSpec, cx: &Context<'_>) -> Option<Refusal> {
        let mut reasons = Vec::new();
        for (peer, worker) in self.workforce.iter() {
            let never = self.workforce.never(peer, worker, &spec.requirements, cx.unix);
            if never.is_empty() {
                return None;
            }
            if reasons.len() < limits::REFUSALS {
                reasons.push(RefusedWorker { worker: peer, reasons: never });
            }
        }
        let workers = u32::try_from(self.workforce.len()).unwrap_or(u32::MAX);
        (workers > 0).then_some(Refusal::NobodyCould { workers, reasons })
    }

    /// The inputs are here and hold up, or not.
    pub(crate) fn on_inspected(
        &mut self,
        job: JobId,
        result: Result<(), Refusal>,
        cx: &mut Context<'_>,
    ) {
        let Some(Admission { spec, waiters }) = self.admissions.remove(&job) else {
            return;
        };
        if let Err(refusal) = result {
            for (to, request) in waiters {
                refuse(to, request, job, refusal.clone(), cx);
            }
            return;
        }
        if !self.is_leading() {
            return;
        }
        let digest: Digest = spec.signed().digest();
        let record = JobRecord::new(job, spec.author(), digest, cx.unix);
        *self.unfinished_of.entry(spec.author()).or_default() += 1;
        self.jobs.insert(job, Job { submit_waiters: waiters, ..Job::default() });
        self.committee.admit(Arc::unwrap_or_clone(spec).into(), record, cx);
    }

    pub(crate) fn on_cancel(
        &mut self,
        from: PeerId,
        request: RequestId,
        order: &Signed<CancelOrder>,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            let leader = cx.directory.leader();
            return cx.send(from, &Message::Submission(Submission::Redirect { request, leader }));
        }
        let Ok(order) = order.verify(cx.network) else {
            return refuse(from, request, JobId([0; 16]), Refusal::NotSigned, cx);
        };
        let job = order.job;
        let Some(record) = self.committee.newest(job).cloned() else {
            return refuse(from, request, job, Refusal::Unknown, cx);
        };
        if record.submitter != order.author() {
            return refuse(from, request, job, Refusal::NotYours, cx);
        }
        let (Some(spec), Some(state)) = (self.spec(job), self.jobs.get_mut(&job)) else {
            return;
        };
        let max_attempts = spec.limits.attempts;
        let ended = record.is_finished() || record.cancel_requested;
        if ended && self.committee.is_certain(job) {
            return cx.send(from, &Message::Submission(Submission::CancelNoted { request, job }));
        }
        wait(&mut state.cancel_waiters, from, request);
        if ended {
            return;
        }
        if let Ok(next) = record.apply(Transition::RequestCancel, max_attempts, cx.unix) {
            self.committee.propose(next, cx);
        }
    }
}

fn wait(waiters: &mut Vec<(PeerId, RequestId)>, from: PeerId, request: RequestId) {
    if waiters.len() == WAITERS {
        waiters.remove(0);
    }
    waiters.push((from, request));
}

fn refuse(to: PeerId, request: RequestId, job: JobId, refusal: Refusal, cx: &mut Context<'_>) {
    cx.send(to, &Message::Submission(Submission::Refused { request, job, refusal }));
}
