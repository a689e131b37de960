//! A node: its parts put together, run, and taken apart again.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use cyxwiz_net::{Config as NetConfig, Handle, Multiaddr};
use cyxwiz_protocol::{
    Config as PeerConfig, CoordinatorConfig, Identity, Peer, PeerId, RecoverError, StoreId, Timing,
    WorkerConfig, limits,
    notice::{committee_key, keeps_committee},
    spec::JobKind,
};
use cyxwiz_sandbox::{Level, Report};
use cyxwiz_scoring::{Capability, Device, DeviceKind, Policy};
use tokio::sync::{broadcast, mpsc};

use crate::{
    address_book::AddressBook,
    api::{self, ApiError},
    artifacts::{self, ArtifactError, ArtifactStore},
    clock::Clock,
    driver::{self, Driver, DriverError, Inputs},
    engines::{self, EngineFault, Engines},
    executor::{Executor, ExecutorConfig, ExecutorError, Walls},
    founding::Asker,
    hardware::{self, Hardware},
    identity::{self, IdentityError},
    membership::{self, Membership, MembershipError, Wish},
    recording::{RecordingError, Tape},
    settings::{Settings, WorkerSettings},
    store::{self, Opened, Store},
    tasks::{self, Allowance, Inspector, Tasks, Transfers},
};

/// Memory that a worker leaves to the machine's owner.
const MEMORY_RESERVE_MB: u64 = 1_024;
/// Bytes of artifacts that a node keeps.
const ARTIFACT_BYTES: u64 = 64 << 30;
/// An invite is to be pasted; four addresses are choice enough.
const TOLD_ADDRESSES: usize = 4;
/// Frames and outcomes that wait for the driver.
const EXECUTOR_EVENTS: usize = 1_024;

/// Why a node did not start, or stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("the store in {path} holds what this program cannot read; it was left as it is")]
    Recover {
        path: PathBuf,
        #[source]
        source: RecoverError,
    },
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error("cannot prepare {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("this machine cannot lock strangers' jobs in; missing are {missing}")]
    Unsandboxed { missing: String },
    #[error(transparent)]
    Engine(#[from] EngineFault),
    #[error(transparent)]
    Net(#[from] cyxwiz_net::NetError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("no randomness from the system: {0}")]
    Random(String),
}

/// What is known of a node once it runs.
#[derive(Clone, Debug)]
pub struct Running {
    pub peer: PeerId,
    pub api: SocketAddr,
    pub membership: Membership,
    /// Where others reach it, best first, each with its peer id.
    pub addresses: Vec<String>,
}

/// What a worker lends.
struct Lent {
    settings: WorkerSettings,
    hardware: Hardware,
    level: Level,
    engines: Engines,
}

/// Runs a node until `shutdown` completes. `ready` is called once it listens, joined or not.
pub async fn run(
    settings: Settings,
    ready: impl FnOnce(&Running),
    shutdown: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let dir = settings.data_dir.clone();
    // The key first: it makes the directory, private to its user.
    let key = identity::load_or_create(&dir)?;
    let identity = Identity::from_seed(key.seed);
    let (id, store_dir) = (identity.id(), dir.join("store"));
    let Opened { store, records, flushed } = Store::open(&store_dir)?;
    let replica = (id, StoreId(store.store_id()));
    tokio::pin!(shutdown);
    let membership = tokio::select! {
        // First, so that whoever is told that this node runs can already end it in order.
        biased;
        () = &mut shutdown => return Ok(()),
        settled = membership::settle(&dir, &identity, wish(&settings, replica.1)) => settled?,
    };

    let clock = Clock::start();
    let book = AddressBook::open(&dir);
    let worker = match settings.worker {
        Some(worker) => {
            let level = sandbox_level(&cyxwiz_sandbox::probe(), worker.allow_unsandboxed)?;
            let engines = engines_of(&worker).await?;
            Some(Lent { settings: worker, hardware: hardware::probe(&dir), level, engines })
        }
        None => None,
    };
    let config = peer_config(&membership, &settings, worker.as_ref(), replica, clock)?;
    let opened_at = clock.now();
    let mut tape = match &settings.record {
        Some(path) => Some(Tape::begin(path, &config, id, &records, opened_at)?),
        None => None,
    };
    let (peer, first) = Peer::open(config, identity, records, opened_at)
        .map_err(|source| NodeError::Recover { path: store_dir, source })?;
    if let Some(tape) = &mut tape {
        tape.opened(&first);
    }

    let limits = artifacts::Limits { max_bytes: ARTIFACT_BYTES };
    let artifacts = ArtifactStore::open(&dir.join("artifacts"), limits)?;
    let (executor_in, executor_out) = mpsc::channel(EXECUTOR_EVENTS);
    let executor = match &settings.worker {
        Some(worker) => Some(executor(&settings, worker, executor_in)?),
        None => None,
    };
    let folder = dir.join("checks");
    let inspector = Inspector::new(folder.clone())
        .map_err(|source| NodeError::Folder { path: folder, source })?;

    let (net, events) = network(key.seed, &membership, &settings, &book).await?;
    let transfers = Transfers::new(net.clone(), artifacts);
    let (done_in, done) = mpsc::channel(tasks::EVENTS);
    let allowance = Allowance {
        threads: settings.worker.map_or(1, |worker| worker.threads),
        engines: worker.map(|worker| worker.engines).unwrap_or_default(),
    };
    let tasks = Tasks::new(id, inspector.clone(), transfers.clone(), executor, allowance, done_in);
    let (calls_in, calls) = mpsc::channel(driver::CALLS);
    let (news, _) = broadcast::channel(driver::NEWS);

    let asker = Asker::new(net.clone(), calls_in.clone(), &dir, &membership, replica);
    let parts = api::Parts {
        id,
        membership: membership.clone(),
        data_dir: dir,
        net: net.clone(),
        external: settings.external.clone(),
        transfers: transfers.clone(),
        inspector,
        calls: calls_in,
        news: news.clone(),
    };
    let server = api::start(settings.api, parts).await?;
    let heard = net.snapshot().await.map(|it| it.addresses).unwrap_or_default();
    let addresses = told_addresses(&net, heard, &settings.external);
    ready(&Running { peer: id, api: server.address(), membership: membership.clone(), addresses });

    let question = settings.coordinator.then(|| tokio::spawn(asker.run()));
    let network = membership.network;
    let mut driver = Driver::new(peer, clock, store, net, tasks, transfers, book, news, network);
    driver.record(tape);
    let inputs = Inputs { calls, done, executor: executor_out, flushed, network: events };
    let outcome = driver.run(first, inputs, shutdown).await;
    if let Some(question) = question {
        question.abort();
    }
    server.stop().await;
    Ok(outcome?)
}

fn wish(settings: &Settings, store: StoreId) -> Wish<'_> {
    Wish {
        joins: &settings.joins,
        name: settings.network.as_deref(),
        coordinator: settings.coordinator,
        store,
        force_new_committee: settings.force_new_committee,
        patient: settings.patient,
    }
}

fn peer_config(
    membership: &Membership,
    settings: &Settings,
    worker: Option<&Lent>,
    (id, store): (PeerId, StoreId),
    clock: Clock,
) -> Result<PeerConfig, NodeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| NodeError::Random(error.to_string()))?;
    let credential = membership.credential.filter(|_| settings.coordinator);
    Ok(PeerConfig {
        network: membership.network.clone(),
        epoch: clock.epoch(),
        seed,
        store,
        timing: Timing::default(),
        coordinator: credential.map(|credential| CoordinatorConfig {
            credential,
            policy: Policy::default(),
            finished_jobs: limits::FINISHED_JOBS,
            founding: membership.founding_of(id, store),
        }),
        worker: worker.map(|lent| WorkerConfig {
            capability: capability(lent),
            accepts: JobKind::ALL.to_vec(),
            report_interval: lent.settings.report_interval,
        }),
    })
}

