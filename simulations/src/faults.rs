//! What may go wrong in a world, as a plan says it: kinds, how often and how strongly. Everything
//! here is data that a scenario file can hold; the world draws the moments and the victims.
//!
//! With [`Faults::swarm`] each seed has a part of the kinds, each with a strength of its own: a
//! mix of everything hides what only one fault without the others shows (Groce et al., "Swarm
//! testing", 2012).

mod check;
mod counts;
mod draw;
mod happening;

use std::time::Duration;

use cyxwiz_protocol::Rng;
use serde::{Deserialize, Serialize};

pub use counts::{FaultCounts, HostileCounts};
pub(crate) use happening::{Fault, Shape, Victim};

pub use crate::churn::{Churn, SessionLaw};
use crate::{
    chance::{Purpose, Span, below, secret},
    clock::Clock,
    queue::HostId,
};

/// Every kind of fault, and how much of it. Nothing, unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Each seed has a part of the following, and no more of it than is said there.
    pub swarm: bool,
    pub links: LinkFaults,
    pub partitions: Partitions,
    pub crashes: CrashFaults,
    pub disks: DiskFaults,
    pub clocks: Clocks,
    pub pauses: Pauses,
    pub churn: Churn,
    pub speeds: Speeds,
    pub hostile: Hostile,
}

/// Widths of lines in kilobits a second, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    pub least_kbit: u64,
    pub most_kbit: u64,
}

/// How links are beside what the plan's network says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFaults {
    pub latency: Latency,
    /// What hosts can send, drawn for each; without limit when nothing is said.
    pub uplink: Option<Widths>,
    /// What hosts can take.
    pub downlink: Option<Widths>,
    /// Frames of a thousand of which a copy comes much later.
    pub late_copies_permille: u32,
    pub late_copy_after: Span,
    /// Frames of a thousand that others overtake.
    pub overtaken_permille: u32,
    pub overtaken_by: Span,
    /// Times that one link holds everything back for a while, then lets all of it go.
    pub clogs: u32,
    pub clog_lasts: Span,
}

/// The law of a frame's time on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// As the plan's network has it.
    #[default]
    Plan,
    Constant {
        us: u64,
    },
    Uniform {
        least_us: u64,
        most_us: u64,
    },
    /// Half of the frames are faster than the median.
    Lognormal {
        median_us: u64,
        sigma_permille: u32,
    },
    /// Hosts are spread over ten regions of the world; each frame takes the way's time, and up to
    /// so many thousandths more.
    Regions {
        jitter_permille: u32,
    },
}

/// Times that some hosts cannot reach others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Partitions {
    /// Two sides, and nothing between them.
    pub two_way: u32,
    /// Two sides, and one hears the other.
    pub one_way: u32,
    /// Two sides that reach each other only by a third, which reaches both.
    pub bridges: u32,
    /// One host alone.
    pub hosts: u32,
    /// Whoever leads, alone.
    pub leaders: u32,
    /// One region alone, where there are regions; two sides where there are none.
    pub regions: u32,
    pub lasts: Span,
}

/// Times that hosts fall over. What was not on disk is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrashFaults {
    /// Any coordinator.
    pub coordinators: u32,
    /// Whoever leads at that moment.
    pub leaders: u32,
    /// All coordinators at once.
    pub all_coordinators: u32,
    pub workers: u32,
    pub submitters: u32,
    pub down: Span,
    /// A coordinator comes back with an empty disk; only where there are three or more, and one
    /// at a time.
    pub lost_disks: u32,
    /// At least so long between two lost disks.
    pub lost_disk_every_ms: u64,
}

/// Times that disks are slow or full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFaults {
    /// Every flush takes `slow_factor` times as long for a while.
    pub slow: u32,
    pub slow_factor: u32,
    pub slow_lasts: Span,
    /// No flush ends for a while.
    pub stalls: u32,
    pub stall_lasts: Span,
    /// A coordinator's disk takes no new jobs for a while.
    pub full: u32,
    pub full_lasts: Span,
}

/// Clocks that differ. They go on to do so when everything else is healed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clocks {
    /// Wall clocks are ahead by up to this much, beside the two seconds of every world.
    pub skew_ms: u64,
    /// Clocks gain or lose up to this many parts per million; real ones up to 200.
    pub drift_ppm: u32,
}

/// Times that a host stands still: it handles nothing, and then everything that waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pauses {
    pub coordinators: u32,
    pub leaders: u32,
    pub workers: u32,
    pub submitters: u32,
    pub lasts: Span,
}

/// Workers compute so many times as fast as the plan's training says, in thousandths, drawn for
/// each; 0 to 0 is a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speeds {
    pub least_permille: u32,
    pub most_permille: u32,
}

/// Hosts that speak the protocol and mean harm: how many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hostile {
    /// Send receipts for runs that they never had.
    pub forgers: u32,
    /// Send what others sent before, as it was.
    pub replayers: u32,
    /// Bid below everyone and then do nothing, or claim success without a file.
    pub no_shows: u32,
    /// Speak as leader, worker or submitter that they are not.
    pub impostors: u32,
    /// Send bytes that were altered on the way, or never were a frame.
    pub garblers: u32,
    /// Identities of one attacker that offer, bid and ask without end.
    pub sybils: u32,
    /// Hand in other content under a known id and cancel what is not theirs.
    pub submitters: u32,
    /// How long a hostile host waits between two deeds; 0 to 0 is 200 to 1,000.
    pub every: Span,
}

impl Clocks {
    /// The clock of one host: how far it is ahead, `base` included, and how it runs.
    pub(crate) fn of(self, host: HostId, seed: u64, base: Duration) -> (Duration, Clock) {
        let mut rng = stream(seed, Stream::Clock, host.0);
        let skew = Duration::from_millis(below(&mut rng, self.skew_ms + 1));
        let most = i64::from(self.drift_ppm.min(500_000));
        let drawn = below(&mut rng, u64::from(self.drift_ppm.min(500_000)) * 2 + 1);
        let drift = i64::try_from(drawn).expect("at most a million") - most;
        let drift = i32::try_from(drift).expect("at most half a million either way");
        (base + skew, Clock::drifting(drift))
    }
}

/// What a stream of the faults is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Mix = 1,
    Clock,
    Links,
    Speeds,
    Hostile,
}

/// A stream of chance that nothing else draws from.
pub(crate) fn stream(seed: u64, of: Stream, index: u32) -> Rng {
    let index = ((of as u64) << 32) | u64::from(index);
    Rng::new(secret(seed, Purpose::Faults, index))
}
