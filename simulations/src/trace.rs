//! The trace of a run, as one hash: every input, whose it was, and the shape of what followed.
//! Equal seeds must give equal traces.

use cyxwiz_protocol::{Effects, Input, Instant, Send};

use crate::queue::HostId;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    fold: Fold,
    inputs: u64,
}

impl Trace {
    /// Notes one input, `kind` and `bytes` of it, and its effects.
    pub(crate) fn note(&mut self, at: Instant, host: HostId, input: Shape, effects: &Effects) {
        self.inputs += 1;
        let written = effects.writes.iter().map(|it| it.value.as_ref().map_or(0, Vec::len));
        self.fold.numbers([at.0, u64::from(host.0) << 32 | input.kind, input.bytes as u64]);
        self.fold.numbers([
            written.sum::<usize>() as u64,
            (effects.writes.len() as u64) << 32 | effects.sends.len() as u64,
            (effects.tasks.len() as u64) << 32 | effects.events.len() as u64,
        ]);
        // The content as well as the size: a frame differs when a single draw does.
        for send in &effects.sends {
            if let Send::Direct { frame, .. } | Send::Publish { frame, .. } = send {
                self.fold.bytes(frame);
            }
        }
    }

    pub(crate) const fn inputs(&self) -> u64 {
        self.inputs
    }

    pub(crate) fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for lane in self.fold.lanes {
            hasher.update(&lane.to_le_bytes());
        }
        hex::encode(&hasher.finalize().as_bytes()[..16])
    }
}

/// Folds what it is given into four lanes, by the multiplication of 64 to 128 bits that wyhash is
/// built on. It tells runs apart that differ by accident, at a tenth of the price of a hash that
/// withstands intent.
#[derive(Debug)]
struct Fold {
    lanes: [u64; LANES],
}

const LANES: usize = 4;
/// Odd, with half of their bits set and no pattern (of wyhash).
const KEYS: [u64; LANES] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

impl Default for Fold {
    fn default() -> Self {
        Self { lanes: KEYS }
    }
}

impl Fold {
    fn numbers(&mut self, [one, two, three]: [u64; 3]) {
        self.block([one, two, three, LANES as u64]);
    }

    /// Of any length, which counts as well.
    fn bytes(&mut self, bytes: &[u8]) {
        let word = |word: &[u8; 8]| u64::from_le_bytes(*word);
        let (blocks, rest) = bytes.as_chunks::<{ LANES * 8 }>();
        for block in blocks {
            let words = block.as_chunks::<8>().0;
            self.block([word(&words[0]), word(&words[1]), word(&words[2]), word(&words[3])]);
        }
        let mut last = [0; LANES * 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = last.as_chunks::<8>().0;
        self.block([word(&words[0]), word(&words[1]), word(&words[2]), word(&words[3])]);
        self.numbers([bytes.len() as u64, 0, 0]);
    }

    fn block(&mut self, words: [u64; LANES]) {
        for ((lane, word), key) in self.lanes.iter_mut().zip(words).zip(KEYS) {
            let product = u128::from(*lane ^ word) * u128::from(key);
            // The lane itself stays in, so that a product of zero loses nothing.
            *lane ^= ((product >> 64) as u64 ^ product as u64).rotate_left(23);
        }
    }
}

/// What the trace tells of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kind: u64,
    bytes: usize,
}

impl Shape {
    pub(crate) fn of(input: &Input) -> Self {
        let (kind, bytes) = match input {
            Input::Frame { bytes, .. } => (1, bytes.len()),
            Input::Gossip { bytes, .. } => (2, bytes.len()),
            Input::Connected(_) => (3, 0),
            Input::Disconnected(_) => (4, 0),
            Input::Command { .. } => (5, 0),
            Input::Task(_) => (6, 0),
            Input::Flushed { .. } => (7, 0),
            Input::DiskFull(_) => (8, 0),
            Input::Timeout => (9, 0),
        };
        Self { kind, bytes }
    }

    pub(crate) const fn bytes(self) -> usize {
        self.bytes
    }

    /// The first breath of a life.
    pub(crate) const fn start() -> Self {
        Self { kind: 0, bytes: 0 }
    }
}
