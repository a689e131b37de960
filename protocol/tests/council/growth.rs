//! Who sits: one, three, five; those who may, those who stay away, those who lost their disk.

use cyxwiz_protocol::{CoordinatorConfig, Key, OfficeKind, UnixMillis};

use super::{C, C2, C3, C4, C5, S, submit};
use crate::harness::{
    WALL, Who, World, coordinating, forged_ticket, job, ms, network, ticket_until,
};

#[test]
fn it_grows_to_three_and_to_five_as_candidates_come_and_everyone_gets_every_job() {
    let mut world = World::new(1);
    world.add(C);
    world.add(S);
    submit(&mut world, 1);
    world.until("a committee of one accepts a job", |world| world.accepted().len() == 1);
    world.add(C2);
    world.pass(ms(20_000));
    assert!(world.sits(&[C]), "two would survive no more than one");
    assert_eq!(world.committee(C).candidates, 1);

    world.add(C3);
    world.until("three sit", |world| world.sits(&[C, C2, C3]));
    assert_eq!(world.committee(C).epoch, 3, "by way of a joint committee");
    submit(&mut world, 2);
    world.until("three accept a job", |world| world.accepted().len() == 2);

    world.add(C4);
    world.pass(ms(20_000));
    assert!(world.sits(&[C, C2, C3]));
    world.add(C5);
    world.until("five sit", |world| world.sits(&[C, C2, C3, C4, C5]));
    world.pass(ms(2_000));
    let leader = world.committee(C);
    assert_eq!((leader.epoch, leader.office), (5, OfficeKind::Leader), "the founder led it all");
    assert!(leader.members.iter().all(|member| member.behind == 0), "{leader:?}");
    for number in 1..=2 {
        assert_eq!(world.alike(C, &[C2, C3, C4, C5], job(number)), 4, "job {number}");
        assert!(world.on_disk(C5, Key::Spec(job(number))).is_some());
    }
    world.add(Who::Member(6));
    world.pass(ms(20_000));
    assert!(world.sits(&[C, C2, C3, C4, C5]), "five are enough");
}

#[test]
fn who_has_no_ticket_or_an_expired_one_gets_no_seat() {
    let mut world = World::new(1);
    world.add(C);
    let with = |who: Who, ticket: cyxwiz_protocol::charter::Ticket| CoordinatorConfig {
        credential: ticket.seat(&network(), who.id()),
        ..coordinating(who)
    };
    world.add_as(C2, Some(with(C2, forged_ticket())));
    world.add_as(C3, Some(with(C3, ticket_until(UnixMillis(WALL.0 - 1)))));
    // Good when it is asked for, and not any more when there is a second one.
    world.add_as(C4, Some(with(C4, ticket_until(UnixMillis(WALL.0 + 30_000)))));
    world.pass(ms(20_000));
    assert_eq!(world.committee(C).candidates, 1, "C4 alone may sit");
    world.pass(ms(20_000));
    assert_eq!(world.committee(C).candidates, 0);
    world.add(C5);
    world.pass(ms(20_000));
    assert!(world.sits(&[C]));
    world.add(Who::Member(6));
    world.until("those who may sit do", |world| world.sits(&[C, C5, Who::Member(6)]));
}

#[test]
fn tickets_that_expire_take_no_seat_away() {
    let mut world = World::new(1);
    let until = ticket_until(UnixMillis(WALL.0 + 60_000));
    for who in [C, C2, C3] {
        let credential = until.seat(&network(), who.id());
        world.add_as(who, Some(CoordinatorConfig { credential, ..coordinating(who) }));
    }
    world.add(S);
    world.until("three sit", |world| world.sits(&[C, C2, C3]));
    world.pass(ms(120_000));
    world.crash(C);
    submit(&mut world, 1);
    world.until("another leads and accepts", |world| world.accepted().len() == 1);
}

#[test]
fn one_that_lost_its_disk_comes_back_as_another_and_takes_its_seat_anew() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    let follower = world.council_but(world.leader())[0];
    world.lose_disk(follower);
    world.start(follower);
    assert_eq!(world.committee(follower).office, OfficeKind::Candidate);
    let since = world.now;
    world.until("it sits again", |world| {
        world.sits(&[C, C2, C3]) && world.committee(world.leader()).epoch == 5
    });
    assert!(world.now.since(since) < ms(20_000), "long before it would count as gone");
    world.pass(ms(2_000));
    assert_eq!(world.alike(world.leader(), &[follower], job(1)), 1);
}

