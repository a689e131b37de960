//! The submitter: hands jobs in until they are accepted or refused, and brings the results home.
//!
//! A job is on this peer's disk before it is sent, so that a submitter that falls over goes on
//! where it was. Questions to the leader, its own and its user's, go through `questions`.

mod orders;
mod questions;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ArtifactId, CommandId, JobId, NetworkId, PeerId, RequestId, Timing,
    context::Context,
    effects::{Collecting, Command, Event, Reply, Task, Topic, Unreachable},
    job::{JobRecord, JobState},
    limits,
    message::{
        Message,
        pausing::{OrderRefusal, Pausing},
        query::{Answer, JobDetail, Question},
        submission::{Refusal, Submission},
    },
    record::Key,
    report::Ending,
    signed::{Signed, Verified},
    spec::{CancelOrder, FileRef, JobSpec},
    timers::Timer,
};

/// A job of this peer's as it is on disk, until its result is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutboxRecord {
    pub(crate) spec: Signed<JobSpec>,
    pub(crate) accepted: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Submitter {
    timing: Timing,
    outbox: BTreeMap<JobId, Entry>,
    cancels: BTreeMap<JobId, Cancel>,
    orders: orders::Orders,
    questions: questions::Questions,
    /// Who waits for the files of a job.
    collecting: BTreeMap<JobId, Vec<CommandId>>,
    watched: BTreeMap<JobId, u32>,
    next_request: u64,
}

#[derive(Debug)]
struct Entry {
    spec: Signed<JobSpec>,
    accepted: bool,
    waiters: Vec<CommandId>,
    tries: u32,
}

#[derive(Debug)]
struct Cancel {
    order: Verified<CancelOrder>,
    waiters: Vec<CommandId>,
    tries: u32,
}

/// Tries to cancel before the user is told that nobody answers.
const CANCEL_TRIES: u32 = 5;

impl Submitter {
    pub(crate) fn new(timing: Timing, before: BTreeMap<JobId, OutboxRecord>) -> Self {
        let outbox = before.into_iter().map(|(job, record)| {
            let OutboxRecord { spec, accepted } = record;
            (job, Entry { spec, accepted, waiters: Vec::new(), tries: 0 })
        });
        Self {
            timing,
            outbox: outbox.collect(),
            cancels: BTreeMap::new(),
            orders: orders::Orders::default(),
            questions: questions::Questions::default(),
            collecting: BTreeMap::new(),
            watched: BTreeMap::new(),
            next_request: 1,
        }
    }

    pub(crate) fn on_start(&self, cx: &mut Context<'_>) {
        for (job, entry) in &self.outbox {
            let timer = if entry.accepted { Timer::Poll(*job) } else { Timer::Submit(*job) };
            cx.after(Duration::ZERO, timer);
        }
    }

    /// A leader is known, perhaps another: what waits goes to it now. Of what was accepted it is
    /// asked soon, since the one before may have died with an ending untold; not at once, since
    /// every submitter learns of it in this moment.
    pub(crate) fn on_leader(&self, cx: &mut Context<'_>) {
        for (job, entry) in &self.outbox {
            if entry.accepted {
                let soon = cx.now + cx.rng.below(self.timing.poll / 6);
                cx.timers.set_no_later(Timer::Poll(*job), soon);
            } else {
                cx.after(Duration::ZERO, Timer::Submit(*job));
            }
        }
        self.orders.hurry(cx);
        self.questions.hurry(cx);
    }

