//! How often what went wrong: a fault that never happens tests nothing.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What went wrong in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// Crashes of whoever led.
    pub leaders_crashed: u64,
    /// Times that all coordinators fell over at once.
    pub all_crashed: u64,
    pub lost_disks: u64,
    /// Sessions that ended, by a law or a trace.
    pub departures: u64,
    pub cuts: u64,
    /// Frames that did not come because of a cut.
    pub blocked: u64,
    pub clogs: u64,
    /// Frames that a clog held back.
    pub clogged: u64,
    /// Copies that came much later.
    pub late_copies: u64,
    /// Frames that others overtook.
    pub overtaken: u64,
    /// Frames that found the sender's line too busy.
    pub congested: u64,
    pub pauses: u64,
    /// Things that happened to a host that stood still, and were handled later.
    pub put_off: u64,
    pub slow_disks: u64,
    pub stalls: u64,
    pub full_disks: u64,
    /// What hostile hosts did, by kind.
    pub hostile: BTreeMap<&'static str, HostileCounts>,
}

/// What the hostile hosts of one kind did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostileCounts {
    /// Frames and gossip messages that they sent.
    pub sent: u64,
    /// Frames that honest hosts sent them.
    pub heard: u64,
    /// Awards that they were given.
    pub awards: u64,
    /// Times that an honest host shut one of them out.
    pub bans: u64,
    /// Frames that came to nothing because of it.
    pub shut_out: u64,
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("leaders crashed", self.leaders_crashed),
            ("all crashed", self.all_crashed),
            ("lost disks", self.lost_disks),
            ("departures", self.departures),
            ("cuts", self.cuts),
            ("blocked frames", self.blocked),
            ("clogs", self.clogs),
            ("clogged frames", self.clogged),
            ("late copies", self.late_copies),
            ("overtaken", self.overtaken),
            ("congested", self.congested),
            ("pauses", self.pauses),
            ("slow disks", self.slow_disks),
            ("stalls", self.stalls),
            ("full disks", self.full_disks),
        ];
        let mut first = true;
        for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{name} {number}")?;
            first = false;
        }
        for (kind, counts) in &self.hostile {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{kind} sent {} and were banned {} times", counts.sent, counts.bans)?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}
