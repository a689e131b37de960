//! Cancel means stopped: noted from disk, complete when the process is dead.

use cyxwiz_protocol::{
    RequestId, Timer, Timing,
    job::JobState,
    message::{
        Message,
        auction::Auction,
        run::{Renewal, RunStep},
        submission::Submission,
    },
    report::Ending,
    spec::CancelOrder,
};

use super::{
    S, W1, W2, X, accept, award_to, bids_of, is_call, led, offer, receipt_of, running,
    settlement::{collected, detail},
};
use crate::harness::{Bench, Who, assert_effects, capability, job, ms, run, sign, spec, success};

fn cancel(who: Who, number: u8, bench: &Bench) -> Message {
    let order = sign(who, bench.clock(), CancelOrder { job: job(number) });
    Message::Submission(Submission::Cancel { request: RequestId(5), order })
}

#[test]
fn a_queued_job_is_cancelled_at_once_and_noted_from_disk() {
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let order = cancel(S, 1, &bench);
    assert_effects(bench.from(S, &order), &["write register j1"]);
    assert_effects(bench.from(S, &order), &[]);
    assert_effects(
        bench.flush(),
        &["to S: cancel of j1 noted", "to S: cancel of j1 noted", "to S: j1 ended"],
    );
    assert_effects(bench.from(S, &order), &["to S: cancel of j1 noted"]);
    bench.from(W1, &offer(capability(1), Vec::new()));
    let told = bench.live(ms(2_000));
    assert!(!told.iter().any(|line| is_call(line)), "{told:?}");
}

#[test]
fn only_the_submitter_may_cancel() {
    let mut bench = running(&[]);
    let order = cancel(X, 1, &bench);
    assert_effects(
        bench.from(X, &order),
        &["to X: refused j1: only the peer that submitted the job may do this"],
    );
    let order = cancel(S, 9, &bench);
    assert_effects(bench.from(S, &order), &["to S: refused j9: no such job"]);
    assert!(!detail(&mut bench).record.cancel_requested);
}

#[test]
fn a_running_job_is_stopped_until_its_process_is_dead() {
    let mut bench = running(&[]);
    let order = cancel(S, 1, &bench);
    assert_effects(bench.from(S, &order), &["write register j1"]);
    assert!(!detail(&mut bench).record.cancel_requested, "not before the disk has it");
    assert_effects(bench.flush(), &["to S: cancel of j1 noted", "to W1: stop j1.1"]);
    for _ in 0..3 {
        assert_effects(bench.wait_for(Timer::Stop(run(1, 1))), &["to W1: stop j1.1"]);
    }
    let renewal = Renewal { run: run(1, 1), progress: None, checkpoint: None };
    let renew = Message::Run(RunStep::Renew(vec![renewal]));
    assert_effects(bench.from(W1, &renew), &["to W1: renewed [j1.1 cancelled]"]);
    // Longer than a lease: the worker still says that it is at it.
    for _ in 0..10 {
        let told = bench.live(ms(3_000));
        assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
        bench.from(W1, &renew);
    }
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    let receipt = receipt_of(W1, run(1, 1), Ending::Cancelled, &bench);
    assert_effects(bench.from(W1, &receipt), &["write register j1"]);
    assert_effects(bench.flush(), &["to W1: j1.1 is Counted", "to S: j1 ended"]);
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}

#[test]
fn a_silent_worker_has_stopped_itself_before_its_job_is_called_cancelled() {
    let mut bench = running(&[]);
    bench.from(S, &cancel(S, 1, &bench));
    bench.flush();
    // The last lease was just given; the worker keeps computing for that long and its grace.
    let Timing { lease, lease_grace, .. } = Timing::default();
    let told = bench.live(lease + lease_grace);
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let told = bench.live(ms(20_000));
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}

/// The lease runs out while the wish is on its way to the disk: nothing ends before the process has
/// had the time to be dead.
#[test]
fn a_lease_that_runs_out_while_the_wish_is_written_does_not_end_the_job() {
    let mut bench = running(&[]);
    bench.from(S, &cancel(S, 1, &bench));
    assert_effects(bench.wait_for(Timer::Lease(run(1, 1))), &[]);
    let told = bench.live(ms(5_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    assert_effects(bench.flush(), &["to S: cancel of j1 noted", "to W1: stop j1.1"]);
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    let Timing { lease, lease_grace, .. } = Timing::default();
    let told = bench.live(lease + lease_grace);
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let told = bench.live(lease);
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}

#[test]
fn a_success_that_comes_after_the_wish_does_not_count() {
    let mut bench = running(&[]);
    bench.from(S, &cancel(S, 1, &bench));
    bench.flush();
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
    assert_effects(bench.from(W1, &receipt), &["to W1: j1.1 is Counted"]);
}

#[test]
fn a_success_that_was_counted_before_the_wish_stands() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    // Between the proposal and the disk.
    assert_effects(bench.from(S, &cancel(S, 1, &bench)), &[]);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Completed { .. }));
    let order = cancel(S, 1, &bench);
    assert_effects(bench.from(S, &order), &["to S: cancel of j1 noted"]);
}

#[test]
fn a_late_success_of_an_older_attempt_does_not_end_a_cancel_that_still_runs() {
    let mut bench = running(&[W2]);
    bench.wait_for(Timer::Lease(run(1, 1)));
    bench.flush();
    bench.from(W2, &offer(capability(1), Vec::new()));
    award_to(&mut bench, W2, 2);
    bench.from(S, &cancel(S, 1, &bench));
    bench.flush();
    let late = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &late);
    collected(&mut bench);
    bench.flush();
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned, "W2 is not dead yet");
    let receipt = receipt_of(W2, run(1, 2), Ending::Cancelled, &bench);
    bench.from(W2, &receipt);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}

#[test]
fn a_job_that_was_cancelled_before_its_award_was_certain_is_not_awarded() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    bench.from(S, &cancel(S, 1, &bench));
    assert_effects(bench.flush(), &["to S: cancel of j1 noted", "to W1: stop j1.1"]);
    assert_effects(bench.wait_for(Timer::Stop(run(1, 1))), &["to W1: stop j1.1"]);
    let declined = Message::Auction(Auction::Declined(run(1, 1)));
    assert_effects(bench.from(W1, &declined), &["write register j1"]);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}

#[test]
fn an_award_that_nobody_took_is_not_sent_after_the_wish_to_cancel() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    bench.flush();
    bench.from(S, &cancel(S, 1, &bench));
    bench.flush();
    let told = bench.live(ms(20_000));
    assert!(!told.iter().any(|line| line.contains("award")), "{told:?}");
}
