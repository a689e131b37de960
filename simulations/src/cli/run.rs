//! `cyxwiz-sim run`: one seed, everything about it.

use std::process::ExitCode;

use clap::Args;

use super::{
    Choice, Output, Problem, Results,
    attempt::attempt,
    choice::scenario,
    out::{self, Directory},
    say, table,
};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// A scenario's name, or a scenario file
    #[arg(value_name = "SCENARIO|FILE.toml")]
    scenario: String,
    /// Decides everything that the scenario leaves open
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Jobs, instead of the scenario's number
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    results: Results,
    /// Record everything that this host is told, for `cyxwiz-sim replay`; needs --out
    #[arg(long, value_name = "HOST")]
    record: Option<u32>,
}

impl Run {
    pub(super) fn main(self) -> Result<ExitCode, Problem> {
        let mut settings = self.choice.only()?;
        settings.extend(self.jobs.map(|jobs| format!("jobs={jobs}")));
        let scenario = scenario(&self.scenario)?.with(&settings)?;
        let plan = scenario.plan(self.seed)?;
        if let Some(host) = self.record {
            if self.results.out.is_none() {
                return Err(Problem::RecordNowhere);
            }
            if host >= plan.everyone() {
                return Err(Problem::NoHost { host, last: plan.everyone() - 1 });
            }
        }
        let directory = self.results.out.as_deref().map(Directory::make).transpose()?;
        eprintln!("{} seed {}: {plan}", scenario.name(), self.seed);
        let attempt = attempt(&scenario, self.seed, plan.clone(), self.record);
        if let Some(seen) = &attempt.seen {
            match self.results.output {
                Output::Table => say(&table::run(seen, attempt.took)),
                Output::Json => say(&format!("{:#}\n", out::summary(&scenario, &plan, seen))),
                Output::Csv => say(&out::rows([(scenario.settings(), &seen.figures)])?),
            }
            if let Some(directory) = &directory {
                directory.write_run(&scenario, &plan, seen, self.record)?;
                eprintln!("results are in {}", directory.path().display());
            }
        }
        match attempt.failure {
            Some(failure) => {
                failure.tell();
                Ok(ExitCode::FAILURE)
            }
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
