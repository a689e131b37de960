//! One member, given step by step what the others say: orders of events in which a promise was
//! broken once, and which worlds come upon seldom.

use cyxwiz_protocol::{
    Key, OfficeKind, PeerId, TaskEvent, Timer,
    effects::Collecting,
    message::{
        Message,
        membership::{Membership, Offer},
        replication::{Accept, Copied, Held, Step, Summary},
    },
};
use cyxwiz_scoring::Load;

use super::{
    C, C2, C3, C4, C5, W1,
    hostile::{ballot, follower, said, seating},
};
use crate::{
    harness::{Bench, Role, STORE, Who, assert_effects, capability, job, ms},
    wire::newcomer::copies_for_a_newcomer,
};

const ALL: [Who; 5] = [C, C2, C3, C4, C5];

fn seat_on_disk(bench: &Bench) -> Vec<u8> {
    bench.disk[&Key::Seat.to_bytes()].clone()
}

/// What a member told the leader of a later ballot is all that it has under earlier ones: were it to
/// take over who sits from the leader before, without being counted by it, later leaders could
/// find members in force of whom that later leader never heard.
#[test]
fn who_sits_is_not_taken_from_a_leader_that_is_overtaken() {
    let mut bench = follower();
    let known = seating(ballot(C, 4), 3, &[C, C2, C3]);
    let prepare = Step::Prepare { ballot: ballot(C3, 9), seating: known };
    assert_effects(bench.from(C3, &said(STORE, prepare)), &["write seat", "to C3: promise 9 []"]);
    bench.flush();
    let before = seat_on_disk(&bench);
    // Newer than what it knows, under a ballot below the one that it promised.
    let newer = || seating(ballot(C, 6), 4, &[C, C2, C4]);
    let overtaken = [
        Step::Accept(Accept {
            ballot: ballot(C, 6),
            serial: 1,
            seating: Some(newer()),
            copies: Vec::new(),
            forget: Vec::new(),
            ratings: Vec::new(),
        }),
        Step::Prepare { ballot: ballot(C, 7), seating: newer() },
    ];
    for step in overtaken {
        assert_effects(bench.from(C, &said(STORE, step)), &["to C: refused for 9"]);
        bench.flush();
        assert_eq!(seat_on_disk(&bench), before);
    }
}

/// The second of five, which has job 1 as the first had it accepted when it led alone.
fn with_a_job() -> (Bench, Summary) {
    let copies = copies_for_a_newcomer();
    let [Copied { job, .. }] = copies[..] else { panic!("there is one job") };
    let mut bench = Bench::joined(C2, Role::Coordinator);
    let first = ballot(C, 1);
    let accept = Accept {
        ballot: first,
        serial: 1,
        seating: Some(seating(first, 3, &ALL)),
        copies,
        forget: Vec::new(),
        ratings: Vec::new(),
    };
    bench.from(C, &said(STORE, Step::Accept(accept)));
    let collected = TaskEvent::Collected { job, why: Collecting::Replica, result: Ok(()) };
    assert_effects(
        bench.task(collected),
        &["write register j1", "write spec j1", "to C: has [j1@1]"],
    );
    bench.flush();
    (bench, Summary { job, ballot: first, version: 1 })
}

/// The number of the message that told `who` who sits.
fn seating_sent_to(who: Who, sent: &[(PeerId, Message)]) -> u64 {
    let serial = sent.iter().find_map(|(to, message)| {
        let Message::Replication(replication) = message else { return None };
        let Step::Accept(Accept { serial, seating: Some(_), .. }) = &replication.step else {
            return None;
        };
        (*to == who.id()).then_some(*serial)
    });
    serial.expect("everyone is told")
}

/// Three of five tell of the same state: it is chosen. A fourth has it under a ballot in between,
/// of a leader that said it again and fell. So this leader says it again too, before it acts, and
/// that it is chosen once more is no news; the job must be called out all the same.
#[test]
fn a_job_whose_chosen_state_is_said_again_before_the_leader_acts_is_taken_up() {
    let (mut bench, held) = with_a_job();
    bench.wait_for(Timer::Election);
    let status = bench.peer.status().coordinator.expect("a coordinator").committee;
    assert_eq!(status.office, OfficeKind::Electing);
    let own = ballot(C2, status.ballot.term + 1);
    for who in [C3, C4] {
        bench.from(who, &said(STORE, Step::Supported { ballot: own }));
    }
    bench.flush();
    for who in [C3, C4] {
        let known = Some(seating(ballot(C, 1), 3, &ALL));
        let holds = vec![held];
        let promise = Step::Promise { ballot: own, seating: known, part: 0, parts: 1, holds };
        bench.from(who, &said(STORE, promise));
    }
    let sent: Vec<_> = bench.sent.clone();
    let accepted = |who: Who, items| {
        let (ballot, serial) = (own, seating_sent_to(who, &sent));
        said(STORE, Step::Accepted { ballot, serial, epoch: 3, items })
    };
    let later = bench.from(C5, &accepted(C5, vec![(job(1), Held::Later)]));
    assert!(later.contains(&"write register j1".to_owned()), "it is said again: {later:?}");
    bench.flush();
    let counts = |bench: &Bench| bench.peer.status().coordinator.expect("a coordinator");
    assert!(!counts(&bench).leading, "who sits is not chosen yet");
    for who in [C3, C4] {
        bench.from(who, &accepted(who, Vec::new()));
    }
    assert!(counts(&bench).leading);
    for who in [C3, C4] {
        let has = vec![(job(1), Held::Version(held.version + 1))];
        bench.from(who, &accepted(who, has));
    }
    assert_eq!(counts(&bench).queued, 1);
    let capability = capability(1);
    let load = Load::idle(&capability);
    let offer = Offer { capability, load, running: Vec::new(), stands_ms: 30_000 };
    bench.from(W1, &Message::Membership(Membership::Offer(offer)));
    let told = bench.live(ms(1_000));
    assert!(told.iter().any(|line| line.contains("bid")), "it is called out: {told:?}");
}
