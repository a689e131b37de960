//! What a peer keeps on disk: the keys of its records and how they are read back. Values are
//! bincode of the type named beside each key.

use serde::Serialize;

use crate::{
    Attempt, JobId, PeerId, Run,
    codec::{DecodeError, decode, encode},
    effects::Write,
    limits,
};

/// The name of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// What this replica promised, and who sits: `SeatRecord`.
    Seat,
    /// A job's register: `Register`.
    Register(JobId),
    /// A job's spec: `Signed<JobSpec>`.
    Spec(JobId),
    /// A decision: `DecisionRecord`.
    Decision(Run),
    /// A worker's standing with this coordinator: `Standing`.
    Reputation(PeerId),
    /// A run of this worker: `RunRecord`.
    Run(Run),
    /// A job of this submitter: `OutboxRecord`.
    Outbox(JobId),
}

/// A record that cannot be read: the store is damaged or from another program.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the record '{key}' cannot be read")]
    Value {
        key: String,
        #[source]
        source: DecodeError,
    },
    #[error("the record '{key}' has no meaning to this version")]
    Key { key: String },
    #[error("the record '{key}' is not signed as it must be")]
    Signature { key: String },
}

impl Key {
    /// The bytes of it: a letter, a slash, the id.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let (letter, id): (u8, Vec<u8>) = match self {
            Self::Seat => (b'c', Vec::new()),
            Self::Register(job) => (b'j', job.0.to_vec()),
            Self::Spec(job) => (b's', job.0.to_vec()),
            Self::Decision(run) => (b'd', run_bytes(run)),
            Self::Reputation(peer) => (b'r', peer.0.to_vec()),
            Self::Run(run) => (b'w', run_bytes(run)),
            Self::Outbox(job) => (b'o', job.0.to_vec()),
        };
        [&[letter, b'/'], id.as_slice()].concat()
    }

    /// Reads [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let unknown = || RecordError::Key { key: printable(bytes) };
        let [letter, b'/', id @ ..] = bytes else {
            return Err(unknown());
        };
        let job = || <[u8; 16]>::try_from(id).map(JobId).map_err(|_wrong_length| unknown());
        let run = || {
            let (job, attempt) = id.split_at_checked(16).ok_or_else(unknown)?;
            let job = JobId(job.try_into().map_err(|_wrong_length| unknown())?);
            let attempt: [u8; 4] = attempt.try_into().map_err(|_wrong_length| unknown())?;
            Ok(Run { job, attempt: Attempt(u32::from_be_bytes(attempt)) })
        };
        match letter {
            b'c' if id.is_empty() => Ok(Self::Seat),
            b'j' => Ok(Self::Register(job()?)),
            b's' => Ok(Self::Spec(job()?)),
            b'd' => Ok(Self::Decision(run()?)),
            b'r' => Ok(Self::Reputation(PeerId(id.try_into().map_err(|_short| unknown())?))),
            b'w' => Ok(Self::Run(run()?)),
            b'o' => Ok(Self::Outbox(job()?)),
            _ => Err(unknown()),
        }
    }

    pub(crate) fn write<T: Serialize>(self, value: &T) -> Write {
        Write { key: self.to_bytes(), value: Some(encode(value)) }
    }

    pub(crate) fn erase(self) -> Write {
        Write { key: self.to_bytes(), value: None }
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(
        self,
        value: &[u8],
    ) -> Result<T, RecordError> {
        decode(value, limits::FRAME_BYTES)
            .map_err(|source| RecordError::Value { key: self.name(), source })
    }

    pub(crate) fn name(self) -> String {
        printable(&self.to_bytes())
    }
}

fn run_bytes(run: Run) -> Vec<u8> {
    [run.job.0.as_slice(), &run.attempt.0.to_be_bytes()].concat()
}

fn printable(key: &[u8]) -> String {
    match key {
        [letter, b'/', id @ ..] if letter.is_ascii_graphic() => {
            format!("{}/{}", char::from(*letter), hex::encode(id))
        }
        other => hex::encode(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back() {
        let job = JobId([3; 16]);
        let run = Run { job, attempt: Attempt(7) };
        let peer = PeerId([4; 32]);
        for key in [
            Key::Seat,
            Key::Register(job),
            Key::Spec(job),
            Key::Decision(run),
            Key::Reputation(peer),
            Key::Run(run),
            Key::Outbox(job),
        ] {
            assert_eq!(Key::from_bytes(&key.to_bytes()).unwrap(), key);
        }
        for wrong in [&b""[..], b"j/", b"z/0123456789abcdef", b"j", b"c/x"] {
            assert!(Key::from_bytes(wrong).is_err());
        }
    }
}
