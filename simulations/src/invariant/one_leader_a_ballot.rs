//! At most one leader acts under a ballot: nobody acts under another's, and nobody under one of an
//! earlier life, when it cannot know any more what it did under it.

use std::collections::BTreeMap;

use cyxwiz_protocol::{Ballot, PeerId};

use super::{Fact, Invariant};

#[derive(Debug, Default)]
pub(super) struct OneLeaderABallot {
    acted: BTreeMap<Ballot, (PeerId, u32)>,
}

impl Invariant for OneLeaderABallot {
    fn name(&self) -> &'static str {
        "one leader acts under a ballot"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Acted { author, ballot, life } = fact else {
            return Ok(());
        };
        let Ballot { term, leader } = ballot;
        if leader != author {
            return Err(format!("{author} acts under term {term} of {leader}"));
        }
        let (before, life_before) = *self.acted.entry(*ballot).or_insert((*author, *life));
        if (before, life_before) != (*author, *life) {
            return Err(format!(
                "{author} acts in its life {life} under term {term}, as {before} did in life \
                 {life_before}"
            ));
        }
        Ok(())
    }
}
