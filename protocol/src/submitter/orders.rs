//! Orders to pause jobs and to let them go on: signed once, sent until they are answered. A newer
//! order for the same job takes the place of one that waits.

use std::collections::BTreeMap;

use crate::{
    CommandId, JobId, RequestId, Timing,
    context::Context,
    effects::{Reply, Unreachable},
    limits,
    message::{
        Message,
        pausing::{OrderRefusal, Pausing},
    },
    signed::Verified,
    spec::{PauseOrder, Wish},
    timers::Timer,
};

/// How often an order is sent before the user is told that nobody answers.
const TRIES: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct Orders {
    open: BTreeMap<JobId, Open>,
}

#[derive(Debug)]
struct Open {
    order: Verified<PauseOrder>,
    waiters: Vec<CommandId>,
    tries: u32,
    /// The last answer was that there is no such job.
    unknown: bool,
}

impl Orders {
    /// The user wants it; true when there is a new order to be sent.
    pub(super) fn give(
        &mut self,
        id: CommandId,
        job: JobId,
        wish: Wish,
        cx: &mut Context<'_>,
    ) -> bool {
        let busy = Reply::Busy("too many orders at this moment");
        if let Some(open) = self.open.get_mut(&job).filter(|open| open.order.wish == wish) {
            if open.waiters.len() < limits::QUESTIONS {
                open.waiters.push(id);
            } else {
                cx.reply(id, busy);
            }
            return false;
        }
        for waiter in self.open.remove(&job).into_iter().flat_map(|open| open.waiters) {
            let result = Err(OrderRefusal::Overtaken);
            cx.reply(waiter, Reply::Order { job, result });
        }
        if self.open.len() >= limits::QUESTIONS {
            cx.reply(id, busy);
            return false;
        }
        let order = cx.sign(PauseOrder { job, wish });
        self.open.insert(job, Open { order, waiters: vec![id], tries: 0, unknown: false });
        true
    }

    /// Sends an order, again when it was not answered, or gives up.
    pub(super) fn on_timeout(
        &mut self,
        job: JobId,
        request: RequestId,
        timing: &Timing,
        cx: &mut Context<'_>,
    ) {
        let Some(open) = self.open.get_mut(&job) else {
            return;
        };
        let leader = cx.directory.leader();
        if open.tries >= TRIES {
            if open.unknown {
                let number = open.order.header().sequence;
                return self.end(job, number, Err(OrderRefusal::Unknown), cx);
            }
            let why = leader.map_or(Unreachable::NoCommittee, Unreachable::Silent);
            for id in self.open.remove(&job).into_iter().flat_map(|open| open.waiters) {
                cx.reply(id, Reply::Unreachable(why));
            }
            return;
        }
        open.tries += 1;
        if let Some(leader) = leader {
            let order = open.order.signed().clone();
            cx.send(leader, &Message::Pausing(Pausing::Order { request, order }));
        }
        cx.after(timing.submit_resend, Timer::Order(job));
    }

    /// An order is not to be given up yet: its job is on its way.
    pub(super) fn try_on(&mut self, job: JobId) {
        if let Some(open) = self.open.get_mut(&job) {
            open.tries = 0;
        }
    }

    /// A coordinator says that there is no such job, though it accepted it; it is the last word if
    /// no other comes.
    pub(super) fn note_unknown(&mut self, job: JobId, number: u64) {
        if let Some(open) = self.open.get_mut(&job)
            && open.order.header().sequence == number
        {
            open.unknown = true;
        }
    }

    /// A leader is known, perhaps another: it is told at once.
    pub(super) fn hurry(&self, cx: &mut Context<'_>) {
        for job in self.open.keys() {
            cx.timers.set_no_later(Timer::Order(*job), cx.now);
        }
    }

    /// The answer to the order of this number.
    pub(super) fn end(
        &mut self,
        job: JobId,
        number: u64,
        result: Result<bool, OrderRefusal>,
        cx: &mut Context<'_>,
    ) {
        if self.open.get(&job).is_none_or(|open| open.order.header().sequence != number) {
            return;
        }
        cx.timers.clear(Timer::Order(job));
        for id in self.open.remove(&job).into_iter().flat_map(|open| open.waiters) {
            cx.reply(id, Reply::Order { job, result });
        }
    }
}
