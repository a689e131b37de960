//! A leader that falls over and goes on from its disk.

use cyxwiz_protocol::{
    Timer,
    job::JobState,
    message::{
        Message,
        run::{Renewal, RunStep},
        submission::Submission,
    },
    spec::CancelOrder,
};

use super::{
    S, W1, W2, accept, bids_of, led, offer, receipt_of, running,
    settlement::{collected, detail},
    submit,
};
use crate::harness::{Bench, Role, assert_effects, capability, job, ms, run, sign, spec, success};

fn restarted(bench: Bench) -> Bench {
    let (mut bench, told) = bench.crash();
    assert_effects(told, &["write committee", "subscribe committee"]);
    let told = bench.flush();
    assert_eq!(told.last().map(String::as_str), Some("told that C leads"), "{told:?}");
    bench
}

#[test]
fn accepted_jobs_are_still_there_and_queued_ones_go_on() {
    let mut bench = led(&[], 1);
    let signed = sign(S, bench.clock(), spec(1));
    bench.from(S, &submit(1, signed.clone()));
    let inspected = cyxwiz_protocol::TaskEvent::Inspected { job: job(1), result: Ok(()) };
    bench.task(inspected);
    bench.flush();
    let mut bench = restarted(bench);
    assert!(matches!(detail(&mut bench).record.state, JobState::Queued { .. }));
    assert_effects(bench.from(S, &submit(1, signed)), &["to S: accepted j1"]);
    bench.from(W1, &offer(capability(1), Vec::new()));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j1.1"]);
}

#[test]
fn what_was_not_on_disk_was_not_promised() {
    let mut bench = led(&[], 1);
    let signed = sign(S, bench.clock(), spec(1));
    bench.from(S, &submit(1, signed.clone()));
    let inspected = cyxwiz_protocol::TaskEvent::Inspected { job: job(1), result: Ok(()) };
    assert_effects(bench.task(inspected), &["write spec j1", "write register j1"]);
    let mut bench = restarted(bench);
    assert_effects(bench.from(S, &submit(1, signed)), &["inspect j1 from S"]);
}

#[test]
fn running_attempts_get_time_to_say_that_they_go_on() {
    let mut bench = restarted(running(&[]));
    let told = bench.live(ms(29_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let renew = Message::Run(RunStep::Renew(vec![Renewal { run: run(1, 1), progress: None }]));
    assert_effects(bench.from(W1, &renew), &["to W1: renewed [j1.1 leased]"]);
    let told = bench.live(ms(9_000));
    assert!(!told.iter().any(|line| line.contains("j1")), "{told:?}");
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Completed { .. }));
}

#[test]
fn an_attempt_that_nobody_speaks_for_ends_after_the_grace() {
    let mut bench = restarted(running(&[]));
    let told = bench.live(ms(29_999));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let told = bench.live(ms(1));
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
}

#[test]
fn a_settled_job_stays_settled() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    let before = detail(&mut bench).record;
    let mut bench = restarted(bench);
    assert_eq!(detail(&mut bench).record, before);
    assert_effects(bench.from(W1, &receipt), &["to W1: j1.1 is Counted"]);
    let other = receipt_of(W2, run(1, 1), success(), &bench);
    assert_effects(bench.from(W2, &other), &["to W2: j1.1 is Unknown"]);
}

#[test]
fn a_settlement_that_was_not_on_disk_is_made_again() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    assert_effects(collected(&mut bench), &["write register j1"]);
    let mut bench = restarted(bench);
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    assert_effects(bench.from(W1, &receipt), &["collect j1 from [W1]"]);
    assert_effects(collected(&mut bench), &["write register j1"]);
}

#[test]
fn a_wish_to_cancel_outlives_the_leader() {
    let mut bench = running(&[]);
    let order = sign(S, bench.clock(), CancelOrder { job: job(1) });
    let request = cyxwiz_protocol::RequestId(1);
    bench.from(S, &Message::Submission(Submission::Cancel { request, order }));
    bench.flush();
    let (mut bench, _) = bench.crash();
    let told = bench.flush();
    assert!(told.contains(&"to W1: stop j1.1".to_owned()), "{told:?}");
    assert_effects(bench.wait_for(Timer::Stop(run(1, 1))), &["to W1: stop j1.1"]);
}

#[test]
fn a_founder_whose_committee_is_superseded_answers_nothing_more() {
    let (mut bench, _) = Bench::new(crate::harness::Who::SecondCoordinator, Role::Coordinator);
    bench.pass(ms(1_000));
    bench.wait_for(Timer::Found);
    bench.pass(ms(1_000));
    bench.flush();
    let signed = sign(S, bench.clock(), spec(1));
    bench.from(S, &submit(1, signed.clone()));
    bench.task(cyxwiz_protocol::TaskEvent::Inspected { job: job(1), result: Ok(()) });
    // The earlier founding is heard of before the disk has the job.
    bench.learn_committee();
    assert_effects(bench.flush(), &[]);
    assert_effects(bench.from(S, &submit(2, signed)), &["to S: redirect to C"]);
}

#[test]
fn a_damaged_store_is_told_and_nothing_panics() {
    use cyxwiz_protocol::{Config, Epoch, Instant, Peer, StoreId, Timing};
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let open = |records: Vec<(Vec<u8>, Vec<u8>)>| {
        let who = crate::harness::Who::Coordinator;
        let network = crate::harness::network();
        let seat = crate::harness::ticket().seat(&network, who.id());
        let config = Config {
            network,
            epoch: Epoch(crate::harness::WALL),
            seed: [0; 32],
            store: StoreId([1; 16]),
            timing: Timing::default(),
            coordinator: cyxwiz_scoring::Policy::named("balanced").map(|policy| (seat, policy)),
            worker: None,
        };
        Peer::open(config, who.identity(), records, Instant::START).map(|_opened| ())
    };
    let records: Vec<_> = bench.disk.clone().into_iter().collect();
    assert!(open(records.clone()).is_ok());
    for (index, (key, value)) in records.iter().enumerate() {
        for cut in 0..value.len() {
            let mut damaged = records.clone();
            damaged[index] = (key.clone(), value[..cut].to_vec());
            assert!(open(damaged).is_err(), "record {index} cut to {cut}");
        }
        for byte in 0..value.len() {
            let mut damaged = records.clone();
            damaged[index].1[byte] ^= 0x10;
            let _told_or_harmless = open(damaged);
        }
    }
    let spec_is_gone = records.into_iter().filter(|(key, _)| key[0] != b's').collect();
    assert!(open(spec_is_gone).is_err());
    assert!(open(vec![(b"z/odd".to_vec(), Vec::new())]).is_err());
}
