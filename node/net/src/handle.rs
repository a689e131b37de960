//! The owner's grip on the swarm: a bounded queue of commands to the one task that owns it.
//!
//! Every `async` method waits for room in that queue, which the swarm empties whatever its
//! peers do; those that return something also wait for the answer, as each says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot};

use crate::config::Limits;
use crate::error::{HandleError, OpenError, RecordError};
use crate::event::GossipId;
use crate::key::PeerKey;
use crate::streams::{PeerStream, StreamError, StreamResult};

/// The owner's grip on the swarm; cheap to clone. The swarm ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    key: PeerKey,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
}

/// What to do with a gossiped frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it and hold it against whoever passed it on.
    Reject,
    /// Drop it.
    Ignore,
}

/// The state of the swarm at one moment.
#[derive(Debug, Clone)]
pub struct NetSnapshot {
    /// This peer.
    pub key: PeerKey,
    /// Where it can be reached, each with `/p2p/…`.
    pub addresses: Vec<Multiaddr>,
    /// The peers of this network it is connected to, by key.
    pub peers: Vec<PeerInfo>,
    /// Entries of the Kademlia routing table.
    pub routing_peers: usize,
    /// Counted since the start.
    pub counters: CounterValues,
}

/// One connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it is.
    pub key: PeerKey,
    /// Addresses of the connections to it.
    pub addresses: Vec<Multiaddr>,
    /// Program and version, as it says.
    pub agent: String,
    /// Its [`crate::Config::protocol_version`].
    pub protocol: String,
    /// Round trip of the last ping.
    pub rtt: Option<Duration>,
    /// Topics in whose mesh it is.
    pub mesh: Vec<String>,
}

impl Handle {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        key: PeerKey,
        limits: Arc<Limits>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { commands, key, limits, counters }
    }

    /// This peer's own key.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// Queues a frame for a peer, connecting to it where needed. What cannot be delivered comes
    /// back as [`crate::Event::SendFailed`]; a frame to oneself comes back as an event.
    pub async fn send(&self, to: PeerKey, frame: Vec<u8>) -> Result<(), HandleError> {
        check_size(frame.len(), self.limits.max_frame_bytes)?;
        self.command(Command::Send { to, frame }).await
    }

    /// As [`Handle::send`], but never waits: [`HandleError::Busy`] when the queue is full.
    pub fn try_send(&self, to: PeerKey, frame: Vec<u8>) -> Result<(), HandleError> {
        check_size(frame.len(), self.limits.max_frame_bytes)?;
        self.try_command(Command::Send { to, frame })
    }

    /// Gossips a frame to all subscribers of the topic but oneself. While nobody is known to
    /// listen it is kept for a few seconds, then dropped and counted.
    pub async fn publish(&self, topic: &str, frame: Vec<u8>) -> Result<(), HandleError> {
        check_size(frame.len(), self.limits.max_gossip_bytes)?;
        self.command(Command::Publish { topic: topic.to_owned(), frame }).await
    }

    /// As [`Handle::publish`], but never waits: [`HandleError::Busy`] when the queue is full.
    pub fn try_publish(&self, topic: &str, frame: Vec<u8>) -> Result<(), HandleError> {
        check_size(frame.len(), self.limits.max_gossip_bytes)?;
        self.try_command(Command::Publish { topic: topic.to_owned(), frame })
    }

    /// Asks for the gossip of a topic from now on.
    pub async fn subscribe(&self, topic: &str) -> Result<(), HandleError> {
        self.command(Command::Subscribe { topic: topic.to_owned() }).await
    }

    /// No longer asks for the gossip of a topic.
    pub async fn unsubscribe(&self, topic: &str) -> Result<(), HandleError> {
        self.command(Command::Unsubscribe { topic: topic.to_owned() }).await
    }

    /// Says what to do with a gossiped frame; `source` is the one from its event.
    pub async fn verdict(
        &self,
        id: GossipId,
        source: PeerKey,
        verdict: Verdict,
    ) -> Result<(), HandleError> {
        self.command(Command::Verdict { id, source, verdict }).await
    }

    /// Closes all connections to a peer and takes none for the given time (none: zero).
    pub async fn disconnect(&self, peer: PeerKey, ban_for: Duration) -> Result<(), HandleError> {
        self.command(Command::Disconnect { peer, ban_for }).await
    }

    /// Dials an address once; its outcome shows in the events, if at all.
    pub async fn dial(&self, address: Multiaddr) -> Result<(), HandleError> {
        self.command(Command::Dial { address }).await
    }

    /// Opens a bulk stream, connecting to the peer where needed; waits until it stands.
    pub async fn open_stream(
        &self,
        peer: PeerKey,
        purpose: &'static str,
    ) -> Result<PeerStream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::OpenStream { peer, purpose, reply };
        self.command(command).await.map_err(|_closed| OpenError::Closed)?;
        match answer.await {
            Ok(Ok(stream)) => Ok(PeerStream::new(stream, None)),
            Ok(Err(error)) => Err(error.opening(peer, purpose)),
            Err(_) => {
                Err(StreamError::Broken("the connection was closed".to_owned())
                    .opening(peer, purpose))
            }
        }
    }

    /// The state of the swarm; waits for its task's next turn.
    pub async fn snapshot(&self) -> Result<NetSnapshot, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Snapshot { reply }).await?;
        answer.await.map_err(|_closed| HandleError::Closed)
    }

    /// What was counted so far; waits for nobody.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// Stores a small record at the peers nearest to its key; waits until one of them
    /// confirmed. Kept for a day, published again hourly.
    pub async fn put_record(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), RecordError> {
        let bytes = key.len() + value.len();
        let limit = self.limits.max_record_bytes;
        if bytes > limit {
            return Err(RecordError::TooLarge { bytes, limit });
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::PutRecord { key, value, reply };
        self.command(command).await.map_err(|_closed| RecordError::Closed)?;
        answer.await.unwrap_or(Err(RecordError::Closed))
    }

    /// The different values that peers hold under a key, at least one and at most 16; waits for
    /// the query's end. Any peer may have written them: believe their signatures only.
    pub async fn get_record(&self, key: Vec<u8>) -> Result<Vec<Vec<u8>>, RecordError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::GetRecord { key, reply };
        self.command(command).await.map_err(|_closed| RecordError::Closed)?;
        answer.await.unwrap_or(Err(RecordError::Closed))
    }

    /// Writes what is queued (for at most a second), closes all connections and ends the swarm;
    /// waits until that is done.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.command(Command::Shutdown { reply }).await.is_ok() {
            // An error means that the swarm is gone, which is what was asked for.
            let _ = answer.await;
        }
    }

    async fn command(&self, command: Command) -> Result<(), HandleError> {
        self.commands.send(command).await.map_err(|_closed| HandleError::Closed)
    }

    fn try_command(&self, command: Command) -> Result<(), HandleError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => HandleError::Busy,
            mpsc::error::TrySendError::Closed(_) => HandleError::Closed,
        })
    }
}

