//! `cyxwiz node …`: runs a peer, and shows what the running one knows.

mod committee;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use cyxwiz_trainer::Backend;

use super::error::CommandError;
use super::output::Output;
use super::quantity::{ago, bytes, mebibytes, now, of};
use super::table::{Facts, Rows};
use super::{Context, Reach, run};
use crate::api::view::{NodeView, PeerView, WorkerLineView, WorkerView};
use crate::engines::EngineKind;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run a peer until Ctrl-C
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Box<NodeRunArgs>),
    /// Show the running peer: its network, its roles, its jobs, how others join
    Status(Reach),
    /// List the peers it is connected to
    Peers(Reach),
    /// List the workers that the leading coordinator knows
    Workers(Reach),
}

/// How a peer runs. What is left out comes from the configuration file, else from the defaults.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeRunArgs {
    /// Join the network through this peer: its address, or the invite line that it prints. May be
    /// given more than once
    #[arg(long, value_name = "ADDRESS|INVITE", env = "CYXWIZ_JOIN", value_delimiter = ' ')]
    pub join: Vec<String>,
    /// Listen here, like /ip4/0.0.0.0/tcp/4001. May be given more than once
    #[arg(long, value_name = "MULTIADDR", env = "CYXWIZ_LISTEN", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// An address under which others reach this peer from outside. May be given more than once
    #[arg(long, value_name = "MULTIADDR", env = "CYXWIZ_EXTERNAL", value_delimiter = ',')]
    pub external: Vec<String>,
    /// Run jobs for others on this machine
    #[arg(long, env = "CYXWIZ_WORKER", value_parser = BoolishValueParser::new())]
    pub worker: bool,
    /// Keep the network's jobs and place them
    #[arg(long, env = "CYXWIZ_COORDINATOR", value_parser = BoolishValueParser::new())]
    pub coordinator: bool,
    /// Begin the committee of this peer's own network anew: once, when its disks are gone for good.
    /// Says what that can cost and asks first. In a network with a bootstrap peer it is
    /// `cyxwiz-bootstrap` that takes this option
    #[arg(long)]
    pub force_new_committee: bool,
    /// Write everything that this peer handles to FILE, for `cyxwiz-sim replay`: private to its
    /// owner, without the key, and never over a file that is there
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Agree to --force-new-committee beforehand
    #[arg(long, requires = "force_new_committee")]
    pub yes: bool,
    /// The network's name; peers of other networks are not heard
    #[arg(long, value_name = "NAME", env = "CYXWIZ_NETWORK")]
    pub network: Option<String>,
    /// Read settings from this file instead of the one in the platform's configuration folder
    #[arg(long, value_name = "FILE", env = "CYXWIZ_CONFIG")]
    pub config: Option<PathBuf>,
    /// Jobs that run here at the same time
    #[arg(long, value_name = "N", env = "CYXWIZ_MAX_CONCURRENT", help_heading = WORKER)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_concurrent: Option<u16>,
    /// Processor threads that one job gets
    #[arg(long, value_name = "N", env = "CYXWIZ_THREADS", help_heading = WORKER)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub threads: Option<u16>,
    /// Memory that all jobs together get, in MiB
    #[arg(long, value_name = "MIB", env = "CYXWIZ_MEMORY_MB", help_heading = WORKER)]
    #[arg(value_parser = clap::value_parser!(u32).range(64..))]
    pub memory_mb: Option<u32>,
    /// What a job costs here
    #[arg(long, value_name = "N", env = "CYXWIZ_PRICE", help_heading = WORKER)]
    pub price: Option<u64>,
    /// Milliseconds between two reports of a running job
    #[arg(long, value_name = "MS", env = "CYXWIZ_REPORT_INTERVAL_MS", help_heading = WORKER)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub report_interval_ms: Option<u64>,
    /// Run strangers' jobs even where this machine cannot lock them in. Which walls it has is
    /// shown by `cyxwiz doctor`
    #[arg(long, env = "CYXWIZ_ALLOW_UNSANDBOXED", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = WORKER)]
    pub allow_unsandboxed: bool,
    /// What jobs compute with
    #[arg(long, value_enum, env = "CYXWIZ_ENGINE", help_heading = WORKER)]
    pub engine: Option<EngineKind>,
    /// Compute with ArrayFire by this backend: cuda, opencl or cpu
    #[arg(long, value_name = "BACKEND", env = "CYXWIZ_AF_BACKEND", help_heading = WORKER)]
    pub af_backend: Option<Backend>,
    /// The backend's device, counted from 0 as `cyxwiz doctor` lists them; by default the first GPU
    #[arg(long, value_name = "N", env = "CYXWIZ_DEVICE", help_heading = WORKER)]
    pub device: Option<u16>,
    /// Serve the local API here; port 0 lets the system choose
    #[arg(long, value_name = "IP:PORT", env = "CYXWIZ_API")]
    pub api: Option<SocketAddr>,
    /// Do not look for peers in the local network
    #[arg(long, env = "CYXWIZ_NO_MDNS", value_parser = BoolishValueParser::new())]
    pub no_mdns: bool,
}

