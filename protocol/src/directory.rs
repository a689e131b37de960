//! Who coordinates, as far as this peer knows. All roles read it; only `peer.rs` writes it.

use std::time::Duration;

use crate::{
    Instant, Network, PeerId, charter::CharterError, message::membership::CommitteeRecord,
    signed::Verified,
};

/// The committee in force.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    committee: Option<Verified<CommitteeRecord>>,
    /// When its record was last told.
    told: Instant,
}

/// Why a committee's record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitteeError {
    #[error("a committee without members")]
    Empty,
    #[error("a record that its leader did not sign")]
    NotByLeader,
    #[error("a committee that nobody was allowed to found: {0}")]
    Founding(CharterError),
    #[error("a member without a seat: {0}")]
    Seat(CharterError),
}

/// What a record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Another leader, the first, or the same in a new term: it has forgotten what it was told.
    Leader,
    /// A newer epoch of the same term.
    Refreshed,
    /// No news; whether it is what is known, said again.
    Nothing { current: bool },
}

impl Directory {
    pub(crate) fn leader(&self) -> Option<PeerId> {
        self.committee.as_ref().map(|record| record.ballot.leader)
    }

    pub(crate) fn committee(&self) -> Option<&Verified<CommitteeRecord>> {
        self.committee.as_ref()
    }

    /// The record in force was told just now.
    pub(crate) const fn refresh(&mut self, now: Instant) {
        self.told = now;
    }

    /// Whether nobody has spoken of the committee for this long, or ever.
    pub(crate) fn is_stale(&self, now: Instant, after: Duration) -> bool {
        self.committee.is_none() || now.since(self.told) >= after
    }

    pub(crate) fn is_member(&self, peer: PeerId) -> bool {
        let members = self.committee.as_ref().map_or(&[][..], |record| &record.members);
        members.iter().any(|member| member.peer == peer)
    }

    /// Believes a record when its seats hold and it is newer than what is known.
    pub(crate) fn learn(
        &mut self,
        record: Verified<CommitteeRecord>,
        network: &Network,
    ) -> Result<Learned, CommitteeError> {
        if record.members.is_empty() {
            return Err(CommitteeError::Empty);
        }
        if record.author() != record.ballot.leader
            || !record.members.iter().any(|member| member.peer == record.author())
        {
            return Err(CommitteeError::NotByLeader);
        }
        record.founding.verify(network).map_err(CommitteeError::Founding)?;
        for member in &record.members {
            let seat = member.credential.verify_signatures(network, member.peer);
            seat.map_err(CommitteeError::Seat)?;
        }
        let Some(known) = &self.committee else {
            self.committee = Some(record);
            return Ok(Learned::Leader);
        };
        if !supersedes(&record, known) {
            let current = record.ballot == known.ballot && record.epoch == known.epoch;
            return Ok(Learned::Nothing { current });
        }
        let learned =
            if record.ballot == known.ballot { Learned::Refreshed } else { Learned::Leader };
        self.committee = Some(record);
        Ok(learned)
    }
}

/// The later founding stands, then the later ballot, then the later epoch: a leader's ballot is
/// above those of all leaders whose facts it took over.
fn supersedes(new: &CommitteeRecord, known: &CommitteeRecord) -> bool {
    let age = |record: &CommitteeRecord| (record.founding.generation, record.ballot, record.epoch);
    age(new) > age(known)
}
