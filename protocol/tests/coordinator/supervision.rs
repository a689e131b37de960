//! Leases, renewals, silence.

use cyxwiz_protocol::{
    Timer,
    message::{
        Message,
        run::{Renewal, RunStep},
    },
};

use super::{W1, W2, X, bids_of, offer, running, settlement::detail};
use crate::harness::{assert_effects, capability, ms, progress, run};

fn renew(batch: u32) -> Message {
    let items = vec![Renewal { run: run(1, 1), progress: Some(progress(batch)), checkpoint: None }];
    Message::Run(RunStep::Renew(items))
}

#[test]
fn renewals_keep_a_lease_and_carry_progress() {
    let mut bench = running(&[]);
    for batch in 1..=9 {
        let told = bench.live(ms(3_000));
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
    assert_eq!(bench.now.since(taken), ms(10_000));
    assert_effects(bench.flush(), &["write reputation W1", "to W1: stop j1.1"]);
    for worker in [W1, W2] {
        bench.from(worker, &offer(capability(1), Vec::new()));
    }
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["on jobs/cpu: bids, please, for [j1.2]", "told of a call for [j1]"],
    );
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

#[test]
fn a_job_that_is_not_known_is_superseded() {
    let mut bench = running(&[]);
    let items = vec![Renewal { run: run(7, 1), progress: None, checkpoint: None }];
    let told = bench.from(W1, &Message::Run(RunStep::Renew(items)));
    assert_effects(told, &["to W1: renewed [j7.1 superseded]"]);
}
