//! Hands commands that are more than a question to the part of the crate that carries them out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::client::Client;
use super::error::{CommandError, Kind};
use super::node::NodeRunArgs;
use super::{BenchArgs, Context, DemoArgs};
use crate::engines::EngineSettings;
use crate::identity;
use crate::membership::{self, Join, MembershipError};
use crate::node::{self, NodeError, Running};
use crate::settings::{ConfigError, ConfigFile, Settings, WorkerSettings};

/// How long a short-lived peer tries to find a coordinator.
const REACH: Duration = Duration::from_secs(15);

/// `cyxwiz node run`: returns when the node has ended in order.
pub fn run_node(context: &Context, args: NodeRunArgs) -> Result<(), CommandError> {
    let agreed = args.yes;
    let settings = settings(context, args)?;
    if settings.force_new_committee {
        confirm_new_committee(&settings, agreed)?;
    }
    let joined = !settings.joins.is_empty();
    let announce = |running: &Running| announce(context, running, joined);
    runtime()?.block_on(async {
        node::run(settings, announce, stop_signal()).await.map_err(|error| explain(&error))
    })?;
    context.output.say("the node has ended in order");
    Ok(())
}

/// Before anything starts: tells where a network is founded anew if that is not here, else what it
/// can cost, and asks.
fn confirm_new_committee(settings: &Settings, agreed: bool) -> Result<(), CommandError> {
    if !settings.coordinator {
        let text = "--force-new-committee is for coordinators";
        return Err(CommandError::usage(text).hint("add --coordinator"));
    }
    let dir = &settings.data_dir;
    let explain = |error: NodeError| explain(&error);
    let key = identity::load_or_create(dir).map_err(|error| explain(error.into()))?;
    let id = cyxwiz_protocol::Identity::from_seed(key.seed).id();
    let network = membership::own_network(dir, id).map_err(|error| explain(error.into()))?;
    cyxwiz_bootstrap::confirm_new_committee(network.name(), agreed)
        .map_err(|error| CommandError::failure("the committee is not founded anew").because(&error))
}

/// What a user who has just started a node wants to know.
fn announce(context: &Context, running: &Running, joined: bool) {
    let invite = cyxwiz_protocol::charter::Invite {
        network: running.membership.network.clone(),
        addresses: running.addresses.clone(),
        ticket: None,
    };
    let document = serde_json::json!({
        "event": "ready",
        "peer": running.peer.to_string(),
        "network": running.membership.network.name(),
        "api": running.api,
        "listening": invite.addresses,
        "invite": invite.to_string(),
    });
    let table = || {
        let mut lines = vec![
            format!("peer     {}", running.peer),
            format!("network  {}", running.membership.network.name()),
        ];
        lines.extend(invite.addresses.iter().map(|address| format!("listens  {address}")));
        if !invite.addresses.is_empty() {
            lines.push(format!("invite   {invite}"));
        }
        lines.join("\n")
    };
    // Standard output may be closed; the node runs all the same.
    let _ = context.output.show(&document, table);
    let next = if joined {
        "running; `cyxwiz node status` shows how it stands, Ctrl-C ends it"
    } else {
        "running; others join with --join and the invite line, Ctrl-C ends it"
    };
    context.output.say(next);
}

