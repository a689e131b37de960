//! The coordinator from outside: founding and admission here, the rest in its modules.

mod auction;
mod cancel;
mod pause;
mod recovery;
mod settlement;
mod supervision;

use cyxwiz_protocol::{
    Input, PeerId, RequestId, Run, TaskEvent, Timer, limits,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Bid, Bids},
        membership::{Membership, Offer},
        run::RunStep,
        submission::{Refusal, Submission},
    },
    report::{Ending, Receipt},
    signed::{Signed, Verified},
    spec::JobSpec,
};
use cyxwiz_scoring::{Capability, Load};

use crate::harness::{
    Bench, Role, Who, assert_effects, capability, job, ms, network_id, run, sign, spec,
};

const W1: Who = Who::Worker(1);
const W2: Who = Who::Worker(2);
const S: Who = Who::Submitter;
const X: Who = Who::Stranger;

fn offer(capability: Capability, running: Vec<Run>) -> Message {
    let load = Load::idle(&capability);
    let offer = Offer { capability, load, running, stands_ms: 30_000 };
    Message::Membership(Membership::Offer(offer))
}

fn submit(request: u64, spec: Signed<JobSpec>) -> Message {
    Message::Submission(Submission::Submit { request: RequestId(request), spec })
}

fn receipt_of(who: Who, run: Run, ending: Ending, bench: &Bench) -> Message {
    let chain = cyxwiz_protocol::Digest([0; 32]);
    let (job, attempt) = (run.job, run.attempt);
    let receipt = Receipt { job, attempt, ending, compute_ms: 5, reports: 0, chain };
    Message::Run(RunStep::Receipt(sign(who, bench.clock(), receipt)))
}

/// A leader that knows these workers, each with room for `slots` jobs.
fn led(workers: &[Who], slots: u16) -> Bench {
    let mut bench = Bench::leading();
    for worker in workers {
        bench.from(*worker, &offer(capability(slots), Vec::new()));
    }
    bench
}

/// Job `number` is accepted, on disk and waits.
fn accept(bench: &mut Bench, spec: JobSpec) {
    let id = spec.id;
    bench.pass(ms(7));
    let signed = sign(S, bench.clock(), spec);
    bench.from(S, &submit(1, signed));
    bench.task(TaskEvent::Inspected { job: id, result: Ok(()) });
    bench.flush();
}

/// What `worker` is asked at this moment, in person or with everyone.
fn asked(worker: Who, bench: &Bench) -> Option<Verified<Announcement>> {
    let invitation = bench.sent.iter().find_map(|(to, message)| {
        let Message::Auction(Auction::Invitation(signed)) = message else { return None };
        (*to == worker.id()).then_some(signed)
    });
    let call = || {
        bench.published.iter().find_map(|gossip| match gossip {
            Gossip::Announcement(signed) => Some(signed),
            Gossip::Report(_) | Gossip::Committee(_) => None,
        })
    };
    let announcement = invitation.or_else(call)?;
    Some(announcement.verify(network_id()).expect("the leader's"))
}

/// Of what a leader does: whether it asks for bids, of a few or of everyone.
fn is_call(line: &str) -> bool {
    line.contains("invited to bid") || line.contains("bids, please")
}

/// Until everyone is asked; tells what was done then.
fn wait_for_call(bench: &mut Bench) -> Vec<String> {
    let mut told = (0..1_000).map(|_| bench.wake());
    let call = |told: &Vec<String>| told.iter().any(|line| line.contains("bids, please"));
    told.find(call).expect("jobs are called out to everyone")
}

/// What `worker` answers to what it was just asked: a bid for each job.
fn bids_of(worker: Who, slots: u16, price: u64, bench: &Bench) -> Message {
    let call = asked(worker, bench).expect("this worker was asked");
    bids_for(&call, worker, slots, price, bench)
}

fn bids_for(call: &Announcement, worker: Who, slots: u16, price: u64, bench: &Bench) -> Message {
    let capability = Capability { price, ..capability(slots) };
    let bids = call.calls.iter().map(|call| Bid {
        job: call.job,
        attempt: call.attempt,
        price,
        start_ms: 0,
        warm_permille: 0,
    });
    let bids = Bids {
        ballot: call.ballot,
        round: call.round,
        load: Load::idle(&capability),
        capability,
        bids: bids.collect(),
    };
    Message::Auction(Auction::Bids(sign(worker, bench.clock(), bids)))
}

