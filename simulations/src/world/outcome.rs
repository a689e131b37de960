//! What a world that has come to its end looks like: its figures, and the lines of its jobs and
//! peers.

use std::time::Duration;

use cyxwiz_protocol::Instant;

use super::World;
use crate::{
    figures::{Figures, Quantiles, fairness},
    host::Part,
    observe::{JobEnd, JobLine, Observation},
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
    lines: Vec<JobLine>,
}

impl World {
    /// Everything that was seen; the world is over with it.
    pub(super) fn observation(mut self, scenario: &str, seed: u64) -> Observation {
        let endings = self.endings();
        let violation = self.judge.verdict().cloned();
        let figures = self.figures(scenario, seed, &endings);
        let could = self.slot_time();
        let tape = self.hosts.iter_mut().find_map(|host| host.tape.take());
        let recorded = tape.map(|tape| tape.finish(seed));
        let peers = self
            .hosts
            .iter()
            .zip(&self.observer.peers)
            .map(|(host, seen)| seen.line(host.id, host.peer_id, host.part, could));
        Observation {
            figures,
            violation,
            peers: peers.collect(),
            jobs: endings.lines,
            seconds: self.observer.seconds,
            marks: self.observer.marks,
            recorded,
        }
    }

    fn figures(&self, scenario: &str, seed: u64, endings: &Endings) -> Figures {
        let waited = |until: Option<Instant>, from: Option<Instant>| Some(until?.since(from?));
        let cases = &self.workload.cases;
        let accept = cases.iter().filter_map(|case| waited(case.accepted_at, case.wanted_at));
        let start = cases.iter().filter_map(|case| waited(case.started_at, case.wanted_at));
        let end = cases.iter().zip(&self.observer.jobs);
        let end = end.filter_map(|(case, seen)| waited(seen.ended_at, case.wanted_at));
        let workers = || {
            let all = self.hosts.iter().zip(&self.observer.peers);
            all.filter(|(host, _)| host.part == Part::Worker).map(|(_, seen)| seen)
        };
        let mut runs_per_worker: Vec<_> = workers().map(|seen| seen.runs).collect();
        runs_per_worker.sort_unstable();
        let computed: Duration = workers().map(|seen| seen.computed).sum();
        let wasted = computed.saturating_sub(endings.useful);
        let could = self.slot_time() * u32::try_from(runs_per_worker.len()).unwrap_or(u32::MAX);
        let jobs = (cases.len() as u64).max(1);
        let messages: u64 = self.observer.peers.iter().map(|seen| seen.messages_out).sum();
        Figures {
            scenario: scenario.to_owned(),
            seed,
            trace: self.trace.hash(),
            peers: u32::try_from(self.hosts.len()).unwrap_or(u32::MAX),
            jobs: u32::try_from(cases.len()).unwrap_or(u32::MAX),
            events: self.trace.inputs(),
            virtual_s: self.now.since(Instant::START).as_secs_f64(),
            accepted: self.counts.accepted.len() as u64,
            completed: endings.completed,
            failed: endings.failed,
            cancelled: endings.cancelled,
            orders: self.counts.orders,
            attempts: endings.attempts,
            crashes: self.counts.crashes,
            faults: self.fault_counts(),
            accept_ms: Quantiles::of(accept.collect()),
            start_ms: Quantiles::of(start.collect()),
            end_ms: Quantiles::of(end.collect()),
            runs_per_worker,
            fairness_permille: fairness(workers().map(|seen| seen.computed)),
            utilisation_permille: permille(computed, could),
            bytes_per_job: self.counts.bytes / jobs,
            messages_per_job: messages / jobs,
            wasted_permille: permille(wasted, computed),
            most_planned: self.counts.most_planned,
        }
    }

    /// What the slots of one worker could compute from the first job to the last end.
    fn slot_time(&self) -> Duration {
        let first = self.workload.cases.iter().filter_map(|case| case.wanted_at).min();
        let until = match self.observer.last_end {
            Instant::START => self.now,
            last => last,
        };
        until.since(first.unwrap_or(until)) * u32::from(self.plan.slots)
    }

    fn endings(&self) -> Endings {
        let mut endings = Endings::default();
        for (index, case) in self.workload.cases.iter().enumerate() {
            let mut useful = Duration::ZERO;
            let end = match case.ending.map(|ending| ending.outcome) {
                Some(Outcome::Completed(run)) => {
                    endings.completed += 1;
                    let computed = run.and_then(|run| self.counts.of_success.get(&run));
                    useful = computed.copied().unwrap_or_default();
                    JobEnd::Completed
                }
                Some(Outcome::Failed) => {
                    endings.failed += 1;
                    JobEnd::Failed
                }
                Some(Outcome::Cancelled) => {
                    endings.cancelled += 1;
                    JobEnd::Cancelled
                }
                // The run ended in time or not at all; the invariants speak of it.
                None => JobEnd::Open,
            };
            endings.useful += useful;
            let attempts = case.ending.map_or(0, |ending| ending.attempts);
            endings.attempts += attempts;
            endings.lines.push(self.job_line(index, attempts, end, useful));
        }
        endings
    }

    fn job_line(&self, index: usize, attempts: u64, end: JobEnd, useful: Duration) -> JobLine {
        let (case, seen) = (&self.workload.cases[index], &self.observer.jobs[index]);
        let seconds = |at: Option<Instant>| at.map(|at| at.since(Instant::START).as_secs_f64());
        JobLine {
            job: case.spec.id.to_string(),
            submitter: case.submitter.0,
            submitted_s: seconds(case.wanted_at),
            accepted_s: seconds(case.accepted_at),
            assigned_s: seconds(seen.assigned_at),
            started_s: seconds(case.started_at),
            done_s: seconds(seen.ended_at),
            attempts,
            end,
            computed_s: seen.computed.as_secs_f64(),
            wasted_s: seen.computed.saturating_sub(useful).as_secs_f64(),
        }
    }
}

/// Thousandths; nothing of nothing is nothing.
fn permille(part: Duration, whole: Duration) -> u64 {
    let thousandths = part.as_micros() * 1_000 / whole.as_micros().max(1);
    u64::try_from(thousandths).unwrap_or(u64::MAX)
}
