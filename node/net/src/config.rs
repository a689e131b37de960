//! What a swarm is told once, at its start, and the names that follow from the network's name.

use std::sync::Arc;

use libp2p::{Multiaddr, StreamProtocol};

use crate::error::NetError;

/// Everything [`crate::start`] needs to know.
#[derive(Clone)]
pub struct Config {
    /// The ed25519 seed of this peer.
    pub secret: [u8; 32],
    /// The network's full name, e.g. `lab-1a2b3c4d5e6f7081`: letters, digits, `-`, `_` and `.`,
    /// at most 64. It goes into every protocol name and topic, so that networks never mix.
    pub network: String,
    /// Addresses to listen on. Port 0 lets the system choose. A relay's `…/p2p-circuit` address
    /// asks that relay for a reservation.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this peer although it does not listen on them itself
    /// (a forwarded port, a public name).
    pub external: Vec<Multiaddr>,
    /// Peers to join the network through; dialled until one of them answered.
    pub join: Vec<Multiaddr>,
    /// The address book of an earlier life, each with `/p2p/…`; dialled when short of peers.
    pub known: Vec<Multiaddr>,
    /// What this peer does for the network beside its own work.
    pub role: NetRole,
    /// Whether to look for peers on the local network by multicast DNS.
    pub mdns: bool,
    /// Program and version, shown to every peer.
    pub agent: String,
    /// Facts of the network for whoever joins knowing only an address; see
    /// [`crate::ask_network`]. Shown to every peer, at most 2 KiB.
    pub protocol_version: String,
    /// Names of the bulk streams this peer accepts, e.g. `artifacts`; at most 16.
    pub purposes: Vec<&'static str>,
    /// Whether a record that another peer wants stored here may be. Called by the task that owns
    /// the swarm, so it must be quick.
    pub accepts_record: Arc<dyn Fn(&RecordOffer<'_>) -> bool + Send + Sync>,
    /// Bounds on what remote peers can make this one hold.
    pub limits: Limits,
}

/// A record that another peer wants stored here.
#[derive(Debug, Clone, Copy)]
pub struct RecordOffer<'a> {
    /// The record's key.
    pub key: &'a [u8],
    /// What it is to hold.
    pub value: &'a [u8],
    /// What is held under that key so far.
    pub held: Option<&'a [u8]>,
}

/// What a peer does for the network beside its own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetRole {
    /// Nothing but what every peer does.
    Peer,
    /// Relays for peers that cannot be reached, and takes as many connections as its limits say.
    Bootstrap,
}

/// Bounds on what remote peers can make this one hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the largest direct frame, in and out.
    pub max_frame_bytes: usize,
    /// Bytes of the largest gossiped frame, in and out.
    pub max_gossip_bytes: usize,
    /// Established connections; a quarter of them is kept for those this peer opens itself.
    pub max_connections: u32,
    /// Frames that may wait to be written to one peer.
    pub per_peer_queue: usize,
    /// Frames of all peers that may wait for [`crate::Events::next`].
    pub inbound_frames: usize,
    /// Bytes of one peer's frames that may wait for [`crate::Events::next`]; each counts for at
    /// least 1 KiB. Beyond, that peer's stream is not read.
    pub inbound_bytes_per_peer: usize,
    /// Bytes of all peers' frames that may wait for [`crate::Events::next`].
    pub inbound_bytes: usize,
    /// Gossip messages of all peers that may wait; beyond, gossip is dropped.
    pub inbound_gossip: usize,
    /// Gossip messages of one peer that may wait; beyond, its gossip is dropped.
    pub inbound_gossip_per_peer: usize,
    /// Bulk streams that one peer may have open towards this one.
    pub streams_per_peer: usize,
    /// Bytes of the largest record in the distributed hash table.
    pub max_record_bytes: usize,
    /// Fewer connected peers than this and the swarm looks for more.
    pub min_peers: usize,
    /// New connections are refused while the process uses more than this share of the machine's
    /// memory, in percent.
    pub max_memory_percent: u8,
}

