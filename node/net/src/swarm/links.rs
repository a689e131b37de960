//! Connected peers: who they are, whether they belong to this network, and the streams they
//! open. A peer counts as connected for the owner when it has shown that it speaks this
//! network's protocols, not before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify, ping};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Net;
use crate::book::is_local;
use crate::config::{FAMILY, Limits};
use crate::event::{Event, Shared};
use crate::frames;
use crate::key::PeerKey;
use crate::streams::{Inbound, PeerStream};

/// One connected peer.
pub(super) struct Link {
    pub(super) key: PeerKey,
    pub(super) addresses: BTreeMap<ConnectionId, Multiaddr>,
    pub(super) agent: String,
    pub(super) protocol: String,
    pub(super) rtt: Option<Duration>,
    standing: Standing,
    missed_pings: u32,
    /// The newest come last; at most [`MAX_READERS`].
    readers: VecDeque<AbortHandle>,
}

/// Whether the peer belongs to this network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has until then to introduce itself.
    Unknown(Instant),
    Ours,
    /// It is disconnected then: it may still want to know who we are.
    Unwanted(Instant),
}

/// What of this peer's queues one remote peer can take up.
pub(super) struct Shares {
    pub(super) frames: Arc<Semaphore>,
    pub(super) gossip: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
}

impl Link {
    pub(super) fn is_ours(&self) -> bool {
        self.standing == Standing::Ours
    }
}

impl Shares {
    fn new(limits: &Limits) -> Self {
        Self {
            frames: frames::share_of(limits.inbound_bytes_per_peer, limits.max_frame_bytes),
            gossip: Arc::new(Semaphore::new(limits.inbound_gossip_per_peer)),
            streams: Arc::new(Semaphore::new(limits.streams_per_peer)),
        }
    }

    /// Whether something of that peer's is still queued or open.
    pub(super) fn in_use(&self) -> bool {
        [&self.frames, &self.gossip, &self.streams].iter().any(|it| Arc::strong_count(it) > 1)
    }
}

impl Net {
    pub(super) fn ours(&self) -> usize {
        self.links.values().filter(|link| link.is_ours()).count()
    }

    pub(super) fn shares_of(&mut self, peer: PeerId) -> &Shares {
        self.shares.entry(peer).or_insert_with(|| Shares::new(&self.limits))
    }

    pub(super) fn on_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        let Some(key) = PeerKey::from_peer_id(&peer) else {
            // Just established, so there is something to close.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        let address = endpoint.get_remote_address().clone();
        if endpoint.is_dialer() {
            self.reach.book.add(peer, &address, now);
        }
        self.reach.book.answered(&peer);
        let link = self.links.entry(peer).or_insert_with(|| Link {
            key,
            addresses: BTreeMap::new(),
            agent: String::new(),
            protocol: String::new(),
            rtt: None,
            standing: Standing::Unknown(now + INTRODUCTION),
            missed_pings: 0,
            readers: VecDeque::new(),
        });
        link.addresses.insert(connection, address);
        if link.is_ours() {
            self.reach.join.succeeded(connection, now);
        }
        self.on_reached(peer);
    }

