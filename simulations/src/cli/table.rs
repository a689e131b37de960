//! Figures for people, in lines of two columns, and for programs.

use std::{fmt::Write as _, time::Duration};

use cyxwiz_sim::{Figures, Quantiles};

/// Workers whose runs are listed one by one.
const LISTED: usize = 12;

pub(super) fn json(figures: &Figures) -> String {
    serde_json::to_string(figures).expect("figures are plain numbers and texts")
}

pub(super) fn of(figures: &Figures, took: Duration) -> String {
    let Figures { accepted, completed, failed, cancelled, .. } = figures;
    let Quantiles { p50: accept, p99: accept_worst } = figures.accept_ms;
    let Quantiles { p50: start, p99: start_worst } = figures.start_ms;
    let wasted = figures.wasted_permille;
    lines(&[
        ("events", figures.events.to_string()),
        ("events per second", rate(figures.events, took)),
        ("virtual time", format!("{:.1} s", figures.virtual_s)),
        ("real time", format!("{:.2} s", took.as_secs_f64())),
        ("jobs accepted", accepted.to_string()),
        ("  completed, failed, cancelled", format!("{completed}, {failed}, {cancelled}")),
        ("attempts", figures.attempts.to_string()),
        ("crashes", figures.crashes.to_string()),
        ("accepted after", format!("p50 {accept:.1} ms, p99 {accept_worst:.1} ms")),
        ("started after", format!("p50 {start:.1} ms, p99 {start_worst:.1} ms")),
        ("runs per worker", spread(&figures.runs_per_worker)),
        ("bytes per job", figures.bytes_per_job.to_string()),
        ("wasted work", format!("{}.{} %", wasted / 10, wasted % 10)),
        ("most under way", figures.most_planned.to_string()),
        ("trace", figures.trace.clone()),
    ])
}

/// Many runs together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    seeds: u64,
    events: u64,
    took: Duration,
    virtual_s: f64,
    accepted: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    attempts: u64,
    crashes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, figures: &Figures, took: Duration) {
        self.seeds += 1;
        self.events += figures.events;
        self.took += took;
        self.virtual_s += figures.virtual_s;
        self.accepted += figures.accepted;
        self.completed += figures.completed;
        self.failed += figures.failed;
        self.cancelled += figures.cancelled;
        self.attempts += figures.attempts;
        self.crashes += figures.crashes;
    }

    pub(super) fn table(&self, broken: usize) -> String {
        let Self { completed, failed, cancelled, .. } = self;
        lines(&[
            ("seeds that held", self.seeds.to_string()),
            ("seeds that broke a promise", broken.to_string()),
            ("events", self.events.to_string()),
            ("events per second and thread", rate(self.events, self.took)),
            ("virtual time", format!("{:.0} s", self.virtual_s)),
            ("jobs accepted", self.accepted.to_string()),
            ("  completed, failed, cancelled", format!("{completed}, {failed}, {cancelled}")),
            ("attempts", self.attempts.to_string()),
            ("crashes", self.crashes.to_string()),
        ])
    }
}

fn lines(lines: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<32}{value}");
    }
    text
}

fn rate(events: u64, took: Duration) -> String {
    let micros = took.as_micros().max(1);
    (u128::from(events) * 1_000_000 / micros).to_string()
}

fn spread(runs: &[u64]) -> String {
    if runs.len() <= LISTED {
        let runs: Vec<_> = runs.iter().rev().map(ToString::to_string).collect();
        return runs.join(", ");
    }
    let (least, most) = (runs[0], runs[runs.len() - 1]);
    format!("{least} to {most}, half at most {}", runs[(runs.len() - 1) / 2])
}
