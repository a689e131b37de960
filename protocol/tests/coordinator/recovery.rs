//! A leader that falls over and goes on from its disk.

use cyxwiz_protocol::{
    Command, Timer, Timing,
    job::JobState,
    message::{
        Message,
        membership::Membership,
        run::{Renewal, RunStep},
        submission::Submission,
    },
    spec::CancelOrder,
};

use super::{
    S, W1, W2, X, accept, bids_of, led, offer, receipt_of, running,
    settlement::{collected, detail},
    submit,
};
use crate::harness::{
    Bench, Role, Who, assert_effects, capability, coordinating, founding, job, ms, run, sign, spec,
    success,
};

const C: Who = Who::Coordinator;
const C2: Who = Who::SecondCoordinator;

fn restarted(bench: Bench) -> Bench {
    let (mut bench, told) = bench.crash();
    assert_effects(told, &["subscribe committee"]);
    assert_effects(bench.wake(), &["write seat"]);
    let told = bench.take_the_lead();
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
    let renew = Message::Run(RunStep::Renew(vec![Renewal {
        run: run(1, 1),
        progress: None,
        checkpoint: None,
    }]));
    assert_effects(bench.from(W1, &renew), &["to W1: renewed [j1.1 leased]"]);
    let told = bench.live(Timing::default().lease - ms(1));
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
    bench.wake();
    let told = bench.take_the_lead();
    assert!(told.contains(&"to W1: stop j1.1".to_owned()), "{told:?}");
    let told = bench.live(ms(5_000));
    let stops = told.iter().filter(|line| *line == "to W1: stop j1.1");
    assert_eq!(stops.count(), 2, "once in two seconds: {told:?}");
}

#[test]
fn a_later_generation_supersedes_and_the_founder_before_answers_nothing_more() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(2));
    let signed = sign(S, bench.clock(), spec(1));
    bench.from(S, &submit(1, signed.clone()));
    bench.task(cyxwiz_protocol::TaskEvent::Inspected { job: job(1), result: Ok(()) });
    // The later founding is heard of before the disk has the job. What the committee before it
    // had is history, and must not come back.
    let later = refounded().published_committee().clone();
    let told = bench.from(C2, &Message::Membership(Membership::Committee(later)));
    for erased in ["erase spec j1", "erase register j1", "erase spec j2", "erase register j2"] {
        assert!(told.iter().any(|line| line == erased), "{erased}: {told:?}");
    }
    assert_effects(bench.flush(), &[]);
    assert_effects(bench.from(S, &submit(2, signed)), &["to S: redirect to C2"]);
    let earlier = Bench::leading().published_committee().clone();
    assert_effects(bench.from(C, &Message::Membership(Membership::Committee(earlier))), &[]);
    assert_effects(bench.crash().0.live(ms(10_000)), &[]);
}

/// The second coordinator, which the charter let begin anew.
fn refounded() -> Bench {
    let (mut bench, _) = Bench::new(C2, Role::Coordinator);
    let told = bench.command(Command::Found(Box::new(founding(C2, 1))));
    assert_effects(told, &["write seat", "reply 1: done"]);
    bench.take_the_lead();
    bench
}

#[test]
fn only_the_replica_that_the_charter_names_founds_a_committee() {
    let mut raised = founding(C2, 1);
    raised.generation = 2;
    for wrong in [founding(C, 1), founding(X, 1), raised] {
        let (mut bench, _) = Bench::new(C2, Role::Coordinator);
        let told = bench.command(Command::Found(Box::new(wrong)));
        assert_effects(told, &["reply 1: done"]);
        let told = bench.live(ms(10_000));
        assert_effects(told, &[]);
    }
    // The same word a second time founds nothing more.
    let mut bench = refounded();
    let told = bench.command(Command::Found(Box::new(founding(C2, 1))));
    assert_effects(told, &["reply 2: done"]);
}

#[test]
fn a_damaged_store_is_told_and_nothing_panics() {
    use cyxwiz_protocol::{Config, Epoch, Instant, Peer};
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let open = |records: Vec<(Vec<u8>, Vec<u8>)>| {
        let who = C;
        let network = crate::harness::network();
        let config = Config {
            network,
            epoch: Epoch(crate::harness::WALL),
            seed: [0; 32],
            store: crate::harness::STORE,
            timing: Timing::default(),
            coordinator: Some(coordinating(who)),
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
