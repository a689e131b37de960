//! A peer that makes load: it joins over real sockets and runs the protocol's own submitter and
//! worker, but its runs end as soon as they begin. What it asks of the coordinator is what any
//! peer asks; only the training is left out, so that placing is what is measured.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use cyxwiz_net::{Config as NetConfig, Event as Net, Handle, Multiaddr, PeerKey, Verdict};
use cyxwiz_protocol::{
    CellId, Command, CommandId, Config, Effects, Event, Identity, Input, JobId, Peer, PeerId,
    Reply, Rng, Send, StoreId, Task, TaskEvent, Timing, WorkerConfig,
    charter::Invite,
    report::{Ending, FailureClass},
    spec::{Estimate, FileRef, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::{Capability, Device, DeviceKind, Requirements};

use crate::{
    artifacts::{self, ArtifactStore},
    cli::{Context, client::Client, cluster::Cluster, demo, error::CommandError},
    clock::{Clock, unix_now},
    tasks::{PURPOSE, Transfers, serve_stream},
};

/// Jobs that the load has handed in and that are not accepted yet.
const IN_FLIGHT: usize = 256;
/// More cores than any real worker of the benchmark has, so that none of them bids.
const CORES: u16 = 10_000;
const MEMORY_MB: u32 = 1 << 30;

/// Places `count` jobs on workers of load; how many were placed, and how many a second.
pub(super) fn placements(
    context: &Context,
    cluster: &mut Cluster,
    invite: &str,
    client: &Client,
    count: u32,
) -> Result<(u32, f64), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| failure("cannot start the load", &source))?;
    let folder = cluster.root().join("load");
    let mut load = runtime.block_on(Load::join(&folder, invite))?;
    let before = client.workers()?.len();
    runtime.block_on(load.run_until(|load| load.committee, Duration::from_secs(30)))?;
    cluster.wait("the load's joining", Duration::from_secs(30), || {
        runtime.block_on(load.run_for(Duration::from_millis(20)));
        Ok((client.workers()?.len() > before).then_some(()))
    })?;
    let began = Instant::now();
    load.wanted = count;
    let limit = Duration::from_secs(120);
    runtime.block_on(load.run_until(|load| load.placed >= count, limit))?;
    let rate = f64::from(load.placed) / began.elapsed().as_secs_f64();
    context.output.say(&format!("{} jobs were placed, {rate:.0} a second", load.placed));
    runtime.block_on(load.net.shutdown());
    Ok((load.placed, rate))
}

fn failure(text: &str, source: &dyn std::error::Error) -> CommandError {
    CommandError::failure(text).because(source)
}

struct Load {
    peer: Peer,
    clock: Clock,
    net: Handle,
    events: cyxwiz_net::Events,
    transfers: Transfers,
    inputs: VecDeque<Input>,
    workload: String,
    data: FileRef,
    rng: Rng,
    committee: bool,
    wanted: u32,
    submitted: u32,
    accepted: u32,
    placed: u32,
    refused: Option<String>,
}

