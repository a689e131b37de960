//! What peers do wrong: counted, and at a limit answered by closing the door for a while.

use std::collections::BTreeMap;

use crate::{Instant, PeerId, limits};

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
    /// How many, and when the first of them was.
    strikes: BTreeMap<PeerId, (u8, Instant)>,
    pub(crate) dropped: Dropped,
}

impl Conduct {
    /// Counts a misdeed, those of long ago forgiven; true when the peer has used up its patience.
    pub(crate) fn strike(&mut self, peer: PeerId, now: Instant) -> bool {
        if self.strikes.len() >= limits::STRIKE_PEERS && !self.strikes.contains_key(&peer) {
            // Forgetting the mildest offender keeps the table bounded and the worst known.
            if let Some(mildest) = self.strikes.iter().min_by_key(|(_, strikes)| **strikes) {
                let mildest = *mildest.0;
                self.strikes.remove(&mildest);
            }
        }
        let (count, first) = self.strikes.entry(peer).or_insert((0, now));
        if now.since(*first) > limits::BAN {
            (*count, *first) = (0, now);
        }
        *count += 1;
        let spent = *count >= limits::STRIKES;
        if spent {
            self.strikes.remove(&peer);
        }
        spent
    }
}
