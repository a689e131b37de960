//! Cancelled means that nothing runs any more: when a leader says so, the process of the attempt
//! that was stopped for it is dead. Where messages may come later than leases last, it is not promised.

use super::{Fact, Invariant};

#[derive(Debug)]
pub(super) struct CancelledIsDead;

impl Invariant for CancelledIsDead {
    fn name(&self) -> &'static str {
        "cancelled means that nothing runs"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::RunsAfterCancel { job, worker } = fact else {
            return Ok(());
        };
        Err(format!("job {job} is cancelled, and a process of it runs at {worker}"))
    }
}