/// How well `report` locks a job in. Where that is not enough for strangers' jobs, the owner must
/// have allowed it.
fn sandbox_level(report: &Report, allowed: bool) -> Result<Level, NodeError> {
    let level = report.level();
    if level == Level::Whole {
        return Ok(level);
    }
    let missing = report.to_string();
    if !allowed {
        return Err(NodeError::Unsandboxed { missing });
    }
    tracing::warn!(missing, ?level, "strangers' jobs run here without all walls around them");
    Ok(level)
}

/// What this machine offers. Of the GPUs that the hardware probe lists those are offered that an
/// engine computes with.
fn capability(Lent { settings, hardware, level, engines }: &Lent) -> Capability {
    let machine_mb = hardware.memory_total_mib.unwrap_or(MEMORY_RESERVE_MB * 2);
    let spare_mb = machine_mb.saturating_sub(MEMORY_RESERVE_MB).max(machine_mb / 2);
    let memory_mb =
        settings.memory_mb.unwrap_or_else(|| u32::try_from(spare_mb).unwrap_or(u32::MAX));
    let mut name = hardware.cpu_model.clone().unwrap_or_else(|| "unknown processor".to_owned());
    name.truncate(name.floor_char_boundary(96));
    let gpu_mib = hardware.gpus.iter().filter_map(|gpu| gpu.memory_total_mib).max();
    let processor = Device { kind: DeviceKind::Cpu, name, memory_mb };
    let devices = [processor].into_iter().chain(engines.devices(gpu_mib)).collect();
    let disk_mb = hardware.disk_free_bytes.unwrap_or(0) / 1_000_000;
    Capability {
        cores: u16::try_from(hardware.usable_cores).unwrap_or(u16::MAX),
        memory_mb,
        disk_mb: u32::try_from(disk_mb).unwrap_or(u32::MAX),
        devices,
        max_concurrent: settings.max_concurrent,
        speed: hardware.mflops_per_core.unwrap_or(0),
        sandbox_level: *level as u8,
        price: settings.price,
    }
}

