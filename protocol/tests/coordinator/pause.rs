//! Paused means that nothing runs and nothing is lost: noted from disk, complete when the process
//! is dead, and taken up again from what it left.

use cyxwiz_protocol::{
    Input, RequestId, Timer, Timing,
    job::{EndReason, FailReason, JobState},
    limits,
    message::{
        Message,
        auction::Auction,
        pausing::Pausing,
        run::{Renewal, RunStep},
        submission::Submission,
    },
    report::{Checkpoint, Ending},
    spec::{CancelOrder, JobLimits, JobSpec, PauseOrder, Wish},
};

use super::{
    S, W1, X, accept, award_to, bids_of, is_call, led, offer, receipt_of, running,
    settlement::{collected, detail},
};
use crate::harness::{
    Bench, Who, assert_effects, capability, file, job, ms, run, sign, spec, success,
};

fn order(who: Who, number: u8, wish: Wish, bench: &Bench) -> Message {
    let order = sign(who, bench.clock(), PauseOrder { job: job(number), wish });
    Message::Pausing(Pausing::Order { request: RequestId(5), order })
}

fn give(bench: &mut Bench, wish: Wish) -> Vec<String> {
    let order = order(S, 1, wish, bench);
    bench.from(S, &order)
}

fn left(epoch: u32, batch: u32) -> Checkpoint {
    Checkpoint { epoch, batch, file: file("checkpoint.safetensors") }
}

fn paused_at(checkpoint: Option<Checkpoint>, bench: &Bench) -> Message {
    receipt_of(W1, run(1, 1), Ending::Paused { checkpoint }, bench)
}

fn renew() -> Message {
    let renewal = Renewal { run: run(1, 1), progress: None, checkpoint: None };
    Message::Run(RunStep::Renew(vec![renewal]))
}

/// Job 1 was running on W1, and is paused with nothing to go on from.
fn paused() -> Bench {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let receipt = paused_at(None, &bench);
    bench.from(W1, &receipt);
    bench.flush();
    bench
}

#[test]
fn a_queued_job_is_paused_at_once_and_nobody_is_asked_to_run_it() {
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let order = order(S, 1, Wish::Pause, &bench);
    assert_effects(bench.from(S, &order), &["write register j1"]);
    assert_effects(bench.from(S, &order), &[]);
    let noted = "to S: order for j1 noted";
    assert_effects(bench.flush(), &[noted, noted]);
    assert_effects(bench.from(S, &order), &[noted]);
    bench.from(W1, &offer(capability(1), Vec::new()));
    let told = bench.live(ms(2_000));
    assert!(!told.iter().any(|line| is_call(line)), "{told:?}");
    assert_effects(give(&mut bench, Wish::Resume), &["write register j1"]);
    assert_effects(bench.flush(), &[noted]);
    award_to(&mut bench, W1, 1);
}

#[test]
fn an_order_that_means_nothing_is_answered_with_why() {
    let mut bench = running(&[]);
    let of_stranger = order(X, 1, Wish::Pause, &bench);
    let told = bench.from(X, &of_stranger);
    assert_effects(
        told,
        &["to X: no order for j1: only the peer that submitted the job may do this"],
    );
    let of_nothing = order(S, 9, Wish::Pause, &bench);
    assert_effects(bench.from(S, &of_nothing), &["to S: no order for j9: no such job"]);
    let early = order(S, 1, Wish::Pause, &bench);
    let so = "to S: order for j1 noted, it was so";
    // Nothing is paused: noted all the same, so that no older order comes after it.
    assert_effects(give(&mut bench, Wish::Resume), &["write register j1"]);
    let told = bench.flush();
    assert_effects(told, &[so, "to W1: award j1.1"]);
    assert_effects(
        bench.from(S, &early),
        &["to S: no order for j1: a later order to pause or resume the job was there before"],
    );
    let cancel = sign(S, bench.clock(), CancelOrder { job: job(1) });
    let cancel = Submission::Cancel { request: RequestId(5), order: cancel };
    bench.from(S, &Message::Submission(cancel));
    bench.flush();
    let cancelling = "to S: no order for j1: the job is being cancelled";
    assert_effects(give(&mut bench, Wish::Pause), &[cancelling]);
    let receipt = receipt_of(W1, run(1, 1), Ending::Cancelled, &bench);
    bench.from(W1, &receipt);
    bench.flush();
    let ended = "to S: no order for j1: the job has ended already: it was cancelled";
    assert_effects(give(&mut bench, Wish::Resume), &[ended]);
}

