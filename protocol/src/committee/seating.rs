//! Who sits, and how many of them are enough.

use std::collections::BTreeSet;

use super::rules::Seats;
use crate::{
    Network, PeerId, StoreId,
    charter::CharterError,
    message::{membership::Member, replication::Seating},
};

/// A member by what makes it one: a peer with the disk that it promised on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Replica {
    pub(crate) peer: PeerId,
    pub(crate) store: StoreId,
}

impl Member {
    pub(crate) const fn replica(&self) -> Replica {
        Replica { peer: self.peer, store: self.store }
    }
}

impl Seating {
    /// Everyone who has a say, each once.
    pub(crate) fn replicas(&self) -> BTreeSet<Replica> {
        self.members.iter().chain(&self.joining).map(Member::replica).collect()
    }

    pub(crate) fn seats(&self, replica: Replica) -> bool {
        self.members.iter().chain(&self.joining).any(|member| member.replica() == replica)
    }

    pub(crate) const fn is_joint(&self) -> bool {
        !self.joining.is_empty()
    }

    /// Whether those who `agree` are a majority, while members change of the old and of the new.
    pub(crate) fn is_quorum(&self, agrees: impl Fn(Replica) -> bool) -> bool {
        self.seats_by_side().is_quorum(|member| agrees(member.replica()))
    }

    /// The sides that must agree, as the rules want them.
    pub(super) const fn seats_by_side(&self) -> Seats<'_, Member> {
        if self.is_joint() {
            Seats::joint(self.members.as_slice(), self.joining.as_slice())
        } else {
            Seats::stable(self.members.as_slice())
        }
    }

    /// Whether the charter allows this committee. Tickets may have expired since: they say until
    /// when a seat may be taken, not how long it may be held.
    pub(crate) fn verify(&self, network: &Network) -> Result<(), CharterError> {
        self.founding.verify(network)?;
        for member in self.members.iter().chain(&self.joining) {
            member.credential.verify_signatures(network, member.peer)?;
        }
        Ok(())
    }

    /// Everyone who has a say, for the world outside: each peer once.
    pub(crate) fn everyone(&self) -> Vec<Member> {
        let mut members = self.joining.clone();
        let known: BTreeSet<PeerId> = members.iter().map(|member| member.peer).collect();
        members.extend(self.members.iter().filter(|member| !known.contains(&member.peer)));
        members.sort_by_key(|member| member.peer);
        members
    }
}
