//! Recordings, read and played.

use std::fmt;

use super::{
    ENTRY_BYTES, ENTRY_HEAD, Fingerprint, Kind, MARKER, Opening, VERSION,
    input::{InputError, decode_input},
};
use crate::{
    Identity, Instant, Network, Peer, PeerId, RecoverError,
    codec::{DecodeError, decode},
    effects::{Effects, Input},
    limits,
};

/// Bytes are not a recording, or not one that this version reads.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("this is no recording of a peer")]
    NotOne,
    #[error(
        "a recording of format {found}, and this program reads format {VERSION}; take the one that wrote it"
    )]
    Version { found: u16 },
    #[error("the opening is not whole: {0}")]
    Opening(Damage),
    #[error("the opening cannot be read by this version")]
    Config(#[source] DecodeError),
}

/// A recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error("it is the life of peer {recorded}, and the key is that of {given}")]
    Key { recorded: PeerId, given: PeerId },
    #[error("the peer does not open with the records of its store")]
    Store(#[source] RecoverError),
    #[error(transparent)]
    First(#[from] Difference),
}

/// A recording ends before its last entry does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {why}")]
pub struct Damage {
    pub at: usize,
    pub why: String,
}

/// The same input gave other effects than it did when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input {number} gave effects {played} and had given {recorded}")]
pub struct Difference {
    /// Counted from 1; 0 is the opening.
    pub number: u64,
    pub recorded: Fingerprint,
    pub played: Fingerprint,
}

/// A recording whose opening was read.
pub struct Recording<'a> {
    opening: Opening,
    records: Vec<(&'a [u8], &'a [u8])>,
    /// None when the peer did not survive its own opening.
    first: Option<Fingerprint>,
    entries: Entries<'a>,
}

/// A peer that lives through a recording.
#[derive(Debug)]
pub struct Player<'a> {
    peer: Peer,
    entries: Entries<'a>,
    number: u64,
}

/// One input that was played.
#[derive(Debug)]
pub struct Played {
    /// Counted from 1.
    pub number: u64,
    pub at: Instant,
    pub effects: Effects,
    /// What is wrong with the effects; none when the recording ends with this input.
    pub compared: Option<Result<(), Difference>>,
}

impl<'a> Recording<'a> {
    /// Reads up to the first input.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordingError> {
        let rest = bytes.strip_prefix(MARKER).ok_or(RecordingError::NotOne)?;
        let (version, _) = rest.split_first_chunk().ok_or(RecordingError::NotOne)?;
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(RecordingError::Version { found });
        }
        let mut entries = Entries { bytes, at: MARKER.len() + version.len() };
        let missing = |at| {
            let why = "the file ends before the peer was opened".to_owned();
            RecordingError::Opening(Damage { at, why })
        };
        let opening = match entries.next().map_err(RecordingError::Opening)? {
            Some((Kind::Opening, body)) => {
                decode(body, limits::FRAME_BYTES).map_err(RecordingError::Config)?
            }
            Some(_) | None => return Err(missing(entries.at)),
        };
        let mut records = Vec::new();
        let first = loop {
            match entries.next().map_err(RecordingError::Opening)? {
                Some((Kind::Record, body)) => {
                    records.push(record(body).ok_or_else(|| missing(entries.at))?);
                }
                Some((Kind::Opened, body)) => break fingerprint(body),
                None => break None,
                Some((Kind::Opening | Kind::Input | Kind::Outcome, _)) => {
                    return Err(missing(entries.at));
                }
            }
        };
        Ok(Self { opening, records, first, entries })
    }

    /// Whose life it is.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.opening.peer
    }

    /// The network that it lived in, from which follows how its key is to be read.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.opening.config.network
    }

    /// The version of the program that wrote it.
    #[must_use]
    pub fn software(&self) -> &str {
        &self.opening.software
    }

    /// What the peer was: its parts, for people.
    #[must_use]
    pub const fn roles(&self) -> (bool, bool) {
        let config = &self.opening.config;
        (config.coordinator.is_some(), config.worker.is_some())
    }

    /// Records of the store that it was opened with.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records.len()
    }

    /// Opens the peer again as it was opened.
    pub fn play(self, identity: Identity) -> Result<(Player<'a>, Effects), PlayError> {
        let Opening { peer: recorded, opened_at, config, .. } = self.opening;
        let given = identity.id();
        if given != recorded {
            return Err(PlayError::Key { recorded, given });
        }
        let records = self.records.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
        let (peer, first) =
            Peer::open(config, identity, records, opened_at).map_err(PlayError::Store)?;
        if let Some(recorded) = self.first {
            compare(0, recorded, &first)?;
        }
        Ok((Player { peer, entries: self.entries, number: 0 }, first))
    }
}

