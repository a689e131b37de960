//! One connection's side of `streams`: negotiates the protocol of each stream, then lets go of
//! it. Keeps no connection alive; an open stream does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError,
    SubstreamProtocol,
};

use super::{StreamError, StreamResult};

/// A stream to be opened on this connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) protocol: StreamProtocol,
    pub(crate) reply: StreamResult,
}

pub(crate) struct Handler {
    inbound_protocols: Vec<StreamProtocol>,
    requests: VecDeque<Request>,
    accepted: VecDeque<(StreamProtocol, Stream)>,
}

impl Handler {
    pub(super) fn new(inbound_protocols: Vec<StreamProtocol>) -> Self {
        Self { inbound_protocols, requests: VecDeque::new(), accepted: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Request;
    type ToBehaviour = (StreamProtocol, Stream);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = StreamResult;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.inbound_protocols.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, StreamResult, Self::ToBehaviour>> {
        if let Some(accepted) = self.accepted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(accepted));
        }
        if let Some(Request { protocol, reply }) = self.requests.pop_front() {
            let protocol = SubstreamProtocol::new(Offer(vec![protocol]), reply);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), StreamResult>) {
        // Who asked may have given up meanwhile: then the answer is dropped, and the stream
        // with it.
        if let ConnectionEvent::FullyNegotiatedInbound(inbound) = event {
            self.accepted.push_back(inbound.protocol);
        } else if let ConnectionEvent::FullyNegotiatedOutbound(outbound) = event {
            let FullyNegotiatedOutbound { protocol: (_, stream), info: reply } = outbound;
            let _ = reply.send(Ok(stream));
        } else if let ConnectionEvent::DialUpgradeError(failed) = event {
            let DialUpgradeError { info: reply, error } = failed;
            let _ = reply.send(Err(stream_error(error)));
        }
    }
}

fn stream_error(error: StreamUpgradeError<Infallible>) -> StreamError {
    match error {
        StreamUpgradeError::Timeout => StreamError::Broken("the peer does not answer".to_owned()),
        StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
        StreamUpgradeError::Io(error) => StreamError::Broken(error.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// The protocols to choose from; the upgrade is the choice itself.
#[derive(Debug)]
pub(crate) struct Offer(Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
