//! Receipts: what settles a job, and what never does.

use cyxwiz_protocol::{
    RequestId, TaskEvent, Timer,
    effects::Collecting,
    job::{FailReason, JobState},
    message::{
        Message,
        query::{Answer, JobDetail, Query, Question},
    },
    report::FailureClass,
};

use super::{S, W1, W2, X, accept, award_to, led, offer, receipt_of, running};
use crate::harness::{Bench, assert_effects, capability, failure, job, ms, run, spec, success};

/// What the leader answers when asked for job 1.
pub(super) fn detail(bench: &mut Bench) -> JobDetail {
    let question = Question::Job(job(1));
    let ask = Query::Ask { request: RequestId(9), question };
    bench.from(S, &Message::Query(ask));
    let Some((_, Message::Query(Query::Answer { answer, .. }))) = bench.sent.pop() else {
        panic!("a question is answered");
    };
    let Answer::Job(Some(detail)) = *answer else { panic!("job 1 is known: {answer:?}") };
    *detail
}

pub(super) fn collected(bench: &mut Bench) -> Vec<String> {
    bench.task(TaskEvent::Collected { job: job(1), why: Collecting::Keeping, result: Ok(()) })
}

#[test]
fn a_success_counts_once_its_files_are_held_and_the_disk_has_it() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    assert_effects(bench.from(W1, &receipt), &["collect j1 from [W1]"]);
    assert_effects(bench.from(W1, &receipt), &[]);
    assert_effects(collected(&mut bench), &["write register j1"]);
    // The worker asks again before the disk has it; nobody is told what is not certain.
    assert_effects(bench.from(W1, &receipt), &[]);
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    assert_effects(
        bench.flush(),
        &["write reputation W1", "to W1: j1.1 is Counted", "to S: j1 ended"],
    );
    assert!(matches!(detail(&mut bench).record.state, JobState::Completed { .. }));
    assert_effects(bench.from(W1, &receipt), &["to W1: j1.1 is Counted"]);
}

#[test]
fn a_second_receipt_never_settles() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    let settled = detail(&mut bench).record;
    for ending in [success(), failure(FailureClass::Internal)] {
        let again = receipt_of(W1, run(1, 1), ending, &bench);
        assert_effects(bench.from(W1, &again), &["to W1: j1.1 is Counted"]);
        assert_effects(collected(&mut bench), &[]);
    }
    assert_eq!(detail(&mut bench).record, settled);
}

#[test]
fn receipts_of_others_are_nothing() {
    let mut bench = running(&[W2]);
    let own = receipt_of(W2, run(1, 1), success(), &bench);
    assert_effects(bench.from(W2, &own), &["to W2: j1.1 is Unknown"]);
    let passed_on = receipt_of(W1, run(1, 1), success(), &bench);
    assert_effects(bench.from(X, &passed_on), &[]);
    let no_attempt = receipt_of(W1, run(1, 2), success(), &bench);
    assert_effects(bench.from(W1, &no_attempt), &["to W1: j1.2 is Unknown"]);
    let no_job = receipt_of(W1, run(9, 1), success(), &bench);
    assert_effects(bench.from(W1, &no_job), &["to W1: j9.1 is Unknown"]);
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
}

#[test]
fn the_late_success_of_an_older_attempt_settles_and_stops_the_newer() {
    let mut bench = running(&[W2]);
    bench.wait_for(Timer::Lease(run(1, 1)));
    bench.flush();
    bench.from(W2, &offer(capability(1), Vec::new()));
    award_to(&mut bench, W2, 2);
    let late = receipt_of(W1, run(1, 1), success(), &bench);
    assert_effects(bench.from(W1, &late), &["collect j1 from [W1]"]);
    assert_effects(collected(&mut bench), &["write register j1"]);
    assert_effects(bench.from(W1, &late), &[]);
    assert_effects(
        bench.flush(),
        &["write reputation W1", "to W1: j1.1 is Counted", "to W2: stop j1.2", "to S: j1 ended"],
    );
    let newer = receipt_of(W2, run(1, 2), success(), &bench);
    assert_effects(bench.from(W2, &newer), &["to W2: j1.2 is Superseded"]);
    let JobState::Completed { receipt, .. } = detail(&mut bench).record.state else {
        panic!("settled");
    };
    assert_eq!(receipt.header().expect("readable").author, W1.id());
}

