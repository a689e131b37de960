//! One run and how long it really took. A panic within a peer is a finding like any other: it is
//! caught here, so that its seed is told.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use cyxwiz_sim::{Figures, Options, Plan, Scenario, simulate};

/// A run that did not go well.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) why: String,
    /// Shows it again.
    pub(super) command: String,
}

/// Runs `plan`; the figures, and the time that it took.
pub(super) fn attempt(
    scenario: Scenario,
    seed: u64,
    plan: Plan,
    options: Options,
) -> Result<(Figures, Duration), Failure> {
    let failure = |why: String| Failure { seed, why, command: command(scenario, seed, options) };
    #[expect(clippy::disallowed_types, reason = "how long a run really takes is no input of it")]
    let begun = std::time::Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(scenario, seed, plan)));
    match outcome {
        Ok(Ok(figures)) => Ok((figures, begun.elapsed())),
        Ok(Err(violation)) => Err(failure(violation.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("without a word");
            Err(failure(format!("a panic: {text}")))
        }
    }
}

fn command(scenario: Scenario, seed: u64, options: Options) -> String {
    let mut command = format!("cyxwiz-sim run {} --seed {seed}", scenario.name);
    let Options { workers, jobs, skip_fsync } = options;
    for (flag, value) in [("--workers", workers), ("--jobs", jobs)] {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {value}"));
        }
    }
    if skip_fsync {
        command.push_str(" --skip-fsync");
    }
    command
}

impl Failure {
    /// Tells it on stderr.
    pub(super) fn tell(&self, scenario: Scenario) {
        eprintln!("broken promise in scenario {}, seed {}", scenario.name, self.seed);
        eprintln!("  {}", self.why);
        eprintln!("  again: {}", self.command);
    }
}
