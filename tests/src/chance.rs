//! Chance that can be had again: which process is hit when, out of one number.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers out of a seed, which is said at the start so that a failure can be looked at again.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// From `CYXWIZ_TESTS_SEED` when it is set, else from the clock; `what` is decided by it.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(u64::from(now.subsec_nanos()));
        eprintln!("{what}: the same once more with {SEED}={seed}");
        Self(seed | 1)
    }

    /// The same in every run.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// What is decided of part `number`, whatever was decided of the parts before it.
    #[must_use]
    pub const fn part(&self, number: u64) -> Self {
        Self(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// SplitMix64 (Steele et al., 2014).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(several.len() as u64));
        &several[index.expect("less than the number of them")]
    }

    /// Any order of them.
    pub fn shuffle<T>(&mut self, several: &mut [T]) {
        for last in (1..several.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1));
            several.swap(last, other.expect("at most the last"));
        }
    }
}

const SEED: &str = "CYXWIZ_TESTS_SEED";
