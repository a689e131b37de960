//! A peer's life, written down: what it was opened with, then every input in order, each with a
//! fingerprint of its effects. Since a peer is a function of its inputs, whoever plays them to
//! the same code gets the same life again, and the first difference names the input at which two
//! versions part.
//!
//! A recording is a private file. It holds what the peer was told, the records of its store and
//! the seed of its lots, but never the secret of its identity: whoever plays it brings the key.
//! Where the bytes are kept, and with which rights, is left to the caller.
//!
//! The format: a marker and a version, then entries, each with its length and a checksum, so that
//! a file that was cut off, as by a crash, is read up to its last whole entry. An input is
//! written before the peer handles it: the one that a peer panicked at is the last of its
//! recording.

mod input;
mod play;

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

pub use play::{Damage, Difference, PlayError, Played, Player, Recording, RecordingError};

use crate::{
    Config, Instant, PeerId,
    codec::encode,
    effects::{Effects, Input, Send},
};

/// What a recording begins with.
const MARKER: &[u8; 16] = b"cyxwiz-recording";
/// The version of the format; another is not read.
const VERSION: u16 = 3;
/// Length and checksum before each entry.
const ENTRY_HEAD: usize = 4 + 8;
/// The longest entry, in bytes: a frame and what is said of it fit many times.
const ENTRY_BYTES: usize = 16 * 1024 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Who it is: the only one of its kind, and the first.
    Opening = 0,
    /// A record of the store.
    Record = 1,
    /// The peer was opened: the fingerprint of what it did first.
    Opened = 2,
    /// Something is about to be handled.
    Input = 3,
    /// The fingerprint of what followed.
    Outcome = 4,
}

/// The first entry.
#[derive(Debug, Serialize, Deserialize)]
struct Opening {
    /// The version of the program that wrote it.
    software: String,
    peer: PeerId,
    opened_at: Instant,
    config: Config,
}

/// Eight bytes that differ when effects do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

/// Writes a recording; it hands out bytes to be appended, and keeps none that were taken.
///
/// The caller goes through the same steps each time: [`Self::before`], then
/// [`Peer::handle`](crate::Peer::handle), then [`Self::after`]; and [`Self::take`] as often as it
/// likes, at best before `handle` as well.
#[derive(Debug)]
pub struct Recorder {
    bytes: Vec<u8>,
    /// An input, or the opening, whose effects were not told yet.
    open: bool,
}

impl Recorder {
    /// The recording of a peer that is about to be opened with all of this.
    #[must_use]
    pub fn begin<'a>(
        config: &Config,
        peer: PeerId,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        now: Instant,
    ) -> Self {
        let mut recorder = Self { bytes: MARKER.to_vec(), open: true };
        recorder.bytes.extend(VERSION.to_le_bytes());
        // What `Opening` would be, of references.
        let opening = encode(&(env!("CARGO_PKG_VERSION"), peer, now, config));
        recorder.entry(Kind::Opening, &[&opening]);
        for (key, value) in records {
            let length = u32::try_from(key.len()).expect("keys of the store are short");
            recorder.entry(Kind::Record, &[&length.to_le_bytes(), key, value]);
        }
        recorder
    }

    /// The peer was opened, and this is what it does first.
    ///
    /// # Panics
    ///
    /// When it was opened already.
    pub fn opened(&mut self, first: &Effects) {
        assert!(std::mem::take(&mut self.open), "a peer is opened once");
        self.entry(Kind::Opened, &[&Fingerprint::of(first).0]);
    }

    /// The peer is about to handle `input`.
    ///
    /// # Panics
    ///
    /// When it was not told how the input before this one came out.
    pub fn before(&mut self, now: Instant, input: &Input) {
        assert!(!std::mem::replace(&mut self.open, true), "one input at a time");
        let (tag, body) = input::encode_input(input);
        self.entry(Kind::Input, &[&now.0.to_le_bytes(), &[tag], &body]);
    }

    /// The peer handled it, and these are the effects.
    ///
    /// # Panics
    ///
    /// When no input is being handled.
    pub fn after(&mut self, effects: &Effects) {
        assert!(std::mem::take(&mut self.open), "effects belong to an input");
        self.entry(Kind::Outcome, &[&Fingerprint::of(effects).0]);
    }

    /// The bytes since the last call, to be appended to what was taken before.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn entry(&mut self, kind: Kind, parts: &[&[u8]]) {
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        assert!(length <= ENTRY_BYTES, "an input is bounded by the limits of the wire");
        let length = u32::try_from(length).expect("less than the limit of an entry");
        let mut checksum = blake3::Hasher::new();
        checksum.update(&[kind as u8]);
        for part in parts {
            checksum.update(part);
        }
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(short(&checksum));
        self.bytes.push(kind as u8);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }
}

impl Fingerprint {
    /// Of everything in `effects`, in its order.
    #[must_use]
    pub fn of(effects: &Effects) -> Self {
        let Effects { batch, writes, sends, tasks, events, verdict } = effects;
        let mut hash = Hash(blake3::Hasher::new());
        for write in writes {
            hash.bytes(&write.key);
            hash.bytes(write.value.as_deref().unwrap_or(&[]));
            hash.text(format_args!("{}", write.value.is_some()));
        }
        for send in sends {
            match send {
                Send::Direct { to, frame } => {
                    hash.bytes(&to.0);
                    hash.bytes(frame);
                }
                Send::Publish { topic, frame } => {
                    hash.text(format_args!("{topic:?}"));
                    hash.bytes(frame);
                }
                Send::Subscribe(_) | Send::Unsubscribe(_) | Send::Ban { .. } => {
                    hash.text(format_args!("{send:?}"));
                }
            }
        }
        hash.text(format_args!("{batch:?} {tasks:?} {events:?} {verdict:?}"));
        Self(short(&hash.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

/// Hashes what is printed without keeping it.
struct Hash(blake3::Hasher);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    fn text(&mut self, text: fmt::Arguments<'_>) {
        self.write_fmt(text).expect("hashing does not fail");
        self.0.update(&[0]);
    }
}

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

fn short(hasher: &blake3::Hasher) -> [u8; 8] {
    hasher.finalize().as_bytes()[..8].try_into().expect("8 of 32 bytes")
}

#[cfg(test)]
mod tests;
