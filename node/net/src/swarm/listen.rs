//! Listening: the swarm is not handed out before every address it was told to listen on either
//! works or is named in an error.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;

use super::Net;
use crate::error::NetError;
use crate::words;

impl Net {
    pub(super) async fn listen(&mut self, addresses: &[Multiaddr]) -> Result<(), NetError> {
        let mut waiting = Vec::new();
        for address in addresses {
            probe(address)?;
            let id = self.swarm.listen_on(address.clone()).map_err(|error| {
                cannot_listen(address, words::transport_error(&error), error_kind(&error))
            })?;
            // A relay's reservation may take long and is renewed anyway.
            if !address.iter().any(|part| part == Protocol::P2pCircuit) {
                waiting.push((id, address.clone()));
            }
        }
        let limit = tokio::time::sleep(LISTEN_TIMEOUT);
        tokio::pin!(limit);
        while let Some((_, address)) = waiting.first() {
            let event = tokio::select! {
                event = self.swarm.select_next_some() => event,
                () = &mut limit => {
                    let reason = format!("not ready after {} s", LISTEN_TIMEOUT.as_secs());
                    return Err(cannot_listen(address, reason, io::ErrorKind::TimedOut));
                }
            };
            if let Some(error) = listen_error(&event, &waiting) {
                return Err(error);
            }
            if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                waiting.retain(|(id, _)| id != listener_id);
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "libp2p's enums are long and open")]
fn listen_error<E>(event: &SwarmEvent<E>, waiting: &[(ListenerId, Multiaddr)]) -> Option<NetError> {
    let (listener, error) = match event {
        SwarmEvent::ListenerError { listener_id, error } => (listener_id, error),
        SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => (listener_id, error),
        _ => return None,
    };
    let (_, address) = waiting.iter().find(|(id, _)| id == listener)?;
    Some(cannot_listen(address, words::io_error(error), words::kind_of(error)))
}

/// libp2p lets several sockets of one user share a port, so that two peers would listen on the
/// same one, each getting a part of the connections. A plain socket does not.
fn probe(address: &Multiaddr) -> Result<(), NetError> {
    let Some((socket, transport)) = socket_of(address) else { return Ok(()) };
    if socket.port() == 0 {
        return Ok(());
    }
    let bound = match transport {
        Transport::Tcp => TcpListener::bind(socket).map(drop),
        Transport::Udp => UdpSocket::bind(socket).map(drop),
    };
    bound.map_err(|error| {
        let kind = error.kind();
        cannot_listen(address, words::io_error(&error), kind)
    })
}

fn cannot_listen(address: &Multiaddr, reason: String, kind: io::ErrorKind) -> NetError {
    let address = address.clone();
    if kind == io::ErrorKind::AddrInUse {
        NetError::PortTaken { address, source: kind.into() }
    } else {
        NetError::CannotListen { address, reason }
    }
}

fn error_kind(error: &libp2p::TransportError<io::Error>) -> io::ErrorKind {
    match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported,
        libp2p::TransportError::Other(error) => words::kind_of(error),
    }
}

#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Udp,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "libp2p's enums are long and open")]
fn socket_of(address: &Multiaddr) -> Option<(SocketAddr, Transport)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((SocketAddr::new(ip, port), Transport::Tcp)),
        Protocol::Udp(port) => Some((SocketAddr::new(ip, port), Transport::Udp)),
        _ => None,
    }
}

/// Binding a socket takes no time; this is for a system that does not answer.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
