//! Waiting for something to become true: the one place where tests let real time pass.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Long enough for anything that takes moments, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(60);
/// Long enough for a small job to be placed, trained and counted on such a machine.
pub const TRAINED: Duration = Duration::from_secs(120);

/// Looks until there is a value, for at most `limit`.
///
/// # Panics
///
/// When the time is up, with what was waited for and the last state seen.
#[track_caller]
pub fn eventually<T, State: Display>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, State>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) if Instant::now() > deadline => {
                panic!("waited {} s for {what}; at last: {state}", limit.as_secs())
            }
            Err(_not_yet) => thread::sleep(LOOK),
        }
    }
}

/// How often a condition is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(25);
