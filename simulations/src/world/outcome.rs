//! The figures of a world that has come to its end.

use std::time::Duration;

use cyxwiz_protocol::Instant;

use super::World;
use crate::{
    figures::{Figures, Quantiles},
    host::Part,
    workload::Outcome,
};

/// What became of the jobs.
#[derive(Default)]
struct Endings {
    completed: u64,
    failed: u64,
    cancelled: u64,
    attempts: u64,
    useful: Duration,
}

impl World {
    pub(super) fn figures(&mut self, scenario: &str, seed: u64) -> Figures {
        let Endings { completed, failed, cancelled, attempts, useful } = self.endings();
        let waited = |until: Option<Instant>, from: Option<Instant>| Some(until?.since(from?));
        let cases = &self.workload.cases;
        let accept = cases.iter().filter_map(|case| waited(case.accepted_at, case.wanted_at));
        let start = cases.iter().filter_map(|case| waited(case.started_at, case.wanted_at));
        let workers = self.hosts.iter().filter(|host| host.part == Part::Worker);
        let mut runs_per_worker: Vec<_> =
            workers.map(|host| self.counts.runs.get(&host.id).copied().unwrap_or(0)).collect();
        runs_per_worker.sort_unstable();
        let computed = self.counts.computed.as_millis().max(1);
        let wasted = (computed - useful.as_millis().min(computed)) * 1_000 / computed;
        Figures {
            scenario: scenario.to_owned(),
            seed,
            trace: self.trace.hash(),
            events: self.trace.inputs(),
            virtual_s: self.now.since(Instant::START).as_secs_f64(),
            accepted: self.counts.accepted.len() as u64,
            completed,
            failed,
            cancelled,
            attempts,
            crashes: self.counts.crashes,
            faults: self.fault_counts(),
            accept_ms: Quantiles::of(accept.collect()),
            start_ms: Quantiles::of(start.collect()),
            runs_per_worker,
            bytes_per_job: self.counts.bytes / (cases.len() as u64).max(1),
            wasted_permille: u64::try_from(wasted).expect("at most a thousand"),
            most_planned: self.counts.most_planned,
        }
    }

    fn endings(&self) -> Endings {
        let mut endings = Endings::default();
        for ending in self.workload.cases.iter().filter_map(|case| case.ending) {
            endings.attempts += ending.attempts;
            match ending.outcome {
                Outcome::Completed(run) => {
                    endings.completed += 1;
                    let computed = run.and_then(|run| self.counts.of_success.get(&run));
                    endings.useful += computed.copied().unwrap_or_default();
                }
                Outcome::Failed => endings.failed += 1,
                Outcome::Cancelled => endings.cancelled += 1,
            }
        }
        endings
    }
}
