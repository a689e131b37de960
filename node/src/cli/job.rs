//! `cyxwiz job …`: what its commands are called and which part carries them out.

pub(crate) mod fetch;
mod look;
pub(super) mod outcome;
mod pause;
pub(super) mod submit;
pub(super) mod why;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::error::CommandError;
use super::{Context, Reach};

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Send a job to the network
    #[command(after_long_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// List this node's jobs, newest first
    List(ListArgs),
    /// Show one job: its state, its progress, its result
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(JobArgs),
    /// Follow a job until it ends: progress, loss, accuracy
    #[command(after_long_help = WATCH_EXAMPLES)]
    Watch(JobArgs),
    /// Wait until a job has ended, and exit with its outcome
    Wait(JobArgs),
    /// End a job before its time
    Cancel(CancelArgs),
    /// Let a job rest: its worker writes down how far it is and is free for others
    #[command(after_long_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// Let a paused job go on from where it was
    Resume(JobArgs),
    /// Fetch the files of a completed job
    #[command(after_long_help = RESULTS_EXAMPLES)]
    Results(ResultsArgs),
    /// Explain where a job went and why: bids, scores, refusals, attempts
    Why(JobArgs),
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The job file, TOML or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the data files lie that the job names; by default beside the job file, or in the
    /// current folder for -
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Watch the job until it ends, then exit with its outcome
    #[arg(long)]
    pub follow: bool,
    /// Wait in silence until the job has ended, then exit with its outcome
    #[arg(long, conflicts_with = "follow")]
    pub wait: bool,
    /// Print the job's id and nothing else
    #[arg(long)]
    pub id_only: bool,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those of everybody
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// A command about one job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job's id, four characters or more of its beginning, the name of an own job, or `last`
    /// for the newest own job
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Debug, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Wait until the job has ended
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Wait until nothing of the job runs any more
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct ResultsArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Where the files go; by default ./results-NAME-ID
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

pub(crate) fn run(context: &Context, command: JobCommand) -> Result<(), CommandError> {
    match command {
        JobCommand::Submit(args) => submit::submit(context, &args),
        JobCommand::List(args) => look::list(context, &args),
        JobCommand::Status(args) => look::status(context, &args),
        JobCommand::Watch(args) => look::watch(context, &args),
        JobCommand::Wait(args) => look::wait(context, &args),
        JobCommand::Cancel(args) => look::cancel(context, &args),
        JobCommand::Pause(args) => pause::pause(context, &args),
        JobCommand::Resume(args) => pause::resume(context, &args),
        JobCommand::Results(args) => fetch::results(context, &args),
        JobCommand::Why(args) => why::why(context, &args),
    }
}

const SUBMIT_EXAMPLES: &str = "\
Examples:
  cyxwiz job submit digits.toml --follow
  cyxwiz job submit digits.toml --wait && cyxwiz job results last
  ID=$(cyxwiz job submit digits.toml --id-only)
  cyxwiz job submit - --files ./data < digits.toml";

const STATUS_EXAMPLES: &str = "\
Examples:
  cyxwiz job status last
  cyxwiz job status last --output json";

const WATCH_EXAMPLES: &str = "\
Ctrl-C stops watching; the job goes on.

Examples:
  cyxwiz job watch last
  cyxwiz job watch last --output jsonl           one event a line";

const PAUSE_EXAMPLES: &str = "\
A paused job keeps its place with the committee for 30 days; this is not time of the job's.

Examples:
  cyxwiz job pause digits --wait
  cyxwiz job resume digits && cyxwiz job watch digits";

const RESULTS_EXAMPLES: &str = "\
Every file is checked against the SHA-256 that its worker signed.

Examples:
  cyxwiz job results last
  cyxwiz job results last --out model --force";
