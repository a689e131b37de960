//! How good an offer is: a weighted sum of factors, each explained by its own term.
//!
//! Whether the offer is admissible at all is left to `eligibility`; a score says nothing about it.

use serde::{Deserialize, Serialize};

use crate::{Capability, DeviceKind, Factor, Load, Permille, Policy, Requirements};

/// A worker's bid for one job, with what the caller knows about the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer<K> {
    /// Who bids.
    pub key: K,
    /// What it has.
    pub capability: Capability,
    /// What of it is in use, awards not yet started included.
    pub load: Load,
    /// What its past says about its next result.
    pub reputation: Permille,
    /// The share of time for which it was seen present.
    pub uptime: Permille,
    /// How near it is; the whole is nearest.
    pub proximity: Permille,
    /// The share of the job's data that it already holds.
    pub warm_data: Permille,
    /// What it asks for this job, in credits. This, not the price in its capability, is what the
    /// auction compares.
    pub price: u64,
    /// Decides between equal offers, the smaller wins. A hash of job, attempt and peer, so that
    /// nobody is favoured for long.
    pub tie: u64,
}

/// What one factor adds to a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term {
    /// The factor.
    pub factor: Factor,
    /// How well the offer does by it.
    pub value: Permille,
    /// How much it counts, in the units of the policy.
    pub weight: u16,
    /// What it adds to the total, in thousandths of a perfect score, rounded down.
    pub points: i32,
}

/// The score of an offer: its total and where that comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score {
    /// The sum of the points of all terms, 0 to 1000.
    pub total: i32,
    /// One term for each factor, in the order of [`Factor::ALL`].
    pub terms: Vec<Term>,
}

/// Scores an offer. The total never falls when the value of any one factor rises.
pub fn score<K>(policy: &Policy, requirements: &Requirements, offer: &Offer<K>) -> Score {
    let sum = policy.weights.sum();
    let terms: Vec<Term> = Factor::ALL
        .into_iter()
        .map(|factor| {
            let value = value(factor, requirements, offer);
            let weight = policy.weights.of(factor);
            Term { factor, value, weight, points: points(value, weight, sum) }
        })
        .collect();
    Score { total: terms.iter().map(|term| term.points).sum(), terms }
}

/// `sum` is at least `weight`, hence at most 1000 points, and so for all terms together.
fn points(value: Permille, weight: u16, sum: u32) -> i32 {
    if sum == 0 {
        return 0;
    }
    let points = u32::from(value.get()) * u32::from(weight) / sum;
    i32::try_from(points).expect("a share of 1000 fits")
}

fn value<K>(factor: Factor, requirements: &Requirements, offer: &Offer<K>) -> Permille {
    match factor {
        Factor::Fit => fit(requirements.device, &offer.capability),
        Factor::MemoryHeadroom => {
            // A claim of more free memory than there is earns nothing.
            let free_mb = offer.load.memory_free_mb.min(offer.capability.memory_mb);
            Permille::ratio(free_mb.into(), 2 * u64::from(requirements.memory_mb))
        }
        Factor::Reputation => offer.reputation,
        Factor::Availability => availability(&offer.capability, &offer.load),
        Factor::Capability => {
            Permille::ratio(offer.capability.speed.into(), SPEED_REFERENCE_MFLOPS)
        }
        Factor::Uptime => offer.uptime,
        Factor::Price => cheapness(requirements, offer.price),
        Factor::Proximity => offer.proximity,
        Factor::WarmData => offer.warm_data,
    }
}

/// A processor job on a machine with an accelerator takes memory and a slot that a job for the
/// accelerator may need, so a machine without one fits better.
fn fit(wanted: DeviceKind, capability: &Capability) -> Permille {
    if capability.devices_of(wanted).next().is_none() {
        return Permille::ZERO;
    }
    let spare = wanted == DeviceKind::Cpu
        && capability.devices.iter().any(|device| device.kind != DeviceKind::Cpu);
    if spare { Permille::new(500) } else { Permille::ONE }
}

fn availability(capability: &Capability, load: &Load) -> Permille {
    let max = capability.max_concurrent;
    if max == 0 {
        return Permille::ZERO;
    }
    Permille::ratio(max.saturating_sub(load.active).into(), max.into())
}

/// With a limit, the part of it that the offer saves. Without, a scale on which every halving of
/// the price is worth the same, since no amount of credits is known to be dear.
fn cheapness(requirements: &Requirements, price: u64) -> Permille {
    match requirements.price_limit() {
        Some(_) if price == 0 => Permille::ONE,
        Some(max) => Permille::ratio(max.saturating_sub(price), max.max(1)),
        None => Permille::ratio(PRICE_LOG_SPAN.saturating_sub(log2_q10(price)), PRICE_LOG_SPAN),
    }
}

/// The binary logarithm of `price + 1` in 1024ths, interpolated between powers of two.
fn log2_q10(price: u64) -> u64 {
    let x = price.saturating_add(1);
    let whole = x.ilog2();
    // The leading bit of x shifted to the top: the ten bits below it are the fraction.
    let fraction = ((x << (63 - whole)) >> 53) & 1023;
    u64::from(whole) * 1024 + fraction
}

/// A core of this speed earns all points for speed: about what one core of a current server does
/// in single precision with a good matrix product. Faster cores tie, and price decides.
const SPEED_REFERENCE_MFLOPS: u64 = 50_000;

/// The logarithm of the largest price, in 1024ths.
const PRICE_LOG_SPAN: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