    pub(crate) fn on_command(&mut self, id: CommandId, command: Command, cx: &mut Context<'_>) {
        match command {
            Command::Submit(spec) => self.submit(id, *spec, cx),
            Command::Cancel(job) => self.cancel(id, job, cx),
            Command::Order(job, wish) => {
                if self.orders.give(id, job, wish, cx) {
                    self.on_order_timeout(job, cx);
                }
            }
            Command::Ask(question) => {
                let request = self.request();
                self.questions.ask(request, question, Some(id), cx);
            }
            Command::Watch(job) => {
                *self.watched.entry(job).or_default() += 1;
                cx.subscribe(Topic::reports_of(job));
                cx.reply(id, Reply::Done);
            }
            Command::Unwatch(job) => {
                self.unwatch(job, cx);
                cx.reply(id, Reply::Done);
            }
            Command::Collect { job, files, from } => self.collect(job, files, from, Some(id), cx),
            Command::Found(_) | Command::Leave => cx.reply(id, Reply::Done),
        }
    }

    fn submit(&mut self, id: CommandId, spec: JobSpec, cx: &mut Context<'_>) {
        let job = spec.id;
        if let Err(error) = spec.check() {
            let refusal = Refusal::Spec(error);
            return cx.reply(id, Reply::Refused { job, refusal });
        }
        if let Some(entry) = self.outbox.get_mut(&job) {
            let same = entry.spec.verify(cx.network).is_ok_and(|known| *known == spec);
            if !same {
                let refusal = Refusal::OtherContent;
                cx.reply(id, Reply::Refused { job, refusal });
            } else if entry.accepted {
                cx.reply(id, Reply::Accepted { job });
            } else {
                wait(&mut entry.waiters, id);
            }
            return;
        }
        if self.outbox.len() >= limits::OUTBOX {
            return cx.reply(id, Reply::Busy("this peer follows as many jobs as it may"));
        }
        let spec = cx.sign(spec).into_signed();
        let record = OutboxRecord { spec: spec.clone(), accepted: false };
        cx.save(Key::Outbox(job), &record);
        let entry = Entry { spec, accepted: false, waiters: vec![id], tries: 0 };
        self.outbox.insert(job, entry);
        self.on_submit_timeout(job, cx);
    }

    /// Hands a job in, again when there was no answer.
    pub(crate) fn on_submit_timeout(&mut self, job: JobId, cx: &mut Context<'_>) {
        let request = self.request();
        let Some(entry) = self.outbox.get_mut(&job) else {
            return;
        };
        // Without a leader it waits: the first one to be known is asked at once.
        let Some(leader) = cx.directory.leader() else {
            return;
        };
        let spec = entry.spec.clone();
        cx.send(leader, &Message::Submission(Submission::Submit { request, spec }));
        let wait = growing(self.timing.submit_resend, entry.tries);
        entry.tries += 1;
        let wait = cx.rng.around(wait);
        cx.after(wait, Timer::Submit(job));
    }

    fn cancel(&mut self, id: CommandId, job: JobId, cx: &mut Context<'_>) {
        if self.cancels.len() >= limits::QUESTIONS {
            return cx.reply(id, Reply::Busy("too many cancellations at this moment"));
        }
        if let Some(cancel) = self.cancels.get_mut(&job) {
            wait(&mut cancel.waiters, id);
            return;
        }
        let order = cx.sign(CancelOrder { job });
        self.cancels.insert(job, Cancel { order, waiters: vec![id], tries: 0 });
        self.on_cancel_timeout(job, cx);
    }

    pub(crate) fn on_cancel_timeout(&mut self, job: JobId, cx: &mut Context<'_>) {
        let request = self.request();
        let Some(cancel) = self.cancels.get_mut(&job) else {
            return;
        };
        if cancel.tries >= CANCEL_TRIES {
            let why = cx.directory.leader().map_or(Unreachable::NoCommittee, Unreachable::Silent);
            return self.end_cancel(job, |_| Reply::Unreachable(why), cx);
        }
        cancel.tries += 1;
        if let Some(leader) = cx.directory.leader() {
            let order = cancel.order.signed().clone();
            cx.send(leader, &Message::Submission(Submission::Cancel { request, order }));
        }
        cx.after(self.timing.submit_resend, Timer::Cancel(job));
    }

