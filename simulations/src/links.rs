//! How frames get from host to host: when each copy of one arrives, if it does. The plan's
//! [`NetworkModel`] is the ground; on it come the faults of links, lines of limited width, cuts and
//! clogs. Who is connected with whom is the world's business.

use std::{collections::BTreeMap, time::Duration};

use cyxwiz_protocol::{Instant, Rng};

use crate::{
    chance::{below, happens, place},
    faults::{FaultCounts, Latency, LinkFaults, Stream, Widths, stream},
    laws,
    network::NetworkModel,
    partition::Cut,
    queue::HostId,
    regions,
    scenario::Plan,
};

/// What waits to be sent by one host for longer than this is dropped, as a full queue does.
const BACKLOG: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Links {
    model: NetworkModel,
    faults: LinkFaults,
    lines: Vec<Line>,
    cuts: BTreeMap<u64, Cut>,
    clogs: BTreeMap<(HostId, HostId), Instant>,
    blocked: u64,
    clogged: u64,
    late_copies: u64,
    overtaken: u64,
    congested: u64,
}

/// A host's way into the network.
#[derive(Clone, Copy, Debug)]
struct Line {
    region: usize,
    /// In kilobits a second; none is without limit.
    up_kbit: Option<u64>,
    down_kbit: Option<u64>,
    up_free_at: Instant,
    down_free_at: Instant,
}

impl Links {
    pub(crate) fn new(seed: u64, plan: &Plan, hosts: usize) -> Self {
        let faults = plan.faults.links;
        let mut rng = stream(seed, Stream::Links, 0);
        let mut line = || Line {
            region: place(&mut rng, regions::COUNT),
            up_kbit: faults.uplink.map(|widths| width(widths, &mut rng)),
            down_kbit: faults.downlink.map(|widths| width(widths, &mut rng)),
            up_free_at: Instant::START,
            down_free_at: Instant::START,
        };
        Self {
            model: plan.network,
            faults,
            lines: (0..hosts).map(|_| line()).collect(),
            cuts: BTreeMap::new(),
            clogs: BTreeMap::new(),
            blocked: 0,
            clogged: 0,
            late_copies: 0,
            overtaken: 0,
            congested: 0,
        }
    }

    /// When the copies of one frame arrive: none, one or two.
    pub(crate) fn carry(
        &mut self,
        now: Instant,
        (from, to): (HostId, HostId),
        bytes: usize,
        rng: &mut Rng,
    ) -> impl Iterator<Item = Instant> + use<> {
        let (first, second) = self.copies(now, (from, to), bytes, rng);
        first.into_iter().chain(second)
    }

    fn copies(
        &mut self,
        now: Instant,
        (from, to): (HostId, HostId),
        bytes: usize,
        rng: &mut Rng,
    ) -> (Option<Instant>, Option<Instant>) {
        if self.is_cut(from, to) {
            self.blocked += 1;
            return (None, None);
        }
        let lost = happens(rng, self.model.loss_permille);
        let twice = happens(rng, self.model.duplicate_permille);
        if lost && !twice {
            return (None, None);
        }
        let Some(sent) = self.leave(now, from, bytes) else {
            self.congested += 1;
            return (None, None);
        };
        let mut first = sent + self.latency((from, to), rng);
        if happens(rng, self.faults.overtaken_permille) {
            self.overtaken += 1;
            first = first + self.faults.overtaken_by.draw(rng);
        }
        let second = if happens(rng, self.faults.late_copies_permille) {
            self.late_copies += 1;
            Some(first + self.faults.late_copy_after.draw(rng))
        } else {
            twice.then(|| sent + self.latency((from, to), rng) * 2)
        };
        let first = (!lost).then(|| self.enter(first, (from, to), bytes));
        (first, second.map(|at| self.enter(at, (from, to), bytes)))
    }

    /// How long a frame is under way between two hosts.
    pub(crate) fn latency(&self, (from, to): (HostId, HostId), rng: &mut Rng) -> Duration {
        match self.faults.latency {
            Latency::Plan => self.model.latency.draw(rng),
            Latency::Constant { us } => Duration::from_micros(us),
            Latency::Uniform { least_us, most_us } => {
                let more = below(rng, most_us.saturating_sub(least_us) + 1);
                Duration::from_micros(least_us + more)
            }
            Latency::Lognormal { median_us, sigma_permille } => {
                laws::lognormal(rng, Duration::from_micros(median_us), sigma_permille)
            }
            Latency::Regions { jitter_permille } => {
                let way = regions::one_way(self.region(from), self.region(to));
                let jitter = below(rng, u64::from(jitter_permille) + 1);
                way + way * u32::try_from(jitter).expect("within 32 bits") / 1_000
            }
        }
    }

    /// When the last bit has left the sender; none when its line has too much to send.
    fn leave(&mut self, now: Instant, from: HostId, bytes: usize) -> Option<Instant> {
        let line = &mut self.lines[from.index()];
        let Some(kbit) = line.up_kbit else {
            return Some(now);
        };
        let begins = line.up_free_at.max(now);
        if begins.since(now) > BACKLOG {
            return None;
        }
        line.up_free_at = begins + on_line(bytes, kbit);
        Some(line.up_free_at)
    }

    /// When the last bit has come to the receiver, whose line takes frames in the order in which
    /// they were sent.
    fn enter(&mut self, at: Instant, way: (HostId, HostId), bytes: usize) -> Instant {
        let mut at = at;
        if let Some(&until) = self.clogs.get(&way)
            && until > at
        {
            self.clogged += 1;
            at = until;
        }
        let line = &mut self.lines[way.1.index()];
        let Some(kbit) = line.down_kbit else {
            return at;
        };
        let waits_until = line.down_free_at.min(at + BACKLOG);
        line.down_free_at = waits_until.max(at) + on_line(bytes, kbit);
        line.down_free_at
    }

    pub(crate) fn region(&self, host: HostId) -> usize {
        self.lines[host.index()].region
    }

    pub(crate) const fn has_regions(&self) -> bool {
        matches!(self.faults.latency, Latency::Regions { .. })
    }

    pub(crate) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.cuts.values().any(|cut| cut.blocks(from, to))
    }

    pub(crate) fn cut(&mut self, number: u64, cut: Cut) {
        self.cuts.insert(number, cut);
    }

    pub(crate) fn mend(&mut self, number: u64) {
        self.cuts.remove(&number);
    }

    /// What is sent over this link comes at that moment at the soonest.
    pub(crate) fn clog(&mut self, way: (HostId, HostId), until: Instant) {
        self.clogs.insert(way, until);
    }

    /// From now on everything comes, once and in its time; lines stay as narrow as they are.
    pub(crate) fn heal(&mut self) {
        self.model = NetworkModel::reliable(self.model.latency);
        (self.faults.late_copies_permille, self.faults.overtaken_permille) = (0, 0);
        self.cuts.clear();
        self.clogs.clear();
    }

    pub(crate) const fn add_counts(&self, counts: &mut FaultCounts) {
        counts.blocked = self.blocked;
        counts.clogged = self.clogged;
        counts.late_copies = self.late_copies;
        counts.overtaken = self.overtaken;
        counts.congested = self.congested;
    }
}

fn width(Widths { least_kbit, most_kbit }: Widths, rng: &mut Rng) -> u64 {
    (least_kbit + below(rng, most_kbit.saturating_sub(least_kbit) + 1)).max(1)
}

fn on_line(bytes: usize, kbit: u64) -> Duration {
    // Kilobits a second are bits a millisecond.
    Duration::from_micros(bytes as u64 * 8 * 1_000 / kbit)
}

#[cfg(test)]
mod tests;
