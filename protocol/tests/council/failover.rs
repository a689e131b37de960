//! The leader is gone: another leads, and whoever was promised something does not notice.

use cyxwiz_protocol::{
    Key,
    job::JobState,
    message::{
        Message,
        auction::Auction,
        run::{RunStep, Verdict},
    },
};

use super::{S, W1, W2, left, submit};
use crate::harness::{COUNCIL, Training, Who, World, job, ms};

fn another_leads(world: &mut World, before: Who) -> Who {
    world.until("another leads", |world| {
        world.leaders().iter().any(|leader| *leader != before) && world.leaders().len() == 1
    });
    world.leader()
}

fn counted(message: &Message) -> bool {
    matches!(message, Message::Run(RunStep::Counted { verdict: Verdict::Counted, .. }))
}

#[test]
fn another_leads_within_seconds_and_runs_go_on_and_queued_jobs_are_called_out_again() {
    for size in [3, 5] {
        let mut world = World::led_by(size);
        world.training = Training(ms(40_000));
        for number in 1..=6 {
            submit(&mut world, number);
        }
        world.until("all are accepted", |world| world.accepted().len() == 6);
        world.pass(ms(2_000));
        let old = world.leader();
        world.crash(old);
        let crashed = world.now;
        let new = another_leads(&mut world, old);
        assert!(world.now.since(crashed) < ms(6_000), "{:?}", world.now.since(crashed));
        for number in 1..=6 {
            assert!(world.ask(new, job(number)).is_some(), "job {number} of {size}");
        }
        world.until("all are done", |world| world.ended().len() == 6);
        assert!(world.killed.is_empty(), "nothing was stopped: {:?}", world.killed);
        for number in 1..=6 {
            let record = world.record(job(number));
            assert!(matches!(record.state, JobState::Completed { .. }), "{record:?}");
            assert_eq!(record.attempts.len(), 1, "nothing ran twice: {record:?}");
        }
    }
}

#[test]
fn a_receipt_that_was_counted_stays_and_one_that_was_not_is_counted_once() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("job 1 is done", |world| world.ended().len() == 1);
    submit(&mut world, 2);
    world.until("job 2 is accepted", |world| world.accepted().len() == 2);
    world.pass(ms(2_000));
    let settled = world.record(job(1));
    let old = world.leader();
    let followers = world.council_but(old);
    for who in &followers {
        world.disk(*who, false);
    }
    // The leader settles job 2 on its own disk, and there alone.
    world.until("it settles job 2", |world| {
        world.alike(old, &followers, job(2)) == 0
            && world.on_disk(old, Key::Register(job(2))).is_some()
    });
    world.pass(ms(8_000));
    world.forget_said();
    world.crash(old);
    for who in &followers {
        // What never reached the disk is lost with the power.
        world.crash(*who);
        world.disk(*who, true);
        world.start(*who);
    }
    let new = another_leads(&mut world, old);
    assert_eq!(world.ask(new, job(1)).expect("known").record, settled);
    assert!(!world.ended().contains(&job(2)));
    world.until("job 2 is done", |world| world.ended().contains(&job(2)));
    assert_eq!(left(&world, counted), 1, "its worker is told, once");
    let before = world.record(job(2));
    world.start(old);
    world.pass(ms(10_000));
    assert_eq!(world.record(job(2)), before);
    assert_eq!(world.alike(new, &[old], job(2)), 1, "the old leader's own is replaced");
}

#[test]
fn what_a_leader_counted_and_could_not_tell_is_home_soon_after_another_leads() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("job 1 is accepted", |world| world.accepted().len() == 1);
    let old = world.leader();
    world.cut(&[old], &[S]);
    world.until("its result is counted", |world| left(world, counted) == 1);
    world.crash(old);
    another_leads(&mut world, old);
    let since = world.now;
    world.until("job 1 is home", |world| world.ended().contains(&job(1)));
    assert!(world.now.since(since) < ms(6_000), "{:?}", world.now.since(since));
}

/// Seven deaths, so that they fall anywhere between two renewals.
#[test]
fn the_job_of_a_worker_that_dies_has_another_within_ten_seconds() {
    let award = |message: &Message| matches!(message, Message::Auction(Auction::Award { .. }));
    for moment in 1..=7 {
        let mut world = World::led_by(3);
        world.training = Training(ms(40_000));
        submit(&mut world, 1);
        world.until("it is awarded", |world| left(world, award) == 1);
        world.pass(ms(400 * moment));
        let worker = world.record(job(1)).attempts[0].worker;
        world.crash(if worker == W1.id() { W1 } else { W2 });
        let crashed = world.now;
        world.until("another has it", |world| left(world, award) == 2);
        assert!(world.now.since(crashed) < ms(9_500), "{:?}", world.now.since(crashed));
    }
}

