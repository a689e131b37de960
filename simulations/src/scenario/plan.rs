//! What a run is, to the last detail that is not drawn while it goes.

use std::{fmt, time::Duration};

use cyxwiz_protocol::limits;
use cyxwiz_scoring::Policy;
use serde::{Deserialize, Serialize};

use super::{notation, timing::TimingModel};
use crate::{chance::Span, faults::Faults, host::Part, network::NetworkModel};

/// See the module's text. Its keys are those of scenario files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Everyone together; when given, workers are what remains beside the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<u32>,
    pub coordinators: u32,
    /// The first begins the committee; the others come up within this.
    pub coordinators_come: Span,
    pub workers: u32,
    pub submitters: u32,
    /// Jobs that a worker runs at once.
    pub slots: u16,
    pub jobs: u32,
    /// The jobs are handed in at moments drawn from this long a time.
    #[serde(with = "notation::as_text")]
    pub arrival: Duration,
    /// How long a training process computes.
    pub training: Span,
    /// Attempts of a thousand that fail in a way that another may repair.
    pub failing_permille: u32,
    /// Jobs of a thousand that their submitters cancel.
    pub cancelled_permille: u32,
    /// Jobs of a thousand that their submitters pause and resume, up to a few times.
    pub paused_permille: u32,
    /// How the coordinators choose among bids, one of [`Policy::NAMES`].
    pub policy: String,
    /// Finished jobs that coordinators still know. With fewer than in production, jobs are
    /// forgotten within a run.
    pub finished_jobs: u32,
    pub network: NetworkModel,
    /// How long peers wait for what.
    pub timing: TimingModel,
    pub signatures: Signatures,
    /// How long a flush takes.
    pub flush: Span,
    pub fsync: FsyncModel,
    pub crashes: Option<Crashes>,
    /// What else goes wrong.
    pub faults: Faults,
    /// How the protocol is broken on purpose: the invariants must catch it.
    #[cfg(feature = "mutants")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutant: Option<cyxwiz_protocol::mutant::Mutant>,
    /// How long the faults go on, counted from the first job. Then the network heals and
    /// everyone is up.
    #[serde(with = "notation::as_text")]
    pub faults_for: Duration,
    /// After this much more, every accepted job must have ended.
    #[serde(with = "notation::as_text")]
    pub liveness: Duration,
}

/// How often hosts crash, and for how long they are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Crashes {
    pub coordinator: u32,
    pub workers: u32,
    pub submitters: u32,
    pub down: Span,
}

/// How documents are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// By a hash: as good among peers that do not break hashes, and two orders of magnitude
    /// faster.
    #[default]
    Cheap,
    /// By ed25519, as in production.
    Real,
}

/// What a flush is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FsyncModel {
    /// What was flushed survives a crash.
    Honest,
    /// The coordinator's disk says "flushed" at once and writes seconds later, as a page cache
    /// without fsync does. A mistake made on purpose: the invariants must catch it.
    Skipped,
}

impl Default for Plan {
    /// A small network in which nothing goes wrong.
    fn default() -> Self {
        Self {
            peers: None,
            coordinators: 1,
            coordinators_come: Span::default(),
            workers: 3,
            submitters: 2,
            slots: 3,
            jobs: 20,
            arrival: Duration::from_secs(5),
            training: Span::millis(500, 5_000),
            failing_permille: 0,
            cancelled_permille: 0,
            paused_permille: 0,
            policy: Policy::default().name,
            finished_jobs: MOST_FINISHED_JOBS,
            network: NetworkModel::reliable(Span::millis(1, 10)),
            timing: TimingModel::default(),
            signatures: Signatures::Cheap,
            flush: Span::micros(500, 5_000),
            fsync: FsyncModel::Honest,
            crashes: None,
            faults: Faults::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
            faults_for: Duration::ZERO,
            liveness: Duration::from_secs(600),
        }
    }
}