    fn end_cancel(&mut self, job: JobId, reply: impl Fn(JobId) -> Reply, cx: &mut Context<'_>) {
        let Some(cancel) = self.cancels.remove(&job) else {
            return;
        };
        cx.timers.clear(Timer::Cancel(job));
        for id in cancel.waiters {
            cx.reply(id, reply(job));
        }
    }

    pub(crate) fn on_order_timeout(&mut self, job: JobId, cx: &mut Context<'_>) {
        let request = self.request();
        self.orders.on_timeout(job, request, &self.timing, cx);
    }

    /// The committee's word on an order to pause or resume.
    pub(crate) fn on_pausing(&mut self, from: PeerId, step: Pausing, cx: &mut Context<'_>) {
        if !cx.directory.is_member(from) {
            return;
        }
        match step {
            Pausing::Noted { job, number, changed, .. } => {
                self.orders.end(job, number, Ok(changed), cx);
            }
            Pausing::Refused { job, number, refusal, .. } => {
                let entry = self.outbox.get(&job).filter(|_| refusal == OrderRefusal::Unknown);
                match entry.map(|entry| entry.accepted) {
                    // Not known yet. It is repeated until the job is accepted or refused.
                    Some(false) => self.orders.try_on(job),
                    // It was not when the order came, perhaps; it is asked again.
                    Some(true) => self.orders.note_unknown(job, number),
                    None => self.orders.end(job, number, Err(refusal), cx),
                }
            }
            // The signed record of the committee follows; the resend goes to the right member.
            Pausing::Redirect { .. } => {}
            // A coordinator's part; `peer.rs` sends it there.
            Pausing::Order { .. } => {}
        }
    }

    /// The committee's word on a submission.
    pub(crate) fn on_submission(&mut self, from: PeerId, step: Submission, cx: &mut Context<'_>) {
        if !cx.directory.is_member(from) {
            return;
        }
        match step {
            Submission::Accepted { job, .. } => self.on_accepted(job, cx),
            Submission::Refused { job, refusal, .. } => self.on_refused(job, &refusal, cx),
            Submission::CancelNoted { job, .. } => {
                self.end_cancel(job, |job| Reply::CancelNoted { job }, cx);
            }
            Submission::Ended { job } => {
                if self.outbox.contains_key(&job) {
                    self.on_poll_timeout(job, cx);
                }
            }
            // The signed record of the committee follows; the resend goes to the right member.
            Submission::Redirect { .. } => {}
            // A coordinator's part; `peer.rs` sends it there.
            Submission::Submit { .. } | Submission::Cancel { .. } => {}
        }
    }

    fn on_accepted(&mut self, job: JobId, cx: &mut Context<'_>) {
        let Some(entry) = self.outbox.get_mut(&job) else {
            return;
        };
        cx.timers.clear(Timer::Submit(job));
        // Told when the mark below is on disk, though the job is on a majority's by now. Whoever is
        // told may end this peer at once and for weeks; without the mark its next life hands the
        // job in again, and a committee that has forgotten it by then would let it count twice.
        for id in std::mem::take(&mut entry.waiters) {
            cx.reply(id, Reply::Accepted { job });
        }
        if !entry.accepted {
            entry.accepted = true;
            let record = OutboxRecord { spec: entry.spec.clone(), accepted: true };
            cx.save(Key::Outbox(job), &record);
            cx.after(self.timing.poll, Timer::Poll(job));
        }
    }

    fn on_refused(&mut self, job: JobId, refusal: &Refusal, cx: &mut Context<'_>) {
        let refused = |job| Reply::Refused { job, refusal: refusal.clone() };
        let unaccepted = self.outbox.get(&job).is_some_and(|entry| !entry.accepted);
        let of_cancel = matches!(refusal, Refusal::Unknown | Refusal::NotYours);
        if unaccepted && of_cancel {
            // Not known yet. The wish is repeated until the job is accepted or refused.
            if let Some(cancel) = self.cancels.get_mut(&job) {
                cancel.tries = 0;
            }
            return;
        }
        self.end_cancel(job, refused, cx);
        if !unaccepted {
            return;
        }
        let Some(entry) = self.outbox.get_mut(&job) else {
            return;
        };
        let waiters = std::mem::take(&mut entry.waiters);
        self.outbox.remove(&job);
        cx.timers.clear(Timer::Submit(job));
        cx.erase(Key::Outbox(job));
        for id in waiters {
            cx.reply(id, refused(job));
        }
    }

