//! A replica keeps its promises: what it says of its disk is so when it says it, and whoever has
//! promised a ballot follows no lower one, however often it restarts.

use std::collections::BTreeMap;

use cyxwiz_protocol::{Ballot, PeerId, StoreId};

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct PromisesAreKept {
    /// The highest ballot that each told that it follows.
    promised: BTreeMap<(PeerId, StoreId), Ballot>,
}

impl Invariant for PromisesAreKept {
    fn name(&self) -> &'static str {
        "a replica keeps its promises"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Promised { replica, ballot, on_disk } = fact {
            if on_disk < ballot {
                let (term, known) = (ballot.term, on_disk.term);
                return Err(format!("{} promises term {term}, its disk has {known}", replica.0));
            }
            return self.follow(*replica, *ballot);
        }
        if let Fact::Followed { replica, ballot, lacking } = fact {
            if let Some(job) = lacking {
                let peer = replica.0;
                return Err(format!("{peer} says that it has job {job}; its disk has it not so"));
            }
            return self.follow(*replica, *ballot);
        }
        Ok(())
    }
}

impl PromisesAreKept {
    fn follow(&mut self, replica: (PeerId, StoreId), ballot: Ballot) -> Result<(), String> {
        let promised = self.promised.entry(replica).or_insert(ballot);
        if *promised > ballot {
            let (before, now) = (promised.term, ballot.term);
            return Err(format!("{} promised term {before} and follows term {now}", replica.0));
        }
        *promised = ballot;
        Ok(())
    }
}