pub(crate) fn run(context: &Context, command: NodeCommand) -> Result<(), CommandError> {
    let output = &context.output;
    match command {
        NodeCommand::Run(args) => run::run_node(context, *args),
        NodeCommand::Status(reach) => {
            let view = context.reach(&reach)?.client.node()?;
            output.show(&view, || status(&view, output, now()))?;
            output.say(&format!("\n{}", next_step(&view)));
            Ok(())
        }
        NodeCommand::Peers(reach) => {
            let views = context.reach(&reach)?.client.peers()?;
            if views.is_empty() {
                output.say("no peers are connected");
            }
            output.show_all(&views, || peers(&views, output))
        }
        NodeCommand::Workers(reach) => {
            let views = context.reach(&reach)?.client.workers()?;
            if views.is_empty() {
                output.say("the coordinator knows no worker; one joins with");
                output.say("  cyxwiz node run --worker --join ADDRESS");
            }
            output.show_all(&views, || workers(&views, output))
        }
    }
}

pub(super) fn status(view: &NodeView, output: &Output, now: u64) -> String {
    let mut facts = Facts::default();
    facts.add("peer", view.peer.as_str());
    let since = ago(view.started_at, now);
    facts.add("version", format!("{}, started {since}", view.version));
    facts.add(
        "network",
        format!("{}, connected to {}", view.network, of(view.connected as u64, "peer")),
    );
    facts.add("invite", view.invite.as_str());
    match view.listening.is_empty() {
        true => facts.add("listening", "nowhere: others cannot reach this peer"),
        false => facts.add_all("listening", view.listening.iter().cloned()),
    }
    facts.add_all("committee", committee::members(view, output));
    facts.add_all("health", committee::health(view, output));
    facts.add_all("roles", roles(view));
    facts.add("own jobs", own_jobs(view));
    let traffic = view.traffic;
    facts.add(
        "traffic",
        format!("{} in, {} out", bytes(traffic.bytes_in), bytes(traffic.bytes_out)),
    );
    if let Some(dropped) = dropped(view) {
        facts.add("dropped", dropped);
    }
    facts.add("data", view.data_dir.display().to_string());
    facts.text()
}

fn roles(view: &NodeView) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(coordinator) = &view.coordinator {
        let office = committee::office(coordinator);
        // Who follows keeps the jobs too, but only who leads knows where each stands.
        let jobs = coordinator.leading.then(|| {
            format!(
                ": {} queued, {} running, {} paused, {} finished, {}",
                coordinator.queued,
                coordinator.running,
                coordinator.paused,
                coordinator.finished,
                of(coordinator.workers as u64, "worker"),
            )
        });
        lines.push(format!("coordinator, {office}{}", jobs.unwrap_or_default()));
    }
    if let Some(worker) = &view.worker {
        lines.push(format!("worker: {}", worker_line(worker)));
    }
    if lines.is_empty() {
        lines.push("submitter".to_owned());
    }
    lines
}

