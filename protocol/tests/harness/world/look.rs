//! Looking at a world: who leads, who sits, what stands on whose disk, what was promised.

use std::collections::BTreeSet;

use cyxwiz_protocol::{
    CommitteeStatus, Event, Input, JobId, Key, Reply, RequestId, Send, Topic,
    job::{JobRecord, JobState},
    message::{
        Message, decode_message, encode_message,
        query::{Answer, JobDetail, Query, Question},
    },
};

use super::{COUNCIL, Sent, World};
use crate::harness::{Who, network_id};

impl World {
    /// Those who act as leader. One that was cut off may believe so for a while.
    pub(crate) fn leaders(&self) -> Vec<Who> {
        let leads = |who: &Who| {
            let status = self.nodes[who].peer.as_ref().map(cyxwiz_protocol::Peer::status);
            status.and_then(|it| it.coordinator).is_some_and(|it| it.leading)
        };
        self.nodes.keys().copied().filter(leads).collect()
    }

    /// The only one who leads.
    pub(crate) fn leader(&self) -> Who {
        let leaders = self.leaders();
        assert_eq!(leaders.len(), 1, "{leaders:?} lead\n{}", self.stand());
        leaders[0]
    }

    /// How `who` stands as a replica.
    pub(crate) fn committee(&self, who: Who) -> CommitteeStatus {
        let peer = self.nodes[&who].peer.as_ref().expect("it is up");
        peer.status().coordinator.expect("a coordinator").committee
    }

    /// How many jobs stand where, as `who` sees it.
    pub(crate) fn counts(&self, who: Who) -> cyxwiz_protocol::CoordinatorCounts {
        let peer = self.nodes[&who].peer.as_ref().expect("it is up");
        peer.status().coordinator.expect("a coordinator")
    }

    /// How much `who` was told by those who may not say so.
    pub(crate) fn blamed(&self, who: Who) -> u64 {
        self.nodes[&who].peer.as_ref().expect("it is up").status().dropped.unsigned
    }

    /// Whether just these sit, and nobody is coming or going, as every one of them sees it.
    pub(crate) fn sits(&self, expected: &[Who]) -> bool {
        let mut wanted: Vec<_> = expected.iter().map(|who| who.id()).collect();
        wanted.sort();
        let sees = |who: &Who| {
            let Some(peer) = &self.nodes[who].peer else { return true };
            let status = peer.status().coordinator.expect("a coordinator").committee;
            let mut seated: Vec<_> = status.members.iter().map(|member| member.peer).collect();
            seated.sort();
            !status.joint && seated == wanted
        };
        expected.iter().all(sees) && self.leaders().len() == 1
    }

    /// Everyone else in the council than `who`, of those that were added.
    pub(crate) fn council_but(&self, who: Who) -> Vec<Who> {
        COUNCIL.into_iter().filter(|it| *it != who && self.nodes.contains_key(it)).collect()
    }

    /// What a peer that leads says of a job.
    pub(crate) fn ask(&mut self, leader: Who, id: JobId) -> Option<JobDetail> {
        let question = Question::Job(id);
        let ask = Message::Query(Query::Ask { request: RequestId(1), question });
        let bytes = encode_message(network_id(), &ask);
        let now = self.now;
        let peer = self.node(leader).peer.as_mut().expect("it is up");
        let effects = peer.handle(now, Input::Frame { from: Who::Stranger.id(), bytes });
        let [Send::Direct { frame, .. }] = effects.sends.as_slice() else {
            return None;
        };
        match decode_message(network_id(), frame) {
            Ok(Message::Query(Query::Answer { answer, .. })) => match *answer {
                Answer::Job(detail) => detail.map(|detail| *detail),
                Answer::Jobs(_) | Answer::Workers(_) => panic!("an answer to another question"),
            },
            other => panic!("{leader:?} leads and answers {other:?}"),
        }
    }

    /// The record of a job as the only leader tells it.
    pub(crate) fn record(&mut self, id: JobId) -> JobRecord {
        let leader = self.leader();
        self.ask(leader, id).expect("the leader knows the job and is certain of it").record
    }

