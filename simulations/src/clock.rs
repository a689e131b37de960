//! A host's clock that runs fast or slow, as the quartz of real machines does. Drift applies to
//! the monotone and to the wall clock alike; how far the wall clock is ahead is the host's skew.

use std::time::Duration;

/// How fast a clock runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Parts per million that it gains; negative when it loses.
    drift_ppm: i32,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// A clock that gains this many parts per million, at most half of the time itself.
    pub(crate) fn drifting(drift_ppm: i32) -> Self {
        Self { drift_ppm: drift_ppm.clamp(-500_000, 500_000) }
    }

    /// The time that it shows to have passed when `real` has.
    pub(crate) fn shown(self, real: Duration) -> Duration {
        micros(real.as_micros() * self.rate() / MILLION)
    }

    /// When it shows that `shown` has passed, and not a moment sooner.
    pub(crate) fn real(self, shown: Duration) -> Duration {
        micros((shown.as_micros() * MILLION).div_ceil(self.rate()))
    }

    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.drift_ppm)).expect("half of a million at least")
    }
}

fn micros(micros: u128) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_when_the_clock_shows_it_and_not_before() {
        for drift in [-500_000, -200, -1, 0, 1, 37, 5_000, 500_000] {
            let clock = Clock::drifting(drift);
            for shown in [0, 1, 2, 3, 999, 1_000_001, 86_400_000_000] {
                let shown = Duration::from_micros(shown);
                let real = clock.real(shown);
                assert!(clock.shown(real) >= shown, "{drift} ppm, {shown:?}");
                if let Some(before) = real.checked_sub(Duration::from_micros(1)) {
                    assert!(clock.shown(before) < shown, "{drift} ppm, {shown:?}");
                }
            }
        }
    }

    #[test]
    fn a_hundred_parts_per_million_are_a_tenth_of_a_second_in_a_thousand() {
        let thousand = Duration::from_secs(1_000);
        let gained = Clock::drifting(100).shown(thousand) - thousand;
        assert_eq!(gained, Duration::from_millis(100));
        let lost = thousand - Clock::drifting(-100).shown(thousand);
        assert_eq!(lost, Duration::from_millis(100));
    }
}
