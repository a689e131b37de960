//! The files of a job: who says that it holds a state has the files that it cannot do without.

use cyxwiz_protocol::{
    ArtifactId, Input, Key, TaskEvent,
    message::{Message, auction::Auction, replication::Step},
    report::Checkpoint,
    spec::FileRef,
};

use super::{W1, W2, submit};
use crate::harness::{Fetching, Training, Who, World, file, job, ms, network_id, run};

/// How often `who` said that it holds something.
fn held(world: &World, who: Who) -> usize {
    world.told(|sent| {
        let Message::Replication(replication) = &sent.message else { return false };
        let Step::Accepted { items, .. } = &replication.step else { return false };
        sent.from == who && !items.is_empty()
    })
}

#[test]
fn a_follower_without_the_inputs_does_not_say_that_it_holds_the_job() {
    let mut world = World::led_by(3);
    let leader = world.leader();
    let followers = world.council_but(leader);
    for who in &followers {
        world.fetching(*who, Fetching::Fails);
    }
    world.forget_said();
    submit(&mut world, 1);
    world.pass(ms(10_000));
    assert!(world.accepted().is_empty(), "the leader alone is no majority");
    for who in &followers {
        assert_eq!(held(&world, *who), 0);
        assert!(world.on_disk(*who, Key::Register(job(1))).is_none());
        assert!(!world.has_file(*who, ArtifactId([6; 32])));
    }
    world.fetching(followers[0], Fetching::Works);
    world.until("one that has them is enough", |world| world.accepted().len() == 1);
    assert!(held(&world, followers[0]) > 0 && held(&world, followers[1]) == 0);
    world.fetching(followers[1], Fetching::Works);
    world.pass(ms(3_000));
    assert_eq!(world.alike(leader, &followers, job(1)), 2, "the other is sent it again");
}

#[test]
fn a_result_counts_when_another_member_than_the_leader_has_its_files() {
    let mut world = World::led_by(3);
    submit(&mut world, 1);
    world.until("accepted", |world| world.accepted().len() == 1);
    let leader = world.leader();
    for who in world.council_but(leader) {
        world.fetching(who, Fetching::Hangs);
    }
    world.pass(ms(20_000));
    assert!(world.ended().is_empty());
    // One whose fetching hangs is not asked twice; in its next life it is.
    let follower = world.council_but(leader)[0];
    world.crash(follower);
    world.fetching(follower, Fetching::Works);
    world.start(follower);
    world.until("it is done", |world| world.ended().len() == 1);
}

fn checkpoint(epoch: u32, content: u8) -> Checkpoint {
    let artifact = ArtifactId([content; 32]);
    let file = FileRef { artifact, ..file("checkpoint.safetensors") };
    Checkpoint { epoch, batch: 0, file }
}

/// Where the awards of attempt `attempt` tell to go on from.
fn resumes(world: &World, attempt: u32) -> Vec<Option<Checkpoint>> {
    let awards = world.sent.iter().filter_map(|sent| {
        let Message::Auction(Auction::Award { award, .. }) = &sent.message else { return None };
        award.verify(network_id()).ok()
    });
    awards.filter(|award| award.attempt.0 == attempt).map(|award| award.resume.clone()).collect()
}

#[test]
fn the_next_attempt_goes_on_from_the_checkpoint_that_a_majority_holds() {
    let mut world = World::led_by(3);
    world.crash(W2);
    world.training = Training(ms(300_000));
    submit(&mut world, 1);
    world.until("it runs", |world| !resumes(world, 1).is_empty());
    assert_eq!(resumes(&world, 1)[0], None);
    world.pass(ms(1_000));
    let told = |world: &mut World, checkpoint: Checkpoint| {
        let event = TaskEvent::Checkpointed { run: run(1, 1), checkpoint };
        world.give(W1, Input::Task(event));
    };
    told(&mut world, checkpoint(1, 31));
    world.until("the committee has it", |world| {
        world.record(job(1)).checkpoint == Some(checkpoint(1, 31))
    });
    world.pass(ms(1_000));
    let leader = world.leader();
    let followers = world.council_but(leader);
    for who in [leader, followers[0], followers[1]] {
        assert!(world.has_file(who, ArtifactId([31; 32])), "{who:?}");
    }
    // One that a majority does not hold is no place to go on from.
    for who in &followers {
        world.fetching(*who, Fetching::Fails);
    }
    told(&mut world, checkpoint(2, 32));
    world.pass(ms(8_000));
    assert_eq!(world.record(job(1)).checkpoint, Some(checkpoint(1, 31)));
    world.crash(leader);
    world.crash(W1);
    for who in &followers {
        world.fetching(*who, Fetching::Works);
    }
    world.start(W2);
    world.until("another attempt is made", |world| !resumes(world, 2).is_empty());
    assert_eq!(resumes(&world, 2)[0], Some(checkpoint(1, 31)), "the leader fell, it did not");
}

#[test]
fn an_older_checkpoint_never_replaces_a_newer() {
    let mut world = World::led_by(3);
    world.training = Training(ms(300_000));
    world.crash(W2);
    submit(&mut world, 1);
    world.until("it runs", |world| !resumes(world, 1).is_empty());
    world.pass(ms(1_000));
    for (epoch, content) in [(5, 31), (4, 32), (5, 33)] {
        let event =
            TaskEvent::Checkpointed { run: run(1, 1), checkpoint: checkpoint(epoch, content) };
        world.give(W1, Input::Task(event));
        world.pass(ms(8_000));
        assert_eq!(world.record(job(1)).checkpoint, Some(checkpoint(5, 31)));
    }
}
