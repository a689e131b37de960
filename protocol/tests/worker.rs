//! The worker from outside.

use cyxwiz_protocol::{
    Attempt, Command, Instant, RequestId, Run, TaskEvent, Timer, Timing,
    effects::StopReason,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Audience, Award, Call},
        membership::Membership,
        query::{Query, Question},
        run::{RunStep, Standing, Verdict},
    },
    report::{Checkpoint, Ending, FailureClass, Receipt, Report},
    signed::{Signed, Verified},
    spec::JobKind,
};
use cyxwiz_scoring::{DeviceKind, Requirements};

use crate::harness::{
    Bench, Role, Who, assert_effects, failure, file, founding, job, ms, network_id, progress, run,
    sign, spec, success,
};

const C: Who = Who::Coordinator;
const W1: Who = Who::Worker(1);

fn ballot() -> cyxwiz_protocol::Ballot {
    cyxwiz_protocol::Ballot { term: 1, leader: C.id() }
}

fn worker(slots: u16) -> Bench {
    Bench::joined(W1, Role::Worker(slots))
}

fn call(number: u8, requirements: Requirements) -> Call {
    let (job, attempt) = (job(number), Attempt(1));
    Call { job, attempt, kind: JobKind::Train, requirements, input_bytes: 1_000 }
}

fn announcement(author: Who, threshold: u64, calls: Vec<Call>, now: Instant) -> Gossip {
    let ballot = cyxwiz_protocol::Ballot { term: 1, leader: author.id() };
    let audience = Audience::ByLot { threshold };
    let call = Announcement { ballot, round: 1, window_ms: 250, audience, calls };
    Gossip::Announcement(sign(author, now, call))
}

/// The leader's invitation to job 1.
fn invited(round: u64) -> Announcement {
    let (ballot, audience) = (ballot(), Audience::Invited);
    let calls = vec![call(1, Requirements::default())];
    Announcement { ballot, round, window_ms: 250, audience, calls }
}

fn invitation(author: Who, body: Announcement, bench: &Bench) -> Message {
    Message::Auction(Auction::Invitation(sign(author, bench.clock(), body)))
}

fn lease_ms() -> u32 {
    u32::try_from(Timing::default().lease.as_millis()).expect("some seconds")
}

fn award(author: Who, to: Who, run: Run, bench: &Bench) -> (Message, Signed<Award>) {
    let (job, attempt) = (run.job, run.attempt);
    let award = Award {
        job,
        attempt,
        ballot: ballot(),
        worker: to.id(),
        price: 0,
        lease_ms: lease_ms(),
        resume: None,
    };
    let award = sign(author, bench.clock(), award);
    let spec = sign(Who::Submitter, bench.clock(), spec(run.job.0[15]));
    (Message::Auction(Auction::Award { award: award.clone(), spec }), award)
}

fn busy(slots: u16) -> (Bench, Signed<Award>) {
    let mut bench = worker(slots);
    let (message, award) = award(C, W1, run(1, 1), &bench);
    assert_effects(
        bench.from(C, &message),
        &["write run j1.1", "to C: taken j1.1", "run j1.1 from [C S]", "told that j1.1 begins"],
    );
    bench.flush();
    bench.task(TaskEvent::Started { run: run(1, 1) });
    bench.wait_for(Timer::Renew);
    bench.pass(ms(11));
    (bench, award)
}

fn counted(run: Run, verdict: Verdict) -> Message {
    Message::Run(RunStep::Counted { run, verdict })
}

fn ended(bench: &mut Bench, ending: Ending) -> Vec<String> {
    bench.task(TaskEvent::Ended { run: run(1, 1), ending, compute_ms: 5 })
}

fn standing(standing: Standing) -> Message {
    Message::Run(RunStep::Renewed(vec![(run(1, 1), standing)]))
}

#[test]
fn it_listens_to_its_devices_and_offers_itself_to_the_leader() {
    let (mut bench, told) = Bench::new(W1, Role::Worker(1));
    assert_effects(told, &["subscribe committee", "subscribe jobs/cpu"]);
    assert_effects(bench.learn_committee(), &["to C: offer, runs []", "told that C leads"]);
    let first = bench.now;
    assert_effects(bench.wait_for(Timer::Ready), &["to C: offer, runs []"]);
    let wait = bench.now.since(first);
    assert!((ms(5_000)..=ms(15_000)).contains(&wait), "{wait:?}");
}

