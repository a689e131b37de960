//! `cyxwiz-sim run`: one seed, all figures.

use std::process::ExitCode;

use cyxwiz_sim::{Options, Plan, Scenario};

use super::{Output, attempt::attempt, table};

pub(super) fn main(scenario: Scenario, seed: u64, options: Options, output: Output) -> ExitCode {
    let plan = match Plan::new(scenario, seed, options) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    eprintln!("{} seed {seed}: {plan}", scenario.name);
    match attempt(scenario, seed, plan, options) {
        Ok((figures, took)) => {
            match output {
                Output::Table => print!("{}", table::of(&figures, took)),
                Output::Json => println!("{}", table::json(&figures)),
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.tell(scenario);
            ExitCode::FAILURE
        }
    }
}
