//! The committee from outside: several coordinators, their workers and a submitter in one world.
//! In every world, whenever a test looks, every accepted job is known to whoever leads, and no
//! job is settled twice.

mod durability;
mod failover;
mod files;
mod forgetting;
mod growth;
mod hostile;
mod partition;
mod redirect;
mod steps;

use cyxwiz_protocol::{Command, message::Message};

use crate::harness::{Who, World, spec};

const C: Who = Who::Coordinator;
const C2: Who = Who::SecondCoordinator;
const C3: Who = Who::Member(3);
const C4: Who = Who::Member(4);
const C5: Who = Who::Member(5);
const S: Who = Who::Submitter;
const W1: Who = Who::Worker(1);
const W2: Who = Who::Worker(2);

fn submit(world: &mut World, number: u8) {
    world.command(S, Command::Submit(Box::new(spec(number))));
}

/// How often a message like this left.
fn left(world: &World, fits: impl Fn(&Message) -> bool) -> usize {
    world.told(|sent| fits(&sent.message))
}
