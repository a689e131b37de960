//! What a run came to, in numbers. All times are virtual.

use std::time::Duration;

use serde::Serialize;

use crate::faults::FaultCounts;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub scenario: String,
    pub seed: u64,
    /// Equal for equal seeds.
    pub trace: String,
    pub peers: u32,
    pub jobs: u32,
    /// Inputs that peers handled.
    pub events: u64,
    /// In seconds.
    pub virtual_s: f64,
    pub accepted: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Orders to pause and to resume that coordinators noted.
    pub orders: u64,
    pub attempts: u64,
    pub crashes: u64,
    /// What else went wrong, and what hostile peers did.
    pub faults: FaultCounts,
    /// From handing in to the user's answer.
    pub accept_ms: Quantiles,
    /// From handing in to the first process that is up.
    pub start_ms: Quantiles,
    /// From handing in to the user's learning of the end.
    pub end_ms: Quantiles,
    /// Runs that each worker began, fewest first.
    pub runs_per_worker: Vec<u64>,
    /// Jain's index of the computing of each worker: 1000 when all did the same, towards 0 when
    /// one did everything.
    pub fairness_permille: u64,
    /// Computing against what the slots of all workers could do until the last job ended.
    pub utilisation_permille: u64,
    /// On all links together, every hop of gossip counted.
    pub bytes_per_job: u64,
    pub messages_per_job: u64,
    /// Thousandths of all computing that settled no job.
    pub wasted_permille: u64,
    /// The most that was under way at once.
    pub most_planned: usize,
}

impl Figures {
    /// Every number of it under one flat name, for tables of many runs.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people; 2^53 events are out of reach")]
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let percent = |permille: u64| permille as f64 / 10.0;
        let Quantiles { p50: accept_p50, p90: _, p99: accept_p99, max: _ } = self.accept_ms;
        let Quantiles { p50: start_p50, p90: _, p99: start_p99, max: _ } = self.start_ms;
        let Quantiles { p50: end_p50, p90: _, p99: end_p99, max: _ } = self.end_ms;
        vec![
            ("events", self.events as f64),
            ("virtual_s", self.virtual_s),
            ("accepted", self.accepted as f64),
            ("completed", self.completed as f64),
            ("failed", self.failed as f64),
            ("cancelled", self.cancelled as f64),
            ("orders", self.orders as f64),
            ("attempts", self.attempts as f64),
            ("crashes", self.crashes as f64),
            ("accept_p50_ms", accept_p50),
            ("accept_p99_ms", accept_p99),
            ("start_p50_ms", start_p50),
            ("start_p99_ms", start_p99),
            ("end_p50_ms", end_p50),
            ("end_p99_ms", end_p99),
            ("fairness_percent", percent(self.fairness_permille)),
            ("utilisation_percent", percent(self.utilisation_permille)),
            ("wasted_percent", percent(self.wasted_permille)),
            ("bytes_per_job", self.bytes_per_job as f64),
            ("messages_per_job", self.messages_per_job as f64),
        ]
    }
}

/// Points of a distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    /// By the nearest rank; zeros when there is nothing.
    pub(crate) fn of(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).map_or(0.0, |value| value.as_secs_f64() * 1_000.0)
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// Jain's index in thousandths: (Σx)² / (n Σx²). Nothing done at all is done fairly.
pub(crate) fn fairness(work: impl IntoIterator<Item = Duration>) -> u64 {
    let (mut count, mut sum, mut squares) = (0_u128, 0_u128, 0_u128);
    for share in work {
        let share = share.as_millis();
        count += 1;
        sum += share;
        squares = squares.saturating_add(share * share);
    }
    match count * squares {
        0 => 1_000,
        whole => u64::try_from(sum * sum * 1_000 / whole).unwrap_or(1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let expected = Quantiles { p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 };
        assert_eq!(Quantiles::of(values), expected);
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
        let one = Quantiles::of(vec![Duration::from_millis(7)]);
        assert_eq!(one, Quantiles { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
    }

    #[test]
    fn fairness_runs_from_one_for_all_to_one_for_one() {
        let seconds = |work: &[u64]| fairness(work.iter().copied().map(Duration::from_secs));
        assert_eq!(seconds(&[3, 3, 3]), 1_000);
        assert_eq!(seconds(&[9, 0, 0]), 333);
        assert_eq!(seconds(&[0, 0]), 1_000);
        assert_eq!(seconds(&[]), 1_000);
        assert_eq!(seconds(&[1, 3]), 800);
    }
}
