//! Finding whoever leads: followers send askers on, and whoever knows a dead leader only asks.

use cyxwiz_protocol::{
    Command, Event, RequestId,
    message::{
        Message,
        query::{Query, Question},
        submission::Submission,
    },
    spec::CancelOrder,
};

use super::{S, W1, submit};
use crate::harness::{Who, World, job, ms, sign, spec};

const S2: Who = Who::OtherSubmitter;

#[test]
fn followers_send_askers_on_to_the_leader() {
    let mut world = World::led_by(3);
    let leader = world.leader();
    let (request, now) = (RequestId(7), world.now);
    let asked = [
        Message::Submission(Submission::Submit { request, spec: sign(S, now, spec(1)) }),
        Message::Submission(Submission::Cancel {
            request,
            order: sign(S, now, CancelOrder { job: job(1) }),
        }),
        Message::Query(Query::Ask { request, question: Question::Job(job(1)) }),
    ];
    for follower in world.council_but(leader) {
        world.forget_said();
        for message in &asked {
            world.forge(S, follower, message);
        }
        world.pass(ms(100));
        let redirects = world.told(|sent| {
            let (Message::Submission(Submission::Redirect { request, leader: to })
            | Message::Query(Query::Redirect { request, leader: to })) = &sent.message
            else {
                return false;
            };
            sent.from == follower && request.0 == 7 && *to == Some(leader.id())
        });
        assert_eq!(redirects, asked.len(), "{follower:?}");
    }
    assert!(world.accepted().is_empty());
}

/// What a peer was told of who leads, last.
fn believes(world: &World, who: Who) -> Option<cyxwiz_protocol::PeerId> {
    world.events.iter().rev().find_map(|(whose, event)| {
        let Event::Committee { leader } = event else { return None };
        (*whose == who).then_some(*leader)
    })
}

#[test]
fn one_that_knows_a_dead_leader_only_finds_the_next_through_another_member() {
    let mut world = World::led_by(3);
    world.add(S2);
    let old = world.leader();
    world.until("it knows the leader", |world| believes(world, S2) == Some(old.id()));
    let everyone: Vec<Who> = [S, W1, Who::Worker(2)].into();
    let members = world.council_but(old);
    world.cut(&[S2], &everyone);
    world.cut(&[S2], &members);
    world.crash(old);
    world.until("another leads", |world| world.leaders().iter().any(|it| *it != old));
    let new = world.leader();
    world.pass(ms(20_000));
    assert_eq!(believes(&world, S2), Some(old.id()), "it cannot know");
    world.command(S2, Command::Submit(Box::new(spec(9))));
    // One member is in reach, which does not lead: nobody tells of the committee, it must ask.
    let follower = if members[0] == new { members[1] } else { members[0] };
    world.mend(S2, follower);
    world.until("it has asked", |world| believes(world, S2) == Some(new.id()));
    world.mend(S2, new);
    world.until("its job is accepted", |world| world.accepted().contains(&job(9)));
}

#[test]
fn one_that_knows_a_dead_leader_only_finds_the_next_through_a_neighbour() {
    let mut world = World::led_by(3);
    let old = world.leader();
    let members = world.council_but(old);
    world.cut(&[W1], &members);
    world.cut(&[W1], &[Who::Worker(2)]);
    world.crash(old);
    world.until("another leads", |world| world.leaders().iter().any(|it| *it != old));
    let new = world.leader();
    world.until("it has asked its only neighbour", |world| believes(world, W1) == Some(new.id()));
    submit(&mut world, 1);
    world.crash(Who::Worker(2));
    world.mend(W1, new);
    world.until("it works for the new leader", |world| world.ended().len() == 1);
    assert_ne!(world.leader(), old);
}
