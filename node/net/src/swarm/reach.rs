//! Getting to peers: joining the network, keeping enough connections, and finding the one peer
//! that something is to be sent to. Addresses come from the book, then from Kademlia.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::kad::{self, QueryId};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, StreamProtocol};
use libp2p::{Multiaddr, PeerId, mdns};

use super::Net;
use crate::book::AddressBook;
use crate::config::Config;
use crate::event::Event;
use crate::join::Join;
use crate::key::PeerKey;
use crate::streams::{StreamError, StreamResult};
use crate::words;

pub(super) struct Reach {
    pub(super) join: Join,
    pub(super) book: AddressBook,
    joined: bool,
    /// One at a time: each makes a lookup for every part of the key space.
    bootstrap: Option<QueryId>,
    next_look: Instant,
    next_walk: Instant,
    walk_pause: Duration,
    /// Peers that streams are waiting for; at most [`MAX_SEEKS`].
    seeks: BTreeMap<PeerId, Seek>,
    lookups: HashMap<QueryId, PeerId>,
}

/// Streams that wait for a connection to one peer.
struct Seek {
    waiting: Vec<(StreamProtocol, StreamResult)>,
    looked_up: bool,
    until: Instant,
}

impl Reach {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let mut book = AddressBook::default();
        for address in &config.known {
            if let Some(Protocol::P2p(peer)) = address.iter().last() {
                book.add(peer, address, now);
            }
        }
        Self {
            join: Join::new(config.join.clone(), now),
            book,
            joined: false,
            bootstrap: None,
            next_look: now,
            next_walk: now,
            walk_pause: FIRST_WALK_PAUSE,
            seeks: BTreeMap::new(),
            lookups: HashMap::new(),
        }
    }
}

impl Net {
    pub(super) fn reach_out(&mut self, now: Instant) {
        let ours = self.ours();
        if ours == 0 {
            self.dial_join_addresses(now);
        }
        self.give_up_seeks(now);
        if ours > 0 && !self.reach.joined && self.reach.bootstrap.is_none() {
            // Fails while no peer has shown that it speaks Kademlia: so again next time.
            self.reach.bootstrap = self.swarm.behaviour_mut().kad.bootstrap().ok();
        }
        if ours < self.limits.min_peers && self.reach.next_look <= now {
            self.reach.next_look = now + LOOK_PAUSE;
            self.look_for_peers(ours, now);
        }
    }

    fn dial_join_addresses(&mut self, now: Instant) {
        for (at, address) in self.reach.join.due(now) {
            let options = dial_options(address);
            let connection = options.connection_id();
            self.reach.join.dialling(at, connection);
            if let Err(error) = self.swarm.dial(options) {
                self.join_failed(connection, &words::dial_error(&error), now);
            }
        }
    }

    pub(super) fn join_failed(&mut self, connection: ConnectionId, error: &str, now: Instant) {
        // Jitter only has to differ between peers.
        let chance = getrandom::u32().unwrap_or(0);
        let Some(setback) = self.reach.join.failed(connection, now, chance) else { return };
        let (address, attempt) = (setback.address, setback.attempt);
        tracing::debug!(%address, attempt, error, "join address does not answer");
        let (error, retry_in) = (error.to_owned(), setback.retry_in);
        self.tell(Event::JoinFailing { address, attempt, error, retry_in });
    }

    /// Dials some more peers from the book; when it names none, looks up a random place of the
    /// key space, which fills it.
    fn look_for_peers(&mut self, ours: usize, now: Instant) {
        let count = (self.limits.min_peers - ours).min(MAX_DIALS_AT_ONCE);
        let links = &self.links;
        let me = *self.swarm.local_peer_id();
        let wanted = |peer: &PeerId| *peer != me && !links.contains_key(peer);
        let candidates = self.reach.book.candidates(count, now, wanted);
        let book_is_used_up = candidates.is_empty();
        for peer in candidates {
            if let Err(error) = self.dial_peer(peer) {
                tracing::trace!(%peer, %error, "not dialled");
            }
        }
        if book_is_used_up && ours > 0 && self.reach.next_walk <= now {
            self.swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
            self.reach.next_walk = now + self.reach.walk_pause;
            // A network may just be that small.
            self.reach.walk_pause = (self.reach.walk_pause * 2).min(LONGEST_WALK_PAUSE);
        }
    }

