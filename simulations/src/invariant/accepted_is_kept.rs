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
        match fact {
            Fact::AcceptedTold { job } => {
                self.accepted.insert(*job);
                Ok(())
            }
            Fact::Unknown { job } if self.accepted.contains(job) => {
                Err(format!("job {job} was accepted and its leader does not know it"))
            }
            Fact::Unknown { .. }
            | Fact::CancelTold { .. }
            | Fact::Chosen { .. }
            | Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::ShutOut { .. }
            | Fact::Sizes(_)
            | Fact::Over(_) => Ok(()),
        }
    }
}