fn settings(context: &Context, args: NodeRunArgs) -> Result<Settings, CommandError> {
    let file = ConfigFile::load(args.config.as_deref()).map_err(|error| explain_config(&error))?;
    let or = |given: Vec<String>, table: Vec<String>| if given.is_empty() { table } else { given };
    let (defaults, jobs) = (WorkerSettings::default(), &file.jobs);
    let works = args.worker || file.node.worker.unwrap_or(false);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args
        .threads
        .or(jobs.default_cpu_threads)
        .unwrap_or_else(|| defaults.threads.min(u16::try_from(cores).unwrap_or(u16::MAX)));
    let interval = args.report_interval_ms.or(jobs.progress_report_interval_ms);
    let engines = EngineSettings {
        engine: args.engine.or(jobs.engine).unwrap_or_default(),
        backend: args.af_backend.or(jobs.af_backend),
        device: args.device.or(jobs.device),
    };
    let worker = works.then(|| WorkerSettings {
        max_concurrent: args
            .max_concurrent
            .or(jobs.max_concurrent)
            .unwrap_or(defaults.max_concurrent),
        threads,
        memory_mb: args.memory_mb.or(jobs.memory_mb),
        price: args.price.or(jobs.price).unwrap_or(defaults.price),
        report_interval: interval.map_or(defaults.report_interval, Duration::from_millis),
        allow_unsandboxed: args.allow_unsandboxed || jobs.allow_unsandboxed.unwrap_or(false),
        engines,
    });
    let listen = or(args.listen, file.node.listen);
    let listen = if listen.is_empty() {
        vec!["/ip4/0.0.0.0/tcp/0".to_owned(), "/ip4/0.0.0.0/udp/0/quic-v1".to_owned()]
    } else {
        listen
    };
    Ok(Settings {
        data_dir: context.data_dir.clone(),
        joins: joins(&or(args.join, file.node.join))?,
        listen: addresses(&listen, "--listen")?,
        external: addresses(&or(args.external, file.node.external), "--external")?,
        network: args.network,
        coordinator: args.coordinator || file.node.coordinator.unwrap_or(false),
        force_new_committee: args.force_new_committee,
        worker,
        api: args.api.unwrap_or(ANY_PORT),
        mdns: !args.no_mdns && file.node.mdns.unwrap_or(true),
        patient: true,
        record: args.record,
    })
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn joins(texts: &[String]) -> Result<Vec<Join>, CommandError> {
    let parse = |text: &String| {
        text.parse::<Join>().map_err(|error| {
            CommandError::usage(format!("--join '{text}' cannot be read: {error}"))
                .hint("paste the whole invite line that a peer or `cyxwiz-bootstrap` prints")
        })
    };
    texts.iter().map(parse).collect()
}

fn addresses(texts: &[String], option: &str) -> Result<Vec<cyxwiz_net::Multiaddr>, CommandError> {
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            CommandError::usage(format!("{option} '{text}' is not an address: {error}"))
                .hint("addresses look like /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1")
        })
    };
    texts.iter().map(parse).collect()
}

/// A peer that lives as long as this value, for one command.
#[derive(Debug)]
pub struct EphemeralNode {
    /// Holds the `api.json` of the peer.
    pub data_dir: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for EphemeralNode {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The node may have ended on its own.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Joins the network through `join` for the time of one command, and waits until a coordinator
/// is known.
pub fn ephemeral(join: &[String], data_dir: &Path) -> Result<EphemeralNode, CommandError> {
    let settings = Settings {
        data_dir: data_dir.to_owned(),
        joins: joins(join)?,
        listen: addresses(&["/ip4/0.0.0.0/tcp/0".to_owned()], "--listen")?,
        external: Vec::new(),
        network: None,
        coordinator: false,
        force_new_committee: false,
        worker: None,
        api: ANY_PORT,
        mdns: false,
        patient: false,
        record: None,
    };
    let node = start(settings)?;
    await_committee(&node.data_dir, join)?;
    Ok(node)
}

fn start(settings: Settings) -> Result<EphemeralNode, CommandError> {
    let runtime = runtime()?;
    let data_dir = settings.data_dir.clone();
    let (stop, stopped) = oneshot::channel();
    let (news_in, news) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let ready_in = news_in.clone();
        let ready = move |_: &Running| {
            // Whoever waits is told, or is gone.
            let _ = ready_in.send(Ok(()));
        };
        let shutdown = async {
            // A dropped sender asks for the same.
            let _ = stopped.await;
        };
        let outcome = runtime.block_on(node::run(settings, ready, shutdown));
        if let Err(error) = outcome {
            let _ = news_in.send(Err(explain(&error)));
        }
    });
    let node = EphemeralNode { data_dir, stop: Some(stop), thread: Some(thread) };
    match news.recv() {
        Ok(Ok(())) => Ok(node),
        Ok(Err(error)) => Err(error),
        Err(_gone) => Err(CommandError::failure("the short-lived peer ended at once")),
    }
}