#[test]
fn it_bids_for_what_it_can_run_and_says_so_when_it_bids_for_nothing() {
    let mut bench = worker(1);
    let fits = call(1, Requirements::default());
    let too_big = call(2, Requirements { memory_mb: 1_000_000, ..Requirements::default() });
    let other_device = Requirements { device: DeviceKind::Cuda, ..Requirements::default() };
    let calls = vec![fits, too_big.clone(), call(3, other_device)];
    let gossip = announcement(C, u64::MAX, calls, bench.clock());
    assert_effects(
        bench.hears(Who::Stranger, &gossip),
        &["to C: bids for [j1.1]", "verdict Accept"],
    );
    assert_effects(bench.hears(Who::Stranger, &gossip), &["verdict Ignore"]);
    let gossip = announcement(C, u64::MAX, vec![too_big], bench.clock());
    assert_effects(bench.hears(C, &gossip), &["to C: bids for []", "verdict Accept"]);
}

#[test]
fn it_keeps_silent_when_the_lot_is_not_its_own_or_the_caller_does_not_lead() {
    let mut bench = worker(1);
    let calls = || vec![call(1, Requirements::default())];
    let gossip = announcement(C, 0, calls(), bench.clock());
    assert_effects(bench.hears(C, &gossip), &["verdict Accept"]);
    let gossip = announcement(Who::Stranger, u64::MAX, calls(), bench.clock());
    assert_effects(bench.hears(C, &gossip), &["verdict Ignore"]);
    let old = announcement(C, u64::MAX, calls(), bench.clock());
    bench.pass(ms(200_000));
    // Said once a minute at most.
    let complaint = "told that the clock of C differs by 200 s";
    assert_effects(bench.hears(C, &old), &[complaint, "verdict Ignore"]);
    assert_effects(bench.hears(C, &old), &["verdict Ignore"]);
}

#[test]
fn an_invitation_is_answered_once_whatever_the_lot() {
    let mut bench = worker(1);
    let first = invitation(C, invited(1), &bench);
    assert_effects(bench.from(C, &first), &["to C: bids for [j1.1]"]);
    assert_effects(bench.from(C, &first), &[]);
    // The same round, signed once more.
    let again = invitation(C, invited(1), &bench);
    assert_effects(bench.from(C, &again), &[]);
    // What was sent earlier may come later.
    for round in [3, 2] {
        let other = invitation(C, invited(round), &bench);
        assert_effects(bench.from(C, &other), &["to C: bids for [j1.1]"]);
        assert_effects(bench.from(C, &other), &[]);
    }
}

/// The leader need not wait for one that says no.
#[test]
fn one_that_cannot_take_what_it_is_invited_to_says_so() {
    let (mut bench, _) = busy(1);
    let full = invitation(C, invited(1), &bench);
    assert_effects(bench.from(C, &full), &["to C: bids for []"]);
    let mut bench = worker(1);
    let too_big = Requirements { memory_mb: 1_000_000, ..Requirements::default() };
    let calls = vec![call(1, too_big), call(2, Requirements::default())];
    let mixed = invitation(C, Announcement { calls, ..invited(1) }, &bench);
    assert_effects(bench.from(C, &mixed), &["to C: bids for [j2.1]"]);
    assert_effects(bench.command(Command::Leave), &["to C: leaving", "reply 1: done"]);
    let late = invitation(C, invited(2), &bench);
    assert_effects(bench.from(C, &late), &[]);
}

#[test]
fn only_the_leader_in_force_invites_and_only_itself() {
    let mut bench = worker(1);
    let of_another = cyxwiz_protocol::Ballot { term: 1, leader: Who::Stranger.id() };
    let foreign = || Announcement { ballot: of_another, ..invited(1) };
    let by_lot = Announcement { audience: Audience::ByLot { threshold: u64::MAX }, ..invited(1) };
    let refused = [
        // Passed on by another, though the leader signed it.
        (Who::Stranger, invitation(C, invited(1), &bench)),
        (Who::Stranger, invitation(Who::Stranger, foreign(), &bench)),
        (Who::Stranger, invitation(Who::Stranger, invited(1), &bench)),
        (C, invitation(Who::Stranger, invited(1), &bench)),
        (C, invitation(C, foreign(), &bench)),
        // Meant for gossip.
        (C, invitation(C, by_lot, &bench)),
    ];
    for (from, message) in refused {
        assert_effects(bench.from(from, &message), &[]);
    }
    let (mut unaware, _) = Bench::new(W1, Role::Worker(1));
    let early = invitation(C, invited(1), &unaware);
    assert_effects(unaware.from(C, &early), &[]);
    // None of them used up the round.
    let good = invitation(C, invited(1), &bench);
    assert_effects(bench.from(C, &good), &["to C: bids for [j1.1]"]);
}