#[test]
fn a_silent_member_is_kept_while_there_is_nobody_else_and_then_replaced() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    let [stays, goes] = world.council_but(world.leader())[..] else { panic!("two follow") };
    let leader = world.leader();
    world.crash(goes);
    world.pass(ms(120_000));
    assert!(world.sits(&[C, C2, C3]), "a seat is better than none");
    world.add(C4);
    world.until("it is replaced", |world| world.sits(&[leader, stays, C4]));

    assert_eq!(world.jobs_on_disk(goes), 1);
    world.start(goes);
    world.until("it learns that it does not sit", |world| {
        world.committee(goes).office == OfficeKind::Candidate
    });
    world.pass(ms(5_000));
    assert_eq!(world.jobs_on_disk(goes), 0, "what it had is history");
    assert_eq!(world.committee(leader).candidates, 1);
}

#[test]
fn a_member_that_is_silent_for_less_than_a_minute_keeps_its_seat() {
    let mut world = World::led_by(3);
    world.add(C4);
    let leader = world.leader();
    let follower = world.council_but(leader)[0];
    world.crash(follower);
    world.pass(ms(55_000));
    world.start(follower);
    world.pass(ms(30_000));
    assert!(world.sits(&[C, C2, C3]));
    assert_eq!(world.committee(leader).epoch, 3);
}

#[test]
fn newcomers_with_slow_disks_depose_nobody() {
    let mut world = World::new(1);
    world.add(C);
    world.until("founded", |world| world.leaders() == [C]);
    let ballot = world.committee(C).ballot;
    for who in [C2, C3] {
        world.add(who);
        world.disk(who, false);
    }
    world.until("both are called in", |world| world.committee(C).joint);
    world.pass(ms(2_000));
    assert_eq!(world.leaders(), [C]);
    for who in [C2, C3] {
        world.disk(who, true);
    }
    world.until("three sit", |world| world.sits(&[C, C2, C3]));
    assert_eq!(world.committee(C).ballot, ballot, "in the same term");
}

#[test]
fn newcomers_of_a_change_that_died_with_its_leader_come_in_with_the_next() {
    let mut world = World::led_by(3);
    let leader = world.leader();
    let others = world.council_but(leader);
    world.add(C4);
    world.pass(ms(3_000));
    world.add(C5);
    world.until("both stand", |world| world.committee(leader).candidates == 2);
    world.cut(&[leader], &others);
    world.until("they believe that they sit", |world| {
        [C4, C5].iter().all(|who| world.committee(*who).epoch == 4)
    });
    world.crash(leader);
    world.until("all five sit", |world| world.sits(&[C, C2, C3, C4, C5]));
}

/// A member that was away goes on with the change that its fallen leader began, and which ends its
/// own seat. It says nothing in its own name after that.
#[test]
fn a_leader_may_go_on_with_the_change_that_ends_its_own_term() {
    let found = (1..40).any(led_out_of_its_seat);
    assert!(found, "the member that was away is elected in one of these");
}

fn led_out_of_its_seat(seed: u8) -> bool {
    let mut world = World::new(seed);
    for who in [C, C2, C3, S] {
        world.add(who);
    }
    world.until("three sit", |world| world.sits(&[C, C2, C3]));
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    let leader = world.leader();
    let [goes, stays] = world.council_but(leader)[..] else { panic!("two follow") };
    world.crash(goes);
    world.add(C4);
    world.until("the others know of the change", |world| {
        [stays, C4].iter().all(|who| world.committee(*who).joint)
    });
    world.crash(leader);
    world.start(goes);
    world.until("someone leads the rest of it", |world| !world.leaders().is_empty());
    if world.leaders() != [goes] {
        return false;
    }
    world.until("they sit without it", |world| {
        world.sits(&[leader, stays, C4]) && world.leader() != goes
    });
    world.until("it stands", |world| world.committee(goes).office == OfficeKind::Candidate);
    world.pass(ms(10_000));
    assert_eq!(world.jobs_on_disk(goes), 0, "what it had is history");
    for who in [goes, stays, C4, S] {
        assert_eq!(world.blamed(who), 0, "nobody said what it may not say: {who:?}");
    }
    true
}

/// Something is always on its way while the committee grows.
#[test]
fn it_grows_under_load() {
    let mut world = World::new(1);
    for who in [C, S, C2, C3] {
        world.add(who);
    }
    for number in 0..=u8::MAX {
        submit(&mut world, number);
        world.pass(ms(40));
    }
    assert!(world.sits(&[C, C2, C3]), "in ten seconds");
    world.until("all are accepted", |world| world.accepted().len() == 256);
}
