//! What a run came to, in numbers. All times are virtual.

use std::time::Duration;

use serde::Serialize;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub scenario: String,
    pub seed: u64,
    /// Equal for equal seeds.
    pub trace: String,
    /// Inputs that peers handled.
    pub events: u64,
    /// In seconds.
    pub virtual_s: f64,
    pub accepted: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub attempts: u64,
    pub crashes: u64,
    /// From handing in to the user's answer.
    pub accept_ms: Quantiles,
    /// From handing in to the first process that is up.
    pub start_ms: Quantiles,
    /// Runs that each worker began, fewest first.
    pub runs_per_worker: Vec<u64>,
    /// On all links together, every hop of gossip counted.
    pub bytes_per_job: u64,
    /// Thousandths of all computing that settled no job.
    pub wasted_permille: u64,
    /// The most that was under way at once.
    pub most_planned: usize,
}

/// Two points of a distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
}

impl Quantiles {
    /// By the nearest rank; zeros when there is nothing.
    pub(crate) fn of(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).map_or(0.0, |value| value.as_secs_f64() * 1_000.0)
        };
        Self { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(Quantiles::of(values), Quantiles { p50: 50.0, p99: 99.0 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
        let one = Quantiles::of(vec![Duration::from_millis(7)]);
        assert_eq!(one, Quantiles { p50: 7.0, p99: 7.0 });
    }
}
