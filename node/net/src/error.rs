//! What can go wrong between this peer and its caller. What goes wrong with remote peers is an
//! [`crate::Event`] or a counter.

use std::io;
use std::time::Duration;

use libp2p::Multiaddr;

use crate::key::PeerKey;

/// Why the swarm could not start, or an address not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The network's name cannot stand in protocol names.
    #[error("`{network}` cannot be a network's name: use 1 to 64 letters, digits, `-`, `_`, `.`")]
    BadNetworkName {
        /// What was given.
        network: String,
    },
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: the port is taken by another program; stop it or choose \
         another port (0 lets the system choose)"
    )]
    PortTaken {
        /// Where this peer was told to listen.
        address: Multiaddr,
        /// What the system says.
        source: io::Error,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {address}: {reason}; check the address")]
    CannotListen {
        /// Where this peer was told to listen.
        address: Multiaddr,
        /// In words.
        reason: String,
    },
    /// The address of the machine's DNS or QUIC sockets could not be set up.
    #[error("cannot set up the network: {reason}")]
    Setup {
        /// In words.
        reason: String,
    },
    /// Nobody could be reached there.
    #[error("cannot reach {address}: {reason}; check the address and that the peer is running")]
    Unreachable {
        /// The address asked.
        address: Multiaddr,
        /// In words.
        reason: String,
    },
    /// Somebody is there, but did not tell who it is in time.
    #[error("{address} did not introduce itself within {} s", waited.as_secs_f32())]
    Silent {
        /// The address asked.
        address: Multiaddr,
        /// How long was waited.
        waited: Duration,
    },
}

/// Why a frame or command could not be handed to the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The swarm was shut down.
    #[error("the network of this peer is shut down")]
    Closed,
    /// The swarm is behind with its commands; only `try_` methods say so, the others wait.
    #[error("the network is behind with earlier commands; try again")]
    Busy,
    /// The frame is larger than the limits allow.
    #[error("frame of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of the frame.
        bytes: usize,
        /// Size of the largest allowed one.
        limit: usize,
    },
}

/// Why no bulk stream could be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The purpose is not in [`crate::Config::purposes`].
    #[error("`{purpose}` is no kind of stream of this peer")]
    UnknownPurpose {
        /// What was asked for.
        purpose: &'static str,
    },
    /// No connection to the peer and none could be made.
    #[error("cannot reach peer {peer}: {reason}")]
    Unreachable {
        /// Who was to be reached.
        peer: PeerKey,
        /// In words.
        reason: String,
    },
    /// The peer does not accept such streams.
    #[error("peer {peer} does not accept such a stream")]
    Refused {
        /// Who refused.
        peer: PeerKey,
    },
    /// The connection broke while the stream was opened.
    #[error("opening a stream to peer {peer} failed: {reason}")]
    Broken {
        /// Whose connection.
        peer: PeerKey,
        /// In words.
        reason: String,
    },
    /// Too many streams are waiting to be opened.
    #[error("too many streams are waiting to be opened; try again")]
    Busy,
    /// The swarm was shut down.
    #[error("the network of this peer is shut down")]
    Closed,
}

/// Why a record could not be stored or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is larger than the limits allow.
    #[error("record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// Size of the largest allowed one.
        limit: usize,
    },
    /// No peer has it.
    #[error("no peer has that record")]
    NotFound,
    /// No peer would store it, or none could be reached in time.
    #[error("no peer confirmed the record; it is kept here and published again later")]
    Unconfirmed,
    /// The query ran out of time.
    #[error("looking for the record took too long; try again")]
    Timeout,
    /// Too many queries are under way.
    #[error("too many queries are under way; try again")]
    Busy,
    /// The swarm was shut down.
    #[error("the network of this peer is shut down")]
    Closed,
}
