//! Calls, bids, awards.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    Ballot, Input, Timer,
    message::{Message, auction::Auction},
};

use super::{S, W1, W2, X, accept, bids_of, led, offer, running};
use crate::harness::{
    Bench, Who, assert_effects, capability, job, ms, network_id, run, sign, spec,
};

#[test]
fn an_auction_closes_when_all_have_answered_and_awards_only_from_disk() {
    let mut bench = led(&[W1, W2], 1);
    accept(&mut bench, spec(1));
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"],
    );
    let (dear, cheap) = (bids_of(W1, 1, 9, &bench), bids_of(W2, 1, 2, &bench));
    assert_effects(bench.from(W1, &dear), &[]);
    assert_effects(
        bench.from(W2, &cheap),
        &["write decision j1.1", "write register j1", "told that j1.1 goes to W2, 2 bids"],
    );
    let told = bench.live(ms(1_000));
    assert!(!told.iter().any(|line| line.contains("award")), "before the disk: {told:?}");
    assert_effects(bench.flush(), &["to W2: award j1.1"]);
}

#[test]
fn an_auction_closes_at_the_end_of_its_window() {
    let mut bench = led(&[W1, W2], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let opened = bench.now;
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    assert_effects(
        bench.wait_for(Timer::Round(1)),
        &["write decision j1.1", "write register j1", "told that j1.1 goes to W1, 1 bids"],
    );
    assert_eq!(bench.now.since(opened), ms(250));
    // Too late, and for nothing.
    assert_effects(bench.from(W1, &bids), &[]);
}

#[test]
fn a_dry_round_is_repeated_with_growing_windows_and_pauses_and_forgotten_by_nobody() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    let mut calls = Vec::new();
    while calls.len() < 8 {
        let told = bench.wake();
        if told.iter().any(|line| line.contains("bids, please")) {
            calls.push((bench.now, bids_of(W1, 1, 0, &bench)));
            bench.from(W1, &offer(capability(1), Vec::new()));
        }
    }
    let gaps: Vec<_> = calls.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert_eq!((gaps[0], gaps[6]), (ms(500), ms(9_000)), "{gaps:?}");
    let (_, bids) = calls.pop().expect("the newest");
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j1.1"]);
}

#[test]
fn a_burst_spreads_evenly() {
    let workers = [Who::Worker(1), Who::Worker(2), Who::Worker(3)];
    let mut bench = led(&workers, 8);
    for number in 1..=10 {
        accept(&mut bench, spec(number));
    }
    let mut awards = BTreeMap::<String, u32>::new();
    while awards.values().sum::<u32>() < 10 {
        bench.wait_for(Timer::Announce);
        if bench.published.is_empty() {
            continue;
        }
        let bids = workers.map(|worker| (worker, bids_of(worker, 8, 0, &bench)));
        for (worker, bids) in bids {
            bench.from(worker, &bids);
        }
        for line in bench.flush() {
            let worker = line.strip_prefix("to ").and_then(|rest| rest.split_once(": award "));
            *awards.entry(worker.expect("only awards").0.to_owned()).or_default() += 1;
        }
    }
    let mut shares: Vec<_> = awards.into_values().collect();
    shares.sort_unstable();
    assert_eq!(shares, [3, 3, 4]);
}

#[test]
fn more_jobs_than_room_wait_without_a_dry_round() {
    let mut bench = led(&[W1], 1);
    for number in 1..=3 {
        accept(&mut bench, spec(number));
    }
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"],
    );
    let bids = bids_of(W1, 1, 0, &bench);
    // The one free place is called out already.
    let told = bench.live(ms(100));
    assert!(!told.iter().any(|line| line.contains("bids, please")), "{told:?}");
    bench.from(W1, &bids);
    assert_effects(bench.flush(), &["to W1: award j1.1"]);
}

