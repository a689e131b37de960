//! All chance of a run: weights, order of rows, dropout, splits. Each use has a ChaCha stream of
//! its own, keyed by what it is for and when, so that no use depends on how much another drew,
//! and every engine sees the same numbers.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a stream is used for, with the counters that tell its uses apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    TestSplit,
    ValidationSplit,
    /// Start weights of one layer.
    Weights {
        layer: u32,
    },
    /// Order of the training rows in one epoch.
    Order {
        epoch: u32,
    },
    /// Dropout of one layer in one batch.
    Dropout {
        epoch: u32,
        batch: u32,
        layer: u32,
    },
    /// Characters of a text that a model writes.
    Sampling,
}

/// One reproducible sequence.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let (tag, epoch, batch, layer) = match purpose {
            Purpose::TestSplit => (1, 0, 0, 0),
            Purpose::ValidationSplit => (2, 0, 0, 0),
            Purpose::Weights { layer } => (3, 0, 0, layer),
            Purpose::Order { epoch } => (4, epoch, 0, 0),
            Purpose::Dropout { epoch, batch, layer } => (5, epoch, batch, layer),
            Purpose::Sampling => (6, 0, 0, 0),
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (place, word) in key[8..24].chunks_exact_mut(4).zip([tag, epoch, batch, layer]) {
            place.copy_from_slice(&u32::to_le_bytes(word));
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `-bound..bound`, from 24 random bits each.
    pub(crate) fn fill_uniform(&mut self, values: &mut [f32], bound: f32) {
        for value in values {
            let unit = (self.0.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
            *value = (2.0 * unit - 1.0) * bound;
        }
    }

    /// Uniform from 0 up to, but not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * UNIT
    }

    /// Goes on as if so many values of [`Self::fill_uniform`] or [`Self::fill_mask`] had been
    /// drawn from a new stream.
    pub(crate) fn skip(&mut self, values: usize) {
        self.0.set_word_pos(values as u128);
    }

    /// Standard normal, two at a time by Box and Muller's method.
    pub(crate) fn fill_normal(&mut self, values: &mut [f32]) {
        for pair in values.chunks_mut(2) {
            // From one up: the logarithm of zero is infinite.
            let [share, turn] = [1, 0].map(|least| ((self.0.next_u64() >> 11) + least) as f64);
            let radius = (-2.0 * libm::log(share * UNIT)).sqrt();
            let (sine, cosine) = libm::sincos(std::f64::consts::TAU * turn * UNIT);
            for (value, side) in pair.iter_mut().zip([cosine, sine]) {
                *value = (radius * side) as f32;
            }
        }
    }

    /// Fills with `0` at probability `rate`, else with `kept`.
    pub(crate) fn fill_mask(&mut self, values: &mut [f32], rate: f64, kept: f32) {
        let threshold = (rate * f64::from(u32::MAX)) as u32;
        for value in values {
            *value = if self.0.next_u32() < threshold { 0.0 } else { kept };
        }
    }

    /// Fisher and Yates' shuffle.
    pub(crate) fn shuffle(&mut self, rows: &mut [u32]) {
        for last in (1..rows.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            rows.swap(last, other);
        }
    }

    /// Unbiased in `0..end`: draws from the incomplete last stretch are thrown away.
    fn below(&mut self, end: u64) -> u64 {
        let rejected = u64::MAX - u64::MAX % end;
        loop {
            let drawn = self.0.next_u64();
            if drawn < rejected {
                return drawn % end;
            }
        }
    }
}

/// `2^-53`: what two neighbouring draws of 53 bits differ by.
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
