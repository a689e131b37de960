//! Asking an address who is there before belonging to any network: how a peer that knows a plain
//! address learns which network it is about to join.

use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, identify};

use crate::behaviour::{IntroductionEvent, introduction_swarm};
use crate::error::NetError;
use crate::words;

/// What the peer at `address` says of its network ([`crate::Config::protocol_version`]),
/// whichever that is. Waits for at most `timeout`. The peer is whoever answers there, unless
/// the address ends in `/p2p/…`.
#[expect(clippy::wildcard_enum_match_arm, reason = "libp2p's enums are long and open")]
pub async fn ask_network(address: &Multiaddr, timeout: Duration) -> Result<String, NetError> {
    let mut swarm = introduction_swarm()?;
    let unreachable = |reason| NetError::Unreachable { address: address.clone(), reason };
    swarm.dial(address.clone()).map_err(|error| unreachable(words::dial_error(&error)))?;
    let introduction = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(IntroductionEvent::Identify(identify::Event::Received {
                    info,
                    ..
                })) => return Ok(info.protocol_version),
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    return Err(unreachable(words::dial_error(&error)));
                }
                SwarmEvent::ConnectionClosed { .. } => {
                    let reason = "it closed the connection without a word";
                    return Err(unreachable(reason.to_owned()));
                }
                other => tracing::trace!(event = ?other, "asking"),
            }
        }
    };
    match tokio::time::timeout(timeout, introduction).await {
        Ok(answer) => answer,
        Err(_) => Err(NetError::Silent { address: address.clone(), waited: timeout }),
    }
}
