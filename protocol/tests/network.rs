//! A whole network with one coordinator: twenty jobs come home. Equal seeds give equal traces, and
//! loss costs time alone; with several coordinators too.

use std::collections::BTreeSet;

use cyxwiz_protocol::{
    Command, Digest, Topic,
    job::JobState,
    message::{Message, auction::Auction},
};
use cyxwiz_scoring::DeviceKind;

use crate::harness::{COUNCIL, Who, World, job, ms, network_id, spec};

const JOBS: u8 = 20;

fn network(seed: u8, coordinators: usize, loss: u64) -> World {
    let mut world = World::new(seed);
    world.loss = loss;
    let workers = (1..=3).map(Who::Worker);
    for who in COUNCIL[..coordinators].iter().copied().chain([Who::Submitter]).chain(workers) {
        world.add(who);
    }
    world
}

/// Until every job has ended at its submitter.
fn run(mut world: World) -> World {
    for number in 1..=JOBS {
        world.command(Who::Submitter, Command::Submit(Box::new(spec(number))));
        world.pass(ms(100));
    }
    world.until("every job has come home", |world| world.ended().len() == usize::from(JOBS));
    look_at_settlements(&mut world);
    world
}

/// Every job is completed by the receipt of one attempt that was awarded, and everyone was told
/// once.
fn look_at_settlements(world: &mut World) {
    let mut receipts = BTreeSet::<Digest>::new();
    for number in 1..=JOBS {
        let record = world.record(job(number));
        let JobState::Completed { receipt, .. } = record.state else {
            panic!("completed: {record:?}");
        };
        receipts.insert(receipt.digest());
        let receipt = receipt.verify(network_id()).expect("the worker's");
        let awarded = record.attempts.iter().any(|attempt| {
            (attempt.attempt, attempt.worker) == (receipt.attempt, receipt.author())
        });
        assert!(awarded, "settled by an attempt that was not awarded");
    }
    let each = usize::from(JOBS);
    assert_eq!(receipts.len(), each, "one receipt for each");
    assert_eq!(world.accepted().len(), each);
    assert_eq!((world.replies(), world.endings()), (each, each), "nobody is told twice");
}

#[test]
fn a_network_does_twenty_jobs_and_two_runs_are_alike() {
    let (first, second) = (run(network(1, 1, 0)), run(network(1, 1, 0)));
    assert_eq!(first.hash(), second.hash());
    assert_ne!(first.hash(), run(network(2, 1, 0)).hash(), "another seed is another life");
    assert!(first.killed.is_empty(), "nothing was computed twice");
    // 20 jobs of 5 s over 6 places: 4 waves.
    assert!(first.now.0 < 40_000_000, "took {}", first.now);
}

#[test]
fn a_network_with_three_coordinators_does_the_same() {
    let (first, second) = (run(network(1, 3, 0)), run(network(1, 3, 0)));
    assert_eq!(first.hash(), second.hash());
    assert!(first.killed.is_empty(), "nothing was computed twice");
    assert!(first.now.0 < 40_000_000, "took {}", first.now);
}

/// Gossip is for what known workers leave alone.
#[test]
fn while_its_workers_answer_a_leader_asks_a_few_in_person() {
    for coordinators in [1, 3] {
        let world = run(World::led_by(coordinators));
        assert_eq!(world.calls, 0, "a job was called out to everyone");
        let invitations =
            world.told(|sent| matches!(&sent.message, Message::Auction(Auction::Invitation(_))));
        let answers =
            world.told(|sent| matches!(&sent.message, Message::Auction(Auction::Bids(_))));
        assert_eq!(invitations, answers);
        assert!(invitations <= 2 * usize::from(JOBS), "two workers: {invitations}");
    }
}

#[test]
fn with_a_fifth_of_the_messages_lost_every_job_completes() {
    for (seed, coordinators) in [(0, 1), (1, 1), (2, 1), (3, 3)] {
        run(network(seed, coordinators, 20));
    }
}

#[test]
fn topics_are_those_of_the_devices() {
    let world = network(1, 1, 0);
    assert_eq!(world.listeners(Topic::Jobs(DeviceKind::Cpu)), 3);
    assert_eq!(world.listeners(Topic::Committee), 5);
}