#[test]
fn a_leader_that_was_elected_anew_counts_its_rounds_anew() {
    let mut bench = worker(1);
    let of_term = |term: u64, round: u64| {
        let ballot = cyxwiz_protocol::Ballot { term, leader: C.id() };
        Announcement { ballot, ..invited(round) }
    };
    let bids: &[&str] = &["to C: bids for [j1.1]"];
    for (term, round, answer) in
        [(1, 5, bids), (2, 1, bids), (2, 1, &[]), (1, 6, &[]), (2, 5, bids), (2, 200, bids)]
    {
        let message = invitation(C, of_term(term, round), &bench);
        assert_effects(bench.from(C, &message), answer);
    }
}

#[test]
fn a_committee_that_was_founded_anew_counts_its_terms_anew() {
    let mut bench = worker(1);
    let late = cyxwiz_protocol::Ballot { term: 9, leader: C.id() };
    let of_before = invitation(C, Announcement { ballot: late, ..invited(5) }, &bench);
    assert_effects(bench.from(C, &of_before), &["to C: bids for [j1.1]"]);
    let second = Who::SecondCoordinator;
    let (mut founder, _) = Bench::new(second, Role::Coordinator);
    founder.command(Command::Found(Box::new(founding(second, 1))));
    founder.take_the_lead();
    let record = founder.published_committee().clone();
    bench.from(second, &Message::Membership(Membership::Committee(record)));
    let ballot = cyxwiz_protocol::Ballot { term: 1, leader: second.id() };
    let of_now = invitation(second, Announcement { ballot, ..invited(1) }, &bench);
    assert_effects(bench.from(second, &of_now), &["to C2: bids for [j1.1]"]);
    assert_effects(bench.from(second, &of_now), &[]);
    let of_before = invitation(C, Announcement { ballot: late, ..invited(6) }, &bench);
    assert_effects(bench.from(C, &of_before), &[]);
}

/// Else whoever was invited could make everyone answer.
#[test]
fn an_invitation_on_gossip_is_rejected() {
    let mut bench = worker(1);
    let gossip = Gossip::Announcement(sign(C, bench.clock(), invited(1)));
    assert_effects(bench.hears(Who::Stranger, &gossip), &["verdict Reject"]);
    assert_eq!(bench.peer.status().dropped.unsigned, 1);
}

#[test]
fn a_forged_call_is_rejected() {
    let mut bench = worker(1);
    let good = announcement(C, u64::MAX, vec![call(1, Requirements::default())], bench.clock());
    let mut bytes = cyxwiz_protocol::message::encode_gossip(network_id(), &good);
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    let told = bench.give(cyxwiz_protocol::Input::Gossip { from: C.id(), bytes });
    assert_effects(told, &["verdict Reject"]);
    assert_eq!(bench.peer.status().dropped.unsigned, 1);
}

#[test]
fn it_takes_an_award_of_the_leader_alone() {
    let mut bench = worker(1);
    let strangers = [
        (Who::Stranger, award(Who::Stranger, W1, run(1, 1), &bench).0),
        (C, award(Who::Stranger, W1, run(1, 1), &bench).0),
        (Who::Stranger, award(C, W1, run(1, 1), &bench).0),
        (C, award(C, Who::Worker(2), run(1, 1), &bench).0),
    ];
    for (from, message) in strangers {
        assert_effects(bench.from(from, &message), &[]);
    }
    // The award is for another job than the spec.
    let (Message::Auction(Auction::Award { award, .. }), _) = award(C, W1, run(1, 1), &bench)
    else {
        panic!("an award");
    };
    let spec = sign(Who::Submitter, bench.clock(), spec(2));
    let mixed = Message::Auction(Auction::Award { award, spec });
    assert_effects(bench.from(C, &mixed), &["to C: declined j1.1"]);
}

