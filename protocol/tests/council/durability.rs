//! What is promised is on the disks of a majority before the promise leaves.

use cyxwiz_protocol::{
    Command,
    message::{
        Message,
        auction::Auction,
        run::{RunStep, Verdict},
        submission::Submission,
    },
};

use super::{S, W1, W2, left, submit};
use crate::harness::{World, job, ms};

fn followers(world: &mut World, disks_work: bool) {
    let leader = world.leader();
    for who in world.council_but(leader) {
        world.disk(who, disks_work);
    }
}

fn one_follower(world: &mut World) {
    let leader = world.leader();
    let follower = world.council_but(leader)[1];
    world.disk(follower, true);
}

/// What is to be told, what leads to it, and how it is told.
type Step = (&'static str, fn(&mut World), fn(&Message) -> bool);

#[test]
fn accepted_awarded_counted_and_noted_are_told_from_two_of_three_disks() {
    let mut world = World::led_by(3);
    world.crash(W1);
    world.crash(W2);
    let leader = world.leader();
    let steps: [Step; 4] = [
        (
            "accepted",
            |world| submit(world, 1),
            |message| matches!(message, Message::Submission(Submission::Accepted { .. })),
        ),
        (
            "awarded",
            |world| world.start(W1),
            |message| matches!(message, Message::Auction(Auction::Award { .. })),
        ),
        (
            "counted",
            |_trained_by_itself| {},
            |message| {
                let counted = Verdict::Counted;
                matches!(message, Message::Run(RunStep::Counted { verdict, .. }) if *verdict == counted)
            },
        ),
        (
            "noted",
            |world| {
                world.crash(W1);
                followers(world, true);
                submit(world, 2);
                world.until("accepted", |world| world.accepted().len() == 2);
                followers(world, false);
                world.command(S, Command::Cancel(job(2)));
            },
            |message| matches!(message, Message::Submission(Submission::CancelNoted { .. })),
        ),
    ];
    for (what, begin, promise) in steps {
        followers(&mut world, false);
        world.forget_said();
        begin(&mut world);
        world.pass(ms(7_000));
        assert_eq!(left(&world, promise), 0, "{what}: one disk is no majority");
        assert_eq!(world.leader(), leader, "it is heard all the same");
        one_follower(&mut world);
        world.until(what, |world| left(world, promise) > 0);
        world.pass(ms(100));
    }
}

#[test]
fn with_five_two_followers_are_enough_and_one_is_not() {
    let mut world = World::led_by(5);
    followers(&mut world, false);
    one_follower(&mut world);
    submit(&mut world, 1);
    world.pass(ms(5_000));
    assert!(world.accepted().is_empty());
    let leader = world.leader();
    let second = world.council_but(leader)[2];
    world.disk(second, true);
    world.until("accepted", |world| world.accepted().len() == 1);
}
