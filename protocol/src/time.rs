//! Time as an argument. [`Instant`] is what every deadline is made of; [`UnixMillis`] appears in
//! signed headers and records alone, and this file is the only place where one becomes the other.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Microseconds since the peer was made. Monotone; comparable only within one peer's life.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment a peer's life begins.
    pub const START: Self = Self(0);

    /// How long ago `earlier` was; nothing when it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Milliseconds since 1970-01-01 UTC, as an author's clock had it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// How far two clocks readings lie apart, whichever is earlier.
    #[must_use]
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// Whole seconds, for what decays slowly.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

/// What the wall clock showed at [`Instant::START`]: turns one into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch(pub UnixMillis);

impl Epoch {
    /// The wall time at `now`.
    #[must_use]
    pub const fn unix(self, now: Instant) -> UnixMillis {
        UnixMillis(self.0.0.saturating_add(now.0 / 1_000))
    }

    /// The instant at which the wall shows `at`; the start of life for anything earlier.
    #[must_use]
    pub const fn instant(self, at: UnixMillis) -> Instant {
        Instant(at.0.saturating_sub(self.0.0).saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_meet_in_one_place() {
        let epoch = Epoch(UnixMillis(5_000));
        let now = Instant::START + Duration::from_millis(250);
        assert_eq!(epoch.unix(now), UnixMillis(5_250));
        assert_eq!(epoch.instant(UnixMillis(5_250)), now);
        assert_eq!(epoch.instant(UnixMillis(1)), Instant::START);
        assert_eq!(now.since(now + Duration::from_secs(1)), Duration::ZERO);
    }
}
