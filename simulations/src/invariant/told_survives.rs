//! What was told outlives any minority: as long as a committee can come together, each majority
//! that it may come together with has it, in its newest state of the job.

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_protocol::{Attempt, JobId, inspect::RegisterOnDisk, job::JobRecord};

use super::{Copies, Fact, Invariant, extends};

#[derive(Debug, Default)]
pub(super) struct ToldSurvives {
    accepted: BTreeSet<JobId>,
    cancelling: BTreeSet<JobId>,
    /// The highest number of an order that was noted.
    ordered: BTreeMap<JobId, u64>,
    counted: BTreeMap<JobId, BTreeSet<Attempt>>,
    /// The newest state that a leader told of.
    told: BTreeMap<JobId, JobRecord>,
}

impl Invariant for ToldSurvives {
    fn name(&self) -> &'static str {
        "what was told outlives any minority"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::AcceptedTold { job } = fact {
            self.accepted.insert(*job);
        }
        if let Fact::CancelTold { job } = fact {
            self.cancelling.insert(*job);
        }
        if let Fact::OrderTold { job, number } = fact {
            let ordered = self.ordered.entry(*job).or_default();
            *ordered = (*ordered).max(*number);
        }
        if let Fact::CountedTold { run } = fact {
            self.counted.entry(run.job).or_default().insert(run.attempt);
        }
        if let Fact::Chosen { record, .. } = fact {
            return self.look_at_told(record);
        }
        if let Fact::OnDisks(copies) = fact { self.look_at_disks(copies) } else { Ok(()) }
    }
}

impl ToldSurvives {
    /// All states that leaders tell of are steps of one way, whoever leads.
    fn look_at_told(&mut self, record: &JobRecord) -> Result<(), String> {
        if let Some(told) = self.told.get(&record.job) {
            if extends(record, told) {
                return Ok(());
            }
            if !extends(told, record) {
                return Err(format!(
                    "of job {} leaders told what cannot both be: {}, and {}",
                    record.job,
                    brief(told),
                    brief(record)
                ));
            }
        }
        self.told.insert(record.job, record.clone());
        Ok(())
    }

    fn look_at_disks(&self, copies: &Copies<'_>) -> Result<(), String> {
        let job = copies.job;
        if self.accepted.contains(&job) && copies.may_decide(Option::is_none) {
            return Err(format!(
                "job {job} was accepted, and a majority may not know it ({copies})"
            ));
        }
        for held in copies.present() {
            let Some(what) = self.missing(held) else { continue };
            let older = |other: &Option<RegisterOnDisk>| {
                other.as_ref().is_none_or(|other| rank(other) <= rank(held))
            };
            if copies.may_decide(older) {
                return Err(format!(
                    "a majority may take job {job} for {} (term {}, version {}), without {what} \
                     ({copies})",
                    brief(&held.record),
                    held.ballot.term,
                    held.version
                ));
            }
        }
        Ok(())
    }

    /// What was told and is not in this state.
    fn missing(&self, held: &RegisterOnDisk) -> Option<String> {
        let record = &held.record;
        let job = record.job;
        if let Some(told) = self.told.get(&job).filter(|told| !extends(told, record)) {
            return Some(format!("what was told: {}", brief(told)));
        }
        if self.cancelling.contains(&job) && !record.cancel_requested && !record.is_finished() {
            return Some("the wish to cancel it".to_owned());
        }
        if self.ordered.get(&job).is_some_and(|number| *number > record.pause.order) {
            return Some("the order to pause or resume it".to_owned());
        }
        let uncounted = self.counted.get(&job)?.iter().find(|attempt| {
            let mut attempts = record.attempts.iter();
            !attempts.any(|it| it.attempt == **attempt && it.end.is_some())
        });
        uncounted.map(|attempt| format!("the receipt that was counted of its attempt {attempt}"))
    }
}

fn rank(register: &RegisterOnDisk) -> (cyxwiz_protocol::Ballot, u64) {
    (register.ballot, register.version)
}

/// A state in few words.
fn brief(record: &JobRecord) -> String {
    let attempts = record.attempts.len();
    let wish = if record.cancel_requested { ", to be cancelled" } else { "" };
    let state = format!("{:?}", record.state);
    let state = state.split([' ', '{']).next().unwrap_or_default();
    format!("{state} after {attempts} attempts{wish}")
}