#[test]
fn leaders_may_fall_one_after_another_as_long_as_a_majority_is_there() {
    let mut world = World::led_by(5);
    world.training = Training(ms(20_000));
    let mut number = 0;
    for _ in 0..6 {
        number += 1;
        submit(&mut world, number);
        world.until("accepted", |world| world.accepted().len() == usize::from(number));
        let leader = world.leader();
        world.crash(leader);
        let new = another_leads(&mut world, leader);
        world.crash(new);
        another_leads(&mut world, new);
        world.start(leader);
        world.start(new);
    }
    world.until("all are done", |world| world.ended().len() == usize::from(number));
    world.pass(ms(5_000));
    let leader = world.leader();
    for number in 1..=number {
        assert_eq!(world.alike(leader, &world.council_but(leader), job(number)), 4);
    }
}

#[test]
fn nobody_leads_without_a_majority_and_everything_is_there_when_it_returns() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    let leader = world.leader();
    for who in world.council_but(leader) {
        world.crash(who);
    }
    world.until("it gives up", |world| world.leaders().is_empty());
    submit(&mut world, 2);
    world.pass(ms(60_000));
    assert!(world.leaders().is_empty());
    assert_eq!(world.accepted().len(), 1);
    for who in world.council_but(leader) {
        world.start(who);
    }
    world.until("both are accepted", |world| world.accepted().len() == 2);
    world.until("and done", |world| world.ended().len() == 2);
}

#[test]
fn all_may_fall_at_once() {
    let mut world = World::led_by(3);
    world.training = Training(ms(20_000));
    submit(&mut world, 1);
    world.until("it runs", |world| {
        left(world, |message| matches!(message, Message::Run(RunStep::Renew(_)))) > 0
    });
    for who in &COUNCIL[..3] {
        world.crash(*who);
    }
    world.pass(ms(10_000));
    for who in &COUNCIL[..3] {
        world.start(*who);
    }
    world.until("it is done", |world| world.ended().len() == 1);
    assert_eq!(world.record(job(1)).attempts.len(), 1, "the run went on meanwhile");
    assert!(world.killed.is_empty());
}

/// A state that one member has under a later ballot than everyone else, though it is the same
/// that was chosen long ago: it is said again, and nothing is done twice for it.
#[test]
fn a_settled_job_that_is_said_again_is_not_settled_again() {
    let found = (1..40).any(said_again);
    assert!(found, "the member that lacks the state is elected in one of these");
}

fn said_again(seed: u8) -> bool {
    let mut world = World::new(seed);
    for who in COUNCIL[..3].iter().chain(&[S, W1]) {
        world.add(*who);
    }
    world.until("the committee sits", |world| world.sits(&COUNCIL[..3]));
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    world.pass(ms(2_000));
    let leader = world.leader();
    let [has, lacks] = world.council_but(leader)[..] else { panic!("two follow") };
    world.cut(&[lacks], &[leader, has]);
    world.until("it is done", |world| world.ended().len() == 1);
    world.pass(ms(500));
    assert_eq!(world.alike(leader, &[has], job(1)), 1);
    let before = world.on_disk(lacks, Key::Register(job(1))).map(<[u8]>::to_vec);
    world.crash(leader);
    world.heal();
    let elected = |world: &World| {
        let own = world.on_disk(lacks, Key::Register(job(1))).map(<[u8]>::to_vec);
        own != before || world.leaders() == [has]
    };
    world.until("one of them takes over", |world| elected(world));
    if world.leaders() == [has]
        || world.committee(lacks).office != cyxwiz_protocol::OfficeKind::Leader
    {
        return false;
    }
    // On its disk under its ballot, and nowhere else.
    world.isolate(lacks);
    world.start(leader);
    world.until("the others go on", |world| {
        world.leaders().iter().any(|who| [leader, has].contains(who)) && world.leaders().len() == 1
    });
    world.heal();
    world.pass(ms(10_000));
    let next = world.leader();
    assert_eq!(world.alike(next, &world.council_but(next), job(1)), 2);
    let status = world.counts(next);
    assert_eq!((status.finished, status.running, status.queued), (1, 0, 0));
    submit(&mut world, 2);
    world.until("another job is taken in", |world| world.accepted().len() == 2);
    true
}