#[test]
fn a_repeated_award_is_answered_and_starts_nothing() {
    let (mut bench, _) = busy(1);
    let (again, _) = award(C, W1, run(1, 1), &bench);
    assert_effects(bench.from(C, &again), &["to C: taken j1.1"]);
    ended(&mut bench, success());
    assert_effects(bench.from(C, &again), &["to C: receipt j1.1 succeeded"]);
}

#[test]
fn it_declines_when_it_is_full() {
    let (mut bench, _) = busy(1);
    let (second, _) = award(C, W1, run(2, 1), &bench);
    assert_effects(bench.from(C, &second), &["to C: declined j2.1"]);
    let gossip = announcement(C, u64::MAX, vec![call(2, Requirements::default())], bench.clock());
    assert_effects(bench.hears(C, &gossip), &["to C: bids for []", "verdict Accept"]);
}

#[test]
fn leases_are_renewed_with_progress() {
    let (mut bench, _) = busy(2);
    bench.wait_for(Timer::Renew);
    let since = bench.now;
    bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(5) });
    assert_effects(bench.wait_for(Timer::Renew), &["to C: renew [j1.1@500]"]);
    assert_eq!(bench.now.since(since), Timing::default().renew);
}

#[test]
fn it_stops_when_the_lease_and_its_grace_are_over() {
    let (mut bench, _) = busy(1);
    let Timing { lease, lease_grace, renew, .. } = Timing::default();
    // It was awarded up to a renewal ago.
    let told = bench.live(lease + lease_grace - renew);
    assert!(!told.iter().any(|line| line.starts_with("kill")), "{told:?}");
    bench.from(C, &standing(Standing::Leased { lease_ms: lease_ms() }));
    bench.from(Who::Stranger, &standing(Standing::Leased { lease_ms: 9_000_000 }));
    let renewed = bench.now;
    assert_effects(bench.wait_for(Timer::LeaseLost(run(1, 1))), &["kill j1.1: LeaseLost"]);
    assert_eq!(bench.now.since(renewed), lease + lease_grace);
    assert_effects(
        ended(&mut bench, failure(FailureClass::Internal)),
        &[
            "write run j1.1",
            "to C: receipt j1.1 failed (given up by the worker: the leader was out of reach)",
        ],
    );
}

#[test]
fn a_run_is_stopped_once_for_each_reason() {
    let table: [(Message, StopReason); 5] = [
        (Message::Run(RunStep::Stop(run(1, 1))), StopReason::Cancelled),
        (standing(Standing::Cancelled), StopReason::Cancelled),
        (standing(Standing::Superseded), StopReason::Superseded),
        (Message::Run(RunStep::Pause(run(1, 1))), StopReason::Paused),
        (standing(Standing::Paused), StopReason::Paused),
    ];
    for (message, why) in table {
        let (mut bench, _) = busy(1);
        assert_effects(bench.from(Who::Stranger, &message), &[]);
        assert_effects(bench.from(C, &message), &[&format!("kill j1.1: {why:?}")]);
        assert_effects(bench.from(C, &message), &[]);
        let told = ended(&mut bench, Ending::Cancelled);
        match why {
            StopReason::Superseded => {
                assert_effects(told, &["erase run j1.1", "discard j1.1"]);
            }
            StopReason::Cancelled | StopReason::LeaseLost | StopReason::Leaving => {
                assert_effects(told, &["write run j1.1", "to C: receipt j1.1 cancelled"]);
            }
            StopReason::Paused => {
                assert_effects(told, &["write run j1.1", "to C: receipt j1.1 paused"]);
            }
        }
    }
}