impl Config {
    /// A peer of `network` with the key of `secret`: listens nowhere, joins nobody, stores no
    /// record; the caller fills in the rest.
    #[must_use]
    pub fn new(secret: [u8; 32], network: impl Into<String>) -> Self {
        Self {
            secret,
            network: network.into(),
            listen: Vec::new(),
            external: Vec::new(),
            join: Vec::new(),
            known: Vec::new(),
            role: NetRole::Peer,
            mdns: false,
            agent: format!("cyxwiz-net/{}", env!("CARGO_PKG_VERSION")),
            protocol_version: "cyxwiz/1".to_owned(),
            purposes: Vec::new(),
            accepts_record: Arc::new(|_| false),
            limits: Limits::default(),
        }
    }
}

// By hand: the seed must never reach a log.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("listen", &self.listen)
            .field("join", &self.join)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1 << 20,
            max_gossip_bytes: 64 << 10,
            max_connections: 128,
            per_peer_queue: 1024,
            inbound_frames: 4096,
            inbound_bytes_per_peer: 2 << 20,
            inbound_bytes: 64 << 20,
            inbound_gossip: 1024,
            inbound_gossip_per_peer: 256,
            streams_per_peer: 16,
            max_record_bytes: 8 << 10,
            min_peers: 8,
            max_memory_percent: 90,
        }
    }
}

/// The protocol and topic names of one network.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) frames: StreamProtocol,
    pub(crate) kad: StreamProtocol,
    pub(crate) gossip_prefix: String,
    purposes: Vec<(&'static str, StreamProtocol)>,
    topic_prefix: String,
}

impl Names {
    pub(crate) fn new(network: &str, purposes: &[&'static str]) -> Result<Self, NetError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if network.is_empty() || network.len() > MAX_NAME_BYTES || !network.chars().all(plain) {
            return Err(NetError::BadNetworkName { network: network.to_owned() });
        }
        let name = |what: &str| {
            StreamProtocol::try_from_owned(format!("{FAMILY}{network}/{what}"))
                .expect("a name that starts with a slash is a protocol name")
        };
        assert!(purposes.len() <= MAX_PURPOSES, "at most {MAX_PURPOSES} kinds of bulk streams");
        Ok(Self {
            frames: name("frames/1"),
            kad: name("kad/1"),
            gossip_prefix: format!("{FAMILY}{network}/meshsub"),
            purposes: purposes.iter().map(|it| (*it, name(&format!("{it}/1")))).collect(),
            topic_prefix: format!("{FAMILY}{network}/"),
        })
    }

    pub(crate) fn inbound(&self) -> Vec<StreamProtocol> {
        let bulk = self.purposes.iter().map(|(_, protocol)| protocol.clone());
        std::iter::once(self.frames.clone()).chain(bulk).collect()
    }

    pub(crate) fn protocol_of(&self, purpose: &str) -> Option<StreamProtocol> {
        let (_, protocol) = self.purposes.iter().find(|(it, _)| *it == purpose)?;
        Some(protocol.clone())
    }

    pub(crate) fn purpose_of(&self, protocol: &StreamProtocol) -> Option<&'static str> {
        self.purposes.iter().find(|(_, it)| it == protocol).map(|(purpose, _)| *purpose)
    }

    pub(crate) fn topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }

    pub(crate) fn topic_of<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.topic_prefix)
    }
}

/// What every protocol of every CyxWiz network starts with: a peer without any of them is none.
pub(crate) const FAMILY: &str = "/cyxwiz/";

/// Longer names would make every topic and protocol negotiation longer for nothing.
const MAX_NAME_BYTES: usize = 64;

/// Each is offered in every negotiation of an inbound stream.
const MAX_PURPOSES: usize = 16;