impl Player<'_> {
    /// The peer as it stands.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When the next input was handled; none at the end, or where it cannot be read.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        match self.entries.peek() {
            Ok(Some((Kind::Input, body))) => {
                body.first_chunk().map(|at| Instant(u64::from_le_bytes(*at)))
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Plays the next input, which `look` sees first; none at the end.
    pub fn step(
        &mut self,
        look: impl FnOnce(u64, Instant, &Input),
    ) -> Result<Option<Played>, Damage> {
        let begins = self.entries.at;
        let damage = |why: &dyn fmt::Display| Damage { at: begins, why: why.to_string() };
        let Some((kind, body)) = self.entries.next()? else {
            return Ok(None);
        };
        let (at, tag, body) = match (kind, body.split_first_chunk::<8>()) {
            (Kind::Input, Some((at, [tag, body @ ..]))) => (u64::from_le_bytes(*at), *tag, body),
            _ => return Err(damage(&"here should be an input")),
        };
        let input = decode_input(tag, body).map_err(|error: InputError| damage(&error))?;
        let at = Instant(at);
        self.number += 1;
        look(self.number, at, &input);
        let effects = self.peer.handle(at, input);
        // What follows a damaged outcome is told by the next step.
        let outcome = match self.entries.peek() {
            Ok(Some((Kind::Outcome, body))) => fingerprint(body),
            Ok(_) | Err(_) => None,
        };
        if outcome.is_some() {
            self.entries.next()?;
        }
        let compared = outcome.map(|recorded| compare(self.number, recorded, &effects));
        Ok(Some(Played { number: self.number, at, effects, compared }))
    }
}

fn compare(number: u64, recorded: Fingerprint, effects: &Effects) -> Result<(), Difference> {
    let played = Fingerprint::of(effects);
    if played == recorded { Ok(()) } else { Err(Difference { number, recorded, played }) }
}

fn fingerprint(body: &[u8]) -> Option<Fingerprint> {
    body.try_into().ok().map(Fingerprint)
}

fn record(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The entries of a recording, one after another.
#[derive(Clone, Copy)]
struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<(Kind, &'a [u8])>, Damage> {
        let found = self.peek()?;
        if let Some((_, body)) = found {
            self.at += ENTRY_HEAD + 1 + body.len();
        }
        Ok(found)
    }

    fn peek(&self) -> Result<Option<(Kind, &'a [u8])>, Damage> {
        let damage = |why: &str| Damage { at: self.at, why: why.to_owned() };
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let cut = || damage("the file was cut off within an entry");
        let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (checksum, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > ENTRY_BYTES {
            return Err(damage("the length of an entry is damaged"));
        }
        let payload = rest.get(..length).ok_or_else(cut)?;
        if blake3::hash(payload).as_bytes()[..8] != *checksum {
            return Err(damage("the checksum of an entry does not fit it"));
        }
        let kind = match payload[0] {
            0 => Kind::Opening,
            1 => Kind::Record,
            2 => Kind::Opened,
            3 => Kind::Input,
            4 => Kind::Outcome,
            _ => return Err(damage("an entry of a kind that this version does not know")),
        };
        Ok(Some((kind, &payload[1..])))
    }
}

impl fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {} of {}", self.at, self.bytes.len())
    }
}