#[test]
fn a_running_job_is_paused_when_its_process_is_dead_and_its_worker_is_free() {
    let mut bench = running(&[]);
    assert_effects(give(&mut bench, Wish::Pause), &["write register j1"]);
    assert_effects(bench.flush(), &["to S: order for j1 noted", "to W1: pause j1.1"]);
    for _ in 0..3 {
        assert_effects(bench.wait_for(Timer::Stop(run(1, 1))), &["to W1: pause j1.1"]);
    }
    // Longer than a lease: the worker still says that it is at it.
    for _ in 0..10 {
        assert_effects(bench.from(W1, &renew()), &["to W1: renewed [j1.1 paused]"]);
        let told = bench.live(ms(3_000));
        assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    }
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    let receipt = paused_at(Some(left(2, 5)), &bench);
    assert_effects(bench.from(W1, &receipt), &["collect j1 from [W1]"]);
    assert_effects(bench.from(W1, &receipt), &[]);
    assert_effects(collected(&mut bench), &["write register j1", "write register j1"]);
    assert_eq!(bench.flush().last().map(String::as_str), Some("to W1: j1.1 is Counted"));
    let record = detail(&mut bench).record;
    assert!(matches!(record.state, JobState::Paused { .. }), "{record:?}");
    assert_eq!(record.checkpoint, Some(left(2, 5)));
    assert_eq!(record.attempts[0].end.as_ref().map(|end| &end.why), Some(&EndReason::Paused));
    let counts = bench.peer.status().coordinator.expect("a coordinator");
    assert_eq!((counts.paused, counts.queued, counts.running), (1, 0, 0));
    // Its place is another job's.
    bench.from(W1, &offer(capability(1), Vec::new()));
    accept(&mut bench, spec(2));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j2.1"]);
}

#[test]
fn what_is_resumed_goes_on_from_where_it_was_with_the_same_worker_if_that_is_the_best() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let receipt = paused_at(Some(left(2, 5)), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    give(&mut bench, Wish::Resume);
    bench.flush();
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j1.2"]);
    let Some((_, Message::Auction(Auction::Award { award, .. }))) = bench.sent.last() else {
        panic!("an award is sent");
    };
    let award = award.verify(crate::harness::network_id()).expect("the leader's");
    assert_eq!(award.resume, Some(left(2, 5)));
}

#[test]
fn what_a_paused_attempt_left_and_nobody_can_have_is_not_gone_on_from() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let receipt = paused_at(Some(left(2, 5)), &bench);
    for _ in 0..3 {
        assert_effects(bench.from(W1, &receipt), &["collect j1 from [W1]"]);
        let result = Err("gone".to_owned());
        let why = cyxwiz_protocol::effects::Collecting::Keeping;
        bench.task(cyxwiz_protocol::TaskEvent::Collected { job: job(1), why, result });
    }
    bench.flush();
    let record = detail(&mut bench).record;
    assert!(matches!(record.state, JobState::Paused { .. }), "{record:?}");
    assert_eq!(record.checkpoint, None);
}

#[test]
fn a_silent_worker_has_stopped_itself_before_its_job_is_called_paused() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let Timing { lease, lease_grace, .. } = Timing::default();
    let told = bench.live(lease + lease_grace);
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let told = bench.live(ms(20_000));
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Paused { .. }));
}

/// As with a wish to cancel: nothing ends before the process has had the time to be dead.
#[test]
fn a_lease_that_runs_out_while_the_order_is_written_does_not_pause_the_job() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    assert_effects(bench.wait_for(Timer::Lease(run(1, 1))), &[]);
    bench.flush();
    assert_eq!(detail(&mut bench).record.state, JobState::Assigned);
    let Timing { lease, lease_grace, .. } = Timing::default();
    let told = bench.live(lease + lease_grace);
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
}

#[test]
fn a_result_that_was_made_before_its_worker_heard_of_the_pause_counts() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Completed { .. }));
    let ended = "to S: no order for j1: the job has ended already: it completed";
    assert_effects(give(&mut bench, Wish::Resume), &[ended]);
}

#[test]
fn an_order_that_the_end_of_its_job_overtakes_on_the_way_to_the_disk_is_refused() {
    let mut bench = running(&[]);
    let receipt = receipt_of(W1, run(1, 1), success(), &bench);
    bench.from(W1, &receipt);
    collected(&mut bench);
    assert_effects(give(&mut bench, Wish::Pause), &[]);
    let told = bench.flush();
    let ended = "to S: no order for j1: the job has ended already: it completed".to_owned();
    assert!(told.contains(&ended), "{told:?}");
}

