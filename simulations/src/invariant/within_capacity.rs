//! Nobody runs more jobs at once than it said it would.

use super::{Fact, Invariant};

#[derive(Debug)]
pub(super) struct WithinCapacity;

impl Invariant for WithinCapacity {
    fn name(&self) -> &'static str {
        "nobody runs more than it offered"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Began { worker, running, slots } = fact
            && *running > usize::from(*slots)
        {
            return Err(format!("{worker} runs {running} jobs and offered {slots} slots"));
        }
        Ok(())
    }
}