impl Load {
    async fn join(folder: &Path, invite: &str) -> Result<Self, CommandError> {
        let invite: Invite = invite.parse().map_err(|error| failure("the invite", &error))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| CommandError::failure(format!("no randomness: {error}")))?;
        let artifacts = ArtifactStore::open(folder, artifacts::Limits { max_bytes: u64::MAX })
            .map_err(|error| failure("the load's folder", &error))?;
        let data = artifacts
            .import_bytes(demo::DATA)
            .map_err(|error| failure("the load's data", &error))?;
        let data = FileRef {
            name: demo::DATA_NAME.parse().map_err(|error| failure("the data's name", &error))?,
            artifact: cyxwiz_protocol::ArtifactId(data.id),
            size: data.size,
        };
        let mut config = NetConfig::new(seed, invite.network.slug());
        let loopback: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        config.listen = vec![loopback];
        config.join = invite.addresses.iter().filter_map(|it| it.parse().ok()).collect();
        config.protocol_version = invite.network.fact();
        config.purposes = vec![PURPOSE];
        let (net, events) = cyxwiz_net::start(config)
            .await
            .map_err(|error| failure("the load cannot join", &error))?;
        let clock = Clock::start();
        let config = Config {
            network: invite.network,
            epoch: clock.epoch(),
            seed,
            store: StoreId([0; 16]),
            timing: Timing::default(),
            coordinator: None,
            worker: Some(worker()),
        };
        let (peer, first) = Peer::open(config, Identity::from_seed(seed), [], clock.now())
            .map_err(|error| failure("the load's peer", &error))?;
        let job = demo::request(0, Path::new(""))?.job.job();
        let workload = job.map_err(|error| failure("the load's job", &error))?.to_json();
        let transfers = Transfers::new(net.clone(), artifacts);
        let mut load = Self {
            peer,
            clock,
            net,
            events,
            transfers,
            inputs: VecDeque::new(),
            workload,
            data,
            rng: Rng::new(seed),
            committee: false,
            wanted: 0,
            submitted: 0,
            accepted: 0,
            placed: 0,
            refused: None,
        };
        load.act(first).await;
        Ok(load)
    }

    async fn run_until(
        &mut self,
        done: impl Fn(&Self) -> bool,
        limit: Duration,
    ) -> Result<(), CommandError> {
        let deadline = Instant::now() + limit;
        while !done(self) {
            if let Some(refused) = &self.refused {
                return Err(CommandError::failure(format!("the load was refused: {refused}")));
            }
            if Instant::now() > deadline {
                let (placed, wanted) = (self.placed, self.wanted);
                return Err(CommandError::failure(format!(
                    "{placed} of {wanted} jobs were placed within {} s",
                    limit.as_secs()
                )));
            }
            self.step(deadline).await;
        }
        Ok(())
    }

    async fn run_for(&mut self, span: Duration) {
        let deadline = Instant::now() + span;
        while Instant::now() < deadline {
            self.step(deadline).await;
        }
    }

    /// Hands in what may be handed in, then waits for one thing to happen.
    async fn step(&mut self, deadline: Instant) {
        while self.submitted < self.wanted
            && ((self.submitted - self.accepted) as usize) < IN_FLIGHT
        {
            self.submitted += 1;
            let spec = Box::new(self.spec());
            let id = CommandId(u64::from(self.submitted));
            self.inputs.push_back(Input::Command { id, command: Command::Submit(spec) });
        }
        if let Some(input) = self.inputs.pop_front() {
            return self.handle(input).await;
        }
        let next = self.peer.next_deadline().map(|next| self.clock.machine(next.at));
        let limit = tokio::time::Instant::from_std(deadline);
        let until = next.map_or(limit, |next| next.min(limit));
        tokio::select! {
            event = self.events.next() => {
                if let Some(event) = event {
                    self.on_event(event).await;
                }
            }
            () = tokio::time::sleep_until(until) => self.handle(Input::Timeout).await,
        }
    }

    async fn on_event(&mut self, event: Net) {
        match event {
            Net::Frame { from, bytes } => {
                self.handle(Input::Frame { from: PeerId(from.0), bytes }).await;
            }
            Net::Gossip { source, id, bytes, .. } => {
                let from = PeerId(source.0);
                self.handle(Input::Gossip { from, bytes }).await;
                // Nobody depends on this peer to pass anything on.
                let _ = self.net.verdict(id, source, Verdict::Accept).await;
            }
            Net::Connected(peer) => self.handle(Input::Connected(PeerId(peer.0))).await,
            Net::Disconnected(peer) => self.handle(Input::Disconnected(PeerId(peer.0))).await,
            Net::Stream { from, stream, .. } => serve_stream(&self.transfers, from, stream),
            Net::Listening(_)
            | Net::SendFailed { .. }
            | Net::JoinFailing { .. }
            | Net::Joined { .. }
            | Net::AddressLearned { .. }
            | Net::ForeignNetwork { .. } => {}
        }
    }

    async fn handle(&mut self, input: Input) {
        let effects = self.peer.handle(self.clock.now(), input);
        self.act(effects).await;
    }

    /// This peer promises nothing to anyone, so that its writes go nowhere.
    async fn act(&mut self, effects: Effects) {
        if let Some(batch) = effects.batch {
            self.inputs.push_back(Input::Flushed { batch });
        }
        for send in effects.sends {
            let sent = match send {
                Send::Direct { to, frame } => self.net.send(PeerKey(to.0), frame).await,
                Send::Publish { topic, frame } => self.net.publish(&topic.to_string(), frame).await,
                Send::Subscribe(topic) => self.net.subscribe(&topic.to_string()).await,
                Send::Unsubscribe(topic) => self.net.unsubscribe(&topic.to_string()).await,
                Send::Ban { .. } => Ok(()),
            };
            if let Err(error) = sent {
                self.refused = Some(error.to_string());
            }
        }
        for task in effects.tasks {
            if let Task::Run { run, .. } = task {
                self.placed += 1;
                let message = "made for load".to_owned();
                let ending = Ending::Failed { class: FailureClass::InvalidJob, message };
                let event = TaskEvent::Ended { run, ending, compute_ms: 0 };
                self.inputs.push_back(Input::Task(event));
            }
        }
        for event in effects.events {
            match event {
                Event::Reply { reply: Reply::Accepted { .. }, .. } => self.accepted += 1,
                Event::Reply { reply, .. } => self.refused = Some(format!("{reply:?}")),
                Event::Committee { .. } => self.committee = true,
                Event::Report { .. }
                | Event::Ended { .. }
                | Event::Forgotten { .. }
                | Event::ClockDiffers { .. }
                | Event::Announced { .. }
                | Event::Awarded { .. }
                | Event::RunTaken { .. } => {}
            }
        }
    }

    fn spec(&mut self) -> JobSpec {
        JobSpec {
            id: JobId::new(unix_now(), &mut self.rng),
            cell: CellId::default(),
            name: "load".parse().expect("a plain name"),
            kind: JobKind::Train,
            workload: self.workload.clone(),
            inputs: vec![self.data.clone()],
            requirements: Requirements { memory_mb: 256, cores: CORES, ..Requirements::default() },
            priority: Priority::default(),
            limits: JobLimits { attempts: 1, ..JobLimits::default() },
            estimate: Estimate::default(),
        }
    }
}

/// A worker with many cores, so that the load's jobs go to it and to no real one.
fn worker() -> WorkerConfig {
    WorkerConfig {
        capability: Capability {
            cores: CORES,
            memory_mb: MEMORY_MB,
            disk_mb: 1 << 20,
            devices: vec![Device {
                kind: DeviceKind::Cpu,
                name: "load".to_owned(),
                memory_mb: MEMORY_MB,
            }],
            max_concurrent: 1_024,
            speed: 1_000,
            sandbox_level: 0,
            price: 0,
        },
        accepts: vec![JobKind::Train],
        report_interval: Duration::from_secs(1),
    }
}
