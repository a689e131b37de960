//! The signatures of simulated networks: a hash in the place of a curve, so that a simulator on
//! one core handles what a thousand machines would sign.
//!
//! Whoever knows an author's id can sign in its name: that is no signature, and it is enough for
//! peers that run this code, which sign in their own name alone. A document that was altered, or
//! that names another author, is refused as anywhere.
//!
//! Why production is safe from it:
//!
//! - Without the feature `simulation`, which the simulator alone turns on, none of this exists.
//! - Where a build has it all the same, because Cargo unifies the features of a workspace, it
//!   applies to simulated networks only. A network is one by its name, and no name that
//!   [`Network::new`](crate::Network::new) lets through is such: no invite leads into one.
//! - A peer checks documents by the scheme of its own network's id, never by one that arrived.
//!   That another network's id begins with the marker takes a hash with 96 chosen bits, from
//!   someone who holds that network's charter anyway.
//! - In a simulated network an ed25519 signature counts for nothing, and the other way round.

use crate::{NetworkId, PeerId, signed::RawSignature};

/// What the ids of simulated networks begin with.
const MARKER: &[u8; 12] = b"\0simulated\0\0";

const PEER_DOMAIN: &[u8] = b"cyxwiz/simulated-peer/1\0";

/// Whether documents of this network are signed by this scheme.
pub(crate) fn is_simulated(network: NetworkId) -> bool {
    network.0.starts_with(MARKER)
}

/// The id of a simulated network, from what would be the id of a real one.
pub(crate) fn marked(NetworkId(mut id): NetworkId) -> NetworkId {
    id[..MARKER.len()].copy_from_slice(MARKER);
    NetworkId(id)
}

pub(crate) fn peer_id(seed: [u8; 32]) -> PeerId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(PEER_DOMAIN).update(&seed);
    PeerId(*hasher.finalize().as_bytes())
}

/// What `author` puts under `bytes` in `domain`.
pub(crate) fn signature(author: PeerId, domain: &[u8], bytes: &[u8]) -> RawSignature {
    let mut hasher = blake3::Hasher::new_keyed(&author.0);
    hasher.update(domain).update(bytes);
    let hash = *hasher.finalize().as_bytes();
    RawSignature(hash, hash)
}
