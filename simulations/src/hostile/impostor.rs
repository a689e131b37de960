//! Speaks as what it is not: as leader to workers and submitters, as member with another's
//! credential, as committee of its own.

use cyxwiz_protocol::{
    Ballot, RequestId, Run, Topic,
    message::{
        Gossip, Message,
        auction::Announcement,
        membership::{CommitteeRecord, Membership},
        run::{RunStep, Standing, Verdict},
        submission::{Refusal, Submission},
    },
};

use super::{Deed, Rogue, Scene};
use crate::chance::below;

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    match below(&mut rogue.rng, 4) {
        0 => false_committee(rogue, scene),
        1 => false_call(rogue, scene),
        2 => to_workers(rogue, scene),
        _ => to_submitters(rogue, scene),
    }
}

/// A record of its own, with the members and their credentials of the true one.
fn false_committee(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(known) = &scene.rumours.committee else {
        return Vec::new();
    };
    let mut record: CommitteeRecord = (**known).clone();
    record.epoch += 1;
    record.ballot = Ballot { term: record.ballot.term + 1_000, leader: rogue.peer_id() };
    if below(&mut rogue.rng, 2) == 0
        && let Some(member) = record.members.first_mut()
    {
        member.peer = rogue.peer_id();
    }
    let record = rogue.sign(scene, record);
    let direct = Message::Membership(Membership::Committee(record.clone()));
    let mut deeds = vec![scene.gossip(Topic::Committee, &Gossip::Committee(record))];
    for to in [scene.workers, scene.submitters, scene.coordinators] {
        deeds.extend(rogue.one_of(to).map(|to| scene.direct(to, &direct)));
    }
    deeds
}

/// Calls for bids under the true leader's ballot, and under its own.
fn false_call(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(known) = &scene.rumours.announcement else {
        return Vec::new();
    };
    let mut announcement: Announcement = (**known).clone();
    announcement.round += 1_000_000;
    if below(&mut rogue.rng, 2) == 0 {
        announcement.ballot.leader = rogue.peer_id();
    }
    let topics = announcement.calls.first().map(|call| Topic::Jobs(call.requirements.device));
    let announcement = Gossip::Announcement(rogue.sign(scene, announcement));
    topics.map(|topic| scene.gossip(topic, &announcement)).into_iter().collect()
}

fn to_workers(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(run) = rogue.one_of(&scene.rumours.runs()) else {
        return Vec::new();
    };
    let step = match below(&mut rogue.rng, 4) {
        0 => RunStep::Stop(run),
        1 => RunStep::Counted { run, verdict: Verdict::Counted },
        2 => {
            let all = [Standing::Superseded, Standing::Cancelled, Standing::Paused];
            RunStep::Renewed(all.map(|standing| (run, standing)).to_vec())
        }
        _ => RunStep::Renewed(vec![(run, Standing::Leased { lease_ms: u32::MAX })]),
    };
    to_all(scene, scene.workers, &Message::Run(step))
}

fn to_submitters(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(Run { job, .. }) = rogue.one_of(&scene.rumours.runs()) else {
        return Vec::new();
    };
    let request = RequestId(below(&mut rogue.rng, 100));
    let step = match below(&mut rogue.rng, 5) {
        0 => Submission::Accepted { request, job },
        1 => Submission::Refused { request, job, refusal: Refusal::Unknown },
        2 => Submission::CancelNoted { request, job },
        3 => Submission::Ended { job },
        _ => Submission::Redirect { request, leader: Some(rogue.peer_id()) },
    };
    to_all(scene, scene.submitters, &Message::Submission(step))
}

fn to_all(scene: &Scene<'_>, hosts: &[crate::queue::HostId], message: &Message) -> Vec<Deed> {
    hosts.iter().map(|to| scene.direct(*to, message)).collect()
}
