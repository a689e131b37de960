//! Nothing is told that is not durable on a majority: when an "accepted", "to be cancelled" or
//! "counted" leaves a coordinator, more than half of its committee's disks hold the job.

use super::{Fact, Invariant};

#[derive(Debug)]
pub(super) struct DurableBeforeTold;

impl Invariant for DurableBeforeTold {
    fn name(&self) -> &'static str {
        "nothing is told before a majority has it on disk"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Told { job, what, holding, members } = fact
            && *holding <= members / 2
        {
            return Err(format!(
                "job {job} was told {what} when {holding} of {members} disks held it"
            ));
        }
        Ok(())
    }
}
