//! Calls, bids, awards.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    Ballot, Input, Timer,
    message::{
        Message,
        auction::{Auction, Audience, Bids},
    },
};
use cyxwiz_scoring::Capability;

use super::{
    S, W1, W2, X, accept, asked, bids_for, bids_of, is_call, led, offer, running,
    settlement::detail, wait_for_call,
};
use crate::harness::{
    Bench, Who, assert_effects, capability, job, ms, network_id, run, sign, spec,
};

const EVERYONE: Audience = Audience::ByLot { threshold: u64::MAX };

#[test]
fn an_auction_closes_when_all_have_answered_and_awards_only_from_disk() {
    let mut bench = led(&[W1, W2], 1);
    accept(&mut bench, spec(1));
    assert_effects(
        bench.wait_for(Timer::Announce),
        &[
            "to W2: invited to bid for [j1.1]",
            "to W1: invited to bid for [j1.1]",
            "told of a call for [j1]",
        ],
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
    let decision = detail(&mut bench).decisions.remove(0);
    assert_eq!((decision.invited, decision.ranking.len()), (Some(2), 2));
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

/// They may be far away.
#[test]
fn when_all_who_were_invited_are_silent_they_get_more_time_before_everyone_is_asked() {
    let mut bench = led(&[W1, W2], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let opened = bench.now;
    let late = bids_of(W2, 1, 0, &bench);
    let mut other = led(&[W1, W2], 1);
    accept(&mut other, spec(1));
    other.wait_for(Timer::Announce);
    let told = other.live(ms(999));
    assert!(!told.iter().any(|line| is_call(line)), "{told:?}");
    let told = wait_for_call(&mut other);
    assert_effects(told, &["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"]);

    bench.live(ms(990));
    assert_effects(bench.from(W2, &late), &[]);
    assert_effects(
        bench.wait_for(Timer::Round(1)),
        &["write decision j1.1", "write register j1", "told that j1.1 goes to W2, 1 bids"],
    );
    assert_eq!(bench.now.since(opened), ms(1_000));
    assert_effects(bench.flush(), &["to W2: award j1.1"]);
}

/// The leader does not wait for those who said no.
#[test]
fn when_nobody_who_was_invited_wants_it_everyone_is_asked_at_once() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let opened = bench.now;
    let nothing = change(&bids_of(W1, 1, 0, &bench), |bids| bids.bids.clear(), &bench);
    assert_effects(bench.from(W1, &nothing), &[]);
    let told = wait_for_call(&mut bench);
    assert_effects(told, &["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"]);
    assert!(bench.now.since(opened) < ms(20), "{:?}", bench.now.since(opened));
    let bids = bids_of(W2, 1, 0, &bench);
    bench.from(W2, &bids);
    // W1 hears the call too.
    assert_effects(bench.flush(), &[]);
    bench.wait_for(Timer::Round(2));
    assert_effects(bench.flush(), &["to W2: award j1.1"]);
    assert_eq!(detail(&mut bench).decisions[0].invited, None);
}

#[test]
fn only_those_who_could_begin_at_once_are_invited() {
    let small = Capability { memory_mb: 50, ..capability(1) };
    let mut bench = running(&[W2]);
    let other_device = Capability { devices: Vec::new(), ..capability(1) };
    bench.from(Who::Worker(3), &offer(small, Vec::new()));
    bench.from(Who::Worker(4), &offer(other_device, Vec::new()));
    bench.from(Who::Worker(5), &offer(capability(0), Vec::new()));
    bench.from(Who::Worker(6), &offer(capability(2), Vec::new()));
    accept(&mut bench, spec(2));
    let mut told = bench.wait_for(Timer::Announce);
    told.sort();
    let (second, sixth) = ("to W2: invited to bid for [j2.1]", "to W6: invited to bid for [j2.1]");
    assert_effects(told, &[second, sixth, "told of a call for [j2]"]);
}

#[test]
fn who_was_not_invited_or_has_answered_adds_nothing() {
    let mut bench = led(&[W1, W2], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let call = asked(W1, &bench).expect("it is invited");
    let (dear, cheaper) = (bids_of(W1, 1, 9, &bench), bids_of(W1, 1, 1, &bench));
    let middle = bids_of(W2, 1, 5, &bench);
    let cheapest = bids_for(&call, Who::Worker(3), 1, 0, &bench);
    for (worker, bids) in [(Who::Worker(3), cheapest), (W1, dear), (W1, cheaper), (W2, middle)] {
        bench.from(worker, &bids);
    }
    assert_effects(bench.flush(), &["to W2: award j1.1"]);
    assert_eq!(detail(&mut bench).decisions[0].ranking.len(), 2);
}

#[test]
fn a_dry_round_is_repeated_with_growing_windows_and_pauses_and_forgotten_by_nobody() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["to W1: invited to bid for [j1.1]", "told of a call for [j1]"],
    );
    let invited = bench.now;
    let mut calls = Vec::new();
    while calls.len() < 8 {
        let told = bench.wake();
        if told.iter().any(|line| is_call(line)) {
            assert!(!told.iter().any(|line| line.contains("invited")), "one by one: {told:?}");
            calls.push((bench.now, bids_of(W1, 1, 0, &bench)));
            bench.from(W1, &offer(capability(1), Vec::new()));
        }
    }
    let gaps: Vec<_> = calls.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
    assert_eq!(calls[0].0.since(invited), ms(1_000));
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
        assert!(bench.published.is_empty(), "everyone is asked though all have room");
        let invited = workers.into_iter().filter(|worker| asked(*worker, &bench).is_some());
        let bids: Vec<_> = invited.map(|worker| (worker, bids_of(worker, 8, 0, &bench))).collect();
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
        &["to W1: invited to bid for [j1.1]", "told of a call for [j1]"],
    );
    let bids = bids_of(W1, 1, 0, &bench);
    // The one free place is called out already.
    let told = bench.live(ms(100));
    assert!(!told.iter().any(|line| is_call(line)), "{told:?}");
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

/// The bids of W1 with something else in them.
fn change(bids: &Message, change: impl Fn(&mut Bids), bench: &Bench) -> Message {
    let Message::Auction(Auction::Bids(bids)) = bids else { panic!("bids are bids") };
    let mut bids = (*bids.verify(network_id()).expect("its own")).clone();
    change(&mut bids);
    Message::Auction(Auction::Bids(sign(W1, bench.clock(), bids)))
}

#[test]
fn forged_bids_are_nothing() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    bench.wait_for(Timer::Announce);
    let whole = bids_of(W1, 1, 0, &bench);
    let forged = [
        (X, whole.clone()),
        (W1, change(&whole, |bids| bids.ballot = Ballot { term: 7, ..bids.ballot }, &bench)),
        (W1, change(&whole, |bids| bids.round = 99, &bench)),
    ];
    for (from, message) in forged {
        assert_effects(bench.from(from, &message), &[]);
    }
    // Right in form, for an attempt that nobody called out.
    let wrong = change(&whole, |bids| bids.bids[0].attempt.0 = 5, &bench);
    assert_effects(bench.from(W1, &wrong), &[]);
    let told = bench.flush();
    assert_effects(told, &[]);
}

