//! Cancelled stays cancelled: a wish that was noted is in the record from then on, and no result
//! counts after it.

use std::collections::BTreeSet;

use cyxwiz_protocol::{
    JobId,
    job::{JobRecord, JobState},
};

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct CancelledStays {
    /// Told to be noted, and not looked at since.
    told: BTreeSet<JobId>,
    /// Seen in the record of a job that had not ended.
    wished: BTreeSet<JobId>,
}

impl Invariant for CancelledStays {
    fn name(&self) -> &'static str {
        "cancelled stays cancelled"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::CancelTold { job } => {
                self.told.insert(*job);
                Ok(())
            }
            Fact::Chosen { record, .. } => self.look_at(record),
            Fact::AcceptedTold { .. }
            | Fact::Unknown { .. }
            | Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::ShutOut { .. }
            | Fact::Sizes(_)
            | Fact::Over(_) => Ok(()),
        }
    }
}

impl CancelledStays {
    fn look_at(&mut self, record: &JobRecord) -> Result<(), String> {
        let job = record.job;
        let told = self.told.remove(&job);
        if told && !record.cancel_requested && !record.is_finished() {
            return Err(format!("the wish to cancel job {job} was noted and is not recorded"));
        }
        if self.wished.contains(&job) {
            if !record.cancel_requested {
                return Err(format!("the wish to cancel job {job} was recorded and is gone"));
            }
            if let JobState::Completed { .. } | JobState::Queued { .. } = record.state {
                let state = &record.state;
                return Err(format!("job {job} went on after it was cancelled: {state:?}"));
            }
        } else if record.cancel_requested && !record.is_finished() {
            self.wished.insert(job);
        }
        Ok(())
    }
}