/// Job 1 runs on the only worker, W1, which has taken it.
fn running(workers: &[Who]) -> Bench {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    award_to(&mut bench, W1, 1);
    for worker in workers {
        bench.from(*worker, &offer(capability(1), Vec::new()));
    }
    bench
}

/// The next call is answered by `worker` alone, which is awarded attempt `attempt` of job 1.
fn award_to(bench: &mut Bench, worker: Who, attempt: u32) {
    bench.wait_for(Timer::Announce);
    let bids = bids_of(worker, 1, 0, bench);
    bench.from(worker, &bids);
    let told = bench.flush();
    let award = format!("to {}: award j1.{attempt}", worker.name());
    assert_eq!(told.last(), Some(&award), "{told:?}");
    bench.pass(ms(13));
    bench.from(worker, &Message::Auction(Auction::Taken(run(1, attempt))));
}

fn connect(bench: &mut Bench, who: Who) -> Vec<String> {
    bench.give(Input::Connected(who.id()))
}

#[test]
fn a_committee_is_founded_by_the_charters_replica_and_told_only_from_disk() {
    let (mut bench, told) = Bench::new(Who::Coordinator, Role::Coordinator);
    assert_effects(told, &["write seat", "subscribe committee"]);
    assert_effects(connect(&mut bench, S), &["to S: who coordinates?"]);
    // Its promise to itself, then the seat under it: two things to have on disk.
    assert_effects(bench.flush(), &["write seat"]);
    assert!(!bench.peer.status().coordinator.expect("a coordinator").leading);

    let ask = Message::Membership(Membership::AskCommittee);
    assert_effects(bench.from(S, &ask), &[]);
    let submitted = submit(7, sign(S, bench.clock(), spec(1)));
    assert_effects(bench.from(S, &submitted), &["to S: redirect to nobody"]);
    assert_effects(
        bench.flush(),
        &["on committee: committee", "to S: committee", "told that C leads"],
    );
    assert_effects(bench.from(S, &ask), &["to S: committee"]);
    assert!(bench.peer.status().coordinator.expect("a coordinator").leading);
}

#[test]
fn without_the_charters_word_a_coordinator_founds_nothing_and_asks_for_a_seat() {
    let (mut alone, _) = Bench::new(Who::SecondCoordinator, Role::Coordinator);
    assert_effects(alone.live(ms(60_000)), &[]);
    let mut bench = Bench::joined(Who::SecondCoordinator, Role::Coordinator);
    let told = bench.live(ms(10_000));
    assert_effects(told, &["to C: stand"; 6]);
    let submitted = submit(1, sign(S, bench.clock(), spec(1)));
    assert_effects(bench.from(S, &submitted), &["to S: redirect to C"]);
    let (mut worker, _) = Bench::new(W1, Role::Worker(1));
    assert_effects(worker.from(S, &submitted), &["to S: redirect to nobody"]);
}

#[test]
fn the_record_stays_fresh_for_those_who_come_late() {
    let mut leader = Bench::leading();
    leader.live(ms(600_000));
    while leader.published.is_empty() {
        leader.wake();
    }
    let record = leader.published.pop().expect("told again and again");
    let (mut late, _) = Bench::new(S, Role::Submitter);
    late.pass(leader.now.since(late.now));
    let told = late.hears(W1, &record);
    assert_effects(told, &["told that C leads", "verdict Accept"]);
}

#[test]
fn a_job_is_accepted_only_from_disk() {
    let mut bench = led(&[W1], 1);
    let signed = sign(S, bench.clock(), spec(1));
    assert_effects(bench.from(S, &submit(1, signed.clone())), &["inspect j1 from S"]);
    assert_effects(bench.from(S, &submit(2, signed.clone())), &[]);
    assert_effects(
        bench.task(TaskEvent::Inspected { job: job(1), result: Ok(()) }),
        &["write spec j1", "write register j1"],
    );
    assert_effects(bench.from(S, &submit(3, signed.clone())), &[]);
    let told = bench.live(ms(100));
    assert!(!told.iter().any(|line| line.contains("j1")), "before the disk has it: {told:?}");
    assert_effects(bench.flush(), &["to S: accepted j1", "to S: accepted j1", "to S: accepted j1"]);
    assert_effects(bench.from(S, &submit(4, signed)), &["to S: accepted j1"]);
    assert_effects(bench.task(TaskEvent::Inspected { job: job(1), result: Ok(()) }), &[]);
}

