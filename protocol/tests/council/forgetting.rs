//! Finished jobs go when there are too many, and only those that everyone has as finished: one that
//! a member knows as running could come back.

use cyxwiz_protocol::{Command, Key, limits, spec::JobSpec};

use super::{S, W1, W2};
use crate::harness::{World, ms, spec};

/// A job of its own for each number.
fn numbered(number: u32) -> JobSpec {
    let mut spec = spec(1);
    spec.id.0[..4].copy_from_slice(&number.to_be_bytes());
    spec.inputs.clear();
    spec
}

#[test]
fn finished_jobs_are_forgotten_when_every_member_has_them_as_finished() {
    let mut world = World::led_by(3);
    world.crash(W1);
    world.crash(W2);
    let leader = world.leader();
    let away = world.council_but(leader)[0];
    // One that this member has as queued.
    let first = numbered(0).id;
    world.command(S, Command::Submit(Box::new(numbered(0))));
    world.until("accepted", |world| world.accepted().contains(&first));
    world.pass(ms(1_000));
    world.crash(away);
    world.command(S, Command::Cancel(first));
    world.pass(ms(1_000));
    let most = u32::try_from(limits::FINISHED_JOBS).expect("it is small");
    for from in (1..=most).step_by(1_000) {
        let numbers = from..=(from + 999).min(most);
        for number in numbers.clone() {
            world.command(S, Command::Submit(Box::new(numbered(number))));
        }
        let last = numbered(*numbers.end()).id;
        world.until("accepted", |world| world.on_disk(leader, Key::Spec(last)).is_some());
        world.pass(ms(1_000));
        for number in numbers {
            world.command(S, Command::Cancel(numbered(number).id));
        }
        world.pass(ms(3_000));
        world.forget_said();
    }
    assert_eq!(world.counts(leader).finished, limits::FINISHED_JOBS + 1);
    assert_eq!(world.jobs_on_disk(leader), limits::FINISHED_JOBS + 1, "one is away");
    world.start(away);
    world.pass(ms(60_000));
    let one_more = numbered(most + 1);
    let id = one_more.id;
    world.command(S, Command::Submit(Box::new(one_more)));
    world.until("accepted", |world| world.accepted().contains(&id));
    world.command(S, Command::Cancel(id));
    world.pass(ms(5_000));
    for who in [leader, away, world.council_but(leader)[1]] {
        assert_eq!(world.jobs_on_disk(who), limits::FINISHED_JOBS, "{who:?}");
        assert!(world.on_disk(who, Key::Register(first)).is_none(), "the first is gone");
    }
}
