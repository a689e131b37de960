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
        if let Fact::CancelTold { job } = fact {
            self.told.insert(*job);
        }
        // A leader of yesterday may not know of the wish yet; it decides nothing any more.
        if let Fact::Chosen { record, newest: true, .. } = fact {
            return self.look_at(record);
        }
        Ok(())
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