    /// Sees whether a job has ended.
    pub(crate) fn on_poll_timeout(&mut self, job: JobId, cx: &mut Context<'_>) {
        if self.outbox.contains_key(&job) {
            let request = self.request();
            self.questions.ask(request, Question::Job(job), None, cx);
            let wait = cx.rng.around(self.timing.poll);
            cx.after(wait, Timer::Poll(job));
        }
    }

    pub(crate) fn on_answer(
        &mut self,
        from: PeerId,
        request: RequestId,
        answer: Answer,
        cx: &mut Context<'_>,
    ) {
        if !cx.directory.is_member(from) {
            return;
        }
        let Some(asked) = self.questions.answered(request, cx) else {
            return;
        };
        if let Answer::Job(detail) = &answer
            && let Question::Job(job) = asked.question
        {
            self.reconcile(job, detail.as_deref(), cx);
        }
        if let Some(id) = asked.command {
            cx.reply(id, Reply::Answer(Box::new(answer)));
        }
    }

    pub(crate) fn on_question_timeout(&mut self, request: RequestId, cx: &mut Context<'_>) {
        self.questions.on_timeout(request, &self.timing, cx);
    }

    pub(crate) fn on_redirect(&self, request: RequestId, leader: PeerId, cx: &mut Context<'_>) {
        self.questions.redirect(request, leader, cx);
    }

    /// What the leader knows of a job of ours: one that has ended is brought home.
    fn reconcile(&mut self, job: JobId, detail: Option<&JobDetail>, cx: &mut Context<'_>) {
        let Some(entry) = self.outbox.get_mut(&job) else {
            return;
        };
        let Some(detail) = detail else {
            if !entry.accepted {
                return;
            }
            let founded = cx.directory.committee().map(|record| record.founding.at);
            if founded.is_some_and(|founded| founded > job.made_at()) {
                // The committee is younger than the job: one before it had the job and is gone
                // with its disks. Nothing of the job can have counted here.
                (entry.accepted, entry.tries) = (false, 0);
                let record = OutboxRecord { spec: entry.spec.clone(), accepted: false };
                cx.save(Key::Outbox(job), &record);
                cx.timers.clear(Timer::Poll(job));
                cx.after(Duration::ZERO, Timer::Submit(job));
            } else {
                // It ended longer ago than the committee remembers. Handed in again it might
                // count a second time.
                self.drop_entry(job, cx);
                cx.emit(Event::Forgotten { job });
            }
            return;
        };
        if !entry.accepted {
            self.on_accepted(job, cx);
        }
        if !detail.record.is_finished() {
            return;
        }
        match result_files(&detail.record, cx) {
            Some((files, worker)) => {
                let mut from: Vec<_> = cx.directory.leader().into_iter().collect();
                from.push(worker);
                self.collect(job, files, from, None, cx);
            }
            None => self.end(job, cx),
        }
    }

    /// Nothing more is to be done for a job.
    fn end(&mut self, job: JobId, cx: &mut Context<'_>) {
        if self.drop_entry(job, cx) {
            cx.emit(Event::Ended { job });
        }
    }

    fn drop_entry(&mut self, job: JobId, cx: &mut Context<'_>) -> bool {
        cx.timers.clear(Timer::Poll(job));
        cx.timers.clear(Timer::Submit(job));
        let known = self.outbox.remove(&job).is_some();
        if known {
            cx.erase(Key::Outbox(job));
        }
        known
    }

