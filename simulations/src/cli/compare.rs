//! `cyxwiz-sim compare`: two configurations on the same seeds.

use std::{ops::Range, process::ExitCode};

use clap::Args;
use cyxwiz_scoring::Policy;
use cyxwiz_sim::{Figures, Scenario, compare};

use super::{
    Choice, Output, Problem, Results,
    choice::scenario,
    out::{self, Directory},
    say, seeds,
    series::{self, Done, Order},
    table,
};

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// A policy, a scenario's name or a scenario file
    #[arg(value_name = "ONE")]
    one: String,
    /// What it is held against; none when a --set gives two values
    #[arg(value_name = "OTHER")]
    other: Option<String>,
    /// The scenario in which two policies are compared
    #[arg(long, default_value = "churn", value_name = "SCENARIO|FILE.toml")]
    scenario: String,
    /// The first seed and the one after the last, as in 0..100
    #[arg(long, value_parser = seeds, default_value = "0..30")]
    seeds: Range<u64>,
    /// Runs at the same time; as many as there are cores unless told otherwise
    #[arg(long, short, value_name = "J")]
    jobs: Option<usize>,
    /// One setting may have two values, which are compared: --set slots=2,8
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    results: Results,
}

impl Compare {
    pub(super) fn main(self) -> Result<ExitCode, Problem> {
        let [one, other] = self.sides()?;
        let directory = self.results.out.as_deref().map(Directory::make).transpose()?;
        let mut orders = Vec::new();
        for seed in self.seeds.clone() {
            for (variant, (_, scenario)) in [&one, &other].into_iter().enumerate() {
                let plan = scenario.plan(seed)?;
                orders.push(Order { variant, scenario, seed, plan });
            }
        }
        let done = series::run(&orders, series::threads(self.jobs), false);
        if let Some(failure) = done.iter().find_map(|done| done.failure.as_ref()) {
            failure.tell();
            return Ok(ExitCode::FAILURE);
        }
        let compared = compare(&pairs(&done));
        let names = [one.0.as_str(), other.0.as_str()];
        match self.results.output {
            Output::Table => say(&table::compared(names, &compared, &self.seeds)),
            Output::Json => say(&format!("{:#}\n", out::compared(names, &compared, &self.seeds))),
            Output::Csv => say(&out::compared_rows(names, &compared)?),
        }
        if let Some(directory) = directory {
            let json = out::compared(names, &compared, &self.seeds);
            directory.write("compare.json", format!("{json:#}\n"))?;
            directory.write("compare.csv", out::compared_rows(names, &compared)?)?;
            let sides = [one.1.settings(), other.1.settings()];
            let rows =
                done.iter().filter_map(|done| Some((sides[done.variant], done.figures.as_ref()?)));
            directory.write("runs.csv", out::rows(rows)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is compared, each with a name for people.
    fn sides(&self) -> Result<[(String, Scenario); 2], Problem> {
        let mut variants = self.choice.variants().into_iter();
        let (first, second) = (variants.next().unwrap_or_default(), variants.next());
        if variants.next().is_some() {
            return Err(Problem::Compare("the settings make more than two configurations"));
        }
        let is_policy = |name: &str| Policy::named(name).is_some();
        match (&self.other, second) {
            (Some(other), None) if is_policy(&self.one) && is_policy(other) => {
                let base = scenario(&self.scenario)?.with(&first)?;
                let side = |name: &str| {
                    let with = base.clone().with(&[format!("policy=\"{name}\"")]);
                    Ok::<_, Problem>((name.to_owned(), with?))
                };
                Ok([side(&self.one)?, side(other)?])
            }
            (Some(other), None) => {
                let side =
                    |name: &str| Ok::<_, Problem>((name.to_owned(), scenario(name)?.with(&first)?));
                Ok([side(&self.one)?, side(other)?])
            }
            (None, Some(second)) => {
                let base = scenario(&self.one)?;
                let side = |settings: &[String], not: &[String]| {
                    let own: Vec<_> =
                        settings.iter().filter(|it| !not.contains(it)).cloned().collect();
                    Ok::<_, Problem>((own.join(" "), base.clone().with(settings)?))
                };
                Ok([side(&first, &second)?, side(&second, &first)?])
            }
            (Some(_), Some(_)) => Err(Problem::Compare("two names and a setting of two values")),
            (None, None) => Err(Problem::Compare("there is one configuration only")),
        }
    }
}

/// The runs of each seed, side by side.
fn pairs(done: &[Done]) -> Vec<(Figures, Figures)> {
    let side = |variant| {
        done.iter().filter(move |done| done.variant == variant).filter_map(|it| it.figures.clone())
    };
    side(0).zip(side(1)).collect()
}
