//! An attempt is leased to one worker only: whatever awards of it leave coordinators, they name
//! the same worker.

use std::collections::BTreeMap;

use cyxwiz_protocol::{PeerId, Run};

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct LeasedToOne {
    workers: BTreeMap<Run, PeerId>,
}

impl Invariant for LeasedToOne {
    fn name(&self) -> &'static str {
        "an attempt is leased to one worker"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Awarded { run, worker } = fact else {
            return Ok(());
        };
        let first = *self.workers.entry(*run).or_insert(*worker);
        if first != *worker {
            return Err(format!("{run} was awarded to {worker} and before to {first}"));
        }
        Ok(())
    }
}
