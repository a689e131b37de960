//! Later ballots extend what was chosen: whatever state stands on a disk with a higher rank than
//! a state that a majority had, was made from it; and one rank is one state.

use std::collections::BTreeMap;

use cyxwiz_protocol::{Ballot, JobId, inspect::RegisterOnDisk};

use super::{Copies, Fact, Invariant, extends};

#[derive(Debug, Default)]
pub(super) struct ChosenIsExtended {
    chosen: BTreeMap<JobId, RegisterOnDisk>,
}

impl Invariant for ChosenIsExtended {
    fn name(&self) -> &'static str {
        "later ballots extend what was chosen"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Seated { in_force, other } = fact
            && other.generation == in_force.generation
            && other.ballot > in_force.ballot
            && other.epoch < in_force.epoch
        {
            return Err(format!(
                "the members of epoch {} shall sit under term {} after those of epoch {} under \
                 term {}",
                other.epoch, other.ballot.term, in_force.epoch, in_force.ballot.term
            ));
        }
        if let Fact::OnDisks(copies) = fact
            && copies.in_force
        {
            return self.look_at(copies);
        }
        Ok(())
    }
}

impl ChosenIsExtended {
    fn look_at(&mut self, copies: &Copies<'_>) -> Result<(), String> {
        let job = copies.job;
        let mut by_rank: BTreeMap<(Ballot, u64), &RegisterOnDisk> = BTreeMap::new();
        for held in copies.held.iter().flatten() {
            let first = *by_rank.entry((held.ballot, held.version)).or_insert(held);
            if first.record != held.record {
                return Err(format!(
                    "job {job} has two states of version {} of term {}",
                    held.version, held.ballot.term
                ));
            }
        }
        for (rank, held) in by_rank {
            if let Some(chosen) = self.chosen.get(&job)
                && rank > (chosen.ballot, chosen.version)
                && !extends(&chosen.record, &held.record)
            {
                return Err(format!(
                    "what a majority had of job {job} (term {}, version {}) is not in what came \
                     later (term {}, version {})",
                    chosen.ballot.term, chosen.version, held.ballot.term, held.version
                ));
            }
            let holds = |other: &Option<RegisterOnDisk>| {
                other.as_ref().is_some_and(|it| (it.ballot, it.version) == rank)
            };
            let newer =
                self.chosen.get(&job).is_none_or(|known| rank > (known.ballot, known.version));
            if newer && copies.may_decide(holds) {
                self.chosen.insert(job, held.clone());
            }
        }
        Ok(())
    }
}
