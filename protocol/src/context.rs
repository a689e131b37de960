//! What a role may do while it handles one input: say, keep, start, wait. Everything lands in
//! the [`Effects`] of that input.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Identity, Instant, Network, NetworkId, PeerId, Rng, UnixMillis,
    directory::Directory,
    effects::{CommandId, Effects, Event, Reply, Send, Task, Topic},
    message::{Gossip, Message, encode_gossip, encode_message},
    record::Key,
    signed::{Document, Verified},
    timers::{Timer, Timers},
};

/// Borrowed from the peer for one input.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) unix: UnixMillis,
    pub(crate) network: NetworkId,
    pub(crate) charter: &'a Network,
    pub(crate) identity: &'a Identity,
    pub(crate) rng: &'a mut Rng,
    pub(crate) directory: &'a Directory,
    pub(crate) timers: &'a mut Timers,
    pub(crate) sequence: &'a mut u64,
    /// The number that this input's write batch has, if it comes to one.
    pub(crate) batch: u64,
    pub(crate) effects: &'a mut Effects,
}

impl Context<'_> {
    /// This peer.
    pub(crate) fn me(&self) -> PeerId {
        self.identity.id()
    }

    pub(crate) fn send(&mut self, to: PeerId, message: &Message) {
        let frame = encode_message(self.network, message);
        self.effects.sends.push(Send::Direct { to, frame });
    }

    pub(crate) fn publish(&mut self, topic: Topic, gossip: &Gossip) {
        let frame = encode_gossip(self.network, gossip);
        self.effects.sends.push(Send::Publish { topic, frame });
    }

    pub(crate) fn subscribe(&mut self, topic: Topic) {
        self.effects.sends.push(Send::Subscribe(topic));
    }

    pub(crate) fn unsubscribe(&mut self, topic: Topic) {
        self.effects.sends.push(Send::Unsubscribe(topic));
    }

    pub(crate) fn save<T: Serialize>(&mut self, key: Key, value: &T) {
        self.effects.writes.push(key.write(value));
    }

    pub(crate) fn erase(&mut self, key: Key) {
        self.effects.writes.push(key.erase());
    }

    pub(crate) fn start(&mut self, task: Task) {
        self.effects.tasks.push(task);
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.effects.events.push(event);
    }

    pub(crate) fn reply(&mut self, id: CommandId, reply: Reply) {
        self.emit(Event::Reply { id, reply });
    }

    pub(crate) fn after(&mut self, wait: Duration, why: Timer) {
        self.timers.set(why, self.now + wait);
    }

    /// Signs with a sequence number that rises from one life to the next, since it is never
    /// behind the clock's microseconds.
    pub(crate) fn sign<T: Document>(&mut self, body: T) -> Verified<T> {
        *self.sequence = (*self.sequence + 1).max(self.unix.0.saturating_mul(1_000));
        self.identity.sign(self.network, self.unix, *self.sequence, body)
    }
}