impl Default for Crashes {
    fn default() -> Self {
        Self { coordinator: 0, workers: 0, submitters: 0, down: Span::millis(200, 15_000) }
    }
}

/// As many as in production.
const MOST_FINISHED_JOBS: u32 = 5_000;
const _: () = assert!(MOST_FINISHED_JOBS as usize == limits::FINISHED_JOBS);
/// A job takes a few kilobytes, with all that is remembered of it here and there.
const MOST_JOBS: usize = 1_000_000;

impl Plan {
    /// Everyone together.
    #[must_use]
    pub const fn everyone(&self) -> u32 {
        self.coordinators.saturating_add(self.submitters).saturating_add(self.workers)
    }

    /// Takes `peers` into account.
    pub(super) fn settle(&mut self) -> Result<(), (&'static str, String)> {
        let Some(peers) = self.peers else { return Ok(()) };
        let others = self.coordinators.saturating_add(self.submitters);
        let Some(workers) = peers.checked_sub(others).filter(|workers| *workers > 0) else {
            let (coordinators, submitters) = (self.coordinators, self.submitters);
            return Err((
                "peers",
                format!(
                    "{peers} leave no worker beside {coordinators} coordinators and {submitters} \
                     submitters"
                ),
            ));
        };
        self.workers = workers;
        Ok(())
    }

    /// The key that has a value which cannot be simulated, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let numbers = [
            ("coordinators", self.coordinators, 1, limits::MEMBERS, "the seats of a committee"),
            ("workers", self.workers, 1, limits::WORKERS, "as many as a coordinator knows"),
            ("submitters", self.submitters, 1, 10_000, "one serves thousands of jobs"),
            ("slots", self.slots.into(), 1, limits::RUNS_PER_WORKER.into(), "a worker has no more"),
            ("jobs", self.jobs, 1, MOST_JOBS, "as many as fit the memory of one machine"),
            ("finished_jobs", self.finished_jobs, 1, limits::FINISHED_JOBS, "as in production"),
            ("failing_permille", self.failing_permille, 0, 1_000, "of a thousand"),
            ("cancelled_permille", self.cancelled_permille, 0, 1_000, "of a thousand"),
            ("paused_permille", self.paused_permille, 0, 1_000, "of a thousand"),
            ("network.loss_permille", self.network.loss_permille, 0, 1_000, "of a thousand"),
            (
                "network.duplicate_permille",
                self.network.duplicate_permille,
                0,
                1_000,
                "of a thousand",
            ),
        ];
        for (key, value, least, most, why) in numbers {
            if value < least || value as usize > most {
                return Err((key, format!("{value} is not from {least} to {most} ({why})")));
            }
        }
        if Policy::named(&self.policy).is_none() {
            let names = Policy::NAMES.join(", ");
            return Err(("policy", format!("'{}' is none of {names}", self.policy)));
        }
        self.timing.check()?;
        self.faults.check(|part| match part {
            Part::Coordinator => self.coordinators,
            Part::Worker => self.workers,
            Part::Submitter => self.submitters,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkModel { latency, loss_permille, duplicate_permille, .. } = self.network;
        write!(
            f,
            "{} coordinators, {} workers of {} slots, {} submitters, {} jobs in {}; latency \
             {latency}, loss {loss_permille} ‰, twice {duplicate_permille} ‰, failing {} ‰, \
             cancelled {} ‰",
            self.coordinators,
            self.workers,
            self.slots,
            self.submitters,
            self.jobs,
            notation::text(self.arrival),
            self.failing_permille,
            self.cancelled_permille,
        )?;
        if self.paused_permille > 0 {
            write!(f, ", paused {} ‰", self.paused_permille)?;
        }
        if let Some(crashes) = self.crashes {
            let Crashes { coordinator, workers, submitters, .. } = crashes;
            write!(f, "; crashes: coordinator {coordinator}, workers {workers}")?;
            write!(f, ", submitters {submitters}")?;
        }
        write!(f, "{}", self.faults)
    }
}
