//! The mix of one seed, and how it is told.

use std::{fmt, mem};

use cyxwiz_protocol::Rng;

use super::{
    Churn, Clocks, CrashFaults, DiskFaults, Faults, Hostile, Latency, LinkFaults, Partitions,
    Pauses, SessionLaw, Speeds, Stream, Widths, stream,
};
use crate::chance::{Span, below};

impl Faults {
    /// Some of everything, as a swarm draws from.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            swarm: true,
            links: LinkFaults {
                latency: Latency::Regions { jitter_permille: 200 },
                uplink: Some(Widths { least_kbit: 5_000, most_kbit: 100_000 }),
                downlink: Some(Widths { least_kbit: 20_000, most_kbit: 500_000 }),
                late_copies_permille: 20,
                late_copy_after: Span::millis(500, 8_000),
                overtaken_permille: 50,
                overtaken_by: Span::millis(5, 500),
                clogs: 8,
                clog_lasts: Span::millis(1_000, 8_000),
            },
            partitions: Partitions {
                two_way: 3,
                one_way: 3,
                bridges: 2,
                hosts: 4,
                leaders: 3,
                regions: 2,
                lasts: Span::millis(1_000, 20_000),
            },
            crashes: CrashFaults {
                coordinators: 4,
                leaders: 4,
                all_coordinators: 1,
                workers: 10,
                submitters: 4,
                down: Span::millis(200, 15_000),
                lost_disks: 0,
                lost_disk_every_ms: 60_000,
            },
            disks: DiskFaults {
                slow: 4,
                slow_factor: 20,
                slow_lasts: Span::millis(1_000, 20_000),
                stalls: 4,
                stall_lasts: Span::millis(500, 5_000),
                full: 2,
                full_lasts: Span::millis(1_000, 20_000),
            },
            clocks: Clocks { skew_ms: 30_000, drift_ppm: 200 },
            pauses: Pauses {
                coordinators: 3,
                leaders: 3,
                workers: 6,
                submitters: 2,
                lasts: Span::millis(500, 15_000),
            },
            churn: Churn {
                sessions: SessionLaw::Weibull { scale_ms: 90_000, shape_permille: 600 },
                away: Span::millis(1_000, 20_000),
                ..Churn::default()
            },
            speeds: Speeds { least_permille: 400, most_permille: 2_500 },
            hostile: Hostile {
                forgers: 1,
                replayers: 1,
                no_shows: 2,
                impostors: 1,
                garblers: 1,
                sybils: 6,
                submitters: 1,
                every: Span::millis(200, 1_500),
            },
        }
    }

    /// What this seed has of it: all, or with `swarm` a part, which swarms no more.
    #[must_use]
    pub fn of_seed(mut self, seed: u64) -> Self {
        if !mem::take(&mut self.swarm) {
            return self;
        }
        let rng = &mut stream(seed, Stream::Mix, 0);
        for count in self.counts() {
            *count = part(rng, *count);
        }
        let even = |rng: &mut Rng| below(rng, 2) == 0;
        if even(rng) {
            self.links.latency = Latency::Plan;
        }
        for bandwidth in [&mut self.links.uplink, &mut self.links.downlink] {
            if even(rng) {
                *bandwidth = None;
            }
        }
        if even(rng) {
            self.clocks.skew_ms = 0;
        }
        if even(rng) {
            self.churn.sessions = SessionLaw::Endless;
        }
        if even(rng) {
            self.speeds = Speeds::default();
        }
        self
    }

    /// Everything that is a number of times, hosts or thousandths.
    pub(super) fn counts(&mut self) -> [&mut u32; 30] {
        let Self { links, partitions, crashes, disks, clocks, pauses, hostile, .. } = self;
        [
            &mut links.late_copies_permille,
            &mut links.overtaken_permille,
            &mut links.clogs,
            &mut partitions.two_way,
            &mut partitions.one_way,
            &mut partitions.bridges,
            &mut partitions.hosts,
            &mut partitions.leaders,
            &mut partitions.regions,
            &mut crashes.coordinators,
            &mut crashes.leaders,
            &mut crashes.all_coordinators,
            &mut crashes.workers,
            &mut crashes.submitters,
            &mut crashes.lost_disks,
            &mut disks.slow,
            &mut disks.stalls,
            &mut disks.full,
            &mut clocks.drift_ppm,
            &mut pauses.coordinators,
            &mut pauses.leaders,
            &mut pauses.workers,
            &mut pauses.submitters,
            &mut hostile.forgers,
            &mut hostile.replayers,
            &mut hostile.no_shows,
            &mut hostile.impostors,
            &mut hostile.garblers,
            &mut hostile.sybils,
            &mut hostile.submitters,
        ]
    }
}

