//! What is wrong with each host at a moment, and how often what went wrong so far.

use std::collections::BTreeSet;

use cyxwiz_protocol::{Ballot, Instant};

use crate::{
    chance::below,
    faults::{FaultCounts, Speeds, Stream, stream},
    queue::HostId,
    scenario::Plan,
};

#[derive(Debug)]
pub(in crate::world) struct Troubles {
    hosts: Vec<Trouble>,
    /// Nobody stands still from here on, as far as is known.
    pub(super) pauses_end: Instant,
    pub(super) cuts: u64,
    /// Connections that were given up in a cut.
    pub(super) given_up: BTreeSet<(HostId, HostId)>,
    pub(super) disk_lost_at: Option<Instant>,
    /// Coordinators that led when they were last looked at.
    pub(in crate::world) leading: BTreeSet<HostId>,
    /// The highest ballot under which anyone was seen to lead.
    pub(in crate::world) highest: Option<Ballot>,
    pub(in crate::world) counts: FaultCounts,
}

/// What is wrong with one host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    pub(super) paused_until: Instant,
    pub(super) slow_until: Instant,
    pub(super) stalled_until: Instant,
    pub(super) disk_full: bool,
    /// A trace took it away; only the trace, or the end of all faults, brings it back.
    pub(super) away: bool,
    /// In thousandths of the plan's.
    pub(super) speed_permille: u32,
}

impl Troubles {
    pub(in crate::world) fn new(seed: u64, plan: &Plan, hosts: usize) -> Self {
        let Speeds { least_permille, most_permille } = plan.faults.speeds;
        let mut rng = stream(seed, Stream::Speeds, 0);
        let mut speed = || match (least_permille, most_permille) {
            (_, 0) => 1_000,
            (least, most) => {
                let more = below(&mut rng, u64::from(most.saturating_sub(least)) + 1);
                (least + u32::try_from(more).expect("a difference of 32 bits")).max(1)
            }
        };
        let mut trouble = || Trouble { speed_permille: speed(), ..Trouble::default() };
        Self {
            hosts: (0..hosts).map(|_| trouble()).collect(),
            pauses_end: Instant::START,
            cuts: 0,
            given_up: BTreeSet::new(),
            disk_lost_at: None,
            leading: BTreeSet::new(),
            highest: None,
            counts: FaultCounts::default(),
        }
    }

    pub(super) fn of(&self, host: HostId) -> &Trouble {
        &self.hosts[host.index()]
    }

    pub(super) fn of_mut(&mut self, host: HostId) -> &mut Trouble {
        &mut self.hosts[host.index()]
    }
}
