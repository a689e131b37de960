//! How much each factor counts: weights under a name.
//!
//! What the value of a factor is for a given offer is left to `score`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing by which offers are compared. For each, more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Factor {
    /// How little scarce equipment the job would tie up unused.
    Fit,
    /// Free memory against twice what the job needs.
    MemoryHeadroom,
    /// What the worker's past says about its next result.
    Reputation,
    /// The share of its job slots that is free.
    Availability,
    /// Benchmarked speed of a core.
    Capability,
    /// The share of time for which the worker was seen present.
    Uptime,
    /// Cheapness.
    Price,
    /// Nearness to the data or the submitter.
    Proximity,
    /// The share of the job's data that the worker already holds.
    WarmData,
}

impl Factor {
    /// Every factor, in the order in which a score lists its terms.
    pub const ALL: [Self; 9] = [
        Self::Fit,
        Self::MemoryHeadroom,
        Self::Reputation,
        Self::Availability,
        Self::Capability,
        Self::Uptime,
        Self::Price,
        Self::Proximity,
        Self::WarmData,
    ];

    /// The factor in lower-case words, as people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::MemoryHeadroom => "memory headroom",
            Self::Reputation => "reputation",
            Self::Availability => "availability",
            Self::Capability => "capability",
            Self::Uptime => "uptime",
            Self::Price => "price",
            Self::Proximity => "proximity",
            Self::WarmData => "warm data",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The weight of each factor. Only their proportions matter; the named policies sum to 1000, so
/// that a weight there reads as the most points its factor can earn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub fit: u16,
    pub memory_headroom: u16,
    pub reputation: u16,
    pub availability: u16,
    pub capability: u16,
    pub uptime: u16,
    pub price: u16,
    pub proximity: u16,
    pub warm_data: u16,
}

impl Weights {
    /// The weight of one factor.
    pub const fn of(&self, factor: Factor) -> u16 {
        match factor {
            Factor::Fit => self.fit,
            Factor::MemoryHeadroom => self.memory_headroom,
            Factor::Reputation => self.reputation,
            Factor::Availability => self.availability,
            Factor::Capability => self.capability,
            Factor::Uptime => self.uptime,
            Factor::Price => self.price,
            Factor::Proximity => self.proximity,
            Factor::WarmData => self.warm_data,
        }
    }

    /// The sum of all weights.
    pub fn sum(&self) -> u32 {
        Factor::ALL.into_iter().map(|factor| u32::from(self.of(factor))).sum()
    }
}

/// A named set of weights. The default is `balanced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name, one of [`Policy::NAMES`] or the caller's own.
    pub name: String,
    /// How much each factor counts.
    pub weights: Weights,
}

impl Policy {
    /// The names that [`Policy::named`] knows.
    ///
    /// - `balanced`, `economy` and `quality` share one idea of quality (reputation 4, availability
    ///   3, speed 1, memory headroom 1, uptime 1) and set price against it at 0.3, 0.6 and 0.1 of
    ///   its weight. A tenth is left for fit, proximity and warm data.
    /// - `classic-weights` is reputation 40, availability 30, capability 20, uptime 10.
    /// - `classic-bonus` is +100 for the device, +50 for the memory, +30 times reputation and -10
    ///   for each active job. Every ranked offer has the device and the memory, which leaves 30 for
    ///   reputation and, at three jobs at a time, 30 for availability: equal weights.
    pub const NAMES: [&'static str; 5] =
        ["balanced", "economy", "quality", "classic-weights", "classic-bonus"];

    /// The policy of this name, or `None` when there is none.
    pub fn named(name: &str) -> Option<Self> {
        let weights = match name {
            "balanced" => BALANCED,
            "economy" => ECONOMY,
            "quality" => QUALITY,
            "classic-weights" => CLASSIC_WEIGHTS,
            "classic-bonus" => CLASSIC_BONUS,
            _ => return None,
        };
        Some(Self { name: name.to_owned(), weights })
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { name: "balanced".to_owned(), weights: BALANCED }
    }
}

const BALANCED: Weights = Weights {
    fit: 30,
    memory_headroom: 70,
    reputation: 280,
    availability: 210,
    capability: 70,
    uptime: 70,
    price: 210,
    proximity: 20,
    warm_data: 40,
};

const ECONOMY: Weights = Weights {
    fit: 28,
    memory_headroom: 57,
    reputation: 228,
    availability: 171,
    capability: 57,
    uptime: 57,
    price: 342,
    proximity: 20,
    warm_data: 40,
};

const QUALITY: Weights = Weights {
    fit: 38,
    memory_headroom: 82,
    reputation: 328,
    availability: 246,
    capability: 82,
    uptime: 82,
    price: 82,
    proximity: 20,
    warm_data: 40,
};

const CLASSIC_WEIGHTS: Weights = Weights {
    fit: 0,
    memory_headroom: 0,
    reputation: 400,
    availability: 300,
    capability: 200,
    uptime: 100,
    price: 0,
    proximity: 0,
    warm_data: 0,
};

const CLASSIC_BONUS: Weights = Weights {
    fit: 0,
    memory_headroom: 0,
    reputation: 500,
    availability: 500,
    capability: 0,
    uptime: 0,
    price: 0,
    proximity: 0,
    warm_data: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_weights_that_sum_to_a_thousand() {
        for name in Policy::NAMES {
            let policy = Policy::named(name).unwrap();
            assert_eq!(policy.name, name);
            assert_eq!(policy.weights.sum(), 1000, "{name}");
        }
        assert_eq!(Policy::named("balanced"), Some(Policy::default()));
        assert_eq!(Policy::named("Balanced"), None);
    }

    #[test]
    fn price_is_set_against_one_idea_of_quality() {
        for (name, tenths) in [("balanced", 3), ("economy", 6), ("quality", 1)] {
            let weights = Policy::named(name).unwrap().weights;
            let tenth = weights.uptime;
            assert_eq!(weights.capability, tenth, "{name}");
            assert_eq!(weights.memory_headroom, tenth, "{name}");
            assert_eq!(weights.reputation, 4 * tenth, "{name}");
            assert_eq!(weights.availability, 3 * tenth, "{name}");
            assert_eq!(weights.price, tenths * tenth, "{name}");
        }
    }
}
