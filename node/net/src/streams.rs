//! Raw streams of this network's own protocols, over whatever connections there are: a libp2p
//! behaviour that opens a stream on request and hands out those that peers open. It also keeps
//! banned peers out, because a behaviour may refuse connections. What runs on the streams is
//! left to `frames` and to the owner.
//!
//! Not `libp2p-stream`: that keeps a channel for every connection there ever was and drops
//! inbound streams that arrive faster than they are taken.

mod handler;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, Stream,
    StreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use self::handler::{Handler, Request};
use crate::error::OpenError;
use crate::key::PeerKey;

/// A stream of bytes to one peer, with back pressure. Dropping it closes it.
#[derive(Debug)]
pub struct PeerStream {
    inner: Compat<Stream>,
    /// Of an inbound stream: its opener's share, given back at the end.
    _share: Option<OwnedSemaphorePermit>,
}

impl PeerStream {
    pub(crate) fn new(inner: Stream, share: Option<OwnedSemaphorePermit>) -> Self {
        Self { inner: inner.compat(), _share: share }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The purpose is not configured.
    #[error("this peer knows no such stream")]
    Unknown,
    /// No connection could be made.
    #[error("{0}")]
    Unreachable(String),
    /// The peer does not speak the protocol.
    #[error("the peer does not accept such a stream")]
    Unsupported,
    /// The connection broke or the peer did not answer.
    #[error("{0}")]
    Broken(String),
    /// Too many streams wait to be opened.
    #[error("too many streams are waiting to be opened")]
    Busy,
}

impl StreamError {
    pub(crate) fn opening(self, peer: PeerKey, purpose: &'static str) -> OpenError {
        match self {
            Self::Unknown => OpenError::UnknownPurpose { purpose },
            Self::Unreachable(reason) => OpenError::Unreachable { peer, reason },
            Self::Unsupported => OpenError::Refused { peer },
            Self::Broken(reason) => OpenError::Broken { peer, reason },
            Self::Busy => OpenError::Busy,
        }
    }
}

/// Where the stream, or the reason why there is none, is waited for.
pub(crate) type StreamResult = oneshot::Sender<Result<Stream, StreamError>>;

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) peer: PeerId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
}

pub(crate) struct Streams {
    inbound_protocols: Vec<StreamProtocol>,
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    banned: BTreeMap<PeerId, Instant>,
    refused: u64,
    actions: VecDeque<ToSwarm<Inbound, Request>>,
}

impl Streams {
    pub(crate) fn new(inbound_protocols: Vec<StreamProtocol>) -> Self {
        Self {
            inbound_protocols,
            connections: BTreeMap::new(),
            banned: BTreeMap::new(),
            refused: 0,
            actions: VecDeque::new(),
        }
    }

    /// Opens a stream on the oldest connection to the peer, which both sides agree is the one
    /// to use as long as it stands. `Err` gives the request back when there is none.
    pub(crate) fn open(
        &mut self,
        peer: PeerId,
        protocol: StreamProtocol,
        reply: StreamResult,
    ) -> Result<(), StreamResult> {
        let Some(connection) = self.connections.get(&peer).and_then(|all| all.first()) else {
            return Err(reply);
        };
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(*connection),
            event: Request { protocol, reply },
        });
        Ok(())
    }

    /// Refuses the peer's connections for a while; the caller closes those that stand.
    pub(crate) fn ban(&mut self, peer: PeerId, duration: Duration, now: Instant) {
        self.banned.retain(|_, until| *until > now);
        if self.banned.len() >= MAX_BANS {
            let soonest = self.banned.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(peer, _)| *peer) {
                self.banned.remove(&soonest);
            }
        }
        self.banned.insert(peer, now + duration.min(MAX_BAN));
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.banned.get(peer).is_some_and(|until| *until > now)
    }

    /// Connections of banned peers refused since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn admit(&mut self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        if self.is_banned(&peer, Instant::now()) {
            self.refused += 1;
            return Err(ConnectionDenied::new(Banned));
        }
        Ok(Handler::new(self.inbound_protocols.clone()))
    }
}

/// Told to nobody but the log: the peer just sees its connection closed.
#[derive(Debug, thiserror::Error)]
#[error("the peer is banned for now")]
struct Banned;

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(opened) = event {
            self.connections.entry(opened.peer_id).or_default().push(opened.connection_id);
        } else if let FromSwarm::ConnectionClosed(closed) = event
            && let Some(all) = self.connections.get_mut(&closed.peer_id)
        {
            all.retain(|it| *it != closed.connection_id);
            if all.is_empty() {
                self.connections.remove(&closed.peer_id);
            }
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (protocol, stream): THandlerOutEvent<Self>,
    ) {
        let inbound = Inbound { peer, protocol, stream };
        self.actions.push_back(ToSwarm::GenerateEvent(inbound));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Inbound, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A ban is a list kept in memory; the least lasting goes when it is full.
const MAX_BANS: usize = 1024;

/// A longer one than a process lives is a matter for the owner's own records.
const MAX_BAN: Duration = Duration::from_secs(30 * 24 * 3600);
