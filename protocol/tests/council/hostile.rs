//! Steps of those who do not sit, and wrong ones of those who do: nothing comes of them, nothing
//! grows, nothing panics.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    Ballot, CellId, Input, OfficeKind, Run, StoreId,
    message::{
        Message,
        auction::Auction,
        membership::Member,
        replication::{Accept, Held, Replication, Seating, SeatingRegister, Step, Summary},
    },
};
use proptest::prelude::*;

use super::{C, C2, C3, C4, S};
use crate::harness::{
    Bench, Role, STORE, Who, assert_effects, forged_ticket, founding, job, ms, network, run, sign,
    spec, ticket,
};

const X: Who = Who::Stranger;
const OTHER_STORE: StoreId = StoreId([9; 16]);

pub(super) fn member(who: Who) -> Member {
    // A stranger has no ticket of the charter's.
    let ticket = if who == X { forged_ticket() } else { ticket() };
    Member { peer: who.id(), store: STORE, credential: ticket.seat(&network(), who.id()) }
}

pub(super) fn ballot(leader: Who, term: u64) -> Ballot {
    Ballot { term, leader: leader.id() }
}

pub(super) fn seating(ballot: Ballot, epoch: u64, members: &[Who]) -> Box<SeatingRegister> {
    let members = members.iter().map(|who| member(*who)).collect();
    let (cell, founding) = (CellId::default(), founding(C, 0));
    let seating = Seating { cell, founding, epoch, members, joining: Vec::new() };
    Box::new(SeatingRegister { ballot, seating })
}

pub(super) fn said(from: StoreId, step: Step) -> Message {
    Message::Replication(Replication { from, to: STORE, step })
}

fn accept(ballot: Ballot, seating: Option<Box<SeatingRegister>>) -> Step {
    let (copies, forget, ratings) = (Vec::new(), vec![job(1)], Vec::new());
    Step::Accept(Accept { ballot, serial: 1, seating, copies, forget, ratings })
}

/// The second coordinator, which follows the first and sits with it and the third.
pub(super) fn follower() -> Bench {
    let mut bench = Bench::joined(C2, Role::Coordinator);
    let seated = accept(ballot(C, 4), Some(seating(ballot(C, 4), 3, &[C, C2, C3])));
    let told = bench.from(C, &said(STORE, seated));
    assert_effects(told, &["write seat", "write seat", "write seat", "to C: has []"]);
    bench.flush();
    bench
}

/// One that was heard of nobody for long, and asks whether it would be followed.
fn canvassing() -> Bench {
    let mut bench = follower();
    let told = bench.live(ms(2_500));
    assert!(told.contains(&"to C3: canvass 5".to_owned()), "{told:?}");
    bench
}

/// One that wants promises.
fn preparing() -> Bench {
    let mut bench = canvassing();
    let term = canvassed(&bench);
    bench.from(C3, &said(STORE, Step::Supported { ballot: ballot(C2, term) }));
    bench.flush();
    bench
}

/// The term that it asks for.
fn canvassed(bench: &Bench) -> u64 {
    let status = bench.peer.status().coordinator.expect("a coordinator").committee;
    assert_eq!(status.office, OfficeKind::Electing);
    status.ballot.term + 1
}

fn leader() -> Bench {
    let mut bench = Bench::leading();
    let signed = sign(S, bench.clock(), spec(1));
    let request = cyxwiz_protocol::RequestId(1);
    let submit = cyxwiz_protocol::message::submission::Submission::Submit { request, spec: signed };
    bench.from(S, &Message::Submission(submit));
    bench.task(cyxwiz_protocol::TaskEvent::Inspected { job: job(1), result: Ok(()) });
    bench.flush();
    bench
}

/// Every kind of step, as if `who` led or followed with `ballot`.
fn steps(who: Who, ballot: Ballot) -> Vec<Step> {
    let forged = || seating(ballot, 99, &[who]);
    let summary = Summary { job: job(1), ballot, version: u64::MAX };
    let holds = vec![summary; 3];
    let (seat, items) = (Some(forged()), vec![(job(1), Held::Version(u64::MAX))]);
    vec![
        Step::Canvass { ballot },
        Step::Supported { ballot },
        Step::Prepare { ballot, seating: forged() },
        Step::Prepare { ballot, seating: seating(ballot, 99, &[C4]) },
        Step::Promise { ballot, seating: seat.clone(), part: 0, parts: 1, holds: holds.clone() },
        Step::Promise { ballot, seating: seat.clone(), part: 7, parts: 0, holds: holds.clone() },
        Step::Promise { ballot, seating: seat.clone(), part: 0, parts: u32::MAX, holds },
        Step::Refused { promised: ballot },
        Step::Fetch { ballot, jobs: vec![job(1)] },
        Step::Fetched { ballot, copies: Vec::new() },
        accept(ballot, None),
        accept(ballot, Some(seating(ballot, 99, &[C4]))),
        Step::Accepted { ballot, serial: 1, epoch: 99, items },
        Step::Beat { ballot },
        Step::Heard { ballot },
        Step::Stand { credential: member(X).credential },
    ]
}