#[test]
fn a_bidder_that_never_offered_is_forgotten_in_time() {
    let mut bench = led(&[W1], 1);
    accept(&mut bench, spec(1));
    wait_for_call(&mut bench);
    let bids = bids_of(W2, 1, 0, &bench);
    bench.from(W2, &bids);
    assert_eq!(bench.peer.status().coordinator.expect("leads").workers, 2);
    bench.live(ms(60_000));
    assert_eq!(bench.peer.status().coordinator.expect("leads").workers, 0);
}

#[test]
fn a_worker_that_leaves_is_not_invited_any_more() {
    use cyxwiz_protocol::message::membership::Membership;
    let mut bench = led(&[W1], 1);
    assert_effects(bench.from(W1, &Message::Membership(Membership::Leaving)), &[]);
    accept(&mut bench, spec(1));
    let told = bench.live(ms(4_000));
    assert!(!told.iter().any(|line| line.contains("invited")), "{told:?}");
    assert_effects(bench.from(W2, &offer(capability(1), Vec::new())), &["to W2: offered"]);
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["to W2: invited to bid for [j1.1]", "told of a call for [j1]"],
    );
}

/// Nobody here could run it: those that nobody knows are asked, now and then.
#[test]
fn workers_that_nobody_knows_are_called_on_gossip() {
    let mut bench = led(&[], 1);
    accept(&mut bench, spec(1));
    let call = ["on jobs/cpu: bids, please, for [j1.1]", "told of a call for [j1]"];
    assert_effects(bench.wait_for(Timer::Announce), &call);
    for _ in 0..3 {
        let before = bench.now;
        assert_effects(wait_for_call(&mut bench), &call);
        assert_eq!(bench.now.since(before), ms(5_000));
    }
    assert_eq!(asked(X, &bench).expect("everyone is").audience, EVERYONE);
    let bids = bids_of(W1, 1, 0, &bench);
    bench.from(W1, &bids);
    bench.live(ms(250));
    assert_effects(bench.flush(), &["to W1: award j1.1"]);
    assert_eq!(detail(&mut bench).decisions[0].invited, None);
}

#[test]
fn one_who_declines_is_passed_over() {
    let mut bench = running(&[W2]);
    let declined = Message::Auction(Auction::Declined(run(1, 1)));
    assert_effects(bench.from(W2, &declined), &[]);
    assert_effects(bench.from(W1, &declined), &["write register j1"]);
    assert_effects(bench.flush(), &["write reputation W1", "to W1: stop j1.1"]);
    assert_effects(
        bench.wait_for(Timer::Announce),
        &["to W2: invited to bid for [j1.2]", "told of a call for [j1]"],
    );
    let call = asked(W2, &bench).expect("it is invited");
    let (first, second) = (bids_for(&call, W1, 1, 0, &bench), bids_of(W2, 1, 900, &bench));
    bench.from(W1, &first);
    bench.from(W2, &second);
    assert_effects(bench.flush(), &["to W2: award j1.2"]);
}

#[test]
fn nobody_comes_and_the_submitter_is_told() {
    let mut bench = Bench::leading();
    let mut spec = spec(1);
    spec.limits.queue_ms = 11_000;
    accept(&mut bench, spec);
    assert_effects(bench.wait_for(Timer::Queue(job(1))), &["write register j1"]);
    assert_effects(bench.flush(), &["to S: j1 ended"]);
    assert_effects(bench.give(Input::Disconnected(S.id())), &[]);
    assert_eq!(bench.peer.status().coordinator.expect("leads").finished, 1);
}
