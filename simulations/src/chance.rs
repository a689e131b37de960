//! Chance: one stream of it for each purpose, all from one seed, so that one more draw here does
//! not shift what is drawn there.

use std::time::Duration;

use cyxwiz_protocol::Rng;

/// What a stream of chance is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Plan,
    Network,
    Disk,
    Trainer,
    Workload,
    Faults,
    Peers,
    Keys,
    Stores,
}

/// The stream of one purpose.
pub(crate) fn stream(seed: u64, purpose: Purpose) -> Rng {
    Rng::new(secret(seed, purpose, 0))
}

/// 32 bytes that belong to the `index`th thing of a purpose.
pub(crate) fn secret(seed: u64, purpose: Purpose, index: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cyxwiz/simulation/1\0").update(&seed.to_le_bytes());
    hasher.update(&[purpose as u8]).update(&index.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// A duration between two, every one as likely as another; constant when they are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// In microseconds.
    pub least_us: u64,
    /// In microseconds, not less than the least.
    pub most_us: u64,
}

impl Span {
    /// From two numbers of milliseconds.
    #[must_use]
    pub const fn millis(least: u64, most: u64) -> Self {
        Self { least_us: least * 1_000, most_us: most * 1_000 }
    }

    /// From two numbers of microseconds.
    #[must_use]
    pub const fn micros(least_us: u64, most_us: u64) -> Self {
        Self { least_us, most_us }
    }

    pub(crate) fn draw(self, rng: &mut Rng) -> Duration {
        Duration::from_micros(self.least_us + below(rng, self.most_us - self.least_us + 1))
    }
}

/// A number from 0 to `limit` - 1; 0 when there is none.
pub(crate) fn below(rng: &mut Rng, limit: u64) -> u64 {
    rng.number() % limit.max(1)
}

/// A place in a list of `length`, which is not empty.
pub(crate) fn place(rng: &mut Rng, length: usize) -> usize {
    usize::try_from(below(rng, length as u64)).expect("less than a length")
}

/// True this many times in a thousand.
pub(crate) fn happens(rng: &mut Rng, permille: u32) -> bool {
    permille > 0 && below(rng, 1_000) < u64::from(permille)
}
