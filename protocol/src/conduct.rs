//! What peers do wrong: counted, and at a limit answered by closing the door for a while.

use std::collections::BTreeMap;

use crate::{PeerId, limits};

/// What was dropped since the start, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bytes that are no message.
    pub unreadable: u64,
    /// Another protocol version.
    pub version: u64,
    /// Another network's.
    pub network: u64,
    /// Not signed by whom it claims, or not one that may say so.
    pub unsigned: u64,
    /// Seen before, or from another hour.
    pub stale: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Conduct {
    strikes: BTreeMap<PeerId, u8>,
    pub(crate) dropped: Dropped,
}

impl Conduct {
    /// Counts a misdeed; true when the peer has used up its patience.
    pub(crate) fn strike(&mut self, peer: PeerId) -> bool {
        if self.strikes.len() >= limits::STRIKE_PEERS && !self.strikes.contains_key(&peer) {
            // Forgetting the mildest offender keeps the table bounded and the worst known.
            if let Some(mildest) = self.strikes.iter().min_by_key(|(_, count)| **count) {
                let mildest = *mildest.0;
                self.strikes.remove(&mildest);
            }
        }
        let count = self.strikes.entry(peer).or_default();
        *count += 1;
        let spent = *count >= limits::STRIKES;
        if spent {
            self.strikes.remove(&peer);
        }
        spent
    }
}
