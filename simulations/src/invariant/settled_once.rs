//! No two results of a job both count: a job that has ended never changes, and what settled it is
//! a receipt of an attempt that was awarded to its author, for work that this worker did.

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_protocol::{
    JobId, NetworkId, PeerId, Run,
    job::{JobRecord, JobState},
    limits,
    report::{Ending, Receipt},
};

use super::{Fact, Invariant};
use crate::trainer::success;

#[derive(Debug, Default)]
pub(super) struct SettledOnce {
    ended: BTreeMap<JobId, JobRecord>,
    succeeded: BTreeSet<(Run, PeerId)>,
}

impl Invariant for SettledOnce {
    fn name(&self) -> &'static str {
        "no two results of a job both count"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Ended { worker, run, ending: Ending::Succeeded(_) } = fact {
            self.succeeded.insert((*run, *worker));
        }
        if let Fact::Unknown { job } = fact
            && self.ended.contains_key(job)
        {
            return Err(format!("job {job} had ended and is unknown now"));
        }
        if let Fact::Chosen { record, network, newest } = fact
            && (*newest || record.is_finished())
        {
            return self.look_at(record, *network);
        }
        Ok(())
    }
}

impl SettledOnce {
    fn look_at(&mut self, record: &JobRecord, network: NetworkId) -> Result<(), String> {
        let job = record.job;
        if let Some(before) = self.ended.get(&job) {
            if before != record {
                let (was, is) = (&before.state, &record.state);
                return Err(format!(
                    "job {job} had ended and changed: it was {was:?}, it is {is:?}"
                ));
            }
            return Ok(());
        }
        // Only a record without room for another attempt lets old ones go.
        let full = record.attempts.len() == usize::from(limits::ATTEMPTS);
        let numbers = || record.attempts.iter().map(|attempt| attempt.attempt.0);
        let all = numbers().eq(1..=u32::try_from(record.attempts.len()).unwrap_or(u32::MAX));
        let in_order = all || full && numbers().is_sorted_by(|one, next| one < next);
        if !in_order {
            return Err(format!("job {job} has attempts out of order"));
        }
        if !record.is_finished() {
            return Ok(());
        }
        self.ended.insert(job, record.clone());
        match &record.state {
            JobState::Completed { receipt, .. } => match receipt.verify(network) {
                Ok(receipt) => self.look_at_receipt(record, &receipt, receipt.author()),
                Err(error) => Err(format!("job {job} was settled by a false receipt: {error}")),
            },
            JobState::Queued { .. }
            | JobState::Assigned
            | JobState::Paused { .. }
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => Ok(()),
        }
    }

    fn look_at_receipt(
        &self,
        record: &JobRecord,
        receipt: &Receipt,
        worker: PeerId,
    ) -> Result<(), String> {
        let job = record.job;
        let run = receipt.run();
        let awarded = record
            .attempts
            .iter()
            .any(|attempt| attempt.attempt == run.attempt && attempt.worker == worker);
        if run.job != job || !awarded {
            return Err(format!("job {job} was settled by {run}, never awarded to {worker}"));
        }
        if !self.succeeded.contains(&(run, worker)) {
            return Err(format!("job {job} was settled by {run}, which never succeeded there"));
        }
        match &receipt.ending {
            Ending::Succeeded(claimed) if claimed.outputs == success(run).outputs => Ok(()),
            Ending::Succeeded(_)
            | Ending::Failed { .. }
            | Ending::Cancelled
            | Ending::Paused { .. } => {
                Err(format!("job {job} was settled by another result than {run} made"))
            }
        }
    }
}