    /// Jobs that were accepted, as their submitters were told.
    pub(crate) fn accepted(&self) -> BTreeSet<JobId> {
        let told = self.events.iter().filter_map(|(_, event)| {
            let Event::Reply { reply: Reply::Accepted { job }, .. } = event else { return None };
            Some(*job)
        });
        told.collect()
    }

    /// How many commands were answered.
    pub(crate) fn replies(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Reply { .. })).count()
    }

    /// How often someone was told that a job ended.
    pub(crate) fn endings(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Ended { .. })).count()
    }

    /// How many hear what is said on a topic.
    pub(crate) fn listeners(&self, topic: Topic) -> usize {
        self.nodes.values().filter(|node| node.listens.contains(&topic)).count()
    }

    /// Jobs whose submitters were told that they ended.
    pub(crate) fn ended(&self) -> BTreeSet<JobId> {
        let told = self.events.iter().filter_map(|(_, event)| {
            let Event::Ended { job } = event else { return None };
            Some(*job)
        });
        told.collect()
    }

    /// A newest state never contradicts what was told before: the receipt that settled a job is
    /// the same for ever. An accepted job is known to whoever leads, or not yet certain.
    pub(super) fn check_promises(&mut self) {
        let [leader] = self.leaders()[..] else {
            return;
        };
        for job in self.accepted() {
            let known = self.nodes[&leader].disk.contains_key(&Key::Register(job).to_bytes());
            if !known && self.ended().contains(&job) {
                // Finished long ago, and forgotten.
                continue;
            }
            assert!(known, "{leader:?} does not know {job}, which was accepted\n{}", self.stand());
            let Some(detail) = self.ask(leader, job) else { continue };
            if let JobState::Completed { receipt, .. } = detail.record.state {
                let digest = receipt.digest();
                let first = *self.settled.entry(job).or_insert(digest);
                assert_eq!(first, digest, "{job} was settled twice");
            } else {
                assert!(!self.settled.contains_key(&job), "{job} was settled and is not");
            }
        }
    }

    /// A record as it is on the disk of `who`.
    pub(crate) fn on_disk(&self, who: Who, key: Key) -> Option<&[u8]> {
        self.nodes[&who].disk.get(&key.to_bytes()).map(Vec::as_slice)
    }

    /// Whether `who` has the bytes of a file.
    pub(crate) fn has_file(&self, who: Who, file: cyxwiz_protocol::ArtifactId) -> bool {
        self.nodes[&who].files.contains(&file)
    }

    /// The jobs on the disk of `who`.
    pub(crate) fn jobs_on_disk(&self, who: Who) -> usize {
        self.nodes[&who].disk.keys().filter(|key| key[0] == b'j').count()
    }

    /// How many of these have the newest state of a job on disk that `one` has there.
    pub(crate) fn alike(&self, one: Who, others: &[Who], id: JobId) -> usize {
        let own = self.on_disk(one, Key::Register(id));
        others
            .iter()
            .filter(|it| own.is_some() && self.on_disk(**it, Key::Register(id)) == own)
            .count()
    }

    /// What left since the world began, of those that fit.
    pub(crate) fn told(&self, fits: impl Fn(&Sent) -> bool) -> usize {
        self.sent.iter().filter(|sent| fits(sent)).count()
    }

    /// Nothing that was said until now is of interest any more.
    pub(crate) fn forget_said(&mut self) {
        self.sent.clear();
        self.killed.clear();
    }

    pub(super) fn stand(&self) -> String {
        let nodes = self.nodes.iter().map(|(who, node)| {
            let name = who.name();
            let Some(peer) = &node.peer else { return format!("{name}: down") };
            let status = peer.status();
            format!("{name}: {:?} {:?} {:?}", status.next, status.coordinator, status.worker)
        });
        let nodes: Vec<_> = nodes.collect();
        format!("at {}\n{}", self.now, nodes.join("\n"))
    }
}