#[test]
fn a_pause_that_is_taken_back_before_the_worker_obeyed_leaves_the_job_with_it() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    give(&mut bench, Wish::Resume);
    let told = bench.flush();
    assert_effects(told, &["to S: order for j1 noted", "to W1: award j1.1"]);
    bench.from(W1, &Message::Auction(Auction::Taken(run(1, 1))));
    assert_effects(bench.from(W1, &renew()), &["to W1: renewed [j1.1 leased]"]);
    let told = bench.live(Timing::default().lease - ms(1));
    assert!(!told.iter().any(|line| line.contains("pause")), "{told:?}");
    // It had heard of the pause and had ended: the job goes on elsewhere, and no try is lost.
    let receipt = paused_at(None, &bench);
    bench.from(W1, &receipt);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Queued { .. }));
    award_to(&mut bench, W1, 2);
}

#[test]
fn an_award_on_its_way_that_shall_be_paused_is_not_sent() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    give(&mut bench, Wish::Pause);
    assert_effects(bench.flush(), &["to S: order for j1 noted", "to W1: pause j1.1"]);
    let declined = Message::Auction(Auction::Declined(run(1, 1)));
    assert_effects(bench.from(W1, &declined), &["write register j1"]);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Paused { .. }));
}

#[test]
fn a_paused_job_outlives_its_leader_and_so_does_the_order_that_paused_it() {
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let order = order(S, 1, Wish::Pause, &bench);
    bench.from(S, &order);
    bench.flush();
    let (mut bench, _) = bench.crash();
    bench.wake();
    bench.take_the_lead();
    assert!(matches!(detail(&mut bench).record.state, JobState::Paused { .. }));
    bench.from(W1, &offer(capability(1), Vec::new()));
    let told = bench.live(ms(2_000));
    assert!(!told.iter().any(|line| is_call(line)), "{told:?}");
    assert_effects(bench.from(S, &order), &["to S: order for j1 noted"]);
    give(&mut bench, Wish::Resume);
    bench.flush();
    award_to(&mut bench, W1, 1);
}

#[test]
fn a_new_leader_has_the_worker_pause_what_the_one_before_did_not_see_end() {
    let mut bench = running(&[]);
    give(&mut bench, Wish::Pause);
    bench.flush();
    let (mut bench, _) = bench.crash();
    bench.wake();
    let told = bench.take_the_lead();
    assert!(told.contains(&"to W1: pause j1.1".to_owned()), "{told:?}");
    let receipt = paused_at(None, &bench);
    bench.from(W1, &receipt);
    bench.flush();
    assert!(matches!(detail(&mut bench).record.state, JobState::Paused { .. }));
}

#[test]
fn the_time_of_a_paused_job_stands_still_and_the_time_of_a_pause_has_an_end() {
    let mut bench = led(&[], 1);
    let limits = JobLimits { total_ms: 60_000, queue_ms: 60_000, ..JobLimits::default() };
    accept(&mut bench, JobSpec { limits, ..spec(1) });
    bench.live(ms(50_000));
    give(&mut bench, Wish::Pause);
    bench.flush();
    let told = bench.live(ms(600_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    give(&mut bench, Wish::Resume);
    bench.flush();
    let told = bench.live(ms(9_000));
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    let told = bench.live(ms(1_100));
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");

    let mut bench = paused();
    bench.pass(limits::PAUSE - ms(1_000));
    let told = bench.give(Input::Timeout);
    assert!(!told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.pass(ms(1_000));
    let told = bench.give(Input::Timeout);
    assert!(told.contains(&"write register j1".to_owned()), "{told:?}");
    bench.flush();
    let JobState::Failed { reason, .. } = detail(&mut bench).record.state else {
        panic!("nobody resumed it");
    };
    assert_eq!(reason, FailReason::PausedTooLong);
}

#[test]
fn a_paused_job_is_cancelled_at_once() {
    let mut bench = paused();
    let cancel = sign(S, bench.clock(), CancelOrder { job: job(1) });
    let cancel = Submission::Cancel { request: RequestId(5), order: cancel };
    bench.from(S, &Message::Submission(cancel));
    let told = bench.flush();
    assert_effects(told, &["to S: cancel of j1 noted", "to S: j1 ended"]);
    assert!(matches!(detail(&mut bench).record.state, JobState::Cancelled { .. }));
}
