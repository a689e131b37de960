//! What travels. Two levels: the conversation, then its step. A frame is a version, a network
//! and one message; direct frames come over a connection that has already proved who sent them,
//! so steps that matter for one hop only are not signed again.

pub mod auction;
pub mod membership;
pub mod pausing;
pub mod query;
pub mod replication;
pub mod run;
pub mod submission;

use serde::{Deserialize, Serialize};

use crate::{
    NetworkId,
    codec::{DecodeError, decode, encode},
    limits,
    report::Report,
    signed::{PROTOCOL_VERSION, Signed},
};

/// A message from one peer to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    Membership(membership::Membership),
    Submission(submission::Submission),
    Auction(auction::Auction),
    Run(run::RunStep),
    Query(query::Query),
    Replication(replication::Replication),
    Pausing(pausing::Pausing),
}

/// A message to everyone who listens to its topic. A hint, never the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Gossip {
    Announcement(Signed<auction::Announcement>),
    Report(Signed<Report>),
    Committee(Signed<membership::CommitteeRecord>),
}

/// A frame that says nothing this peer can read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("shorter than a frame's head")]
    TooShort,
    #[error("protocol version {theirs}; this peer speaks {PROTOCOL_VERSION}: update the older one")]
    Version { theirs: u16 },
    #[error("a frame of another network ({theirs})")]
    Network { theirs: NetworkId },
    #[error("unreadable frame")]
    Body(#[from] DecodeError),
}

const HEAD_BYTES: usize = 2 + 16;

/// The bytes of a direct message.
#[must_use]
pub fn encode_message(network: NetworkId, message: &Message) -> Vec<u8> {
    frame(network, message)
}

/// The bytes of a gossip message.
#[must_use]
pub fn encode_gossip(network: NetworkId, gossip: &Gossip) -> Vec<u8> {
    frame(network, gossip)
}

/// Reads a direct message.
pub fn decode_message(network: NetworkId, bytes: &[u8]) -> Result<Message, FrameError> {
    Ok(decode(body(network, bytes)?, limits::FRAME_BYTES)?)
}

/// Reads a gossip message.
pub fn decode_gossip(network: NetworkId, bytes: &[u8]) -> Result<Gossip, FrameError> {
    Ok(decode(body(network, bytes)?, limits::GOSSIP_BYTES)?)
}

fn frame<T: Serialize>(network: NetworkId, body: &T) -> Vec<u8> {
    let mut bytes = PROTOCOL_VERSION.to_le_bytes().to_vec();
    bytes.extend(network.0);
    bytes.extend(encode(body));
    bytes
}

fn body(network: NetworkId, bytes: &[u8]) -> Result<&[u8], FrameError> {
    if bytes.len() < HEAD_BYTES {
        return Err(FrameError::TooShort);
    }
    let (head, body) = bytes.split_at(HEAD_BYTES);
    let theirs = u16::from_le_bytes([head[0], head[1]]);
    if theirs != PROTOCOL_VERSION {
        return Err(FrameError::Version { theirs });
    }
    let theirs = NetworkId(head[2..].try_into().expect("16 bytes follow the version"));
    if theirs != network {
        return Err(FrameError::Network { theirs });
    }
    Ok(body)
}
