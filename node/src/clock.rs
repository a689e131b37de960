//! The one place where the machine's clocks are read for the protocol.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cyxwiz_protocol::{Epoch, Instant, UnixMillis};

/// Turns the machine's monotone clock into the protocol's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    epoch: Epoch,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now(), epoch: Epoch(unix_now()) }
    }

    /// What the wall clock showed at the start.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The protocol's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// The machine's instant at which the protocol's clock shows `at`.
    #[must_use]
    pub fn machine(&self, at: Instant) -> tokio::time::Instant {
        let since = at.since(Instant::START);
        let far = Duration::from_secs(365 * 24 * 3_600);
        tokio::time::Instant::from_std(self.start + since.min(far))
    }
}

/// The wall clock; 1970 when it stands before that.
#[must_use]
pub fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
