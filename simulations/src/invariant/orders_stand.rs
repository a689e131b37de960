//! Orders to pause and to resume stand: one that was noted is in the record from then on until a
//! later one takes its place, and a job that shall be paused neither waits for a worker nor gets
//! one.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    JobId,
    job::{JobRecord, JobState},
    spec::Wish,
};

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct OrdersStand {
    /// What users ordered, by the number of the order.
    ordered: BTreeMap<(JobId, u64), Wish>,
    /// The highest order that was told to be noted.
    told: BTreeMap<JobId, u64>,
    /// The newest state that was seen.
    seen: BTreeMap<JobId, JobRecord>,
}

impl Invariant for OrdersStand {
    fn name(&self) -> &'static str {
        "orders to pause and to resume stand"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Ordered { job, number, wish } = fact {
            self.ordered.insert((*job, *number), *wish);
        }
        if let Fact::OrderTold { job, number } = fact {
            let told = self.told.entry(*job).or_default();
            *told = (*told).max(*number);
        }
        // A leader of yesterday may not know of the order yet; it decides nothing any more.
        if let Fact::Chosen { record, newest: true, .. } = fact {
            return self.look_at(record);
        }
        Ok(())
    }
}

impl OrdersStand {
    fn look_at(&mut self, record: &JobRecord) -> Result<(), String> {
        let (job, pause) = (record.job, record.pause);
        if self.told.get(&job).is_some_and(|told| *told > pause.order) {
            return Err(format!("an order for job {job} was noted and is not recorded"));
        }
        if let Some(before) = self.seen.insert(job, record.clone()) {
            if before.pause.order > pause.order {
                return Err(format!("an order for job {job} was overtaken, and obeyed after it"));
            }
            let same_order = before.pause.order == pause.order;
            if same_order && pause.requested && before.newest_attempt() < record.newest_attempt() {
                return Err(format!("job {job} was awarded while it was to be paused"));
            }
        }
        if record.is_finished() {
            return Ok(());
        }
        let wanted = self.ordered.get(&(job, pause.order));
        if wanted.is_some_and(|wish| pause.requested != (*wish == Wish::Pause)) {
            return Err(format!("job {job} does not do what its last order wants: {wanted:?}"));
        }
        let fits = match record.state {
            JobState::Queued { .. } => !pause.requested,
            JobState::Paused { .. } => pause.requested,
            JobState::Assigned
            | JobState::Completed { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => true,
        };
        if !fits {
            let (state, wanted) = (&record.state, pause.requested);
            return Err(format!("job {job} is {state:?}, to be paused: {wanted}"));
        }
        Ok(())
    }
}
