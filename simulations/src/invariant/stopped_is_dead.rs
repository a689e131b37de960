//! Cancelled means that nothing runs any more, and so does paused: when a leader says so, the process
//! of the attempt that was stopped for it is dead. Where messages may come later than leases last, it
//! is not promised.

use super::{Fact, Invariant};

#[derive(Debug)]
pub(super) struct StoppedIsDead;

impl Invariant for StoppedIsDead {
    fn name(&self) -> &'static str {
        "cancelled and paused mean that nothing runs"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::RunsOn { job, worker } = fact else {
            return Ok(());
        };
        Err(format!("job {job} is cancelled or paused, and a process of it runs at {worker}"))
    }
}