fn await_committee(data_dir: &Path, join: &[String]) -> Result<(), CommandError> {
    let client = Client::connect(data_dir)?;
    let deadline = Instant::now() + REACH;
    loop {
        let node = client.node()?;
        if node.committee.is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let (text, hint) = if node.connected == 0 {
                let text = format!("nobody of the network answers at {}", join.join(", "));
                (text, "check the address, and that the peer there is running")
            } else {
                let text = "the network was reached, but it has no coordinator".to_owned();
                (text, "start one with `cyxwiz node run --coordinator`")
            };
            return Err(CommandError::new(Kind::Unreachable, text).hint(hint));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `cyxwiz demo`.
pub fn demo(context: &Context, args: DemoArgs) -> Result<(), CommandError> {
    super::demo::run(context, &args)
}

/// `cyxwiz bench`.
pub fn bench(context: &Context, args: BenchArgs) -> Result<(), CommandError> {
    super::bench::run(context, &args)
}

/// `cyxwiz bootstrap`.
pub fn bootstrap(options: cyxwiz_bootstrap::Options) -> Result<(), CommandError> {
    let printer = cyxwiz_bootstrap::printer(options.json);
    runtime()?.block_on(cyxwiz_bootstrap::run(options, stop_signal(), printer)).map_err(|error| {
        CommandError::failure("the bootstrap peer ended").because(&error).hint(error.hint())
    })
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|source| {
        CommandError::failure("the system gives no threads to run on").because(&source)
    })
}

/// Completes at the first SIGINT or SIGTERM. The second ends the process at once, for those who
/// will not wait.
pub async fn stop_signal() {
    first_signal().await;
    tracing::info!("ending: runs are handed back first; again to end at once");
    tokio::spawn(async {
        first_signal().await;
        std::process::exit(i32::from(Kind::Interrupted.exit_code()));
    });
}

#[cfg(unix)]
pub(crate) async fn first_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupt().await;
    };
    tokio::select! {
        () = interrupt() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn first_signal() {
    interrupt().await;
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler there is nothing to wait for; other ways of ending remain.
        std::future::pending::<()>().await;
    }
}

fn explain_config(error: &ConfigError) -> CommandError {
    let source = std::error::Error::source(error);
    let command = CommandError::usage(error.to_string());
    source.map_or(command.clone(), |source| command.because(source))
}

/// A node's failure for people: kind, causes, and what to do.
pub(crate) fn explain(error: &NodeError) -> CommandError {
    let kind = match error {
        NodeError::Membership(MembershipError::Net(cyxwiz_net::NetError::Unreachable {
            ..
        })) => Kind::Unreachable,
        NodeError::Membership(
            MembershipError::NoNetwork
            | MembershipError::OtherNetwork { .. }
            | MembershipError::NoSeat { .. }
            | MembershipError::NotCharter { .. }
            | MembershipError::Name(_),
        ) => Kind::Usage,
        NodeError::Identity(_)
        | NodeError::Membership(_)
        | NodeError::Store(_)
        | NodeError::Recover { .. }
        | NodeError::Artifacts(_)
        | NodeError::Folder { .. }
        | NodeError::Executor(_)
        | NodeError::Unsandboxed { .. }
        | NodeError::Engine(_)
        | NodeError::Net(_)
        | NodeError::Api(_)
        | NodeError::Recording(_)
        | NodeError::Driver(_)
        | NodeError::Random(_) => Kind::Failure,
    };
    let mut command = CommandError::new(kind, error.to_string());
    if let Some(source) = std::error::Error::source(error) {
        command = command.because(source);
    }
    match error {
        NodeError::Membership(membership) => match membership.hint() {
            Some(hint) => command.hint(hint),
            None => command,
        },
        NodeError::Recover { .. } => {
            command.hint("move the directory away to begin anew, or run the version that wrote it")
        }
        NodeError::Unsandboxed { .. } => command.hint(
            "see `cyxwiz doctor` for what to do; to run strangers' jobs all the same, with the \
             rights of this user where a wall is missing, add --allow-unsandboxed",
        ),
        NodeError::Engine(_) => command
            .hint("`cyxwiz doctor` shows what there is; `--engine cpu` computes without ArrayFire"),
        NodeError::Identity(_)
        | NodeError::Store(_)
        | NodeError::Artifacts(_)
        | NodeError::Folder { .. }
        | NodeError::Executor(_)
        | NodeError::Net(_)
        | NodeError::Api(_)
        | NodeError::Recording(_)
        | NodeError::Driver(_)
        | NodeError::Random(_) => command,
    }
}
