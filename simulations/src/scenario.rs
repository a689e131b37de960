//! What is simulated: a table of scenarios, and the plan that a scenario and a seed make. What a
//! scenario leaves open is drawn from the seed and printed with the plan.

use std::{fmt, time::Duration};

use cyxwiz_protocol::{Rng, limits};
use serde::Serialize;

use crate::{
    chance::{Purpose, Span, below, stream},
    network::NetworkModel,
};

/// A kind of run, by name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    plan: fn(&mut Rng) -> Plan,
}

/// Every scenario.
pub const ALL: [Scenario; 5] = [
    Scenario { name: "smoke", about: "3 workers, 20 jobs, nothing goes wrong", plan: smoke },
    Scenario { name: "burst", about: "10 jobs at once over 3 equal workers", plan: burst },
    Scenario { name: "loss", about: "a fifth of all frames is lost, some come twice", plan: loss },
    Scenario {
        name: "churn",
        about: "coordinator, workers and submitters crash and come back",
        plan: churn,
    },
    Scenario { name: "scale", about: "1,000 workers, 5,000 jobs within a second", plan: scale },
];

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }
}

/// What a run is, to the last detail that is not drawn while it goes.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub workers: u32,
    pub submitters: u32,
    /// Jobs that a worker runs at once.
    pub slots: u16,
    pub jobs: u32,
    /// The jobs are handed in at moments drawn from this long a time.
    pub arrival: Duration,
    /// How long a training process computes.
    pub training: Span,
    /// Attempts of a thousand that fail in a way that another may repair.
    pub failing_permille: u32,
    /// Jobs of a thousand that their submitters cancel.
    pub cancelled_permille: u32,
    pub network: NetworkModel,
    /// How long a flush takes.
    pub flush: Span,
    pub fsync: FsyncModel,
    pub crashes: Option<Crashes>,
    /// How long the faults go on, counted from the first job. Then the network heals and
    /// everyone is up.
    pub faults_for: Duration,
    /// After this much more, every accepted job must have ended.
    pub liveness: Duration,
}

/// How often hosts crash, and for how long they are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Crashes {
    pub coordinator: u32,
    pub workers: u32,
    pub submitters: u32,
    pub down: Span,
}

/// What a flush is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FsyncModel {
    /// What was flushed survives a crash.
    Honest,
    /// The coordinator's disk says "flushed" at once and writes seconds later, as a page cache
    /// without fsync does. A mistake made on purpose: the invariants must catch it.
    Skipped,
}

/// What the command line may say beside the scenario's name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub workers: Option<u32>,
    pub jobs: Option<u32>,
    pub skip_fsync: bool,
}

/// A plan cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("{0} workers: give 1 to {max}, as many as a coordinator knows", max = limits::WORKERS)]
    Workers(u32),
    #[error(
        "{0} jobs: give 1 to {max}, a coordinator forgets the oldest ended ones beyond",
        max = limits::FINISHED_JOBS
    )]
    Jobs(u32),
}

impl Plan {
    /// What `scenario` means with this seed.
    pub fn new(scenario: Scenario, seed: u64, options: Options) -> Result<Self, OptionsError> {
        let mut plan = (scenario.plan)(&mut stream(seed, Purpose::Plan));
        let bounded = |number: u32, limit: usize| number > 0 && number as usize <= limit;
        plan.workers = options.workers.unwrap_or(plan.workers);
        plan.jobs = options.jobs.unwrap_or(plan.jobs);
        if !bounded(plan.workers, limits::WORKERS) {
            return Err(OptionsError::Workers(plan.workers));
        }
        if !bounded(plan.jobs, limits::FINISHED_JOBS) {
            return Err(OptionsError::Jobs(plan.jobs));
        }
        if options.skip_fsync {
            plan.fsync = FsyncModel::Skipped;
        }
        Ok(plan)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkModel { latency, loss_permille, duplicate_permille } = self.network;
        write!(
            f,
            "{} workers of {} slots, {} submitters, {} jobs in {:?}; latency {:?} to {:?}, loss \
             {loss_permille} ‰, twice {duplicate_permille} ‰, failing {} ‰, cancelled {} ‰",
            self.workers,
            self.slots,
            self.submitters,
            self.jobs,
            self.arrival,
            Duration::from_micros(latency.least_us),
            Duration::from_micros(latency.most_us),
            self.failing_permille,
            self.cancelled_permille,
        )?;
        if let Some(crashes) = self.crashes {
            let Crashes { coordinator, workers, submitters, .. } = crashes;
            write!(f, "; crashes: coordinator {coordinator}, workers {workers}")?;
            write!(f, ", submitters {submitters}")?;
        }
        Ok(())
    }
}

fn smoke(_rng: &mut Rng) -> Plan {
    Plan {
        workers: 3,
        submitters: 2,
        slots: 3,
        jobs: 20,
        arrival: Duration::from_secs(5),
        training: Span::millis(500, 5_000),
        failing_permille: 0,
        cancelled_permille: 0,
        network: NetworkModel::reliable(Span::millis(1, 10)),
        flush: Span::micros(500, 5_000),
        fsync: FsyncModel::Honest,
        crashes: None,
        faults_for: Duration::ZERO,
        liveness: Duration::from_secs(600),
    }
}

fn burst(rng: &mut Rng) -> Plan {
    let latency = Span::millis(5, 5);
    Plan {
        submitters: 1,
        slots: 4,
        jobs: 10,
        arrival: Duration::ZERO,
        training: Span::millis(20_000, 30_000),
        network: NetworkModel::reliable(latency),
        ..smoke(rng)
    }
}

fn loss(rng: &mut Rng) -> Plan {
    let slowest = 5 + below(rng, 196);
    Plan {
        workers: 6,
        jobs: 30,
        arrival: Duration::from_secs(20),
        failing_permille: 50,
        cancelled_permille: 100,
        network: NetworkModel {
            latency: Span::millis(1, slowest),
            loss_permille: 200,
            duplicate_permille: u32::try_from(below(rng, 51)).expect("at most 50"),
        },
        faults_for: Duration::from_secs(60),
        ..smoke(rng)
    }
}

fn churn(rng: &mut Rng) -> Plan {
    let mut few = |limit| u32::try_from(below(rng, limit)).expect("below a small limit");
    let (loss_permille, duplicate_permille) = (few(101), few(51));
    let crashes = Crashes {
        coordinator: 2 + few(5),
        workers: 2 + few(12),
        submitters: few(6),
        down: Span::millis(200, 15_000),
    };
    let failing_permille = few(201);
    Plan {
        workers: 8,
        submitters: 3,
        jobs: 40,
        arrival: Duration::from_secs(90),
        training: Span::millis(500, 40_000),
        failing_permille,
        cancelled_permille: 150,
        network: NetworkModel {
            latency: Span::millis(1, 20 + below(rng, 181)),
            loss_permille,
            duplicate_permille,
        },
        flush: Span::micros(500, 50_000),
        crashes: Some(crashes),
        faults_for: Duration::from_secs(150),
        liveness: Duration::from_secs(1_200),
        ..smoke(rng)
    }
}

fn scale(rng: &mut Rng) -> Plan {
    Plan {
        workers: 1_000,
        submitters: 10,
        // Room for all of them: every announcement goes to every worker, so that a second wave
        // would cost a million signature checks and show nothing more.
        slots: 8,
        jobs: 5_000,
        arrival: Duration::from_secs(1),
        training: Span::millis(5_000, 15_000),
        network: NetworkModel::reliable(Span::millis(5, 50)),
        ..smoke(rng)
    }
}