fn worker_line(worker: &WorkerView) -> String {
    let mut line = format!(
        "{} of {} running, {}, {}, {:.1} GFLOP/s, price {}",
        worker.running,
        of(u64::from(worker.max_concurrent), "job"),
        of(u64::from(worker.cores), "core"),
        mebibytes(worker.memory_mb),
        f64::from(worker.mflops) / 1_000.0,
        worker.price,
    );
    for device in &worker.devices {
        let memory = mebibytes(device.memory_mb);
        line.push_str(&format!("\n{} {}, {memory}", device.kind, device.name));
    }
    line
}

fn own_jobs(view: &NodeView) -> String {
    let submitter = &view.submitter;
    match (submitter.unaccepted, submitter.unfinished) {
        (0, 0) => "none under way".to_owned(),
        (0, unfinished) => format!("{unfinished} under way"),
        (unaccepted, unfinished) => {
            format!("{unfinished} under way, {unaccepted} not accepted yet")
        }
    }
}

/// Messages that were thrown away, by reason; nothing when there were none.
fn dropped(view: &NodeView) -> Option<String> {
    let dropped = view.dropped;
    let reasons = [
        (dropped.unreadable, "unreadable"),
        (dropped.version, "of another version"),
        (dropped.network, "of another network"),
        (dropped.unsigned, "with a wrong signature"),
        (dropped.stale, "too old or seen before"),
    ];
    let words: Vec<_> = reasons
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, reason)| format!("{number} {reason}"))
        .collect();
    (!words.is_empty()).then(|| format!("messages: {}", words.join(", ")))
}

/// The one thing to do next.
fn next_step(view: &NodeView) -> String {
    let no_worker = view.worker.is_none()
        && view.coordinator.as_ref().is_some_and(|coordinator| coordinator.workers == 0);
    if committee::is_electing(view) {
        "next: start the missing coordinators; they need no --join any more".to_owned()
    } else if view.committee.is_none() && view.connected == 0 {
        "next: give it a peer of the network: cyxwiz node run --join ADDRESS".to_owned()
    } else if no_worker {
        format!("next: add a worker: cyxwiz node run --worker --join '{}'", view.invite)
    } else if view.submitter.unfinished > 0 {
        "next: watch the newest job: cyxwiz job watch last".to_owned()
    } else {
        "next: submit a job: cyxwiz job submit FILE --follow".to_owned()
    }
}

fn peers(views: &[PeerView], output: &Output) -> String {
    let mut rows = Rows::new(&["peer", ">round trip", "program", "addresses"]);
    for view in views {
        let trip = view.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let agent = view.agent.clone().unwrap_or_else(|| "-".to_owned());
        rows.add([output.ids.peer(&view.peer), trip, agent, view.addresses.join("\n")]);
    }
    rows.text()
}

fn workers(views: &[WorkerLineView], output: &Output) -> String {
    let titles =
        ["worker", ">cores", ">memory", "devices", ">running", ">done", ">failed", ">reputation"];
    let mut rows = Rows::new(&titles);
    for view in views {
        let devices =
            if view.devices.is_empty() { "cpu".to_owned() } else { view.devices.join(", ") };
        rows.add([
            output.ids.peer(&view.worker),
            view.cores.to_string(),
            mebibytes(view.memory_mb),
            devices,
            format!("{} of {}", view.running, view.max_concurrent),
            view.completed.to_string(),
            view.failed.to_string(),
            format!("{:.2}", view.reputation),
        ]);
    }
    rows.text()
}

const WORKER: &str = "What a worker offers";

const RUN_EXAMPLES: &str = "\
Examples:
  cyxwiz node run --coordinator                         found a network
  cyxwiz node run --worker --join ADDRESS               lend this machine to one
  cyxwiz node run --join ADDRESS                        submit jobs to one
  cyxwiz node run --worker --join ADDRESS --threads 2 --max-concurrent 1

The address is the one that `cyxwiz node status` of another peer shows, or its invite line.";