    pub(super) fn on_disconnected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        remaining: u32,
        now: Instant,
    ) {
        let reason = "the connection was closed before the peer introduced itself";
        self.join_failed(connection, reason, now);
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.addresses.remove(&connection);
        if remaining > 0 {
            return;
        }
        let Some(link) = self.links.remove(&peer) else { return };
        if !link.is_ours() {
            return;
        }
        tracing::debug!(peer = %link.key, "peer disconnected");
        self.tell(Event::Disconnected(link.key));
        self.on_peer_lost(now);
    }

    /// The peer has shown that it speaks this network's protocols.
    fn mark_ours(&mut self, peer: PeerId, now: Instant) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if link.is_ours() {
            return;
        }
        link.standing = Standing::Ours;
        for connection in link.addresses.keys() {
            self.reach.join.succeeded(*connection, now);
        }
        let key = link.key;
        tracing::debug!(peer = %key, "peer connected");
        self.tell(Event::Connected(key));
        for address in self.reach.book.of(&peer) {
            self.tell(Event::AddressLearned { peer: key, address: key.at(&address) });
        }
    }

    pub(super) fn on_identify(&mut self, event: identify::Event, now: Instant) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(link) = self.links.get_mut(&peer_id) else { return };
        let theirs = shortened(info.protocol_version);
        link.agent = shortened(info.agent_version);
        link.protocol.clone_from(&theirs);
        if info.protocols.contains(&self.names.frames) {
            self.mark_ours(peer_id, now);
            self.learn_addresses(peer_id, &info.listen_addrs, now);
            return;
        }
        if link.standing == Standing::Ours || matches!(link.standing, Standing::Unwanted(_)) {
            return;
        }
        if !info.protocols.iter().any(|it| it.as_ref().starts_with(FAMILY)) {
            link.standing = Standing::Unwanted(now + INTRODUCTION);
            return;
        }
        link.standing = Standing::Unwanted(now + LAST_WORDS);
        let key = link.key;
        let connections: Vec<_> = link.addresses.keys().copied().collect();
        tracing::info!(peer = %key, theirs, "disconnecting: it belongs to another network");
        self.counters.foreign_peers.add(1);
        for connection in connections {
            let reason = format!("the peer there belongs to another network ({theirs})");
            self.join_failed(connection, &reason, now);
        }
        self.tell(Event::ForeignNetwork { peer: key, theirs });
    }

    /// Addresses a peer of this network says it listens on.
    fn learn_addresses(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) {
        let Some(link) = self.links.get(&peer) else { return };
        let key = link.key;
        let near = link.addresses.values().any(is_local);
        let usable = addresses.iter().filter(|it| near || !is_local(it));
        for address in usable.take(MAX_LISTEN_ADDRESSES) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
            if self.reach.book.add(peer, address, now) {
                self.tell(Event::AddressLearned { peer: key, address: key.at(address) });
            }
        }
    }

    pub(super) fn close_unwanted(&mut self, now: Instant) {
        let over = |link: &Link| match link.standing {
            Standing::Unknown(until) | Standing::Unwanted(until) => until <= now,
            Standing::Ours => false,
        };
        let unwanted = self.links.iter().filter(|(_, link)| over(link));
        for peer in unwanted.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            // Gone already is as good.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    pub(super) fn disconnect(&mut self, key: PeerKey, ban_for: Duration) {
        let peer = key.to_peer_id();
        if !ban_for.is_zero() {
            let behaviour = self.swarm.behaviour_mut();
            behaviour.streams.ban(peer, ban_for, Instant::now());
            behaviour.kad.remove_peer(&peer);
            self.writers.remove(&key);
        }
        // Not connected is as good.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        let Some(link) = self.links.get_mut(&event.peer) else { return };
        match &event.result {
            Ok(rtt) => {
                link.rtt = Some(*rtt);
                link.missed_pings = 0;
            }
            Err(ping::Failure::Timeout) => {
                link.missed_pings += 1;
                if link.missed_pings >= MAX_MISSED_PINGS {
                    tracing::info!(peer = %link.key, "disconnecting: it no longer answers pings");
                    self.swarm.close_connection(event.connection);
                }
            }
            Err(error) => tracing::trace!(peer = %link.key, %error, "ping"),
        }
    }

    pub(super) fn on_inbound_stream(&mut self, inbound: Inbound) {
        let Inbound { peer, protocol, stream } = inbound;
        // To negotiate a protocol with the network's name in it is to belong to the network.
        self.mark_ours(peer, Instant::now());
        if protocol == self.names.frames {
            self.read_frames(peer, PeerStream::new(stream, None));
            return;
        }
        let Some(purpose) = self.names.purpose_of(&protocol) else { return };
        let Some(from) = self.links.get(&peer).map(|link| link.key) else { return };
        let share = Arc::clone(&self.shares_of(peer).streams);
        let Ok(share) = share.try_acquire_owned() else {
            self.counters.streams_refused.add(1);
            return;
        };
        let stream = PeerStream::new(stream, Some(share));
        let event = Event::Stream { from, purpose, stream };
        if self.queues.frames.try_send(Shared { event, _shares: [None, None] }).is_err() {
            self.counters.streams_refused.add(1);
        }
    }

    fn read_frames(&mut self, peer: PeerId, stream: PeerStream) {
        let share = Arc::clone(&self.shares_of(peer).frames);
        let intake = self.intake.clone();
        let Some(link) = self.links.get_mut(&peer) else { return };
        // A second one is normal while a stream is replaced; more is nobody's need.
        if link.readers.len() >= MAX_READERS
            && let Some(oldest) = link.readers.pop_front()
        {
            oldest.abort();
        }
        let reader = frames::read_frames(link.key, stream, share, intake);
        link.readers.push_back(self.reading.spawn(reader));
    }
}

/// What a peer says of itself, cut to a length that can be kept for every peer.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_FACTS_BYTES {
        let end = (0..=MAX_FACTS_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// Time for a new peer to say which network it belongs to.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// Time for a peer of another network to learn which one this is.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One may be lost to a busy machine.
const MAX_MISSED_PINGS: u32 = 2;

const MAX_READERS: usize = 2;
const MAX_LISTEN_ADDRESSES: usize = 8;
const MAX_FACTS_BYTES: usize = 2048;
