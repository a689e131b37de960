//! A machine with a peer on it, over all its lives: what a crash takes, what it leaves, and with
//! what the next life begins.

use std::{collections::VecDeque, time::Duration};

use cyxwiz_protocol::{
    Effects, Epoch, Identity, Instant, Network, Peer, PeerId, RecoverError, StoreId, Timing,
    UnixMillis, WorkerConfig, charter::Credential, spec::JobKind,
};
use cyxwiz_scoring::{Capability, Device, DeviceKind, Policy};

use crate::{
    chance::{Purpose, secret},
    disk::Disk,
    queue::{HostId, Life},
    trainer::Trainer,
};

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Coordinator,
    Worker,
    Submitter,
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
    /// As coordinator: it has not led yet in this life.
    pub(crate) returning: bool,
    setup: Setup,
}

/// What stays the same from life to life.
#[derive(Clone, Debug)]
struct Setup {
    seed: u64,
    network: Network,
    credential: Option<Credential>,
    slots: u16,
    wall: UnixMillis,
    skew: Duration,
}

/// What all hosts of a world share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) slots: u16,
    /// The wall clock at the world's first moment.
    pub(crate) wall: UnixMillis,
}

impl Host {
    pub(crate) fn new(
        id: HostId,
        part: Part,
        common: &Common,
        skew: Duration,
        seat: impl FnOnce(PeerId) -> Credential,
    ) -> Self {
        let peer_id = identity(&common.network, common.seed, id).id();
        let credential = (part == Part::Coordinator).then(|| seat(peer_id));
        let Common { seed, network, slots, wall } = common.clone();
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
            returning: false,
            setup: Setup { seed, network, credential, slots, wall, skew },
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
        let counts = self.peer.as_ref().and_then(|peer| peer.status().coordinator);
        counts.is_some_and(|counts| counts.leading)
    }

    /// The peer's own clock, which begins with each life.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        Instant::START + now.since(self.opened_at)
    }

    /// The world's time of a deadline of the peer's.
    pub(crate) fn global(&self, local: Instant) -> Instant {
        self.opened_at + local.since(Instant::START)
    }

    /// Opens the store and begins a life.
    pub(crate) fn start(&mut self, now: Instant) -> Result<Effects, RecoverError> {
        let Setup { seed, network, credential, slots, wall, skew } = self.setup.clone();
        let number = (u64::from(self.id.0) << 32) | u64::from(self.life);
        let unix = wall.0 + now.0 / 1_000 + u64::try_from(skew.as_millis()).unwrap_or(0);
        let store = secret(seed, Purpose::Stores, u64::from(self.id.0));
        let identity = identity(&network, seed, self.id);
        let config = cyxwiz_protocol::Config {
            network,
            epoch: Epoch(UnixMillis(unix)),
            seed: secret(seed, Purpose::Peers, number),
            store: StoreId(store[..16].try_into().expect("16 of 32 bytes")),
            timing: Timing::default(),
            coordinator: credential.map(|credential| (credential, Policy::default())),
            worker: (self.part == Part::Worker).then(|| worker(slots)),
        };
        let (peer, first) = Peer::open(config, identity, self.disk.records(), Instant::START)?;
        (self.opened_at, self.peer, self.returning) = (now, Some(peer), true);
        Ok(first)
    }

    /// The power goes: the next life knows what the disk has, and nothing else.
    pub(crate) fn crash(&mut self, now: Instant, rng: &mut cyxwiz_protocol::Rng) -> Duration {
        self.peer = None;
        self.life += 1;
        self.held.clear();
        self.disk.crash(rng);
        (self.wakes_at, self.spins) = (None, 0);
        self.trainer.crash(now)
    }
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