fn check_size(bytes: usize, limit: usize) -> Result<(), HandleError> {
    if bytes > limit { Err(HandleError::TooLarge { bytes, limit }) } else { Ok(()) }
}

#[derive(Debug)]
pub(crate) enum Command {
    Send { to: PeerKey, frame: Vec<u8> },
    Publish { topic: String, frame: Vec<u8> },
    Subscribe { topic: String },
    Unsubscribe { topic: String },
    Verdict { id: GossipId, source: PeerKey, verdict: Verdict },
    Disconnect { peer: PeerKey, ban_for: Duration },
    Dial { address: Multiaddr },
    OpenStream { peer: PeerKey, purpose: &'static str, reply: StreamResult },
    Snapshot { reply: oneshot::Sender<NetSnapshot> },
    PutRecord { key: Vec<u8>, value: Vec<u8>, reply: oneshot::Sender<Result<(), RecordError>> },
    GetRecord { key: Vec<u8>, reply: oneshot::Sender<Result<Vec<Vec<u8>>, RecordError>> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// Commands that may wait for the swarm: a burst of sends of one turn of the owner.
pub(crate) const COMMAND_QUEUE: usize = 1024;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What was counted since the start of the swarm.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CounterValues {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl CounterValues {
            /// Every counter with its name, in the order of the fields; for metrics.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        /// Written by the swarm and its streams' tasks, read by anybody; each is on its own, so
        /// relaxed order will do.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Bytes of direct frames received, with their length prefixes.
    frame_bytes_in,
    /// Bytes of direct frames sent, with their length prefixes.
    frame_bytes_out,
    /// Direct frames received.
    frames_in,
    /// Direct frames written to a connection.
    frames_out,
    /// Direct frames given up.
    frames_failed,
    /// Frames over the limit, for each of which a peer was disconnected.
    frames_oversized,
    /// Bytes of gossip received, without copies.
    gossip_bytes_in,
    /// Bytes of gossip published here.
    gossip_bytes_out,
    /// Gossip messages received, without copies.
    gossip_in,
    /// Gossip messages published here.
    gossip_out,
    /// Gossip messages dropped because the owner was behind.
    gossip_dropped,
    /// Own gossip messages dropped because nobody listened or all queues were full.
    publish_dropped,
    /// Gossip messages the owner rejected.
    gossip_rejected,
    /// Bulk streams refused because their opener had too many, or the owner was behind.
    streams_refused,
    /// Records of others that were not stored.
    records_refused,
    /// Events about addresses and joining dropped because the owner was behind.
    news_dropped,
    /// Attempts to connect that failed.
    dials_failed,
    /// Connections of banned peers refused.
    banned_refused,
    /// Peers of another network met.
    foreign_peers,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values().fmt(f)
    }
}
