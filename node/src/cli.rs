//! The command line: what people type, what they read, and the exit code that scripts read.
//!
//! It asks a running node through its local API ([`client`]) and prints the answer; it never opens
//! the store of a node and never speaks to the network itself. What a node does, and how the demo
//! and the benchmark go, is for [`run`] to hand on.
//!
//! Data goes to standard output and words go to standard error, so that a pipe sees data alone.

mod bench;
pub mod client;
mod cluster;
mod demo;
mod doctor;
pub mod error;
pub mod job;
mod metrics;
pub mod model;
pub mod node;
pub mod output;
mod plot;
pub(crate) mod quantity;
mod resolve;
pub mod run;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use cyxwiz_trainer::{ArrayFireChoice, Backend, EngineChoice};
use tracing_subscriber::EnvFilter;

use error::CommandError;
use output::{Format, Output};

/// A peer-to-peer network of machines that train models for each other.
#[derive(Debug, Parser)]
#[command(name = "cyxwiz", version, arg_required_else_help = true, after_long_help = HELP)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// Where the node keeps its key, its store and the way to reach it; by default the platform's
    /// folder for application data
    #[arg(long, value_name = "DIR", global = true, env = "CYXWIZ_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// What is written to standard output: a table for people, one JSON document, or one JSON
    /// document a line
    #[arg(long, value_enum, default_value_t = Format::Table, global = true, env = "CYXWIZ_OUTPUT")]
    pub output: Format,
    /// Show peer and job ids whole
    #[arg(long, global = true)]
    pub wide: bool,
    /// Write no words to standard error, errors excepted
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to log to standard error, like `debug` or `cyxwiz_net=trace,info`; by default `warn`,
    /// and `info` for `node run`
    #[arg(long, value_name = "FILTER", global = true, env = "CYXWIZ_LOG")]
    pub log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a peer of the network, or look at the one that runs
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Submit jobs, watch them, fetch what they leave
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Look at models before anything runs
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// See a whole network at work on this machine: peers find each other, bid, and train
    Demo(DemoArgs),
    /// Measure how fast jobs are placed and started on this machine
    Bench(BenchArgs),
    /// Find out what this machine can do: lock strangers' jobs in, compute on its GPUs; and what to
    /// do where it cannot
    #[command(after_long_help = DOCTOR_EXAMPLES)]
    Doctor,
    /// Print the script that completes commands in a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions { shell: clap_complete::Shell },
    /// Run the well-known peer through which others find the network
    #[command(hide = true)]
    Bootstrap(cyxwiz_bootstrap::Options),
    /// The process that trains one job for a node
    #[command(name = "__train", hide = true)]
    Train(TrainArgs),
    /// The process that trains for `bench training`, an epoch for each line
    #[command(name = "__bench-train", hide = true)]
    BenchTrain(BenchTrainArgs),
    /// The process that tries a backend of ArrayFire for a node
    #[command(name = "__devices", hide = true)]
    Devices { backend: Backend },
}

/// How large the demonstration is.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = DEMO_EXAMPLES)]
pub struct DemoArgs {
    /// Coordinators to start: 1, 3 or 5
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = committee_size)]
    pub coordinators: u16,
    /// Workers to start
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16))]
    pub workers: u16,
    /// Jobs to submit
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=50))]
    pub jobs: u16,
    /// Kill the leading coordinator while the job trains, then the worker that trains it, and see
    /// the job finish
    #[arg(long, conflicts_with = "jobs")]
    pub chaos: bool,
    /// Keep the network's folder, with logs and models, instead of removing it at the end
    #[arg(long)]
    pub keep: bool,
}

/// What the benchmark measures, and how much of it.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = BENCH_EXAMPLES)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub only: Option<BenchCommand>,
    /// Coordinators to start: 1, 3 or 5
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = committee_size)]
    pub coordinators: u16,
    /// Workers to start
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16))]
    pub workers: u16,
    /// Jobs to submit one after the other, for the time from submission to start
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub jobs: u32,
    /// Jobs to place as fast as it goes, for placements per second
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub placements: u32,
}

#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Kill the leading coordinator again and again, then workers that train, and measure how
    /// long jobs wait for it
    #[command(after_long_help = FAILOVER_EXAMPLES)]
    Failover(FailoverArgs),
    /// Train an MLP, a CNN and a transformer, and measure how fast; on request beside PyTorch and
    /// burn
    #[command(after_long_help = TRAINING_EXAMPLES)]
    Training(TrainingArgs),
}

/// How much is trained, and beside whom.
#[derive(Clone, Debug, Args)]
pub struct TrainingArgs {
    /// Threads of each engine
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub threads: u32,
    /// Epochs that are measured, in which all take turns
    #[arg(long, value_name = "N", default_value_t = 9)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Rows of an epoch
    #[arg(long, value_name = "N", default_value_t = 5_120, value_parser = rows)]
    pub rows: usize,
    /// Hold PyTorch and burn against it; they are installed into this account's cache folder
    #[arg(long)]
    pub rivals: bool,
    /// Measure what the network costs instead: the CNN as a job of a network on this machine, in
    /// turns with the trainer alone
    #[arg(long, conflicts_with = "rivals")]
    pub through_network: bool,
    /// Epochs of each job that goes through the network
    #[arg(long, value_name = "N", requires = "through_network", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: u32,
}

