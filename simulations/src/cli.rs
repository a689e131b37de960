//! The command line: what may be said, and who does it.

mod attempt;
mod choice;
mod compare;
mod memory;
mod out;
mod problem;
mod replay;
mod run;
mod series;
mod sweep;
mod table;

use std::{ops::Range, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use cyxwiz_sim::{FAULT_KINDS, Scenario};

use choice::Choice;
use problem::Problem;

#[derive(Debug, Parser)]
#[command(
    name = "cyxwiz-sim",
    version,
    about = "Thousands of production peers in virtual time; one seed decides everything",
    after_help = "Exit codes: 0 done, 1 a promise was broken (or a replay differs), 2 wrong usage \
                  or a file that cannot be read or written.\n\
                  What leads from a failure back to it is printed with it: one command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario from one seed and show its figures
    #[command(after_help = RUN_EXAMPLES)]
    Run(run::Run),
    /// Run one scenario from many seeds; ends at the first that breaks a promise
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(sweep::Sweep),
    /// Run two policies, scenarios or settings on the same seeds and tell what differs
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(compare::Compare),
    /// Play the recorded inputs of a node to the same code and show what it did
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(replay::Replay),
    /// Name scenarios, policies and kinds of faults
    List {
        #[arg(long, value_enum, default_value_t)]
        output: ListOutput,
    },
}

const RUN_EXAMPLES: &str = "Examples:
  cyxwiz-sim run churn --seed 7 --out out        figures, CSV files and out/report.html
  cyxwiz-sim run scale --peers 1000 --jobs 10000
  cyxwiz-sim run mine.toml --set network.loss_permille=50
  cyxwiz-sim run churn --record 4 --out out      and out/host-4.life-0.cyxrec for replay";
const SWEEP_EXAMPLES: &str = "Examples:
  cyxwiz-sim sweep churn --seeds 0..1000 --jobs 2
  cyxwiz-sim sweep loss --seeds 0..100 --set network.loss_permille=0,50,100 --output csv";
const COMPARE_EXAMPLES: &str = "Examples:
  cyxwiz-sim compare balanced classic-weights --seeds 0..100
  cyxwiz-sim compare one.toml other.toml --seeds 0..100 --out out
  cyxwiz-sim compare scale --peers 200 --set jobs=2000 --set slots=2,8 --seeds 0..20";
const REPLAY_EXAMPLES: &str = "The recording never holds the secret of the peer: give the file \
`key` of its data directory,
or the key that `run --record` wrote beside it.

Examples:
  cyxwiz-sim replay out/host-4.life-0.cyxrec --key out/host-4.key
  cyxwiz-sim replay node.cyxrec --key ~/.local/share/cyxwiz/key --events --until 30s";

/// How figures are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// One document
    Json,
    /// One row for each run, with a header
    Csv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ListOutput {
    #[default]
    Table,
    Json,
}

/// What every command that runs something has to say about where results go.
#[derive(Clone, Debug, clap::Args)]
struct Results {
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Write all results as files into this directory, which is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.main(),
        Command::Sweep(sweep) => sweep.main(),
        Command::Compare(compare) => compare.main(),
        Command::Replay(replay) => replay.main(),
        Command::List { output } => {
            list(output);
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|problem| {
        problem.tell();
        ExitCode::from(2)
    })
}

fn list(output: ListOutput) {
    let policies = cyxwiz_scoring::Policy::NAMES;
    match output {
        ListOutput::Table => {
            println!("scenarios (files of this form: `base = \"NAME\"` begins with one of them)");
            for scenario in Scenario::built_in() {
                println!("  {:<16}{}", scenario.name(), scenario.about());
            }
            println!("\npolicies (--policy, or `policy = \"NAME\"`)");
            for policy in policies {
                println!("  {policy}");
            }
            #[cfg(feature = "mutants")]
            {
                println!("\nbreaks of the protocol (--mutant, or `mutant = \"NAME\"`)");
                for mutant in cyxwiz_protocol::mutant::Mutant::ALL {
                    println!("  {}", mutant.name());
                }
            }
            println!("\nfaults (keys of a scenario file)");
            for (key, about) in FAULT_KINDS {
                println!("  {key:<28}{about}");
            }
        }
        ListOutput::Json => {
            let scenarios = Scenario::built_in().map(|scenario| {
                serde_json::json!({ "name": scenario.name(), "about": scenario.about() })
            });
            let faults = FAULT_KINDS
                .iter()
                .map(|(key, about)| serde_json::json!({ "key": key, "about": about }));
            let list = serde_json::json!({
                "scenarios": scenarios.collect::<Vec<_>>(),
                "policies": policies,
                "faults": faults.collect::<Vec<_>>(),
            });
            println!("{list:#}");
        }
    }
}

/// Figures for stdout. Whoever closed it, as `head` does, has seen enough; what the exit code
/// says stays true.
fn say(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Reads `0..100`, `0..=99` or `7`.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong =
        || format!("'{text}' names no seeds; write 0..100 (100 not among them), 0..=99 or 7");
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_not_a_number| wrong());
    let range = if let Some((first, last)) = text.split_once("..=") {
        number(first)?..number(last)?.checked_add(1).ok_or_else(wrong)?
    } else if let Some((first, end)) = text.split_once("..") {
        number(first)?..number(end)?
    } else {
        let seed = number(text)?;
        seed..seed.checked_add(1).ok_or_else(wrong)?
    };
    if range.start > range.end {
        let Range { start, end } = range;
        return Err(format!("{start} comes after {end}: write {end}..{start}"));
    }
    if range.is_empty() {
        return Err(format!(
            "{}..{} holds no seed: the end is not among them",
            range.start, range.end
        ));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_ranges() {
        assert_eq!(seeds("0..100"), Ok(0..100));
        assert_eq!(seeds("3..=5"), Ok(3..6));
        assert_eq!(seeds("7"), Ok(7..8));
        for (wrong, said) in
            [("9..3", "write 3..9"), ("3..3", "no seed"), ("a..b", "names no seeds")]
        {
            assert!(seeds(wrong).unwrap_err().contains(said), "{wrong}");
        }
    }
}
