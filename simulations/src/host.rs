//! A machine with a peer on it, over all its lives: what a crash takes, what it leaves, and with
//! what the next life begins.

use std::{collections::VecDeque, time::Duration};

#[cfg(feature = "mutants")]
use cyxwiz_protocol::mutant::{self, Mutant};
use cyxwiz_protocol::{
    CoordinatorConfig, Effects, Epoch, Identity, Input, Instant, Network, Peer, PeerId,
    RecoverError, Run, StoreId, Timing, UnixMillis, WorkerConfig,
    charter::{Credential, Founding},
    spec::JobKind,
};
use cyxwiz_scoring::{Capability, Device, DeviceKind, Policy};

use crate::{
    chance::{Purpose, secret},
    clock::Clock,
    disk::Disk,
    queue::{HostId, Life},
    tape::Tape,
    trainer::Trainer,
};

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Coordinator,
    Worker,
    Submitter,
}

impl Part {
    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Submitter => "submitter",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) peer_id: PeerId,
    pub(crate) part: Part,
    life: u32,
    opened_at: Instant,
    pub(crate) peer: Option<Peer>,
    pub(crate) disk: Disk,
    /// Effects whose writes are not on disk yet, oldest first.
    pub(crate) held: VecDeque<(u64, Effects)>,
    pub(crate) trainer: Trainer,
    /// The deadline that the queue has for this host.
    pub(crate) wakes_at: Option<Instant>,
    /// Timeouts at one and the same moment.
    pub(crate) spins: u32,
    /// Disks that it had before this one.
    disks_lost: u32,
    store: StoreId,
    /// What is recorded of it, if it is.
    pub(crate) tape: Option<Box<Tape>>,
    setup: Setup,
}

/// What stays the same from life to life.
#[derive(Clone, Debug)]
struct Setup {
    seed: u64,
    network: Network,
    credential: Option<Credential>,
    founding: Option<Founding>,
    slots: u16,
    policy: Policy,
    finished_jobs: usize,
    timing: Timing,
    wall: UnixMillis,
    skew: Duration,
    clock: Clock,
}

/// What all hosts of a world share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) slots: u16,
    pub(crate) policy: Policy,
    pub(crate) finished_jobs: usize,
    pub(crate) timing: Timing,
    /// The wall clock at the world's first moment.
    pub(crate) wall: UnixMillis,
}

impl Host {
    pub(crate) fn new(
        id: HostId,
        part: Part,
        common: &Common,
        (skew, clock): (Duration, Clock),
        seat: impl FnOnce(PeerId) -> Credential,
        charter: &Identity,
    ) -> Self {
        let peer_id = identity(&common.network, common.seed, id).id();
        let credential = (part == Part::Coordinator).then(|| seat(peer_id));
        let Common { seed, network, slots, policy, finished_jobs, timing, wall } = common.clone();
        // The charter lets the first of them begin the committee; the others stand for seats.
        let store = store_of(seed, id, 0);
        let founding = (part == Part::Coordinator && id == HostId(0))
            .then(|| Founding::sign(charter, &network, (peer_id, store), 0, wall));
        Self {
            id,
            peer_id,
            part,
            life: 0,
            opened_at: Instant::START,
            peer: None,
            disk: Disk::default(),
            held: VecDeque::new(),
            trainer: Trainer::default(),
            wakes_at: None,
            spins: 0,
            disks_lost: 0,
            store,
            tape: None,
            setup: Setup {
                seed,
                network,
                credential,
                founding,
                slots,
                policy,
                finished_jobs,
                timing,
                wall,
                skew,
                clock,
            },
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.peer.is_some()
    }

    /// The life that it has now.
    pub(crate) const fn life(&self) -> Life {
        Life { host: self.id, number: self.life }
    }

    /// Whether something that was on its way to `life` still finds it.
    pub(crate) const fn lives(&self, life: Life) -> bool {
        self.is_up() && life.number == self.life
    }

    /// Whether it is a coordinator that acts.
    pub(crate) fn leads(&self) -> bool {
        self.peer.as_ref().is_some_and(Peer::is_leading)
    }

    /// The peer's own clock, which begins with each life.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        Instant::START + self.setup.clock.shown(now.since(self.opened_at))
    }

