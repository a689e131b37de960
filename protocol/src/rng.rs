//! Chance, from one seed: everything a peer decides by lot comes from here, so that equal inputs
//! give equal lives.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng};

/// A seeded generator (ChaCha12). Owned by [`crate::Peer`]; never cloned.
#[derive(Debug)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// From 32 bytes; equal seeds give equal sequences on every machine.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A duration of less than `limit`.
    pub fn below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.number() % micros)
    }

    /// A duration between half and one and a half of `mean`, so that peers do not act in step.
    pub fn around(&mut self, mean: Duration) -> Duration {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(micros / 2 + self.number() % micros)
    }
}
