//! "Who begins the committee?": what a coordinator asks the holder of the charter over a stream of
//! its own, and what it is told. Who asks is proven by the connection and is not said again.
//!
//! Deciding, and remembering the decision, is the holder's business; carrying the bytes is that of
//! both ends' programs.

use serde::{Deserialize, Serialize};

use super::{Credential, Founding};
use crate::{
    DecodeError, StoreId,
    codec::{decode, encode},
};

/// Who begins the committee?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundingQuestion {
    /// Of the replica that asks.
    pub store: StoreId,
    /// Only those who may coordinate are answered.
    pub credential: Credential,
}

/// What the holder of the charter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundingAnswer {
    /// This replica does, whoever asks.
    Founding(Founding),
    /// Nothing was decided for whoever asked.
    Refused(FoundingRefusal),
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FoundingRefusal {
    #[error("it sees no valid seat for this peer: join again with a new coordinator's invite")]
    Seat,
    #[error("the seat of this peer has expired: join again with a new coordinator's invite")]
    Expired,
    #[error("it cannot keep or read its decision; its own log says why")]
    Trouble,
}

impl FoundingQuestion {
    /// The longest one.
    pub const MAX_BYTES: usize = 256;

    /// The bytes of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, Self::MAX_BYTES)
    }
}

impl FoundingAnswer {
    /// The longest one.
    pub const MAX_BYTES: usize = 256;

    /// The bytes of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, Self::MAX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Identity, Network, PeerId, UnixMillis, charter::Ticket};

    fn samples() -> (FoundingQuestion, [FoundingAnswer; 2]) {
        let charter = Identity::from_seed([1; 32]);
        let network = Network::new("lab", charter.id()).unwrap();
        let (peer, store) = (PeerId([9; 32]), StoreId([5; 16]));
        let ticket = Ticket::issue(&charter, &network, [3; 32], UnixMillis(2_000));
        let question = FoundingQuestion { store, credential: ticket.seat(&network, peer) };
        let founding = Founding::sign(&charter, &network, (peer, store), 4, UnixMillis(7));
        let answers =
            [FoundingAnswer::Founding(founding), FoundingAnswer::Refused(FoundingRefusal::Expired)];
        (question, answers)
    }

    #[test]
    fn both_read_back_and_fit() {
        let (question, answers) = samples();
        let bytes = question.to_bytes();
        assert!(bytes.len() <= FoundingQuestion::MAX_BYTES);
        assert_eq!(FoundingQuestion::from_bytes(&bytes).unwrap(), question);
        for answer in answers {
            let bytes = answer.to_bytes();
            assert!(bytes.len() <= FoundingAnswer::MAX_BYTES);
            assert_eq!(FoundingAnswer::from_bytes(&bytes).unwrap(), answer);
        }
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let (question, [founding, refusal]) = samples();
        let all = [question.to_bytes(), founding.to_bytes(), refusal.to_bytes()];
        assert_eq!(all.each_ref().map(Vec::len), [184, 128, 8]);
        let hash = Digest::of(&all.concat()).to_string();
        assert_eq!(hash, "c48a01c9755e230d844052b52cd4eb9f8effc2a0b160cec09a40ea01c0de5d7e");
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let (question, [founding, _]) = samples();
        let (question, founding) = (question.to_bytes(), founding.to_bytes());
        for cut in [0, 1, question.len() - 1] {
            assert!(FoundingQuestion::from_bytes(&question[..cut]).is_err());
        }
        for cut in [0, 4, founding.len() - 1] {
            assert!(FoundingAnswer::from_bytes(&founding[..cut]).is_err());
        }
        assert!(FoundingQuestion::from_bytes(&[question.as_slice(), &[0]].concat()).is_err());
        assert!(FoundingAnswer::from_bytes(&[founding.as_slice(), &[0]].concat()).is_err());
        assert!(FoundingAnswer::from_bytes(&[0xff; 128]).is_err());
    }
}
