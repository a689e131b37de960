//! Nobody runs more jobs at once than it said it would.

use super::{Fact, Invariant};

#[derive(Debug)]
pub(super) struct WithinCapacity;

impl Invariant for WithinCapacity {
    fn name(&self) -> &'static str {
        "nobody runs more than it offered"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Began { worker, running, slots } if *running > usize::from(*slots) => {
                Err(format!("{worker} runs {running} jobs and offered {slots} slots"))
            }
            Fact::Began { .. }
            | Fact::AcceptedTold { .. }
            | Fact::CancelTold { .. }
            | Fact::Chosen { .. }
            | Fact::Unknown { .. }
            | Fact::Ended { .. }
            | Fact::ShutOut { .. }
            | Fact::Sizes(_)
            | Fact::Over(_) => Ok(()),
        }
    }
}
