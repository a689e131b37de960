//! Parts that do not hear each other: the smaller decides nothing, and returns without harm.

use cyxwiz_protocol::{
    Command, Key,
    job::JobState,
    message::{Message, replication::Step, submission::Submission},
};

use super::{S, W1, W2, submit};
use crate::harness::{Who, World, job, ms};

/// A committee of three that has accepted job 1, and no worker is there.
fn with_a_queued_job() -> World {
    let mut world = World::led_by(3);
    world.crash(W1);
    world.crash(W2);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    world.pass(ms(2_000));
    world
}

fn leads_alone(world: &World, before: Who) -> bool {
    world.leaders().iter().any(|leader| *leader != before) && world.leaders().len() == 1
}

#[test]
fn what_an_old_leader_decided_alone_is_nothing() {
    let mut world = with_a_queued_job();
    let old = world.leader();
    let others = world.council_but(old);
    world.cut(&[old, S], &others);
    world.cut(&[old, S], &[W1]);
    // Of the newest state only the old leader knows, under its old ballot.
    world.forget_said();
    world.command(S, Command::Cancel(job(1)));
    world.until("it wants the job cancelled", |world| world.alike(old, &others, job(1)) == 0);
    world.start(W1);
    world.until("the others go on", |world| leads_alone(world, old));
    world.pass(ms(15_000));
    let new = world.leader();
    let completed = world.record(job(1));
    assert!(matches!(completed.state, JobState::Completed { .. }), "{completed:?}");
    let noted = world.told(|sent| {
        sent.from == old
            && matches!(sent.message, Message::Submission(Submission::CancelNoted { .. }))
    });
    assert_eq!(noted, 0, "one of three is no majority");

    world.heal();
    world.pass(ms(10_000));
    assert_eq!(world.leaders(), [new], "it follows");
    assert_eq!(world.record(job(1)), completed);
    assert_eq!(world.alike(new, &world.council_but(new), job(1)), 2, "its own is replaced");
}

#[test]
fn what_an_old_leader_took_in_alone_was_not_accepted_and_is_taken_in_by_the_next() {
    let mut world = World::led_by(3);
    let old = world.leader();
    let others = world.council_but(old);
    world.cut(&[old], &others);
    submit(&mut world, 1);
    world.until("it is on one disk", |world| world.on_disk(old, Key::Register(job(1))).is_some());
    assert!(world.accepted().is_empty());
    world.until("the others accept it", |world| world.accepted().len() == 1);
    world.until("the old leader gives up", |world| leads_alone(world, old));
    world.heal();
    world.until("it is done", |world| world.ended().len() == 1);
    world.pass(ms(5_000));
    let new = world.leader();
    assert_eq!(world.alike(new, &world.council_but(new), job(1)), 2);
}

/// A state of one disk may be one that was promised: then another member has it too.
#[test]
fn a_state_that_only_the_fallen_leader_and_one_follower_have_is_found_by_the_next() {
    let mut world = World::led_by(3);
    let old = world.leader();
    let [has, lacks] = world.council_but(old)[..] else { panic!("two follow") };
    world.cut(&[lacks], &[old, has]);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    assert!(world.on_disk(lacks, Key::Register(job(1))).is_none());
    world.crash(old);
    world.heal();
    world.until("another leads", |world| leads_alone(world, old));
    world.until("it is done", |world| world.ended().len() == 1);
}

#[test]
fn a_member_that_was_cut_off_deposes_nobody_when_it_returns() {
    for size in [3, 5] {
        let mut world = World::led_by(size);
        let leader = world.leader();
        let ballot = world.committee(leader).ballot;
        let away = world.council_but(leader)[0];
        world.isolate(away);
        world.forget_said();
        world.pass(ms(30_000));
        let canvassed = world.told(|sent| {
            sent.from == away
                && matches!(&sent.message, Message::Replication(it) if matches!(it.step, Step::Canvass { .. }))
        });
        assert!(canvassed > 5, "it would lead");
        world.heal();
        world.pass(ms(20_000));
        assert_eq!(world.leaders(), [leader]);
        assert_eq!(world.committee(leader).ballot, ballot, "in the same term");
        assert_eq!(world.committee(away).ballot, ballot, "and so is the one that was away");
    }
}

#[test]
fn a_leader_that_hears_of_no_majority_acts_no_more() {
    let mut world = World::led_by(5);
    let old = world.leader();
    let others = world.council_but(old);
    world.cut(&[old, others[0]], &others[1..]);
    let cut = world.now;
    world.until("it gives up", |world| !world.leaders().contains(&old));
    assert!(world.now.since(cut) < ms(4_000));
    world.until("the greater part goes on", |world| leads_alone(world, old));
    world.pass(ms(20_000));
    let new = world.leader();
    assert!(others[1..].contains(&new));
    world.heal();
    world.pass(ms(10_000));
    assert_eq!(world.leaders(), [new]);
}