fn standing(bench: &Bench) -> (String, BTreeMap<Vec<u8>, Vec<u8>>) {
    let status = bench.peer.status();
    (format!("{:?} {:?}", status.coordinator, status.committee), bench.disk.clone())
}

/// A stranger's steps, a member's from a store that does not sit, and those for another store.
fn unheeded() -> Vec<(Who, Message)> {
    let mut all = Vec::new();
    for (from, store) in [(X, STORE), (X, OTHER_STORE), (C, OTHER_STORE), (C3, OTHER_STORE)] {
        for ballot in [ballot(from, 5), ballot(from, u64::MAX), ballot(C2, 5), ballot(C2, 6)] {
            all.extend(steps(from, ballot).into_iter().map(|step| (from, said(store, step))));
        }
    }
    for step in steps(C3, ballot(C3, u64::MAX)) {
        let replication = Replication { from: STORE, to: OTHER_STORE, step };
        all.push((C3, Message::Replication(replication)));
    }
    all
}

#[test]
fn steps_of_those_who_do_not_sit_are_nothing() {
    for make in [leader, follower, canvassing, preparing] {
        let mut bench = make();
        let before = standing(&bench);
        for (from, message) in unheeded() {
            let told = bench.from(from, &message);
            // To agree binds nobody, and a follower that heard of no leader may say so.
            assert_effects(told, &[]);
        }
        assert_effects(bench.flush(), &[]);
        assert_eq!(standing(&bench), before);
    }
}

#[test]
fn a_member_with_an_old_ballot_is_told_so_and_changes_nothing() {
    let mut bench = follower();
    let before = standing(&bench);
    for step in [
        Step::Beat { ballot: ballot(C3, 3) },
        accept(ballot(C3, 3), Some(seating(ballot(C3, 3), 9, &[C3]))),
        Step::Prepare { ballot: ballot(C3, 3), seating: seating(ballot(C, 4), 3, &[C, C2, C3]) },
    ] {
        assert_effects(bench.from(C3, &said(STORE, step)), &["to C3: refused for 4"]);
    }
    // Another's ballot is not its own to use.
    for step in [Step::Beat { ballot: ballot(C, 9) }, accept(ballot(C, 9), None)] {
        assert_effects(bench.from(C3, &said(STORE, step)), &[]);
    }
    assert_eq!(standing(&bench), before);
}

#[test]
fn the_highest_term_there_is_does_not_end_the_world() {
    let mut bench = preparing();
    bench.from(C3, &said(STORE, Step::Refused { promised: ballot(C3, u64::MAX) }));
    bench.live(ms(30_000));
    let mut bench = follower();
    let beat = said(STORE, Step::Beat { ballot: ballot(C3, u64::MAX) });
    assert_effects(bench.from(C3, &beat), &["write seat", "to C3: heard"]);
    bench.live(ms(30_000));
}

/// Whoever asks in the name of runs that never were makes no deadlines.
#[test]
fn runs_that_never_were_are_not_waited_for() {
    // It sits, has job 1, and does not lead yet.
    let (mut bench, _) = leader().crash();
    bench.wake();
    bench.pass(ms(7));
    for attempt in 0..100 {
        let taken = Message::Auction(Auction::Taken(run(1, attempt)));
        assert_effects(bench.from(X, &taken), &[]);
    }
    let lease = |next: Option<cyxwiz_protocol::Deadline>| {
        matches!(next.map(|it| it.why), Some(cyxwiz_protocol::Timer::Lease(Run { .. })))
    };
    while bench.now.0 < 20_000_000 {
        assert!(!lease(bench.peer.next_deadline()));
        bench.wake();
    }
}

fn any_step() -> impl Strategy<Value = (u8, Message)> {
    let who = prop::sample::select(vec![C, C2, C3, C4, X]);
    (0..3_u8, who.clone(), who, 0..8_u64, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(from, named, leads, term, which, right)| {
            let term = if term == 7 { u64::MAX } else { term };
            let mut steps = steps(named, ballot(leads, term));
            let step = steps.swap_remove(which.index(steps.len()));
            (from, said(if right { STORE } else { OTHER_STORE }, step))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_steps_is_survived(steps in prop::collection::vec(any_step(), 1..40)) {
        for make in [leader, follower, preparing] {
            let mut bench = make();
            for (from, message) in &steps {
                let from = [C, C3, X][usize::from(*from)];
                bench.from(from, message);
                bench.live(ms(70));
                bench.flush();
            }
            bench.give(Input::Timeout);
            prop_assert!(bench.peer.status().coordinator.is_some());
        }
    }
}
