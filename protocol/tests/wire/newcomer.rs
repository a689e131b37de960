//! What a leader sends to a replica that takes its seat: the only way to see a register from
//! outside.

use cyxwiz_protocol::{
    RequestId, StoreId, TaskEvent, Timer,
    message::{
        Message,
        replication::{Accept, Copied, Replication, Step},
        submission::Submission,
    },
};

use super::samples;
use crate::harness::{Bench, STORE, Who, job, ms, network, ticket};

const NEWCOMERS: [Who; 2] = [Who::SecondCoordinator, Who::Member(3)];

/// From the store of a newcomer to that of the founder.
fn said(step: Step) -> Message {
    Message::Replication(Replication { from: StoreId([2; 16]), to: STORE, step })
}

/// What was just sent to `who` to have on disk.
fn accept(bench: &Bench, who: Who) -> Option<Accept> {
    bench.sent.iter().find_map(|(to, message)| {
        let Message::Replication(Replication { step: Step::Accept(accept), .. }) = message else {
            return None;
        };
        (*to == who.id()).then(|| accept.clone())
    })
}

/// Job 1, whole, on its way to the second coordinator, which has its seat on disk already.
pub(crate) fn copies_for_a_newcomer() -> Vec<Copied> {
    let mut bench = Bench::leading();
    let submit = Submission::Submit { request: RequestId(1), spec: samples::job_spec() };
    bench.from(Who::Submitter, &Message::Submission(submit));
    bench.task(TaskEvent::Inspected { job: job(1), result: Ok(()) });
    bench.flush();
    for who in NEWCOMERS {
        let credential = ticket().seat(&network(), who.id());
        bench.from(who, &said(Step::Stand { credential }));
    }
    bench.live(ms(550));
    bench.wait_for(Timer::Beat);
    let seated = accept(&bench, NEWCOMERS[0]).expect("it takes a seat");
    bench.flush();
    let Accept { ballot, serial, seating, .. } = seated;
    let epoch = seating.expect("who sits is told first").seating.epoch;
    let held = Step::Accepted { ballot, serial, epoch, items: Vec::new() };
    bench.from(NEWCOMERS[0], &said(held));
    accept(&bench, NEWCOMERS[0]).expect("then what there is").copies
}
