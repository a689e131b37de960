//! Questions of people: what the leader knows of jobs and workers. Only chosen states are told.

use cyxwiz_scoring::Requirements;

use super::Coordinator;
use crate::{
    JobId, PeerId, RequestId,
    context::Context,
    job::{JobRecord, JobState},
    limits,
    message::{
        Message,
        query::{Answer, JobDetail, JobLine, Phase, Query, Question, WorkerLine},
    },
};

impl Coordinator {
    pub(crate) fn on_question(
        &self,
        from: PeerId,
        request: RequestId,
        question: &Question,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            let leader = cx.directory.leader();
            return cx.send(from, &Message::Query(Query::Redirect { request, leader }));
        }
        let answer = match question {
            // It is not certain yet how the job stands: the question comes again.
            Question::Job(job)
                if self.committee.newest(*job).is_some()
                    && self.committee.chosen(*job).is_none() =>
            {
                return;
            }
            Question::Job(job) => Answer::Job(self.detail(*job, cx)),
            Question::Jobs { submitter, after } => Answer::Jobs(self.list(*submitter, *after)),
            Question::Workers => Answer::Workers(self.workers(cx)),
        };
        cx.send(from, &Message::Query(Query::Answer { request, answer: Box::new(answer) }));
    }

    fn detail(&self, id: JobId, cx: &Context<'_>) -> Option<Box<JobDetail>> {
        let (job, entry) = (self.jobs.get(&id)?, self.committee.entry(id)?);
        let record = self.committee.chosen(id)?.clone();
        Some(Box::new(JobDetail {
            spec: entry.spec.signed().clone(),
            progress: job.progress.as_deref().cloned(),
            started_at: job.started_at,
            decisions: entry.decisions.clone(),
            waiting: self.why_waiting(id, cx),
            speed: self.speed(&record, &entry.spec.requirements, cx),
            record,
        }))
    }

    /// How fast the job goes, or would.
    fn speed(&self, record: &JobRecord, needs: &Requirements, cx: &Context<'_>) -> Option<u32> {
        if let Some(attempt) = record.running() {
            return self.workforce.get(attempt.worker).map(|worker| worker.capability.speed);
        }
        let able = self.workforce.iter().filter(|(peer, worker)| {
            self.workforce.never(*peer, worker, needs, cx.unix).is_empty()
        });
        able.map(|(_, worker)| worker.capability.speed).max()
    }

    /// Newest first: ids sort by the time they were made.
    fn list(&self, submitter: Option<PeerId>, after: Option<JobId>) -> Vec<JobLine> {
        self.committee
            .jobs()
            .rev()
            .filter(|record| submitter.is_none_or(|submitter| record.submitter == submitter))
            .filter(|record| after.is_none_or(|after| record.job < after))
            .filter_map(|record| self.line(record))
            .take(limits::PAGE)
            .collect()
    }

    fn line(&self, record: &JobRecord) -> Option<JobLine> {
        let (job, entry) = (self.jobs.get(&record.job)?, self.committee.entry(record.job)?);
        let record = self.committee.chosen(record.job)?;
        let (state, ended_at) = match &record.state {
            JobState::Queued { .. } => (Phase::Queued, None),
            JobState::Assigned if record.pause.requested => (Phase::Pausing, None),
            JobState::Assigned => (Phase::Running, None),
            JobState::Paused { .. } => (Phase::Paused, None),
            JobState::Completed { at, .. } => (Phase::Completed, Some(*at)),
            JobState::Failed { at, .. } => (Phase::Failed, Some(*at)),
            JobState::Cancelled { at } => (Phase::Cancelled, Some(*at)),
        };
        Some(JobLine {
            job: record.job,
            name: entry.spec.name.clone(),
            submitter: record.submitter,
            state,
            worker: record.attempts.last().map(|attempt| attempt.worker),
            attempts: u32::try_from(record.attempts.len()).unwrap_or(u32::MAX),
            accepted_at: record.accepted_at,
            ended_at,
            permille: job.progress.as_deref().map(crate::report::Progress::permille),
            paused_at: record.paused_since(),
        })
    }

    fn workers(&self, cx: &Context<'_>) -> Vec<WorkerLine> {
        self.workforce
            .iter()
            .take(limits::PAGE)
            .map(|(peer, worker)| {
                let record = self.workforce.record(peer);
                WorkerLine {
                    worker: peer,
                    capability: worker.capability.clone(),
                    running: u32::try_from(self.workforce.running(peer)).unwrap_or(u32::MAX),
                    completed: record.map_or(0, |record| record.completed),
                    failed: record.map_or(0, |record| record.failed),
                    reputation: self.workforce.reputation(peer, cx.unix),
                }
            })
            .collect()
    }
}
