//! An accepted job is never lost: once an "accepted" has left its coordinator, whoever leads
//! knows the job.

use std::collections::BTreeSet;

use cyxwiz_protocol::JobId;

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct AcceptedIsKept {
    accepted: BTreeSet<JobId>,
}

impl Invariant for AcceptedIsKept {
    fn name(&self) -> &'static str {
        "an accepted job is never lost"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::AcceptedTold { job } = fact {
            self.accepted.insert(*job);
        }
        if let Fact::AcceptedTold { job } = fact {
            self.accepted.insert(*job);
        }
        if let Fact::Unknown { job } = fact
            && self.accepted.contains(job)
        {
            return Err(format!("job {job} was accepted and its leader does not know it"));
        }
        Ok(())
    }
}
