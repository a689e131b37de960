//! Orders to pause a job and to let it go on: noted like everything that is promised, and answered
//! from what was chosen. Stopping the worker of one that runs is for `supervision`, its receipt
//! for `settlement`.

use std::time::Duration;

use super::Coordinator;
use crate::{
    JobId, PeerId, RequestId,
    context::Context,
    job::{FailReason, JobRecord, JobState, Transition},
    limits,
    message::{
        Message,
        pausing::{OrderRefusal, Pausing},
        query::Phase,
    },
    mutant::{self, Mutant},
    signed::Signed,
    spec::PauseOrder,
    timers::Timer,
};

/// Who is told what became of an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orderer {
    peer: PeerId,
    request: RequestId,
    number: u64,
}

/// One submitter needs few answers at a time; the newest questions count.
const ORDERERS: usize = 4;

impl Coordinator {
    pub(crate) fn on_order(
        &mut self,
        from: PeerId,
        request: RequestId,
        order: &Signed<PauseOrder>,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            let leader = cx.directory.leader();
            return cx.send(from, &Message::Pausing(Pausing::Redirect { request, leader }));
        }
        let Ok(order) = order.verify(cx.network) else {
            return;
        };
        let (PauseOrder { job, wish }, number) = (*order, order.header().sequence);
        let orderer = Orderer { peer: from, request, number };
        let Some(record) = self.committee.newest(job).cloned() else {
            return refuse(orderer, job, OrderRefusal::Unknown, cx);
        };
        if record.submitter != order.author() {
            return refuse(orderer, job, OrderRefusal::NotYours, cx);
        }
        let (Some(spec), Some(state)) = (self.spec(job), self.jobs.get_mut(&job)) else {
            return;
        };
        if state.orderers.len() == ORDERERS {
            state.orderers.remove(0);
        }
        state.orderers.push(orderer);
        let change = Transition::Order { wish, number };
        if let Ok(next) = record.apply(change, spec.limits.attempts, cx.unix) {
            let changed = next.pause.changed;
            self.committee.propose(next, cx);
            if mutant::is(Mutant::NoteOrderBeforeMajority) {
                note(orderer, job, changed, cx);
            }
        } else if self.committee.is_certain(job) {
            self.answer_orders(&record, cx);
        }
    }

    /// Answers the orders that a chosen state of their job decides.
    pub(super) fn answer_orders(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(job) = self.jobs.get_mut(&record.job) else {
            return;
        };
        job.orderers.retain(|orderer| {
            let id = record.job;
            if orderer.number == record.pause.order {
                note(*orderer, id, record.pause.changed, cx);
            } else if orderer.number < record.pause.order {
                refuse(*orderer, id, OrderRefusal::Overtaken, cx);
            } else if let Some(phase) = ended(&record.state) {
                refuse(*orderer, id, OrderRefusal::Ended(phase), cx);
            } else if record.cancel_requested {
                refuse(*orderer, id, OrderRefusal::Cancelling, cx);
            } else {
                return true;
            }
            false
        });
    }

    /// A job is paused: nobody is asked to run it, and its own time stands still.
    pub(super) fn shelve(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let id = record.job;
        self.dequeue(record, cx);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.forget_attempt();
        self.shelf.insert(id);
        cx.timers.clear(Timer::Total(id));
        let since = record.paused_since().unwrap_or(cx.unix);
        let paused = Duration::from_millis(cx.unix.0.saturating_sub(since.0));
        cx.after(limits::PAUSE.saturating_sub(paused), Timer::Paused(id));
        self.wake_queue(cx);
    }

    /// A job is not paused any more.
    pub(super) fn unshelve(&mut self, id: JobId, cx: &mut Context<'_>) {
        self.shelf.remove(&id);
        cx.timers.clear(Timer::Paused(id));
    }

    /// Nobody has wanted it to go on for as long as a job may be paused.
    pub(crate) fn on_paused_timeout(&mut self, id: JobId, cx: &mut Context<'_>) {
        self.expire(id, FailReason::PausedTooLong, cx);
    }
}

const fn ended(state: &JobState) -> Option<Phase> {
    match state {
        JobState::Completed { .. } => Some(Phase::Completed),
        JobState::Failed { .. } => Some(Phase::Failed),
        JobState::Cancelled { .. } => Some(Phase::Cancelled),
        JobState::Queued { .. } | JobState::Assigned | JobState::Paused { .. } => None,
    }
}

fn note(
    Orderer { peer, request, number }: Orderer,
    job: JobId,
    changed: bool,
    cx: &mut Context<'_>,
) {
    let noted = Pausing::Noted { request, job, number, changed };
    cx.send(peer, &Message::Pausing(noted));
}

fn refuse(
    Orderer { peer, request, number }: Orderer,
    job: JobId,
    refusal: OrderRefusal,
    cx: &mut Context<'_>,
) {
    let refused = Pausing::Refused { request, job, number, refusal };
    cx.send(peer, &Message::Pausing(refused));
}