fn executor(
    settings: &Settings,
    worker: &WorkerSettings,
    events: mpsc::Sender<crate::executor::ExecutorEvent>,
) -> Result<Executor, NodeError> {
    let config = executor_config(worker.allow_unsandboxed);
    let config = ExecutorConfig {
        root: settings.data_dir.join("runs"),
        max_concurrent: usize::from(worker.max_concurrent),
        ..config
    };
    Ok(Executor::new(config, events)?)
}

/// For one job at a time, in the current folder.
pub(crate) fn executor_config(allow_unsandboxed: bool) -> ExecutorConfig {
    let mut arguments = vec!["__train".to_owned()];
    arguments.extend(allow_unsandboxed.then(|| "--allow-unsandboxed".to_owned()));
    let walls = if allow_unsandboxed { Walls::WhatThereIs } else { Walls::All };
    ExecutorConfig { root: PathBuf::new(), program: program(), arguments, max_concurrent: 1, walls }
}

/// Looks for what the worker's owner asks, and tries it; a driver may take seconds to answer.
async fn engines_of(worker: &WorkerSettings) -> Result<Engines, NodeError> {
    let settings = worker.engines;
    let look = |backend| engines::probe(&program(), backend);
    let looking = tokio::task::spawn_blocking(move || Engines::choose(settings, look));
    let engines = looking.await.expect("looking for engines does not panic")?;
    let Some((choice, name)) = engines.accelerator() else {
        return Ok(engines);
    };
    match engines::trial(executor_config(worker.allow_unsandboxed), choice).await {
        Ok(()) => tracing::info!(name, "ArrayFire computes here"),
        Err(source) if settings.ask_for_arrayfire() => {
            return Err(EngineFault::Useless { name: name.to_owned(), source }.into());
        }
        Err(error) => {
            tracing::warn!(name, %error, "no job computes on this device");
            return Ok(Engines::default());
        }
    }
    Ok(engines)
}

/// This very program, also when its file was replaced since.
pub(crate) fn program() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_else(|_unknown| PathBuf::from("cyxwiz"))
}

async fn network(
    secret: [u8; 32],
    membership: &Membership,
    settings: &Settings,
    book: &AddressBook,
) -> Result<(Handle, cyxwiz_net::Events), NodeError> {
    let mut config = NetConfig::new(secret, membership.network.slug());
    config.listen.clone_from(&settings.listen);
    config.external.clone_from(&settings.external);
    config.join = settings.joins.iter().flat_map(membership::Join::addresses).collect();
    let booked = book.peers().into_iter().flat_map(|(_, addresses)| addresses);
    config.known = booked
        .chain(membership.holders.iter().map(String::as_str))
        .filter_map(|address| address.parse().ok())
        .collect();
    config.mdns = settings.mdns;
    config.agent = concat!("cyxwiz/", env!("CARGO_PKG_VERSION")).to_owned();
    config.protocol_version = membership.network.fact();
    config.purposes = vec![tasks::PURPOSE, cyxwiz_bootstrap::FOUNDING];
    let (network, key) = (membership.network.clone(), committee_key(&membership.network));
    config.accepts_record = Arc::new(move |offer| {
        offer.key == key && keeps_committee(&network, offer.value, offer.held)
    });
    Ok(cyxwiz_net::start(config).await?)
}

/// The addresses worth telling others, each with the peer id.
pub(crate) fn told_addresses(
    net: &Handle,
    addresses: Vec<Multiaddr>,
    external: &[Multiaddr],
) -> Vec<String> {
    let told = cyxwiz_net::dialable(addresses, external);
    told.iter().take(TOLD_ADDRESSES).map(|address| net.key().at(address).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyxwiz_sandbox::{Finding, Layer, State};

    fn report(missing: Option<Layer>) -> Report {
        let state = |layer| match missing {
            Some(it) if it == layer => State::Missing { why: "it is switched off".to_owned() },
            Some(_) | None => State::Applied { how: "it works".to_owned() },
        };
        let finding = |layer| Finding { layer, state: state(layer) };
        Report { findings: Layer::ALL.into_iter().map(finding).collect() }
    }

    #[test]
    fn a_machine_without_all_walls_works_for_strangers_only_if_its_owner_says_so() {
        assert!(matches!(sandbox_level(&report(None), false), Ok(Level::Whole)));
        let refused = sandbox_level(&report(Some(Layer::Files)), false).unwrap_err().to_string();
        assert!(refused.contains("files: it is switched off"), "{refused}");
        let allowed = sandbox_level(&report(Some(Layer::Files)), true);
        assert!(matches!(allowed, Ok(Level::Filtered)), "the level is told as it is");
    }
}
