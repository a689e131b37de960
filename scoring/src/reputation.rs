//! What a worker's past says about its next result: Beta evidence that fades, read at its lower
//! bound.
//!
//! The lower bound makes a newcomer start low and rise with proof, and makes a long record worth
//! more than a short one of the same rate. Which events count, and who may report them, is left
//! to the coordinator.

use serde::{Deserialize, Serialize};

use crate::Permille;

/// What a settled attempt shows about the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// A result that was accepted.
    Success,
    /// A lease lost, a grant not taken up, a result that was refused.
    Failure,
    /// A result proven to be made up.
    Fraud,
}

/// The record of one worker. Successes and failures are counted in 65536ths of an event and lose
/// half their weight in thirty days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reputation {
    successes: u64,
    failures: u64,
    /// Start of the hour up to which the counters have faded, in seconds of the caller's clock.
    faded_until_secs: u64,
    quarantined_until_secs: u64,
    trials: u32,
}

impl Reputation {
    /// The record of a worker nobody knows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one event. A `now_secs` before the last one counts as the last one.
    ///
    /// A failure counts twice and a fraud twenty times what a success does; a fraud also puts the
    /// worker in quarantine for thirty days.
    pub fn record(&mut self, now_secs: u64, evidence: Evidence) {
        *self = self.faded(now_secs);
        self.trials = self.trials.saturating_add(1);
        match evidence {
            Evidence::Success => self.successes = add(self.successes, 1),
            Evidence::Failure => self.failures = add(self.failures, FAILURE_WEIGHT),
            Evidence::Fraud => {
                self.failures = add(self.failures, FRAUD_WEIGHT);
                let until = now_secs.saturating_add(QUARANTINE_SECS);
                self.quarantined_until_secs = self.quarantined_until_secs.max(until);
            }
        }
    }

    /// The lower 5 % bound of the rate of good results, nothing while in quarantine. A record
    /// without recent events drifts back to that of a newcomer, 0.120.
    pub fn score(&self, now_secs: u64) -> Permille {
        if self.is_quarantined(now_secs) {
            return Permille::ZERO;
        }
        let faded = self.faded(now_secs);
        lower_bound(faded.successes, faded.failures)
    }

    /// Whether a proven fraud is less than thirty days old.
    pub fn is_quarantined(&self, now_secs: u64) -> bool {
        now_secs < self.quarantined_until_secs
    }

    /// Events recorded so far, each counted once and for good.
    pub fn trials(&self) -> u32 {
        self.trials
    }

    /// The record as it is at `now_secs`. Counters fade on whole hours, so that frequent readings
    /// round no more often than rare ones.
    fn faded(&self, now_secs: u64) -> Self {
        let mut faded = self.clone();
        // A decoded record may hold anything.
        faded.successes = faded.successes.min(EVIDENCE_MAX);
        faded.failures = faded.failures.min(EVIDENCE_MAX);

        let hours = now_secs.saturating_sub(self.faded_until_secs) / HOUR_SECS;
        let factor = fade_factor(hours);
        faded.successes = scale(faded.successes, factor);
        faded.failures = scale(faded.failures, factor);
        faded.faded_until_secs = now_secs.max(self.faded_until_secs) / HOUR_SECS * HOUR_SECS;
        faded
    }
}

fn add(counter: u64, events: u64) -> u64 {
    (counter + events * ONE_EVENT).min(EVIDENCE_MAX)
}

fn scale(counter: u64, factor_q63: u64) -> u64 {
    let scaled = (u128::from(counter) * u128::from(factor_q63)) >> 63;
    u64::try_from(scaled).expect("a factor of at most one does not make it larger")
}

/// `2^(-hours / HALF_LIFE_HOURS)` with 63 binary places.
fn fade_factor(hours: u64) -> u64 {
    let halvings = hours / HALF_LIFE_HOURS;
    if halvings >= 63 {
        return 0;
    }
    let mut rest = hours % HALF_LIFE_HOURS;
    let mut factor = ONE_Q63;
    let mut power = HOURLY_FACTOR_Q63;
    while rest > 0 {
        if rest & 1 == 1 {
            factor = scale(factor, power);
        }
        power = scale(power, power);
        rest >>= 1;
    }
    factor >> halvings
}

/// Wilson's lower bound at z = 1.645 of the rate `s / (s + f)`, where `s` and `f` are the counts
/// given and one more each. All in 65536ths; with `n = s + f` it is
/// `(s + z²/2 - z·sqrt(s·f/n + z²/4)) / (n + z²)`.
fn lower_bound(successes: u64, failures: u64) -> Permille {
    let s = u128::from(successes + ONE_EVENT);
    let f = u128::from(failures + ONE_EVENT);
    let n = s + f;
    let spread = s * f / n + Z_SQUARED_Q16 / 4;
    let root = (spread << 16).isqrt();
    let bound = (s + Z_SQUARED_Q16 / 2).saturating_sub((Z_Q16 * root) >> 16);
    let thousandths = bound * 1000 / (n + Z_SQUARED_Q16);
    Permille::new(u16::try_from(thousandths).unwrap_or(1000))
}

const ONE_EVENT: u64 = 1 << 16;

/// Two hundred events either way, 0.978 at best. With more, the next failure of a long record
/// would hardly show.
const EVIDENCE_MAX: u64 = 200 * ONE_EVENT;

const FAILURE_WEIGHT: u64 = 2;
const FRAUD_WEIGHT: u64 = 20;

const HOUR_SECS: u64 = 3600;
const HALF_LIFE_HOURS: u64 = 30 * 24;
const QUARANTINE_SECS: u64 = 30 * 24 * HOUR_SECS;

const ONE_Q63: u64 = 1 << 63;
/// `2^(-1/720) * 2^63`: what an hour leaves, for a half-life of thirty days.
const HOURLY_FACTOR_Q63: u64 = 9_214_496_928_589_582_985;

/// 1.645, the 95 % quantile of the normal distribution, and its square, in 65536ths.
const Z_Q16: u128 = 107_807;
const Z_SQUARED_Q16: u128 = 177_342;

#[cfg(test)]
mod tests;
