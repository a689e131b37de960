//! Gossip as gossip: the subscribers of a topic form a mesh of small degree, and a message goes
//! from neighbour to neighbour, each hop with its own latency and loss. Whoever has it already
//! drops it. The shape follows gossipsub 1.1 without its lazy pull, so that it loses more than the
//! real one, never less.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cyxwiz_protocol::{Rng, Topic};

use crate::{chance::place, queue::HostId};

/// Links that a subscriber opens when it comes; as many again are opened to it on average, which
/// makes gossipsub's degree of 6.
const OPENED: usize = 3;
/// Fewer links than this are made up for (gossipsub's lower bound is 5, of 6 wanted).
const FEWEST: usize = 4;
/// Subscribers that a publisher without a subscription of its own sends to.
const FANOUT: usize = 6;

#[derive(Debug, Default)]
pub(crate) struct Mesh {
    topics: BTreeMap<Topic, Overlay>,
    messages: BTreeMap<u64, Message>,
    published: u64,
}

#[derive(Debug, Default)]
struct Overlay {
    members: Vec<HostId>,
    links: BTreeMap<HostId, BTreeSet<HostId>>,
}

#[derive(Debug)]
struct Message {
    topic: Topic,
    bytes: Arc<[u8]>,
    seen: BTreeSet<HostId>,
    copies: usize,
}

impl Mesh {
    pub(crate) fn join(&mut self, topic: Topic, host: HostId, rng: &mut Rng) {
        let overlay = self.topics.entry(topic).or_default();
        if overlay.links.contains_key(&host) {
            return;
        }
        overlay.links.insert(host, BTreeSet::new());
        overlay.link(host, OPENED, rng);
        overlay.members.push(host);
    }

    pub(crate) fn leave(&mut self, topic: Topic, host: HostId, rng: &mut Rng) {
        if let Some(overlay) = self.topics.get_mut(&topic) {
            overlay.leave(host, rng);
        }
    }

    pub(crate) fn leave_all(&mut self, host: HostId, rng: &mut Rng) {
        for overlay in self.topics.values_mut() {
            overlay.leave(host, rng);
        }
    }

    pub(crate) fn is_member(&self, topic: Topic, host: HostId) -> bool {
        self.topics.get(&topic).is_some_and(|overlay| overlay.links.contains_key(&host))
    }

    /// Takes a message of `from` in: its number, and who gets it first.
    pub(crate) fn publish(
        &mut self,
        topic: Topic,
        from: HostId,
        bytes: Vec<u8>,
        rng: &mut Rng,
    ) -> (u64, Vec<HostId>) {
        let Some(overlay) = self.topics.get(&topic) else {
            return (0, Vec::new());
        };
        let targets: Vec<_> = match overlay.links.get(&from) {
            Some(links) => links.iter().copied().collect(),
            None => overlay.some(FANOUT, rng).into_iter().collect(),
        };
        self.published += 1;
        let seen = BTreeSet::from([from]);
        let message = Message { topic, bytes: bytes.into(), seen, copies: 0 };
        if !targets.is_empty() {
            self.messages.insert(self.published, message);
        }
        (self.published, targets)
    }

    /// A copy goes on its way.
    pub(crate) fn depart(&mut self, message: u64) {
        if let Some(message) = self.messages.get_mut(&message) {
            message.copies += 1;
        }
    }

    /// A copy is at `host`: the message, if the host sees it for the first time.
    pub(crate) fn arrive(&mut self, message: u64, host: HostId) -> Option<Arc<[u8]>> {
        let message = self.messages.get_mut(&message)?;
        message.seen.insert(host).then(|| Arc::clone(&message.bytes))
    }

    /// Whom `host` passes a message on to, and how long it is.
    pub(crate) fn onward(&self, message: u64, host: HostId, from: HostId) -> (Vec<HostId>, usize) {
        let Some(message) = self.messages.get(&message) else {
            return (Vec::new(), 0);
        };
        let links = self
            .topics
            .get(&message.topic)
            .and_then(|overlay| overlay.links.get(&host))
            .into_iter();
        let targets = links.flatten().copied().filter(|target| *target != from).collect();
        (targets, message.bytes.len())
    }

    /// A copy is no longer under way; a message without copies is over.
    pub(crate) fn end_copy(&mut self, message: u64) {
        if let Some(known) = self.messages.get_mut(&message) {
            known.copies = known.copies.saturating_sub(1);
            self.forget_if_over(message);
        }
    }

    pub(crate) fn forget_if_over(&mut self, message: u64) {
        if self.messages.get(&message).is_some_and(|known| known.copies == 0) {
            self.messages.remove(&message);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

impl Overlay {
    /// Opens up to `wanted` links of `host` to members that it is not linked with.
    fn link(&mut self, host: HostId, wanted: usize, rng: &mut Rng) {
        let known = self.links.get(&host).map_or(0, BTreeSet::len);
        for other in self.some(wanted + known + 1, rng) {
            if self.links.get(&host).map_or(0, BTreeSet::len) >= known + wanted {
                return;
            }
            if other == host {
                continue;
            }
            self.links.entry(host).or_default().insert(other);
            self.links.entry(other).or_default().insert(host);
        }
    }

    /// Up to `wanted` members by lot.
    fn some(&self, wanted: usize, rng: &mut Rng) -> BTreeSet<HostId> {
        if self.members.len() <= wanted {
            return self.members.iter().copied().collect();
        }
        let mut drawn = BTreeSet::new();
        while drawn.len() < wanted {
            drawn.insert(self.members[place(rng, self.members.len())]);
        }
        drawn
    }

    fn leave(&mut self, host: HostId, rng: &mut Rng) {
        let Some(links) = self.links.remove(&host) else {
            return;
        };
        self.members.retain(|member| *member != host);
        for other in links {
            let left = self.links.get_mut(&other).map_or(FEWEST, |links| {
                links.remove(&host);
                links.len()
            });
            if left < FEWEST {
                self.link(other, FEWEST - left, rng);
            }
        }
    }
}