/// Half of the time nothing, else a quarter to all of it.
fn part(rng: &mut Rng, most: u32) -> u32 {
    if most == 0 || below(rng, 2) == 0 {
        return 0;
    }
    let quarters = below(rng, 4) + 1;
    let share = (u64::from(most) * quarters).div_ceil(4);
    u32::try_from(share).expect("not more than the most")
}

/// "; name: value, value; name: value", or nothing.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { links, churn, speeds, .. } = self;
        match links.latency {
            Latency::Plan => {}
            Latency::Constant { us } => write!(f, "; latency {us} µs")?,
            Latency::Uniform { least_us, most_us } => {
                write!(f, "; latency {least_us} to {most_us} µs")?;
            }
            Latency::Lognormal { median_us, sigma_permille } => {
                write!(f, "; latency lognormal of {median_us} µs, sigma {sigma_permille} ‰")?;
            }
            Latency::Regions { jitter_permille } => {
                write!(f, "; ten regions, jitter {jitter_permille} ‰")?;
            }
        }
        for (name, widths) in [("uplink", links.uplink), ("downlink", links.downlink)] {
            if let Some(Widths { least_kbit, most_kbit }) = widths {
                write!(f, "; {name} {least_kbit} to {most_kbit} kbit/s")?;
            }
        }
        if churn.sessions != SessionLaw::Endless {
            write!(f, "; sessions {:?}", churn.sessions)?;
        }
        if !churn.trace.steps().is_empty() {
            write!(f, "; a churn trace of {} steps", churn.trace.steps().len())?;
        }
        if *speeds != Speeds::default() {
            let Speeds { least_permille, most_permille } = speeds;
            write!(f, "; speeds {least_permille} to {most_permille} ‰")?;
        }
        self.tell_counts(f)
    }
}

impl Faults {
    fn tell_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { links, partitions, crashes, disks, clocks, pauses, hostile, .. } = self;
        let links = [
            ("late copies ‰", links.late_copies_permille),
            ("overtaken ‰", links.overtaken_permille),
            ("clogs", links.clogs),
        ];
        let partitions = [
            ("two-way", partitions.two_way),
            ("one-way", partitions.one_way),
            ("bridges", partitions.bridges),
            ("hosts", partitions.hosts),
            ("leaders", partitions.leaders),
            ("regions", partitions.regions),
        ];
        let crashes = [
            ("coordinators", crashes.coordinators),
            ("leaders", crashes.leaders),
            ("all coordinators", crashes.all_coordinators),
            ("workers", crashes.workers),
            ("submitters", crashes.submitters),
            ("disks lost", crashes.lost_disks),
        ];
        let disks = [("slow", disks.slow), ("stalled", disks.stalls), ("full", disks.full)];
        let skew_ms = u32::try_from(clocks.skew_ms).unwrap_or(u32::MAX);
        let clocks = [("skew ms", skew_ms), ("drift ppm", clocks.drift_ppm)];
        let pauses = [
            ("coordinators", pauses.coordinators),
            ("leaders", pauses.leaders),
            ("workers", pauses.workers),
            ("submitters", pauses.submitters),
        ];
        let hostile = [
            ("forgers", hostile.forgers),
            ("replayers", hostile.replayers),
            ("no-shows", hostile.no_shows),
            ("impostors", hostile.impostors),
            ("garblers", hostile.garblers),
            ("sybils", hostile.sybils),
            ("submitters", hostile.submitters),
        ];
        tell(f, "links", &links)?;
        tell(f, "partitions", &partitions)?;
        tell(f, "crashes", &crashes)?;
        tell(f, "disks", &disks)?;
        tell(f, "clocks", &clocks)?;
        tell(f, "pauses", &pauses)?;
        tell(f, "hostile", &hostile)
    }
}

/// Numbers under a name; those that are nothing are not told.
fn tell(f: &mut fmt::Formatter<'_>, name: &str, numbers: &[(&str, u32)]) -> fmt::Result {
    let told = numbers.iter().filter(|(_, number)| *number > 0);
    for (index, (of, number)) in told.enumerate() {
        match index {
            0 => write!(f, "; {name}: {of} {number}")?,
            _ => write!(f, ", {of} {number}")?,
        }
    }
    Ok(())
}
