//! The hostile hosts of a world: their deeds go out over the same links, and what honest hosts
//! answer comes back to them. They come after the honest hosts in the numbering of hosts, have no
//! peer, no disk and no life to lose.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    Instant, Network, NetworkId, PeerId, Topic, UnixMillis,
    message::{Message, decode_message},
};

use super::World;
use crate::{
    chance::{Purpose, place, secret},
    faults::{Fault, Hostile, HostileCounts, Stream},
    host::Part,
    hostile::{Deed, Kind, Rogue, Rumours, Scene},
    queue::{Happening, HostId},
};

/// Honest hosts that a hostile one connects to, beside the coordinators.
const ACQUAINTANCES: usize = 4;

#[derive(Debug)]
pub(super) struct Mischief {
    rogues: Vec<Rogue>,
    by_peer: BTreeMap<PeerId, HostId>,
    /// The number of the first.
    first: usize,
    rumours: Rumours,
    /// Who shut whom out until when.
    bans: BTreeMap<(HostId, HostId), Instant>,
    counts: BTreeMap<Kind, HostileCounts>,
    met: bool,
}

impl Mischief {
    pub(super) fn new(seed: u64, plan: &Hostile, hosts: usize, network: &Network) -> Self {
        let first = u32::try_from(hosts).expect("hosts are numbered by 32 bits");
        let rogues: Vec<_> = (first..)
            .map(HostId)
            .zip(Kind::of(plan))
            .map(|(id, kind)| {
                let index = ((Stream::Hostile as u64) << 40) | u64::from(id.0);
                let identity = network.identity(secret(seed, Purpose::Keys, index));
                Rogue::new(id, kind, identity, seed)
            })
            .collect();
        Self {
            by_peer: rogues.iter().map(|rogue| (rogue.peer_id(), rogue.id)).collect(),
            rogues,
            first: hosts,
            rumours: Rumours::default(),
            bans: BTreeMap::new(),
            counts: BTreeMap::new(),
            met: false,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.rogues.len()
    }

    pub(super) fn hosts(&self) -> Vec<HostId> {
        self.rogues.iter().map(|rogue| rogue.id).collect()
    }

    pub(super) fn peer_id(&self, id: HostId) -> PeerId {
        self.rogues[id.index() - self.first].peer_id()
    }

    pub(super) fn knows(&self, peer: PeerId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    pub(super) fn host_of(&self, peer: PeerId) -> Option<HostId> {
        self.by_peer.get(&peer).copied()
    }

    /// An honest host closes its door to a hostile one.
    pub(super) fn note_ban(&mut self, by: HostId, peer: PeerId, until: Instant) {
        let Some(&rogue) = self.by_peer.get(&peer) else {
            return;
        };
        self.bans.insert((by, rogue), until);
        self.counts_of(rogue).bans += 1;
    }

    /// Hostile hosts read what coordinators say, to whomever they say it.
    pub(super) fn listen_in(&mut self, network: NetworkId, message: &Message) {
        if !self.rogues.is_empty() {
            self.rumours.note_direct(network, message);
        }
    }

    /// Hostile hosts read what honest ones send each other.
    pub(super) fn tap(&mut self, bytes: &[u8]) {
        if !self.rogues.is_empty() {
            self.rumours.note_frame(bytes);
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, HostileCounts> {
        let mut counts: BTreeMap<&'static str, HostileCounts> =
            self.counts.iter().map(|(kind, counts)| (kind.name(), *counts)).collect();
        for rogue in &self.rogues {
            let of_kind = counts.entry(rogue.kind.name()).or_default();
            of_kind.sent += rogue.sent;
            of_kind.heard += rogue.heard;
            of_kind.awards += rogue.awards;
        }
        counts
    }

    fn counts_of(&mut self, rogue: HostId) -> &mut HostileCounts {
        let kind = self.rogues[rogue.index() - self.first].kind;
        self.counts.entry(kind).or_default()
    }
}

/// The honest hosts by what they are for.
struct Cast {
    coordinators: Vec<HostId>,
    workers: Vec<HostId>,
    submitters: Vec<HostId>,
}

impl World {
    /// A hostile host does its next deeds, and rests.
    pub(super) fn on_mischief(&mut self, rogue: HostId) {
        if !self.mischief.met {
            self.mischief.met = true;
            self.introduce();
        }
        let deeds = self.with_rogue(rogue, Rogue::act);
        self.carry_deeds(rogue, deeds);
        let index = rogue.index() - self.mischief.first;
        let rests = self.mischief.rogues[index].rests(&self.plan.faults.hostile);
        self.plan_fault(self.now + rests, Fault::Mischief(rogue));
    }

    /// Hostile hosts connect to honest ones, as anyone may.
    fn introduce(&mut self) {
        for rogue in self.mischief.hosts() {
            for index in 0..self.hosts.len() {
                if self.hosts[index].part == Part::Coordinator {
                    self.meet(self.hosts[index].id, rogue);
                }
            }
            for _ in 0..ACQUAINTANCES {
                let index = place(&mut self.chance.faults, self.hosts.len());
                self.meet(self.hosts[index].id, rogue);
            }
        }
    }

    pub(super) fn on_heard(&mut self, by: HostId, from: HostId, bytes: &[u8]) {
        let Ok(message) = decode_message(self.identity.id(), bytes) else {
            return;
        };
        self.mischief.rumours.note_direct(self.identity.id(), &message);
        let deeds = self.with_rogue(by, |rogue, scene| rogue.hear(scene, from, &message));
        self.carry_deeds(by, deeds);
    }

    /// What honest hosts publish is heard by every hostile one, each after its own time.
    pub(super) fn rumour(&mut self, from: HostId, topic: Topic, frame: &[u8]) {
        if self.mischief.rogues.is_empty() {
            return;
        }
        let network = self.identity.id();
        if !self.mischief.rumours.note_gossip(network, topic, frame) {
            return;
        }
        for by in self.mischief.hosts() {
            let way = (from, by);
            let at = self.now + self.network.latency(way, &mut self.chance.network);
            self.plan_fault(at, Fault::HeardCall(by));
        }
    }

    pub(super) fn on_heard_call(&mut self, by: HostId) {
        let deeds = self.with_rogue(by, Rogue::hear_call);
        self.carry_deeds(by, deeds);
    }

    fn with_rogue(
        &mut self,
        id: HostId,
        deeds: impl FnOnce(&mut Rogue, &Scene<'_>) -> Vec<Deed>,
    ) -> Vec<Deed> {
        let of = |part: Part| -> Vec<HostId> {
            self.hosts.iter().filter(|host| host.part == part).map(|host| host.id).collect()
        };
        let cast = Cast {
            coordinators: of(Part::Coordinator),
            workers: of(Part::Worker),
            submitters: of(Part::Submitter),
        };
        let Mischief { rogues, rumours, first, .. } = &mut self.mischief;
        let scene = Scene {
            network: self.identity.id(),
            unix: UnixMillis(super::setup::WALL.0 + self.now.0 / 1_000),
            coordinators: &cast.coordinators,
            workers: &cast.workers,
            submitters: &cast.submitters,
            rumours,
            healed: self.now >= self.heals_at,
        };
        deeds(&mut rogues[id.index() - *first], &scene)
    }

    fn carry_deeds(&mut self, rogue: HostId, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Direct { to, bytes } => self.attack(rogue, to, bytes),
                Deed::Gossip { topic, bytes } => {
                    let length = bytes.len();
                    let rng = &mut self.chance.network;
                    let (message, targets) = self.mesh.publish(topic, rogue, &bytes, rng);
                    let open = |host: &HostId| !self.is_shut_out(*host, rogue);
                    let targets = targets.into_iter().filter(open).collect();
                    self.spread(message, rogue, targets, length);
                    self.mesh.forget_if_over(message);
                }
            }
        }
    }

    fn attack(&mut self, rogue: HostId, to: HostId, bytes: Vec<u8>) {
        if self.is_shut_out(to, rogue) {
            self.mischief.counts_of(rogue).shut_out += 1;
            return;
        }
        self.counts.bytes += bytes.len() as u64;
        if !self.host(to).is_up() {
            return;
        }
        let life = self.host(to).life();
        let way = (rogue, to);
        let arrivals = self.network.carry(self.now, way, bytes.len(), &mut self.chance.network);
        for at in arrivals {
            let frame = Happening::Frame { to: life, from: rogue, bytes: bytes.clone() };
            self.queue.plan(at, frame);
        }
    }

    fn is_shut_out(&self, by: HostId, rogue: HostId) -> bool {
        self.mischief.bans.get(&(by, rogue)).is_some_and(|until| *until > self.now)
    }
}