#[test]
fn what_is_paused_tells_the_state_that_it_left() {
    let (mut bench, _) = busy(1);
    let pause = Message::Run(RunStep::Pause(run(1, 1)));
    assert_effects(bench.from(C, &pause), &["kill j1.1: Paused"]);
    // The lease that it was given meanwhile changes nothing: it is about to end.
    assert_effects(bench.from(C, &standing(Standing::Leased { lease_ms: lease_ms() })), &[]);
    let checkpoint = Checkpoint { epoch: 3, batch: 7, file: file("checkpoint.safetensors") };
    bench.task(TaskEvent::Checkpointed { run: run(1, 1), checkpoint });
    assert_effects(
        ended(&mut bench, Ending::Cancelled),
        &["write run j1.1", "to C: receipt j1.1 paused at 3.7"],
    );
    bench.flush();
    let counted = Message::Run(RunStep::Counted { run: run(1, 1), verdict: Verdict::Counted });
    assert_effects(bench.from(C, &counted), &["erase run j1.1", "discard j1.1"]);
}

#[test]
fn what_ends_otherwise_while_it_is_paused_is_told_as_it_was() {
    for ending in [success(), failure(FailureClass::Diverged)] {
        let (mut bench, _) = busy(1);
        bench.from(C, &Message::Run(RunStep::Pause(run(1, 1))));
        let told = ended(&mut bench, ending.clone());
        let receipt = receipt(&bench);
        assert_eq!(receipt.ending, ending, "{told:?}");
    }
}

#[test]
fn a_pause_gives_way_to_every_other_reason_and_none_to_it() {
    let pause = Message::Run(RunStep::Pause(run(1, 1)));
    let stop = Message::Run(RunStep::Stop(run(1, 1)));
    let (mut bench, _) = busy(1);
    bench.from(C, &pause);
    assert_effects(bench.from(C, &stop), &["kill j1.1: Cancelled"]);
    assert_effects(bench.from(C, &pause), &[]);
    let told = ended(&mut bench, Ending::Cancelled);
    assert_effects(told, &["write run j1.1", "to C: receipt j1.1 cancelled"]);
}

/// The order to run waits for the disk; an order to stop that did not would come first, and the
/// process would run to its own end.
#[test]
fn a_stop_never_overtakes_the_run_that_it_is_for() {
    let mut bench = worker(1);
    let (message, _) = award(C, W1, run(1, 1), &bench);
    bench.from(C, &message);
    assert_effects(bench.from(C, &Message::Run(RunStep::Stop(run(1, 1)))), &[]);
    assert_effects(bench.flush(), &["kill j1.1: Cancelled"]);
}

#[test]
fn a_stop_for_what_it_does_not_have_is_declined() {
    let mut bench = worker(1);
    let stop = Message::Run(RunStep::Stop(run(4, 1)));
    assert_effects(bench.from(C, &stop), &["to C: declined j4.1"]);
    assert_effects(bench.from(Who::Stranger, &stop), &[]);
}

fn report(bench: &Bench) -> Verified<Report> {
    match bench.published.first() {
        Some(Gossip::Report(report)) => report.verify(network_id()).expect("its own"),
        other => panic!("a report is published: {other:?}"),
    }
}

fn receipt(bench: &Bench) -> Verified<Receipt> {
    let receipt = bench.sent.iter().find_map(|(_, message)| {
        if let Message::Run(RunStep::Receipt(receipt)) = message { Some(receipt) } else { None }
    });
    receipt.expect("a receipt is sent").verify(network_id()).expect("its own")
}

#[test]
fn reports_are_a_chain_and_the_receipt_names_its_head() {
    let (mut bench, award) = busy(1);
    let mut head = award.digest();
    for number in 1..=3 {
        bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(number) });
        let report = report(&bench);
        assert_eq!((report.number, report.previous), (number, head));
        head = report.signed().digest();
        bench.pass(ms(1_000));
    }
    bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(4) });
    head = report(&bench).signed().digest();
    // Held back for its interval, and told before the receipt all the same.
    let told = bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(5) });
    assert_effects(told, &[]);
    assert_effects(
        ended(&mut bench, success()),
        &["write run j1.1", "on reports/1: report 5 of j1.1", "to C: receipt j1.1 succeeded"],
    );
    let last = report(&bench);
    assert_eq!(last.previous, head);
    let receipt = receipt(&bench);
    assert_eq!((receipt.reports, receipt.chain), (5, last.signed().digest()));
    let late = bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(6) });
    assert_effects(late, &[]);
}

