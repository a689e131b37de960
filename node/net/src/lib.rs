//! The libp2p swarm of a CyxWiz peer. It knows no protocol of ours: opaque frames in, opaque
//! frames out.
//!
//! [`start`] listens, joins and keeps the peer connected; what happens comes out of [`Events`],
//! what is wanted goes in through [`Handle`]. One task owns the swarm; each direction of each
//! pair of peers has one long-lived stream for direct frames, with a task of its own, so that a
//! slow or flooding peer holds up nobody but itself.
//!
//! - Direct frames are delivered in order while a connection lasts, and lost with it: whoever
//!   needs an answer sends again.
//! - Gossip is a hint: it may be lost, late, doubled and out of order. It is not signed here;
//!   who is to be believed is decided by the owner, whose verdict decides whether it travels on.
//! - Every queue and table is bounded, and nothing that a peer sends can stop the swarm.
//!
//! Never: looks into a frame, decides who is to be trusted, or writes to disk.

mod ask;
mod behaviour;
mod book;
mod config;
mod dialable;
mod error;
mod event;
mod frames;
mod handle;
mod join;
mod key;
mod news;
mod streams;
mod swarm;
mod words;

pub use ask::ask_network;
pub use config::{Config, Limits, NetRole, RecordOffer};
pub use dialable::dialable;
pub use error::{HandleError, NetError, OpenError, RecordError};
pub use event::{Event, Events, GossipId};
pub use handle::{CounterValues, Handle, NetSnapshot, PeerInfo, Verdict};
pub use key::{PeerKey, PeerKeyError};
pub use libp2p::Multiaddr;
pub use streams::PeerStream;

/// Starts the swarm inside the running tokio runtime. Returns when every address it was told to
/// listen on works; joining goes on behind and shows in the events.
pub async fn start(config: Config) -> Result<(Handle, Events), NetError> {
    swarm::start(config).await
}