#[test]
fn a_late_failure_of_an_older_attempt_is_superseded() {
    let mut bench = running(&[W2]);
    bench.wait_for(Timer::Lease(run(1, 1)));
    bench.flush();
    bench.from(W2, &offer(capability(1), Vec::new()));
    award_to(&mut bench, W2, 2);
    let late = receipt_of(W1, run(1, 1), failure(FailureClass::InvalidJob), &bench);
    assert_effects(bench.from(W1, &late), &["to W1: j1.1 is Superseded"]);
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
}

#[test]
fn a_fatal_failure_ends_the_job() {
    let mut bench = running(&[W2]);
    let receipt = receipt_of(W1, run(1, 1), failure(FailureClass::Diverged), &bench);
    assert_effects(bench.from(W1, &receipt), &["write register j1"]);
    assert_effects(bench.from(W1, &receipt), &[]);
    assert_effects(bench.flush(), &["to W1: j1.1 is Counted", "to S: j1 ended"]);
    let JobState::Failed { reason, .. } = detail(&mut bench).record.state else {
        panic!("failed for good");
    };
    assert_eq!(reason.to_string(), "diverged: it broke");
}

#[test]
fn recoverable_failures_go_on_elsewhere_until_the_attempts_are_used_up() {
    let mut bench = led(&[W1], 1);
    let mut spec = spec(1);
    spec.limits.attempts = 2;
    accept(&mut bench, spec);
    award_to(&mut bench, W1, 1);
    let receipt = receipt_of(W1, run(1, 1), failure(FailureClass::OutOfMemory), &bench);
    assert_effects(bench.from(W1, &receipt), &["write register j1"]);
    // Asked again before the disk has it: no answer yet.
    assert_effects(bench.from(W1, &receipt), &[]);
    assert_effects(bench.flush(), &["write reputation W1", "to W1: j1.1 is Counted"]);
    bench.from(W2, &offer(capability(1), Vec::new()));
    award_to(&mut bench, W2, 2);
    let receipt = receipt_of(W2, run(1, 2), failure(FailureClass::OutOfMemory), &bench);
    bench.from(W2, &receipt);
    assert_effects(
        bench.flush(),
        &["write reputation W2", "to W2: j1.2 is Counted", "to S: j1 ended"],
    );
    let JobState::Failed { reason, .. } = detail(&mut bench).record.state else {
        panic!("given up");
    };
    let last = "out of memory: it broke".to_owned();
    assert_eq!(reason, FailReason::AttemptsUsedUp { last });
}

#[test]
fn a_result_that_cannot_be_fetched_is_tried_three_times_for_each_attempt() {
    let mut bench = running(&[W2]);
    let failed = |bench: &mut Bench, worker, attempt| {
        let receipt = receipt_of(worker, run(1, attempt), success(), bench);
        bench.from(worker, &receipt);
        let result = Err("connection reset".to_owned());
        bench.task(TaskEvent::Collected { job: job(1), why: Collecting::Keeping, result })
    };
    assert_effects(failed(&mut bench, W1, 1), &[]);
    assert_effects(failed(&mut bench, W1, 1), &[]);
    assert_effects(failed(&mut bench, W1, 1), &["write register j1"]);
    assert_effects(bench.flush(), &["write reputation W1", "to W1: j1.1 is Counted"]);
    award_to(&mut bench, W2, 2);
    assert_effects(failed(&mut bench, W2, 2), &[]);
    assert_effects(failed(&mut bench, W2, 2), &[]);
    assert_effects(failed(&mut bench, W2, 2), &["write register j1"]);
}

#[test]
fn a_success_without_files_or_with_too_many_bytes_is_a_failure() {
    use cyxwiz_protocol::report::{Ending, Success};
    let outputs = [
        Vec::new(),
        vec![cyxwiz_protocol::spec::FileRef {
            size: u64::MAX,
            ..crate::harness::file("model.safetensors")
        }],
    ];
    for outputs in outputs {
        let mut bench = running(&[]);
        let Ending::Succeeded(fine) = success() else { panic!("it is one") };
        let ending = Ending::Succeeded(Success { outputs, ..fine });
        let receipt = receipt_of(W1, run(1, 1), ending, &bench);
        assert_effects(bench.from(W1, &receipt), &["write register j1"]);
        assert_effects(bench.flush(), &["write reputation W1", "to W1: j1.1 is Counted"]);
    }
}

#[test]
fn the_lease_waits_while_a_result_is_fetched() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    let told = bench.live(ms(60_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    assert_effects(collected(&mut bench), &["write register j1"]);
}
