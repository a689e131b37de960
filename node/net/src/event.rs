//! What the swarm tells its owner, and the order in which it is told.
//!
//! Three bounded queues, so that neither a flood of frames nor one of gossip can hide the other
//! or the news of connections: news come first, then frames and gossip by turns. A frame holds
//! its sender's share of the queue until it is taken; that sender's stream is not read meanwhile
//! when the share is used up.

use std::time::Duration;

use libp2p::Multiaddr;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::config::Limits;
use crate::key::PeerKey;
use crate::streams::PeerStream;

/// One thing that happened in the network.
#[derive(Debug)]
pub enum Event {
    /// This peer can be reached at the address (without `/p2p/…`).
    Listening(Multiaddr),
    /// The first connection to a peer of this network stands, and its protocols are known.
    Connected(PeerKey),
    /// The last connection to a peer that was [`Event::Connected`] is gone.
    Disconnected(PeerKey),
    /// A direct frame. Frames of one peer arrive in the order sent while its connection lasts.
    Frame {
        /// Who sent it; proven by the connection's handshake.
        from: PeerKey,
        /// What was sent.
        bytes: Vec<u8>,
    },
    /// A gossiped frame. It is passed on only after [`crate::Handle::verdict`] says so.
    Gossip {
        /// The topic, as given to [`crate::Handle::subscribe`].
        topic: String,
        /// Who passed it on, which says nothing about who wrote it.
        source: PeerKey,
        /// To name it in the verdict.
        id: GossipId,
        /// What was published.
        bytes: Vec<u8>,
    },
    /// A peer opened a bulk stream.
    Stream {
        /// Who opened it.
        from: PeerKey,
        /// One of [`crate::Config::purposes`].
        purpose: &'static str,
        /// The stream; dropping it closes it.
        stream: PeerStream,
    },
    /// Frames were given up: they were not, or perhaps not, delivered. Whoever waits for their
    /// answer sends again.
    SendFailed {
        /// Whom they were for.
        to: PeerKey,
        /// How many.
        frames: u64,
        /// In words.
        reason: String,
    },
    /// A join address did not answer.
    JoinFailing {
        /// The address.
        address: Multiaddr,
        /// How often it was tried, from 1.
        attempt: u32,
        /// In words, e.g. `connection refused`.
        error: String,
        /// When it is tried next.
        retry_in: Duration,
    },
    /// This peer is in the network: connected, and known to the peers nearest to it.
    Joined {
        /// Through whom.
        via: PeerKey,
    },
    /// A peer can be reached at the address (with `/p2p/…`); for the address book.
    AddressLearned {
        /// Which peer.
        peer: PeerKey,
        /// Where.
        address: Multiaddr,
    },
    /// A peer of another network was met and is being disconnected.
    ForeignNetwork {
        /// Which peer.
        peer: PeerKey,
        /// What it says of its network ([`crate::Config::protocol_version`]).
        theirs: String,
    },
}

/// The name of a gossiped frame: hash of topic and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub [u8; 32]);

/// Where the events come out. Dropping it stops the swarm.
#[derive(Debug)]
pub struct Events {
    news: mpsc::Receiver<Event>,
    frames: mpsc::Receiver<Shared>,
    gossip: mpsc::Receiver<Shared>,
    gossip_first: bool,
}

impl Events {
    /// The next event; `None` when the swarm ended and everything was taken.
    ///
    /// Cancel safe: an event is either returned or still there.
    pub async fn next(&mut self) -> Option<Event> {
        let (first, second) = if self.gossip_first {
            (&mut self.gossip, &mut self.frames)
        } else {
            (&mut self.frames, &mut self.gossip)
        };
        let (event, from_first) = tokio::select! {
            biased;
            Some(event) = self.news.recv() => return Some(event),
            Some(shared) = first.recv() => (shared.event, true),
            Some(shared) = second.recv() => (shared.event, false),
            else => return None,
        };
        // Whichever queue was served goes last next time.
        self.gossip_first ^= from_first;
        Some(event)
    }
}

/// An event in a queue of which its sender has only a share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) event: Event,
    /// Given back when the event is taken.
    pub(crate) _shares: [Option<OwnedSemaphorePermit>; 2],
}

/// The swarm's ends of the queues.
#[derive(Debug, Clone)]
pub(crate) struct EventQueues {
    pub(crate) news: mpsc::Sender<Event>,
    pub(crate) frames: mpsc::Sender<Shared>,
    pub(crate) gossip: mpsc::Sender<Shared>,
}

pub(crate) fn queues(limits: &Limits) -> (EventQueues, Events) {
    let (news, news_out) = mpsc::channel(NEWS_QUEUE);
    let (frames, frames_out) = mpsc::channel(limits.inbound_frames);
    let (gossip, gossip_out) = mpsc::channel(limits.inbound_gossip);
    let events =
        Events { news: news_out, frames: frames_out, gossip: gossip_out, gossip_first: false };
    (EventQueues { news, frames, gossip }, events)
}

/// News that may wait for the owner here; what does not fit waits, merged, in the swarm.
const NEWS_QUEUE: usize = 256;
