//! The name of a peer: its ed25519 public key. This is the only place where it is turned into
//! libp2p's `PeerId` and back; nothing outside the crate sees the latter.

use std::fmt;
use std::str::FromStr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The ed25519 public key of a peer. Shown and parsed in libp2p's form, `12D3Koo…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

/// Why a text or an address does not name a peer.
#[derive(Debug, thiserror::Error)]
pub enum PeerKeyError {
    /// Not base58 of a multihash.
    #[error("`{text}` is no peer id: expected a name like 12D3KooW…")]
    Malformed {
        /// What was given.
        text: String,
        /// What libp2p says.
        source: libp2p::identity::ParseError,
    },
    /// A peer id of another kind of key; CyxWiz peers have ed25519 keys.
    #[error("`{text}` is a peer id, but not one of an ed25519 key: it starts with 12D3KooW")]
    NotEd25519 {
        /// What was given.
        text: String,
    },
}

impl PeerKey {
    /// The public key of an ed25519 seed.
    #[must_use]
    pub fn of_secret(secret: [u8; 32]) -> Self {
        Self(keypair(secret).public().to_bytes())
    }

    /// The peer that an address ends in (`…/p2p/12D3Koo…`), if it names one.
    #[must_use]
    pub fn of_address(address: &Multiaddr) -> Option<Self> {
        match address.iter().last() {
            Some(Protocol::P2p(id)) => Self::from_peer_id(&id),
            _ => None,
        }
    }

    /// `address` with `/p2p/<this peer>` at its end, so that who dials knows whom to expect.
    #[must_use]
    pub fn at(self, address: &Multiaddr) -> Multiaddr {
        match address.iter().last() {
            Some(Protocol::P2p(_)) => address.clone(),
            _ => address.clone().with(Protocol::P2p(self.to_peer_id())),
        }
    }

    pub(crate) fn to_peer_id(self) -> PeerId {
        let mut bytes = [0; ID_PREFIX.len() + 32];
        bytes[..ID_PREFIX.len()].copy_from_slice(&ID_PREFIX);
        bytes[ID_PREFIX.len()..].copy_from_slice(&self.0);
        PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a peer id")
    }

    pub(crate) fn from_peer_id(id: &PeerId) -> Option<Self> {
        let bytes = id.to_bytes();
        let key = bytes.strip_prefix(&ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_peer_id().fmt(f)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({self})")
    }
}

impl FromStr for PeerKey {
    type Err = PeerKeyError;

    fn from_str(text: &str) -> Result<Self, PeerKeyError> {
        let id = PeerId::from_str(text)
            .map_err(|source| PeerKeyError::Malformed { text: text.to_owned(), source })?;
        Self::from_peer_id(&id).ok_or_else(|| PeerKeyError::NotEd25519 { text: text.to_owned() })
    }
}

pub(crate) fn keypair(mut secret: [u8; 32]) -> libp2p::identity::ed25519::Keypair {
    let secret = libp2p::identity::ed25519::SecretKey::try_from_bytes(&mut secret)
        .expect("any 32 bytes are an ed25519 seed");
    secret.into()
}

/// Identity multihash (0x00) of 36 bytes (0x24): the protobuf of a key of type ed25519 (08 01)
/// with 32 bytes of data (12 20).
const ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_peer_id_are_the_same_name() {
        let pair = keypair([7; 32]);
        let public = libp2p::identity::PublicKey::from(pair.public());
        let key = PeerKey::of_secret([7; 32]);
        assert_eq!(key.to_peer_id(), public.to_peer_id());
        assert_eq!(PeerKey::from_peer_id(&public.to_peer_id()), Some(key));
        assert!(key.to_string().starts_with("12D3KooW"));
        assert_eq!(key.to_string().parse::<PeerKey>().unwrap(), key);
    }

    #[test]
    fn what_is_no_ed25519_name_is_refused_in_words() {
        let error = "not a key".parse::<PeerKey>().unwrap_err();
        assert!(matches!(error, PeerKeyError::Malformed { .. }), "{error}");
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        let error = rsa.parse::<PeerKey>().unwrap_err();
        assert!(matches!(error, PeerKeyError::NotEd25519 { .. }), "{error}");
    }

    #[test]
    fn an_address_names_its_peer_once() {
        let key = PeerKey::of_secret([1; 32]);
        let bare: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
        let full = key.at(&bare);
        assert_eq!(PeerKey::of_address(&bare), None);
        assert_eq!(PeerKey::of_address(&full), Some(key));
        assert_eq!(key.at(&full), full);
    }
}
