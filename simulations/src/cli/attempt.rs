//! One run and how long it really took. A panic within a peer is a finding like any other: it is
//! caught here, so that its seed is told.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use cyxwiz_sim::{Observation, Plan, Scenario, observe};

use super::choice::command;

/// A run and the time that it took.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) seed: u64,
    /// Everything that was seen; none when a peer panicked.
    pub(super) seen: Option<Observation>,
    pub(super) took: Duration,
    pub(super) failure: Option<Failure>,
}

/// A run that did not go well.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) scenario: String,
    pub(super) seed: u64,
    pub(super) why: String,
    /// Shows it again.
    pub(super) command: String,
}

/// Runs `plan`, with a recording of one host when that is wanted.
pub(super) fn attempt(scenario: &Scenario, seed: u64, plan: Plan, record: Option<u32>) -> Attempt {
    #[expect(clippy::disallowed_types, reason = "how long a run really takes is no input of it")]
    let begun = std::time::Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| observe(scenario, seed, plan, record)));
    let took = begun.elapsed();
    let failure = |why: String| Failure {
        scenario: scenario.name().to_owned(),
        seed,
        why,
        command: command(scenario, seed),
    };
    match outcome {
        Ok(seen) => {
            let failure = seen.violation.as_ref().map(|violation| failure(violation.to_string()));
            Attempt { seed, seen: Some(seen), took, failure }
        }
        Err(panic) => {
            let why = format!("a panic: {}", words(panic.as_ref()));
            Attempt { seed, seen: None, took, failure: Some(failure(why)) }
        }
    }
}

/// What a panic said.
pub(super) fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

impl Failure {
    /// Tells it on stderr.
    pub(super) fn tell(&self) {
        eprintln!("broken promise in scenario {}, seed {}", self.scenario, self.seed);
        eprintln!("  {}", self.why);
        eprintln!("  again: {}", self.command);
    }
}