#[test]
fn what_does_not_hold_up_is_refused_with_the_reason() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    let now = bench.clock();
    let other = JobSpec { workload: "{\"other\":1}".to_owned(), ..spec(1) };
    let mut too_urgent = spec(2);
    too_urgent.priority.0 = 11;
    let mut too_big = spec(2);
    too_big.requirements.memory_mb = 1_000_000;
    let table = [
        (S, sign(S, now, other), "to S: refused j1: another job has this id"),
        (S, sign(S, now, too_urgent), "to S: refused j2: priority 11 is not between 1 and 10"),
        (
            X,
            sign(S, now, spec(2)),
            "to X: refused j2: the spec is not signed by the peer that sent it",
        ),
    ];
    for (from, signed, answer) in table {
        assert_effects(bench.from(from, &submit(1, signed)), &[answer]);
    }
    let told = bench.from(S, &submit(1, sign(S, now, too_big)));
    assert!(
        told[0].starts_with("to S: refused j2: none of 1 worker could ever run it"),
        "{told:?}"
    );

    bench.from(S, &submit(1, sign(S, now, spec(3))));
    let refusal = Refusal::Workload("layer 2 does not fit layer 1".to_owned());
    assert_effects(
        bench.task(TaskEvent::Inspected { job: job(3), result: Err(refusal) }),
        &["to S: refused j3: layer 2 does not fit layer 1"],
    );
    let told = bench.from(S, &submit(1, sign(S, now, spec(3))));
    assert_effects(told, &["inspect j3 from S"]);
}

#[test]
fn a_spec_whose_signature_is_wrong_is_refused() {
    let mut bench = led(&[W1], 1);
    let foreign = Who::Submitter.identity().sign(
        crate::harness::other_network_id(),
        crate::harness::WALL,
        1,
        spec(1),
    );
    let told = bench.from(S, &submit(1, foreign.into_signed()));
    assert_effects(told, &["to S: refused j0: the spec is not signed by the peer that sent it"]);
}

#[test]
fn at_a_limit_jobs_are_refused_and_known_ones_still_answered() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    let known = sign(S, bench.clock(), spec(2));
    bench.from(S, &submit(1, known.clone()));
    bench.task(TaskEvent::Inspected { job: job(2), result: Ok(()) });
    bench.flush();
    assert_effects(bench.give(Input::DiskFull(true)), &[]);
    let fresh = sign(S, bench.clock(), spec(3));
    assert_effects(
        bench.from(S, &submit(1, fresh.clone())),
        &["to S: refused j3: the coordinator's disk is full"],
    );
    assert_effects(bench.from(S, &submit(1, known)), &["to S: accepted j2"]);
    assert_effects(bench.give(Input::DiskFull(false)), &[]);
    assert_effects(bench.from(S, &submit(1, fresh)), &["inspect j3 from S"]);
}

#[test]
fn inspections_are_bounded() {
    let mut bench = led(&[W1], 1);
    for number in 0..limits::ADMISSIONS {
        let mut spec = spec(1);
        spec.id.0[..8].copy_from_slice(&number.to_le_bytes());
        let signed = sign(S, bench.clock(), spec);
        assert_effects(bench.from(S, &submit(1, signed)), &["inspect j1 from S"]);
    }
    let signed = sign(S, bench.clock(), spec(2));
    assert_effects(
        bench.from(S, &submit(1, signed)),
        &["to S: refused j2: too many submissions at this moment"],
    );
}

#[test]
fn five_frames_of_garbage_close_the_door() {
    let mut bench = Bench::leading();
    let garbage =
        |bench: &mut Bench| bench.give(Input::Frame { from: X.id(), bytes: vec![1, 2, 3] });
    for _ in 1..limits::STRIKES {
        assert_effects(garbage(&mut bench), &[]);
    }
    assert_effects(garbage(&mut bench), &["ban X"]);
    assert_eq!(bench.peer.status().dropped.unreadable, u64::from(limits::STRIKES));

    let ask = Message::Membership(Membership::AskCommittee);
    let foreign =
        cyxwiz_protocol::message::encode_message(crate::harness::other_network_id(), &ask);
    let from: PeerId = Who::OtherSubmitter.id();
    assert_effects(bench.give(Input::Frame { from, bytes: foreign.clone() }), &[]);
    assert_eq!(bench.peer.status().dropped.network, 1);
    let mut newer = foreign;
    newer[0] = 9;
    assert_effects(bench.give(Input::Frame { from, bytes: newer }), &[]);
    assert_eq!(bench.peer.status().dropped.version, 1);
}