#[test]
fn held_progress_is_told_when_its_time_comes() {
    let (mut bench, _) = busy(1);
    bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(1) });
    let first = bench.now;
    for batch in 2..5 {
        let told = bench.task(TaskEvent::Progress { run: run(1, 1), progress: progress(batch) });
        assert_effects(told, &[]);
    }
    assert_effects(bench.wait_for(Timer::Report(run(1, 1))), &["on reports/1: report 2 of j1.1"]);
    assert_eq!(bench.now.since(first), ms(1_000));
    assert_eq!(report(&bench).progress.batch, 4, "the newest");
}

#[test]
fn a_receipt_is_sent_until_it_is_counted() {
    let (mut bench, _) = busy(1);
    ended(&mut bench, success());
    let first = receipt(&bench);
    for _ in 0..3 {
        let since = bench.now;
        assert_effects(
            bench.wait_for(Timer::Receipt(run(1, 1))),
            &["to C: receipt j1.1 succeeded"],
        );
        assert_eq!(bench.now.since(since), ms(3_000));
        assert_eq!(receipt(&bench).signed(), first.signed(), "the same document");
    }
    // The end is told once; what else is told of it changes nothing.
    assert_effects(ended(&mut bench, failure(FailureClass::Internal)), &[]);
    assert_effects(bench.from(Who::Stranger, &counted(run(1, 1), Verdict::Counted)), &[]);
    assert!(!bench.peer.is_idle());
    assert_effects(
        bench.from(C, &counted(run(1, 1), Verdict::Counted)),
        &["erase run j1.1", "discard j1.1"],
    );
    assert!(bench.peer.is_idle());
    let told = bench.live(ms(60_000));
    assert!(told.iter().all(|line| line == "to C: offer, runs []"), "{told:?}");
}

#[test]
fn counted_says_nothing_of_a_run_that_goes_on() {
    let (mut bench, _) = busy(1);
    for verdict in [Verdict::Counted, Verdict::Superseded, Verdict::Unknown] {
        assert_effects(bench.from(C, &counted(run(1, 1), verdict)), &[]);
    }
}

#[test]
fn a_receipt_outlives_the_worker() {
    let (mut bench, _) = busy(1);
    ended(&mut bench, success());
    let before = receipt(&bench).into_signed();
    bench.flush();
    let (mut bench, told) = bench.crash();
    assert_effects(told, &["subscribe committee", "subscribe jobs/cpu"]);
    bench.pass(ms(11));
    bench.learn_committee();
    let told = bench.wait_for(Timer::Receipt(run(1, 1)));
    assert_effects(told, &["to C: receipt j1.1 succeeded"]);
    assert_eq!(receipt(&bench).into_signed(), before);
}

#[test]
fn a_run_that_the_worker_did_not_survive_is_a_failure_that_another_may_repair() {
    let (bench, _) = busy(1);
    let (mut bench, told) = bench.crash();
    assert_effects(told, &["write run j1.1", "subscribe committee", "subscribe jobs/cpu"]);
    bench.pass(ms(11));
    bench.learn_committee();
    bench.wait_for(Timer::Receipt(run(1, 1)));
    let Ending::Failed { class, .. } = &receipt(&bench).ending else {
        panic!("a failure");
    };
    assert!(class.is_recoverable());
}

#[test]
fn a_worker_that_leaves_ends_what_runs_and_takes_nothing_more() {
    let (mut bench, _) = busy(2);
    assert_effects(
        bench.command(Command::Leave),
        &["to C: leaving", "kill j1.1: Leaving", "reply 1: done"],
    );
    let (second, _) = award(C, W1, run(2, 1), &bench);
    assert_effects(bench.from(C, &second), &["to C: declined j2.1"]);
    let gossip = announcement(C, u64::MAX, vec![call(3, Requirements::default())], bench.clock());
    assert_effects(bench.hears(C, &gossip), &["verdict Accept"]);
    let told = ended(&mut bench, Ending::Cancelled);
    assert_effects(
        told,
        &[
            "write run j1.1",
            "to C: receipt j1.1 failed (given up by the worker: the worker was asked to leave)",
        ],
    );
}

#[test]
fn who_is_no_coordinator_sends_askers_on() {
    let mut bench = worker(1);
    let ask = Query::Ask { request: RequestId(1), question: Question::Workers };
    let told = bench.from(Who::Stranger, &Message::Query(ask));
    assert_effects(told, &["to X: redirect to C"]);
}
