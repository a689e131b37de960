//! Names of things: peers, jobs, attempts, artifacts, stores. Each is a newtype, so that one can
//! never be passed for another; each prints in the form that people paste.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Rng, UnixMillis};

/// An identifier could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: {expected}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl ParseIdError {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), expected }
    }
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "crate::codec::bytes")] pub [u8; $len]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

macro_rules! hex_text {
    ($name:ident, $len:literal, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_bad_digit| {
                    ParseIdError::new($what, text, concat!("expected ", $len, " bytes in hex"))
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

byte_id! {
    /// A peer: its ed25519 public key. Prints as the libp2p peer id of the same key.
    PeerId, 32
}

/// What stands before an ed25519 key in a libp2p peer id: identity multihash of 36 bytes, then a
/// protobuf with key type 1 and 32 bytes of key (libp2p peer id specification).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        f.pad(&bs58::encode(bytes).into_string())
    }
}

impl FromStr for PeerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError::new("peer id", text, "expected one like 12D3KooW…");
        let mut bytes = [0; 38];
        let length = bs58::decode(text).onto(&mut bytes[..]).map_err(|_bad_digit| wrong())?;
        if length != bytes.len() || bytes[..6] != PEER_ID_PREFIX {
            return Err(wrong());
        }
        Ok(Self(bytes[6..].try_into().expect("38 - 6 = 32 bytes")))
    }
}

impl PeerId {
    /// The last six characters: enough to tell the peers of a small network apart.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 6..].to_owned()
    }
}

byte_id! {
    /// A job: a UUID version 7, made by the submitter.
    JobId, 16
}

impl JobId {
    /// A fresh id that sorts by the time it was made (RFC 9562, version 7).
    #[must_use]
    pub fn new(made_at: UnixMillis, rng: &mut Rng) -> Self {
        let random = rng.bytes::<10>();
        let uuid = uuid::Builder::from_unix_timestamp_millis(made_at.0, &random).into_uuid();
        Self(uuid.into_bytes())
    }

    /// When the submitter made it, by its clock: the first 48 bits (RFC 9562, version 7).
    #[must_use]
    pub fn made_at(&self) -> UnixMillis {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        UnixMillis(u64::from_be_bytes(millis))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid::Uuid::from_bytes(self.0).to_string())
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uuid = uuid::Uuid::try_parse(text)
            .map_err(|_bad_uuid| ParseIdError::new("job id", text, "expected a UUID"))?;
        Ok(Self(uuid.into_bytes()))
    }
}

byte_id! {
    /// Bytes by their content: the SHA-256 of them, as `sha256sum` prints it.
    ArtifactId, 32
}
hex_text!(ArtifactId, 32, "artifact id");

byte_id! {
    /// One store on one disk. A peer that lost its disk comes back with another one, and so as
    /// another replica.
    StoreId, 16
}
hex_text!(StoreId, 16, "store id");

byte_id! {
    /// A network: derived from its name and its charter key, see [`crate::Network`].
    NetworkId, 16
}
hex_text!(NetworkId, 16, "network id");

byte_id! {
    /// blake3 over the signed bytes of a document.
    Digest, 32
}
hex_text!(Digest, 32, "digest");

impl Digest {
    /// Of one run of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// A group of coordinators with jobs of its own. There is one cell today; its id is in specs and
/// records so that more can follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CellId(pub u32);

/// One try of a job on one worker, numbered from 1; 0 means that none was made yet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job's try on one worker, as one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    pub job: JobId,
    pub attempt: Attempt,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.attempt)
    }
}

/// A leader's term: the larger one wins, and no two leaders share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    pub term: u64,
    pub leader: PeerId,
}

impl Default for Ballot {
    /// Before every ballot.
    fn default() -> Self {
        Self { term: 0, leader: PeerId([0; 32]) }
    }
}

/// Names a question so that its answer can be told from others; made by the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_prints_as_libp2p_prints_it_and_reads_back() {
        // Key of all zeros but for the last byte; the form was made by libp2p-identity.
        let peer = PeerId([7; 32]);
        let text = peer.to_string();
        assert!(text.starts_with("12D3KooW"), "{text}");
        assert_eq!(text.parse::<PeerId>(), Ok(peer));
        assert!("12D3KooW".parse::<PeerId>().is_err());
        assert!(format!("{text}1").parse::<PeerId>().is_err());
        assert!("".parse::<PeerId>().is_err());
    }

    #[test]
    fn job_ids_sort_by_time_and_are_version_7() {
        let mut rng = Rng::new([1; 32]);
        let early = JobId::new(UnixMillis(1_000), &mut rng);
        let late = JobId::new(UnixMillis(2_000), &mut rng);
        assert!(early < late);
        assert_eq!(early.made_at(), UnixMillis(1_000));
        assert_eq!(uuid::Uuid::from_bytes(early.0).get_version_num(), 7);
        assert_eq!(early.to_string().parse::<JobId>(), Ok(early));
        assert!("not-a-job".parse::<JobId>().is_err());
    }
}