    /// The world's time of a deadline of the peer's.
    pub(crate) fn global(&self, local: Instant) -> Instant {
        self.opened_at + self.setup.clock.real(local.since(Instant::START))
    }

    /// The peer handles one input, unless nobody is there.
    pub(crate) fn handle(&mut self, local: Instant, input: Input) -> Option<Effects> {
        let peer = self.peer.as_mut()?;
        let Some(tape) = &mut self.tape else {
            return Some(peer.handle(local, input));
        };
        tape.before(local, &input);
        let effects = peer.handle(local, input);
        tape.after(&effects);
        Some(effects)
    }

    /// Opens the store and begins a life.
    pub(crate) fn start(&mut self, now: Instant) -> Result<Effects, RecoverError> {
        let Setup {
            seed,
            network,
            credential,
            founding,
            slots,
            policy,
            finished_jobs,
            timing,
            wall,
            skew,
            clock,
        } = self.setup.clone();
        let number = (u64::from(self.id.0) << 32) | u64::from(self.life);
        let ahead = clock.shown(now.since(Instant::START)) + skew;
        let unix = wall.0 + u64::try_from(ahead.as_millis()).unwrap_or(0);
        let identity = identity(&network, seed, self.id);
        let config = cyxwiz_protocol::Config {
            network,
            epoch: Epoch(UnixMillis(unix)),
            seed: secret(seed, Purpose::Peers, number),
            store: self.store(),
            timing,
            coordinator: credential.map(|credential| CoordinatorConfig {
                credential,
                policy,
                finished_jobs,
                founding,
            }),
            worker: (self.part == Part::Worker).then(|| worker(slots)),
        };
        let records = self.disk.records();
        if let Some(tape) = &mut self.tape {
            tape.begin(&config, self.peer_id, &records, Instant::START);
        }
        let (peer, first) = Peer::open(config, identity, records, Instant::START)?;
        if let Some(tape) = &mut self.tape {
            tape.opened(&first);
        }
        (self.opened_at, self.peer) = (now, Some(peer));
        Ok(first)
    }

    /// The name of the disk that it has now.
    pub(crate) const fn store(&self) -> StoreId {
        self.store
    }

    /// The next life begins with an empty disk, which is another one.
    pub(crate) fn lose_disk(&mut self) {
        self.disk = Disk::default();
        self.disks_lost += 1;
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::NewDiskOldName) {
            return;
        }
        self.store = store_of(self.setup.seed, self.id, self.disks_lost);
    }

    /// The power goes: the next life knows what the disk has, and nothing else.
    pub(crate) fn crash(
        &mut self,
        now: Instant,
        rng: &mut cyxwiz_protocol::Rng,
    ) -> Vec<(Run, Duration)> {
        self.peer = None;
        self.life += 1;
        self.held.clear();
        self.disk.crash(rng);
        (self.wakes_at, self.spins) = (None, 0);
        self.trainer.crash(now)
    }
}

fn store_of(seed: u64, host: HostId, disks_lost: u32) -> StoreId {
    let index = (u64::from(disks_lost) << 32) | u64::from(host.0);
    let store = secret(seed, Purpose::Stores, index);
    StoreId(store[..16].try_into().expect("16 of 32 bytes"))
}

fn identity(network: &Network, seed: u64, host: HostId) -> Identity {
    network.identity(secret(seed, Purpose::Keys, u64::from(host.0)))
}

fn worker(slots: u16) -> WorkerConfig {
    let memory_mb = 64_000;
    let cpu = Device { kind: DeviceKind::Cpu, name: "simulated".to_owned(), memory_mb };
    WorkerConfig {
        capability: Capability {
            cores: 8,
            memory_mb,
            disk_mb: 1_000_000,
            devices: vec![cpu],
            max_concurrent: slots,
            speed: 10_000,
            sandbox_level: 2,
            price: 1,
        },
        accepts: vec![JobKind::Train],
        report_interval: Duration::from_secs(1),
    }
}