    fn collect(
        &mut self,
        job: JobId,
        files: Vec<FileRef>,
        from: Vec<PeerId>,
        id: Option<CommandId>,
        cx: &mut Context<'_>,
    ) {
        if self.collecting.len() >= limits::QUESTIONS && !self.collecting.contains_key(&job) {
            if let Some(id) = id {
                cx.reply(id, Reply::Busy("too many results are being fetched at this moment"));
            }
            return;
        }
        if let Some(waiters) = self.collecting.get_mut(&job) {
            waiters.extend(id);
            return;
        }
        self.collecting.insert(job, id.into_iter().collect());
        cx.start(Task::Collect { job, why: Collecting::Home, files, from });
    }

    /// The files of a job are here, or could not be had.
    pub(crate) fn on_collected(
        &mut self,
        job: JobId,
        result: &Result<(), String>,
        cx: &mut Context<'_>,
    ) {
        let Some(waiters) = self.collecting.remove(&job) else {
            return;
        };
        for id in waiters {
            cx.reply(
                id,
                match result {
                    Ok(()) => Reply::Collected,
                    Err(error) => Reply::CollectFailed(error.clone()),
                },
            );
        }
        // A failure is tried again by the next poll.
        if result.is_ok() {
            self.end(job, cx);
        }
    }

    fn unwatch(&mut self, job: JobId, cx: &mut Context<'_>) {
        let Some(watchers) = self.watched.get_mut(&job) else {
            return;
        };
        *watchers -= 1;
        if *watchers > 0 {
            return;
        }
        self.watched.remove(&job);
        let topic = Topic::reports_of(job);
        if !self.watched.keys().any(|other| Topic::reports_of(*other) == topic) {
            cx.unsubscribe(topic);
        }
    }

    /// Whether someone at this machine watches a job.
    pub(crate) fn watches(&self, job: JobId) -> bool {
        self.watched.contains_key(&job)
    }

    /// Jobs that were not accepted yet, and jobs whose result is not here yet.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let accepted = self.outbox.values().filter(|entry| entry.accepted).count();
        (self.outbox.len() - accepted, accepted)
    }

    /// The inputs of jobs that were not accepted yet: the leader will come for them.
    pub(crate) fn artifacts(&self, network: NetworkId) -> Vec<ArtifactId> {
        let waiting = self.outbox.values().filter(|entry| !entry.accepted);
        let specs = waiting.filter_map(|entry| entry.spec.verify(network).ok());
        specs.flat_map(|spec| spec.inputs.clone()).map(|input| input.artifact).collect()
    }

    const fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}

/// Whoever asks again has long given up the first time.
fn wait(waiters: &mut Vec<CommandId>, id: CommandId) {
    if waiters.len() >= limits::QUESTIONS {
        waiters.remove(0);
    }
    waiters.push(id);
}

/// The files of a completed job and who made them, when the receipt is the worker's own.
fn result_files(record: &JobRecord, cx: &Context<'_>) -> Option<(Vec<FileRef>, PeerId)> {
    let JobState::Completed { receipt, .. } = &record.state else {
        return None;
    };
    let receipt = receipt.verify(cx.network).ok()?;
    let awarded = record
        .attempts
        .iter()
        .any(|attempt| attempt.worker == receipt.author() && attempt.attempt == receipt.attempt);
    match &receipt.ending {
        Ending::Succeeded(success) if awarded && receipt.job == record.job => {
            Some((success.outputs.clone(), receipt.author()))
        }
        Ending::Succeeded(_)
        | Ending::Failed { .. }
        | Ending::Cancelled
        | Ending::Paused { .. } => None,
    }
}

/// 1.6 times longer with each try, up to 20 seconds.
fn growing(first: Duration, tries: u32) -> Duration {
    let factor = (0..tries.min(10)).fold(10_u32, |factor, _| factor * 16 / 10);
    (first * factor / 10).min(Duration::from_secs(20))
}
