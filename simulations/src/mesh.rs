//! Gossip as gossip: the subscribers of a topic form a mesh of small degree, and a message goes
//! from neighbour to neighbour, each hop with its own latency and loss. Whoever has it already
//! drops it. The shape follows gossipsub 1.1 without its lazy pull, so that it loses more than the
//! real one, never less.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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
    /// Those with copies under way, and those that ended between them.
    messages: VecDeque<Option<Message>>,
    /// The number of the first of these.
    first: u64,
    alive: usize,
}

#[derive(Debug, Default)]
struct Overlay {
    members: Vec<HostId>,
    /// By host; none of those that are no members.
    links: Vec<Option<BTreeSet<HostId>>>,
}

#[derive(Debug)]
struct Message {
    topic: Topic,
    bytes: Arc<[u8]>,
    seen: Hosts,
    copies: usize,
}

impl Mesh {
    pub(crate) fn join(&mut self, topic: Topic, host: HostId, rng: &mut Rng) {
        let overlay = self.topics.entry(topic).or_default();
        if overlay.links(host).is_some() {
            return;
        }
        if overlay.links.len() <= host.index() {
            overlay.links.resize_with(host.index() + 1, || None);
        }
        overlay.links[host.index()] = Some(BTreeSet::new());
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
        self.topics.get(&topic).is_some_and(|overlay| overlay.links(host).is_some())
    }

    /// Takes a message of `from` in: its number, and who gets it first.
    pub(crate) fn publish(
        &mut self,
        topic: Topic,
        from: HostId,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> (u64, Vec<HostId>) {
        let Some(overlay) = self.topics.get(&topic) else {
            return (0, Vec::new());
        };
        let targets: Vec<_> = match overlay.links(from) {
            Some(links) => links.iter().copied().collect(),
            None => overlay.some(FANOUT, rng).into_iter().collect(),
        };
        let number = self.first + self.messages.len() as u64;
        if !targets.is_empty() {
            let mut seen = Hosts::default();
            seen.insert(from);
            self.messages.push_back(Some(Message { topic, bytes: bytes.into(), seen, copies: 0 }));
            self.alive += 1;
        }
        (number, targets)
    }

    /// A copy for `to` goes on its way; false when it need not, since `to` has the message and
    /// would drop it.
    pub(crate) fn depart(&mut self, message: u64, to: HostId) -> bool {
        let Some(message) = self.message_mut(message) else {
            return false;
        };
        let needed = !message.seen.contains(to);
        message.copies += usize::from(needed);
        needed
    }

    /// A copy is at `host`: the message, if the host sees it for the first time.
    pub(crate) fn arrive(&mut self, message: u64, host: HostId) -> Option<Arc<[u8]>> {
        let message = self.message_mut(message)?;
        message.seen.insert(host).then(|| Arc::clone(&message.bytes))
    }

    /// Whom `host` passes a message on to, and how long it is.
    pub(crate) fn onward(&self, message: u64, host: HostId, from: HostId) -> (Vec<HostId>, usize) {
        let Some(message) = self.message(message) else {
            return (Vec::new(), 0);
        };
        let links = self.topics.get(&message.topic).and_then(|overlay| overlay.links(host));
        let others = links.into_iter().flatten().copied();
        (others.filter(|target| *target != from).collect(), message.bytes.len())
    }

    /// A copy is no longer under way; a message without copies is over.
    pub(crate) fn end_copy(&mut self, message: u64) {
        if let Some(known) = self.message_mut(message) {
            known.copies = known.copies.saturating_sub(1);
            self.forget_if_over(message);
        }
    }

    pub(crate) fn forget_if_over(&mut self, message: u64) {
        if self.message(message).is_some_and(|known| known.copies == 0) {
            let place = self.place_of(message).expect("it is there");
            self.messages[place] = None;
            self.alive -= 1;
        }
        while let Some(None) = self.messages.front() {
            self.messages.pop_front();
            self.first += 1;
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.alive
    }

    fn place_of(&self, message: u64) -> Option<usize> {
        usize::try_from(message.checked_sub(self.first)?).ok()
    }

    fn message(&self, message: u64) -> Option<&Message> {
        self.messages.get(self.place_of(message)?)?.as_ref()
    }

    fn message_mut(&mut self, message: u64) -> Option<&mut Message> {
        let place = self.place_of(message)?;
        self.messages.get_mut(place)?.as_mut()
    }
}

impl Overlay {
    fn links(&self, host: HostId) -> Option<&BTreeSet<HostId>> {
        self.links.get(host.index())?.as_ref()
    }

    fn links_mut(&mut self, host: HostId) -> Option<&mut BTreeSet<HostId>> {
        self.links.get_mut(host.index())?.as_mut()
    }

    /// Opens up to `wanted` links of `host` to members that it is not linked with.
    fn link(&mut self, host: HostId, wanted: usize, rng: &mut Rng) {
        let known = self.links(host).map_or(0, BTreeSet::len);
        for other in self.some(wanted + known + 1, rng) {
            if self.links(host).map_or(0, BTreeSet::len) >= known + wanted {
                return;
            }
            if other == host {
                continue;
            }
            for (one, other) in [(host, other), (other, host)] {
                if let Some(links) = self.links_mut(one) {
                    links.insert(other);
                }
            }
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
        let Some(links) = self.links.get_mut(host.index()).and_then(Option::take) else {
            return;
        };
        self.members.retain(|member| *member != host);
        for other in links {
            let left = self.links_mut(other).map_or(FEWEST, |links| {
                links.remove(&host);
                links.len()
            });
            if left < FEWEST {
                self.link(other, FEWEST - left, rng);
            }
        }
    }
}

/// A set of hosts, one bit each.
#[derive(Debug, Default)]
struct Hosts(Vec<u64>);

impl Hosts {
    /// True when it was not there.
    fn insert(&mut self, host: HostId) -> bool {
        let (word, bit) = Self::place(host);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word];
        self.0[word] |= bit;
        before & bit == 0
    }

    fn contains(&self, host: HostId) -> bool {
        let (word, bit) = Self::place(host);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn place(host: HostId) -> (usize, u64) {
        (host.index() / 64, 1 << (host.index() % 64))
    }
}
