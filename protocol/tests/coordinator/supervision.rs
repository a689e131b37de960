//! Leases, renewals, silence.

use cyxwiz_protocol::{
    Instant, Timer, Timing,
    job::{EndReason, FailReason, JobState},
    message::{
        Message,
        auction::Auction,
        run::{Renewal, RunStep},
    },
    spec::{JobSpec, Priority},
};

use super::{
    W1, W2, X, accept, award_to, bids_of, led, offer, receipt_of, running,
    settlement::{collected, detail},
    wait_for_call,
};
use crate::harness::{Bench, assert_effects, capability, ms, progress, run, spec, success};

fn renew(batch: u32) -> Message {
    let items = vec![Renewal { run: run(1, 1), progress: Some(progress(batch)), checkpoint: None }];
    Message::Run(RunStep::Renew(items))
}

#[test]
fn renewals_keep_a_lease_and_carry_progress() {
    let mut bench = running(&[]);
    for batch in 1..=9 {
        let told = bench.live(Timing::default().renew);
        assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
        let told = bench.from(W1, &renew(batch));
        assert_effects(told, &["to W1: renewed [j1.1 leased]"]);
        let seen = detail(&mut bench).progress.expect("told with the renewal");
        assert_eq!(seen.batch, batch);
    }
    assert_effects(bench.from(X, &renew(1)), &["to X: renewed [j1.1 superseded]"]);
    assert_eq!(detail(&mut bench).progress.expect("W1's").batch, 9, "not a stranger's");
}

#[test]
fn silence_costs_the_lease_and_the_next_attempt_goes_elsewhere() {
    let mut bench = running(&[W2]);
    let taken = bench.now;
    assert_effects(bench.wait_for(Timer::Lease(run(1, 1))), &["write register j1"]);
    assert_eq!(bench.now.since(taken), Timing::default().lease);
    assert_effects(bench.flush(), &["write reputation W1", "to W1: stop j1.1"]);
    for worker in [W1, W2] {
        bench.from(worker, &offer(capability(1), Vec::new()));
    }
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["to W2: invited to bid for [j1.2]", "told of a call for [j1]"],
    );
    // It does not answer: both hear the call to everyone.
    wait_for_call(&mut bench);
    let (silent, other) = (bids_of(W1, 1, 0, &bench), bids_of(W2, 1, 900, &bench));
    bench.from(W1, &silent);
    bench.from(W2, &other);
    assert_effects(bench.flush(), &["to W2: award j1.2"]);
    assert_effects(bench.from(W1, &renew(1)), &["to W1: renewed [j1.1 superseded]"]);
    let told = bench.from(W1, &offer(capability(1), vec![run(1, 1)]));
    assert_effects(told, &["to W1: offered", "to W1: stop j1.1"]);
}

#[test]
fn the_only_one_that_could_ever_run_it_gets_another_try() {
    let mut bench = running(&[]);
    bench.wait_for(Timer::Lease(run(1, 1)));
    bench.flush();
    bench.from(W1, &offer(capability(1), Vec::new()));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j1.2"]);
}

/// A job that may take twenty seconds in all, and runs.
fn hurried() -> Bench {
    let mut bench = led(&[W1], 1);
    let mut spec = spec(1);
    spec.limits.total_ms = 20_000;
    accept(&mut bench, spec);
    award_to(&mut bench, W1, 1);
    bench
}

#[test]
fn a_job_that_takes_longer_than_it_may_in_all_is_given_up_and_its_worker_stopped() {
    let mut bench = hurried();
    let mut told = Vec::new();
    while bench.now < Instant(19_900_000) {
        bench.from(W1, &renew(1));
        told = bench.live(ms(3_000));
    }
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    assert_effects(bench.flush(), &["to W1: stop j1.1", "to S: j1 ended"]);
    let record = detail(&mut bench).record;
    let JobState::Failed { at, reason } = record.state else { panic!("given up: {record:?}") };
    assert_eq!(reason, FailReason::TookTooLong { total_ms: 20_000 });
    assert_eq!(at.0 - record.accepted_at.0, 20_000);
    assert_eq!(record.attempts[0].end.as_ref().map(|end| &end.why), Some(&EndReason::TimeOver));
    let late = receipt_of(W1, run(1, 1), success(), &bench);
    assert_effects(bench.from(W1, &late), &["to W1: j1.1 is Counted"]);
    assert!(matches!(detail(&mut bench).record.state, JobState::Failed { .. }), "and for nothing");
}

#[test]
fn a_result_that_is_being_fetched_when_the_time_is_over_still_counts() {
    let mut bench = hurried();
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    let told = bench.live(ms(25_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    assert_effects(collected(&mut bench), &["write register j1"]);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Completed { .. }));
}

#[test]
fn the_whole_time_goes_on_over_attempts_and_leaders() {
    let mut bench = hurried();
    bench.live(ms(5_000));
    let declined = Message::Auction(Auction::Declined(run(1, 1)));
    bench.from(W1, &declined);
    bench.flush();
    // A minute goes by while the leader is down.
    let (mut bench, _) = bench.crash();
    bench.wake();
    bench.take_the_lead();
    let told = bench.live(ms(1_000));
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.flush();
    let state = detail(&mut bench).record.state;
    assert!(matches!(state, JobState::Failed { reason: FailReason::TookTooLong { .. }, .. }));
}

/// A step of priority is worth a minute of waiting.
#[test]
fn one_that_waited_for_long_goes_before_one_that_is_urgent() {
    for (waited, first) in [(ms(9 * 60_000 - 1_000), 2), (ms(9 * 60_000 + 1_000), 1)] {
        let mut bench = Bench::leading();
        let ask =
            |number: u8, priority: u8| JobSpec { priority: Priority(priority), ..spec(number) };
        accept(&mut bench, ask(1, 1));
        bench.live(waited);
        accept(&mut bench, ask(2, 10));
        bench.from(W1, &offer(capability(1), Vec::new()));
        let told = bench.wake();
        let call = format!("to W1: invited to bid for [j{first}.1]");
        assert!(told.contains(&call), "{waited:?}: {told:?}");
    }
}

#[test]
fn a_job_that_is_not_known_is_superseded() {
    let mut bench = running(&[]);
    let items = vec![Renewal { run: run(7, 1), progress: None, checkpoint: None }];
    let told = bench.from(W1, &Message::Run(RunStep::Renew(items)));
    assert_effects(told, &["to W1: renewed [j7.1 superseded]"]);
}