    pub(super) fn on_peer_lost(&mut self, now: Instant) {
        self.reach.walk_pause = FIRST_WALK_PAUSE;
        self.reach.next_walk = self.reach.next_walk.min(now + FIRST_WALK_PAUSE);
        if self.ours() == 0 {
            tracing::info!("the last peer is gone: joining again");
            self.reach.joined = false;
            self.reach.join.restart(now);
        }
    }

    pub(super) fn on_bootstrap(&mut self, id: QueryId, succeeded: bool, last: bool) {
        if last && self.reach.bootstrap == Some(id) {
            self.reach.bootstrap = None;
        }
        // What follows is a lookup for every other part of the key space, which connects to
        // about everybody: half the work of joining, for peers that nobody asked for.
        if !last
            && self.ours() >= self.limits.min_peers
            && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id)
        {
            query.finish();
        }
        let via = self.links.values().find(|link| link.is_ours()).map(|link| link.key);
        // The first step is the lookup of our own place: from then on its neighbours know us.
        if let (true, false, Some(via)) = (succeeded, self.reach.joined, via) {
            self.reach.joined = true;
            self.reach.walk_pause = FIRST_WALK_PAUSE;
            tracing::info!(%via, "joined the network");
            self.tell(Event::Joined { via });
        }
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event, now: Instant) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found.into_iter().take(MAX_FOUND_AT_ONCE) {
            self.reach.book.add(peer, &address, now);
        }
    }

    pub(super) fn on_route<'a>(
        &mut self,
        peer: PeerId,
        addresses: impl Iterator<Item = &'a Multiaddr>,
        now: Instant,
    ) {
        for address in addresses.take(MAX_FOUND_AT_ONCE) {
            self.reach.book.add(peer, address, now);
        }
    }

    /// Dials once what the owner asked to.
    pub(super) fn dial(&mut self, address: Multiaddr) {
        if let Err(error) = self.swarm.dial(dial_options(address.clone())) {
            tracing::debug!(%address, error = words::dial_error(&error), "not dialled");
        }
    }

    fn dial_peer(&mut self, peer: PeerId) -> Result<(), DialError> {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.reach.book.of(&peer))
            .extend_addresses_through_behaviour()
            .build();
        self.swarm.dial(options)
    }

    pub(super) fn on_dial_failed(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Instant,
    ) {
        // Another attempt is under way or has succeeded: that one counts.
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        self.counters.dials_failed.add(1);
        let reason = words::dial_error(error);
        tracing::debug!(peer = peer.map(tracing::field::display), reason, "cannot connect");
        self.join_failed(connection, &reason, now);
        let Some(peer) = peer else { return };
        self.reach.book.failed(&peer, now);
        if !self.swarm.is_connected(&peer) {
            self.look_up_or_fail(peer, &reason);
        }
    }

    pub(super) fn open_bulk_stream(
        &mut self,
        key: PeerKey,
        purpose: &'static str,
        reply: StreamResult,
    ) {
        match self.names.protocol_of(purpose) {
            Some(protocol) => self.open_stream(key.to_peer_id(), protocol, reply),
            // Whoever asked may have given up waiting; so below.
            None => drop(reply.send(Err(StreamError::Unknown))),
        }
    }

    /// Opens a stream on a standing connection or on one that is made for it.
    pub(super) fn open_stream(
        &mut self,
        peer: PeerId,
        protocol: StreamProtocol,
        reply: StreamResult,
    ) {
        let opened = self.swarm.behaviour_mut().streams.open(peer, protocol.clone(), reply);
        let Err(reply) = opened else { return };
        let now = Instant::now();
        let refusal = if peer == *self.swarm.local_peer_id() {
            Some(StreamError::Unreachable("that is this peer itself".to_owned()))
        } else if self.swarm.behaviour().streams.is_banned(&peer, now) {
            Some(StreamError::Unreachable("that peer is banned for now".to_owned()))
        } else {
            match self.reach.seeks.get(&peer) {
                Some(seek) if seek.waiting.len() >= MAX_WAITING => Some(StreamError::Busy),
                None if self.reach.seeks.len() >= MAX_SEEKS => Some(StreamError::Busy),
                _ => None,
            }
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        if let Some(seek) = self.reach.seeks.get_mut(&peer) {
            seek.waiting.push((protocol, reply));
            return;
        }
        let waiting = vec![(protocol, reply)];
        let seek = Seek { waiting, looked_up: false, until: now + SEEK_TIMEOUT };
        self.reach.seeks.insert(peer, seek);
        self.dial_or_look_up(peer);
    }

    fn dial_or_look_up(&mut self, peer: PeerId) {
        match self.dial_peer(peer) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.look_up_or_fail(peer, &words::dial_error(&error)),
        }
    }

    fn look_up_or_fail(&mut self, peer: PeerId, reason: &str) {
        let Some(seek) = self.reach.seeks.get_mut(&peer) else { return };
        if seek.looked_up {
            self.fail_seek(peer, reason);
            return;
        }
        seek.looked_up = true;
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
        self.reach.lookups.insert(query, peer);
    }

    pub(super) fn on_closest_peers(&mut self, id: QueryId, found: &[kad::PeerInfo], now: Instant) {
        let me = *self.swarm.local_peer_id();
        for it in found.iter().filter(|it| it.peer_id != me) {
            self.on_route(it.peer_id, it.addrs.iter(), now);
        }
        if let Some(peer) = self.reach.lookups.remove(&id)
            && self.reach.seeks.contains_key(&peer)
        {
            self.dial_or_look_up(peer);
        }
    }

    /// A connection stands: what waited for it is opened.
    pub(super) fn on_reached(&mut self, peer: PeerId) {
        let Some(seek) = self.reach.seeks.remove(&peer) else { return };
        for (protocol, reply) in seek.waiting {
            let streams = &mut self.swarm.behaviour_mut().streams;
            if let Err(reply) = streams.open(peer, protocol, reply) {
                let reason = "the connection was closed".to_owned();
                let _ = reply.send(Err(StreamError::Broken(reason)));
            }
        }
    }

    fn fail_seek(&mut self, peer: PeerId, reason: &str) {
        let Some(seek) = self.reach.seeks.remove(&peer) else { return };
        for (_, reply) in seek.waiting {
            let _ = reply.send(Err(StreamError::Unreachable(reason.to_owned())));
        }
    }

    fn give_up_seeks(&mut self, now: Instant) {
        let over = self.reach.seeks.iter().filter(|(_, seek)| seek.until <= now);
        for peer in over.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.fail_seek(peer, "no answer in time");
        }
    }
}

fn dial_options(address: Multiaddr) -> DialOpts {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => DialOpts::peer_id(peer)
            // A second connection does no harm; a join address that is not tried, does.
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build(),
        _ => DialOpts::unknown_peer_id().address(address).build(),
    }
}

const LOOK_PAUSE: Duration = Duration::from_millis(250);
const FIRST_WALK_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_WALK_PAUSE: Duration = Duration::from_secs(120);

/// As long as a dial and a lookup take when all goes slowly.
const SEEK_TIMEOUT: Duration = Duration::from_secs(20);

const MAX_DIALS_AT_ONCE: usize = 4;
const MAX_FOUND_AT_ONCE: usize = 16;
const MAX_SEEKS: usize = 512;
const MAX_WAITING: usize = 64;