fn rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows @ 128..=1_000_000) => Ok(rows),
        Ok(_) | Err(_) => Err("an epoch has 128 to 1000000 rows".to_owned()),
    }
}

/// How often who is killed.
#[derive(Clone, Debug, Args)]
pub struct FailoverArgs {
    /// Coordinators to start: 3 or 5
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = committee_that_survives)]
    pub coordinators: u16,
    /// How often the leader is killed
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub leaders: u32,
    /// How often a worker is killed that trains; each takes a lease of nine seconds
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub workers: u32,
    /// Keep the network's folder, with the logs of all processes
    #[arg(long)]
    pub keep: bool,
}

fn committee_size(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(size @ (1 | 3 | 5)) => Ok(size),
        Ok(_) | Err(_) => Err("a committee has 1, 3 or 5 members".to_owned()),
    }
}

fn committee_that_survives(text: &str) -> Result<u16, String> {
    match committee_size(text)? {
        1 => Err("with 1 coordinator there is nobody left to lead; take 3 or 5".to_owned()),
        size => Ok(size),
    }
}

/// What the executor adds to `cyxwiz __train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// Go on where no walls are around this process, as the owner has agreed to
    #[arg(long)]
    pub allow_unsandboxed: bool,
    /// Compute with ArrayFire by this backend instead of the embedded engine
    #[arg(long)]
    pub af_backend: Option<Backend>,
    #[arg(long, requires = "af_backend", default_value_t = 0)]
    pub device: u16,
    /// The backend's library
    #[arg(long, requires = "af_backend")]
    pub af_library: Option<PathBuf>,
    /// Holds `job.json` and `inputs/`; the result goes to `output/` below it
    pub dir: PathBuf,
    pub threads: usize,
    /// Rows that do not fit into memory may take so much of the folder of temporary files
    #[arg(long)]
    pub disk_mb: Option<u32>,
}

/// What the benchmark adds to `cyxwiz __bench-train`.
#[derive(Clone, Debug, Args)]
pub struct BenchTrainArgs {
    /// Holds the data
    pub dir: PathBuf,
    pub model: String,
    pub threads: u32,
}

/// How a command reaches the network.
#[derive(Clone, Debug, Default, Args)]
pub struct Reach {
    /// Join the network through this peer for as long as the command takes, instead of asking the
    /// node that runs on this machine. May be given more than once
    #[arg(long, value_name = "ADDRESS|INVITE")]
    pub join: Vec<String>,
}

/// What a command has at hand.
#[derive(Debug)]
pub struct Context {
    pub data_dir: PathBuf,
    pub output: Output,
}

impl Context {
    fn new(globals: &Globals) -> Result<Self, CommandError> {
        let data_dir = match &globals.data_dir {
            Some(dir) => std::path::absolute(dir).map_err(|source| {
                CommandError::usage(format!("cannot use the data directory '{}'", dir.display()))
                    .because(&source)
            })?,
            None => default_data_dir()?,
        };
        Ok(Self { data_dir, output: Output::new(globals) })
    }

    /// The node to ask: the one that runs here, or a short-lived one when `reach` says so, which
    /// ends with the returned value.
    pub(crate) fn reach(&self, reach: &Reach) -> Result<Reached, CommandError> {
        let connect = |data_dir: &Path| {
            client::Client::connect(data_dir).map(|client| client.telling(&self.output))
        };
        if reach.join.is_empty() {
            return Ok(Reached { client: connect(&self.data_dir)?, node: None });
        }
        let node = run::ephemeral(&reach.join, &self.data_dir)?;
        Ok(Reached { client: connect(&node.data_dir)?, node: Some(node) })
    }
}

/// A client, and the short-lived node that answers it, if any.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) client: client::Client,
    #[expect(dead_code, reason = "held only so that the node ends with the command")]
    node: Option<run::EphemeralNode>,
}

