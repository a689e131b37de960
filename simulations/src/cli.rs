//! The command line: what may be said, and who does it.

mod attempt;
mod run;
mod sweep;
mod table;

use std::{ops::Range, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use cyxwiz_sim::{Options, Scenario, scenario};

#[derive(Debug, Parser)]
#[command(name = "cyxwiz-sim", version, about = "The network in virtual time, from one seed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario from one seed and show its figures
    Run {
        #[arg(value_parser = named)]
        scenario: Scenario,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        size: Size,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Run one scenario from many seeds and show the first that breaks a promise
    Sweep {
        #[arg(value_parser = named)]
        scenario: Scenario,
        /// The first seed and the one after the last, as in 0..100
        #[arg(long, value_parser = seeds)]
        seeds: Range<u64>,
        /// Threads that share the seeds
        #[arg(long = "threads", short = 'j', default_value_t = 1)]
        threads: usize,
        #[command(flatten)]
        size: Size,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Name the scenarios
    List,
}

#[derive(Clone, Copy, Debug, Args)]
struct Size {
    /// Workers, instead of the scenario's number
    #[arg(long)]
    workers: Option<u32>,
    /// Jobs, instead of the scenario's number
    #[arg(long)]
    jobs: Option<u32>,
    /// Break a promise on purpose: the coordinator's disk does not fsync
    #[arg(long)]
    skip_fsync: bool,
}

impl Size {
    const fn options(self) -> Options {
        Options { workers: self.workers, jobs: self.jobs, skip_fsync: self.skip_fsync }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    #[default]
    Table,
    Json,
}

pub(crate) fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { scenario, seed, size, output } => {
            run::main(scenario, seed, size.options(), output)
        }
        Command::Sweep { scenario, seeds, threads, size, output } => {
            sweep::main(scenario, seeds, threads.clamp(1, 256), size.options(), output)
        }
        Command::List => {
            for scenario in scenario::ALL {
                println!("{:<8} {}", scenario.name, scenario.about);
            }
            ExitCode::SUCCESS
        }
    }
}

fn named(name: &str) -> Result<Scenario, String> {
    Scenario::named(name).ok_or_else(|| {
        let names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        format!("no such scenario; there are {}", names.join(", "))
    })
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range =
        text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    match range {
        Some(range) if range.start < range.end => Ok(range),
        Some(_) | None => Err("give the first seed and the one after the last: 0..100".to_owned()),
    }
}
