//! `cyxwiz-sim sweep`: many seeds, shared by threads; each seed is a world of its own.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use cyxwiz_sim::{Figures, Options, OptionsError, Plan, Scenario};

use super::{
    Output,
    attempt::{Failure, attempt},
    table,
};

/// Failures that are told one by one.
const TOLD: usize = 10;

type Outcome = Result<(Figures, Duration), Failure>;

pub(super) fn main(
    scenario: Scenario,
    seeds: Range<u64>,
    threads: usize,
    options: Options,
    output: Output,
) -> ExitCode {
    let mut outcomes = match run_all(scenario, &seeds, threads, options) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let seed_of = |outcome: &Outcome| match outcome {
        Ok((figures, _)) => figures.seed,
        Err(failure) => failure.seed,
    };
    outcomes.sort_by_key(seed_of);
    let mut sum = table::Sum::default();
    let mut failures = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok((figures, took)) => {
                sum.add(&figures, took);
                if let Output::Json = output {
                    println!("{}", table::json(&figures));
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    if let Output::Table = output {
        print!("{}", sum.table(failures.len()));
    }
    for failure in failures.iter().take(TOLD) {
        failure.tell(scenario);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(
    scenario: Scenario,
    seeds: &Range<u64>,
    threads: usize,
    options: Options,
) -> Result<Vec<Outcome>, OptionsError> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(outcomes);
            }
            let plan = Plan::new(scenario, seed, options)?;
            outcomes.push(attempt(scenario, seed, plan, options));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = Vec::new();
        for worker in workers {
            outcomes.extend(worker.join().expect("a run's panic is caught within it")?);
        }
        Ok(outcomes)
    })
}