#[test]
fn an_award_is_sent_until_it_is_taken() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    bench.flush();
    let granted = bench.now;
    for sent in 1..=3 {
        assert_effects(bench.wait_for(Timer::Award(run(1, 1))), &["to W1: award j1.1"]);
        assert_eq!(bench.now.since(granted), ms(2_000) * sent);
    }
    let taken = Message::Auction(Auction::Taken(run(1, 1)));
    assert_effects(bench.from(X, &taken), &[]);
    assert_effects(bench.wait_for(Timer::Award(run(1, 1))), &["to W1: award j1.1"]);
    assert_effects(bench.from(W1, &taken), &[]);
    let told = bench.live(ms(9_000));
    assert!(!told.iter().any(|line| line.contains("award")), "{told:?}");
}

#[test]
fn forged_bids_are_nothing() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let Message::Auction(Auction::Bids(good)) = bids_of(W1, 1, 0, &bench) else {
        panic!("bids are bids");
    };
    let body = |change: &dyn Fn(&mut cyxwiz_protocol::message::auction::Bids)| {
        let mut bids = (*good.verify(network_id()).expect("its own")).clone();
        change(&mut bids);
        Message::Auction(Auction::Bids(sign(W1, bench.now, bids)))
    };
    let forged = [
        (X, Message::Auction(Auction::Bids(good.clone()))),
        (W1, body(&|bids| bids.ballot = Ballot { term: 7, ..bids.ballot })),
        (W1, body(&|bids| bids.round = 99)),
    ];
    for (from, message) in forged {
        assert_effects(bench.from(from, &message), &[]);
    }
    // Right in form, for an attempt that nobody called out.
    let mut bids = (*good.verify(network_id()).expect("its own")).clone();
    bids.bids[0].attempt.0 = 5;
    let wrong = Message::Auction(Auction::Bids(sign(W1, bench.clock(), bids)));
    assert_effects(bench.from(W1, &wrong), &[]);
    let told = bench.flush();
    assert_effects(told, &[]);
}

#[test]
fn a_bidder_that_never_offered_is_forgotten_in_time() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let bids = bids_of(W2, 1, 0, &bench);
    bench.from(W2, &bids);
    assert_eq!(bench.peer.status().coordinator.expect("leads").workers, 2);
    bench.live(ms(60_000));
    assert_eq!(bench.peer.status().coordinator.expect("leads").workers, 0);
}

#[test]
fn a_worker_that_leaves_is_not_called_any_more() {
    use cyxwiz_protocol::message::membership::Membership;
    let mut bench = led(&[W1], 1);
    assert_effects(bench.from(W1, &Message::Membership(Membership::Leaving)), &[]);
    accept(&mut bench, spec(1));
    let told = bench.live(ms(4_000));
    assert!(!told.iter().any(|line| line.contains("bids, please")), "{told:?}");
    assert_effects(bench.from(W2, &offer(capability(1), Vec::new())), &["to W2: offered"]);
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"],
    );
}

#[test]
fn one_who_declines_is_passed_over() {
    let mut bench = running(&[W2]);
    let declined = Message::Auction(Auction::Declined(run(1, 1)));
    assert_effects(bench.from(W2, &declined), &[]);
    assert_effects(bench.from(W1, &declined), &["write register j1"]);
    assert_effects(bench.flush(), &["write reputation W1", "to W1: stop j1.1"]);
    bench.wait_for(Timer::Announce);
    let (first, second) = (bids_of(W1, 1, 0, &bench), bids_of(W2, 1, 900, &bench));
    bench.from(W1, &first);
    bench.from(W2, &second);
    assert_effects(bench.flush(), &["to W2: award j1.2"]);
}

#[test]
fn nobody_comes_and_the_submitter_is_told() {
    let mut bench = Bench::leading();
    let mut spec = spec(1);
    spec.limits.queue_ms = 10_000;
    accept(&mut bench, spec);
    assert_effects(bench.wait_for(Timer::Queue(job(1))), &["write register j1"]);
    assert_effects(bench.flush(), &["to S: j1 ended"]);
    assert_effects(bench.give(Input::Disconnected(S.id())), &[]);
    assert_eq!(bench.peer.status().coordinator.expect("leads").finished, 1);
}
