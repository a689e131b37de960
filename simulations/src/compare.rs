//! Two configurations side by side: the same seeds for both, the difference of each pair, and how
//! sure its mean is (percentile bootstrap; Efron & Tibshirani, "An Introduction to the
//! Bootstrap", 1993, ch. 13). Seeded, so that a table repeats to the last digit.

use cyxwiz_protocol::Rng;
use serde::Serialize;

use crate::{chance::place, figures::Figures};

/// One metric of two configurations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub metric: &'static str,
    /// Means over all seeds.
    pub one: f64,
    pub other: f64,
    /// The mean of other − one over the pairs.
    pub difference: f64,
    /// The interval that holds the true mean difference with 95 % confidence.
    pub low: f64,
    pub high: f64,
}

impl Compared {
    /// Whether the interval leaves no room for "no difference".
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Means that are drawn for an interval.
const RESAMPLES: usize = 5_000;
/// Of their sorted list, the places of 2.5 % and 97.5 %.
const ENDS: (usize, usize) = (RESAMPLES / 40, RESAMPLES - RESAMPLES / 40 - 1);

/// Compares runs pair by pair; both of a pair come from one seed.
#[must_use]
pub fn compare(pairs: &[(Figures, Figures)]) -> Vec<Compared> {
    let Some((first, _)) = pairs.first() else {
        return Vec::new();
    };
    let names = first.metrics().into_iter().map(|(name, _)| name);
    let values: Vec<_> =
        pairs.iter().map(|(one, other)| (one.metrics(), other.metrics())).collect();
    names
        .enumerate()
        .map(|(place, metric)| {
            let pairs: Vec<_> =
                values.iter().map(|(one, other)| (one[place].1, other[place].1)).collect();
            compared(metric, &pairs)
        })
        .collect()
}

fn compared(metric: &'static str, pairs: &[(f64, f64)]) -> Compared {
    let differences: Vec<_> = pairs.iter().map(|(one, other)| other - one).collect();
    let (low, high) = interval(&differences);
    Compared {
        metric,
        one: mean(pairs.iter().map(|pair| pair.0)),
        other: mean(pairs.iter().map(|pair| pair.1)),
        difference: mean(differences.iter().copied()),
        low,
        high,
    }
}

fn interval(values: &[f64]) -> (f64, f64) {
    // The same lots for each metric: their intervals may be held against each other.
    let mut chance = Rng::new([0; 32]);
    let mut means: Vec<_> = (0..RESAMPLES)
        .map(|_| mean((0..values.len()).map(|_| values[place(&mut chance, values.len())])))
        .collect();
    means.sort_by(f64::total_cmp);
    (means[ENDS.0], means[ENDS.1])
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 runs")]
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_difference_is_sure_and_noise_is_not() {
        let clear: Vec<_> =
            (0..40).map(|n| (f64::from(n), f64::from(n) + 5.0 + f64::from(n % 3))).collect();
        let compared_clear = compared("clear", &clear);
        assert!(compared_clear.is_sure(), "{compared_clear:?}");
        assert!((5.9..6.1).contains(&compared_clear.difference), "{compared_clear:?}");
        assert!(compared_clear.low < 6.0 && compared_clear.high > 5.9, "{compared_clear:?}");

        let noise: Vec<_> = (0..40).map(|n| (10.0, if n % 2 == 0 { 7.0 } else { 13.0 })).collect();
        let noise = compared("noise", &noise);
        assert!(!noise.is_sure(), "{noise:?}");
        assert!(noise.difference.abs() < 1e-9, "{noise:?}");
    }

    #[test]
    fn the_interval_covers_the_true_mean_about_as_often_as_it_says() {
        let mut chance = Rng::new([7; 32]);
        let covered = (0..200).filter(|_| {
            let sample: Vec<_> =
                (0..50).map(|_| f64::from(chance.number() as u32 % 1_000)).collect();
            let (low, high) = interval(&sample);
            (low..=high).contains(&499.5)
        });
        let covered = covered.count();
        assert!((180..=198).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn equal_runs_differ_by_nothing() {
        let same = compared("same", &[(3.0, 3.0), (4.0, 4.0)]);
        assert_eq!((same.difference, same.low, same.high), (0.0, 0.0, 0.0));
        assert!(!same.is_sure());
    }
}