/// The whole program: parses the command line, runs the command, prints its error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.globals.output != Format::Table;
    let outcome = match start_log(&cli) {
        Ok(()) => dispatch(cli),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            error.print(json);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CommandError> {
    let Cli { globals, command } = cli;
    let context = || Context::new(&globals);
    match command {
        Command::Node(command) => node::run(&context()?, command)?,
        Command::Job(command) => job::run(&context()?, command)?,
        Command::Model(command) => model::run(&context()?, command)?,
        Command::Demo(args) => run::demo(&context()?, args)?,
        Command::Bench(args) => run::bench(&context()?, args)?,
        Command::Doctor => doctor::run(&context()?)?,
        Command::Completions { shell } => completions(shell)?,
        Command::Bootstrap(mut options) => {
            let nodes = std::env::var_os("CYXWIZ_DATA_DIR").map(PathBuf::from);
            options.data_dir = beside_node(options.data_dir, nodes.as_deref(), &options.network);
            run::bootstrap(options)?;
        }
        Command::Train(args) => return train(&args),
        Command::BenchTrain(args) => {
            bench::train_in_turns(&args.dir, &args.model, args.threads)?;
        }
        Command::Devices { backend } => devices(backend)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes away what is left to take, before anything of the job is read. Without walls this goes on
/// only where the node's owner has agreed; what cannot be taken away then is said on standard
/// error, which the node keeps.
fn train(args: &TrainArgs) -> Result<ExitCode, CommandError> {
    if let Err(error) = cyxwiz_sandbox::seal() {
        if !args.allow_unsandboxed {
            return Err(CommandError::failure("this process does not train").because(&error));
        }
        tracing::warn!(%error, "training without all walls");
    }
    let (control, frames) = (std::io::stdin(), std::io::stdout().lock());
    let engine = match args.af_backend {
        None => EngineChoice::Cpu,
        Some(backend) => {
            let (device, library) = (args.device, args.af_library.clone());
            EngineChoice::ArrayFire(ArrayFireChoice { backend, device, library })
        }
    };
    let disk = args.disk_mb.map(|mb| u64::from(mb) * 1_000_000);
    let means = cyxwiz_trainer::Means { threads: args.threads, disk };
    let exit = cyxwiz_trainer::serve_on(&engine, &args.dir, means, control, frames);
    Ok(ExitCode::from(exit.code()))
}

/// Where a driver takes this process down, whoever started it hears of that.
fn devices(backend: Backend) -> Result<(), CommandError> {
    let report = cyxwiz_trainer::arrayfire_report(backend);
    let text = serde_json::to_vec(&report).expect("reports always serialize");
    output::write_stdout(&text)
}

/// The folder of a bootstrap peer. The environment's folder of nodes reaches it like a flag; it has
/// a folder of its own in there, as two peers must never share a key.
fn beside_node(given: Option<PathBuf>, nodes: Option<&Path>, network: &str) -> Option<PathBuf> {
    match given {
        Some(dir) if nodes == Some(&dir) => Some(dir.join("bootstrap").join(network)),
        given => given,
    }
}

/// Writes the script into memory first: the generator panics where a pipe breaks.
fn completions(shell: clap_complete::Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cyxwiz", &mut script);
    output::write_stdout(&script)
}

fn start_log(cli: &Cli) -> Result<(), CommandError> {
    let serves =
        matches!(cli.command, Command::Node(node::NodeCommand::Run(_)) | Command::Bootstrap(_));
    // The libraries beneath warn of what is normal in a network of few.
    let default = if serves { SERVING } else { "warn,libp2p_kad=error" };
    let text = cli.globals.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(text).map_err(|source| {
        CommandError::usage(format!("'{text}' does not say what to log"))
            .because(&source)
            .hint("write a level (error, warn, info, debug, trace) or pairs like cyxwiz_net=debug")
    })?;
    let stderr = std::io::stderr();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr.is_terminal() && console::colors_enabled_stderr())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

fn default_data_dir() -> Result<PathBuf, CommandError> {
    let folders = directories::ProjectDirs::from("", "", "cyxwiz").ok_or_else(|| {
        CommandError::failure("this account has no home directory to keep data in")
            .hint("name a folder with --data-dir or CYXWIZ_DATA_DIR")
    })?;
    Ok(folders.data_dir().to_owned())
}

/// What a node that runs logs.
const SERVING: &str = "info,libp2p_swarm=warn,libp2p_kad=error";

const HELP: &str = "\
Examples:
  cyxwiz demo                                    a whole network on this machine, in a minute
  cyxwiz node run --join ADDRESS --worker        lend this machine to a network
  cyxwiz model check job.toml                    see its layers, parameters and memory
  cyxwiz job submit job.toml --follow            train a model on it and watch
  cyxwiz job results last                        fetch the newest model

Exit codes:
  0 done, 1 error, 2 usage, 3 no node or coordinator reachable, 100 job failed,
  101 job not finished, 102 not found, 103 job cancelled, 104 nobody can run the job,
  130 interrupted";

const DEMO_EXAMPLES: &str = "\
Examples:
  cyxwiz demo
  cyxwiz demo --workers 4 --jobs 8
  cyxwiz demo --chaos
  cyxwiz demo --chaos --coordinators 5 --keep";

const BENCH_EXAMPLES: &str = "\
Examples:
  cyxwiz bench
  cyxwiz bench --coordinators 5 --workers 5 --output json
  cyxwiz bench failover
  cyxwiz bench training";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  cyxwiz doctor
  cyxwiz doctor --output json";

const FAILOVER_EXAMPLES: &str = "\
Examples:
  cyxwiz bench failover --leaders 30
  cyxwiz bench failover --coordinators 5 --workers 0";

const TRAINING_EXAMPLES: &str = "\
Examples:
  cyxwiz bench training
  cyxwiz bench training --rivals
  cyxwiz bench training --through-network --rounds 5
  cyxwiz bench training --threads 1 --rounds 20 --output json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  cyxwiz completions bash > ~/.local/share/bash-completion/completions/cyxwiz
  cyxwiz completions fish > ~/.config/fish/completions/cyxwiz.fish";
