//! `cyxwiz-sim sweep`: many seeds, and every combination of the values that were set.

use std::{ops::Range, process::ExitCode};

use clap::Args;
use cyxwiz_sim::Scenario;

use super::{
    Choice, Output, Problem, Results,
    attempt::Failure,
    choice::scenario,
    out::{self, Directory},
    say, seeds,
    series::{self, Done, Order},
    table,
};

#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// A scenario's name, or a scenario file
    #[arg(value_name = "SCENARIO|FILE.toml")]
    scenario: String,
    /// The first seed and the one after the last, as in 0..100
    #[arg(long, value_parser = seeds)]
    seeds: Range<u64>,
    /// Runs at the same time; as many as there are cores unless told otherwise
    #[arg(long, short, value_name = "J")]
    jobs: Option<usize>,
    /// Do not end at the first broken promise
    #[arg(long)]
    keep_going: bool,
    /// Several values make a run of each seed with each: --set slots=2,8
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    results: Results,
}

/// Failures that are told one by one.
const TOLD: usize = 10;

impl Sweep {
    pub(super) fn main(self) -> Result<ExitCode, Problem> {
        let base = scenario(&self.scenario)?;
        let variants = self.choice.variants();
        let variants: Vec<Scenario> = variants
            .iter()
            .map(|settings| base.clone().with(settings))
            .collect::<Result<_, _>>()?;
        let directory = self.results.out.as_deref().map(Directory::make).transpose()?;
        let orders = orders(&variants, &self.seeds)?;
        let done = series::run(&orders, series::threads(self.jobs), self.keep_going);
        let sums: Vec<_> =
            (0..variants.len()).map(|variant| sum(&done, variant, &variants[variant])).collect();
        match self.results.output {
            Output::Table => say(&table::sweep(&sums)),
            Output::Json => say(&format!("{:#}\n", out::sweep(&sums, &done))),
            Output::Csv => say(&out::rows(rows(&variants, &done))?),
        }
        if let Some(directory) = directory {
            directory.write("runs.csv", out::rows(rows(&variants, &done))?)?;
            directory.write("summary.json", format!("{:#}\n", out::sweep(&sums, &done)))?;
        }
        let failures: Vec<&Failure> =
            done.iter().filter_map(|done| done.failure.as_ref()).collect();
        for failure in failures.iter().take(TOLD) {
            failure.tell();
        }
        if done.len() < orders.len() {
            let left = orders.len() - done.len();
            eprintln!("{left} runs were not begun after that; --keep-going begins them");
        }
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn orders<'a>(variants: &'a [Scenario], seeds: &Range<u64>) -> Result<Vec<Order<'a>>, Problem> {
    // Seed by seed, so that a failure comes early whichever variant has it.
    let mut orders = Vec::new();
    for seed in seeds.clone() {
        for (variant, scenario) in variants.iter().enumerate() {
            let plan = scenario.plan(seed)?;
            orders.push(Order { variant, scenario, seed, plan });
        }
    }
    Ok(orders)
}

fn sum(done: &[Done], variant: usize, scenario: &Scenario) -> table::Sum {
    let mut sum = table::Sum::of(scenario);
    for done in done.iter().filter(|done| done.variant == variant) {
        sum.add(done);
    }
    sum
}

fn rows<'a>(
    variants: &'a [Scenario],
    done: &'a [Done],
) -> impl Iterator<Item = (&'a [String], &'a cyxwiz_sim::Figures)> {
    done.iter().filter_map(|done| Some((variants[done.variant].settings(), done.figures.as_ref()?)))
}
