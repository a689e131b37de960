//! Hosts that speak the wire format and mean harm. They sign in their own name, since they hold no
//! other key; what others send they know as far as gossip tells it, and as if they had tapped the
//! lines of the coordinators, which is more than a real attacker sees.
//!
//! Each kind is a file and a function from what it knows to its next deeds. Carrying the deeds
//! out, and bringing them what honest hosts answer, is `world::mischief`'s business.

mod bidder;
mod forger;
mod garbler;
mod impostor;
mod replayer;
mod rumours;
mod submitter;
mod sybil;

use std::time::Duration;

use cyxwiz_protocol::{
    Identity, NetworkId, PeerId, Rng, Topic, UnixMillis,
    message::{Gossip, Message, encode_gossip, encode_message},
    signed::{Document, Signed},
};
use cyxwiz_scoring::{Capability, Device, DeviceKind};

pub(crate) use rumours::Rumours;

use crate::{
    chance::{Span, place},
    faults::{Hostile, Stream, stream},
    queue::HostId,
};

/// How long a hostile host rests when the plan does not say.
const OFTEN: Span = Span::millis(200, 1_000);

/// What a hostile host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Forger,
    Replayer,
    NoShow,
    Impostor,
    Garbler,
    Sybil,
    Submitter,
}

/// A hostile host.
#[derive(Debug)]
pub(crate) struct Rogue {
    pub(crate) id: HostId,
    pub(crate) kind: Kind,
    identity: Identity,
    rng: Rng,
    sequence: u64,
    pub(crate) sent: u64,
    pub(crate) heard: u64,
    pub(crate) awards: u64,
    works: bidder::Works,
    wares: submitter::Wares,
    round_answered: u64,
}

/// Something that goes out.
#[derive(Debug)]
pub(crate) enum Deed {
    Direct { to: HostId, bytes: Vec<u8> },
    Gossip { topic: Topic, bytes: Vec<u8> },
}

/// What a hostile host may know at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) network: NetworkId,
    /// Its own wall clock.
    pub(crate) unix: UnixMillis,
    pub(crate) coordinators: &'a [HostId],
    pub(crate) workers: &'a [HostId],
    pub(crate) submitters: &'a [HostId],
    pub(crate) rumours: &'a Rumours,
    /// Everything else is healed: no new jobs from here on, so that all can end.
    pub(crate) healed: bool,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Forger => "forgers",
            Self::Replayer => "replayers",
            Self::NoShow => "no-shows",
            Self::Impostor => "impostors",
            Self::Garbler => "garblers",
            Self::Sybil => "sybils",
            Self::Submitter => "hostile submitters",
        }
    }

    /// The kinds of all hostile hosts of a plan.
    pub(crate) fn of(plan: &Hostile) -> impl Iterator<Item = Self> + use<> {
        let Hostile {
            forgers, replayers, no_shows, impostors, garblers, sybils, submitters, ..
        } = *plan;
        let kinds = [
            (Self::Forger, forgers),
            (Self::Replayer, replayers),
            (Self::NoShow, no_shows),
            (Self::Impostor, impostors),
            (Self::Garbler, garblers),
            (Self::Sybil, sybils),
            (Self::Submitter, submitters),
        ];
        kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count as usize))
    }
}

impl Rogue {
    pub(crate) fn new(id: HostId, kind: Kind, identity: Identity, seed: u64) -> Self {
        Self {
            id,
            kind,
            identity,
            rng: stream(seed, Stream::Hostile, id.0),
            sequence: 0,
            sent: 0,
            heard: 0,
            awards: 0,
            works: bidder::Works::default(),
            wares: submitter::Wares::default(),
            round_answered: 0,
        }
    }

    pub(crate) const fn peer_id(&self) -> PeerId {
        self.identity.id()
    }

    /// Its next deeds.
    pub(crate) fn act(&mut self, scene: &Scene<'_>) -> Vec<Deed> {
        let deeds = match self.kind {
            Kind::Forger => forger::act(self, scene),
            Kind::Replayer => replayer::act(self, scene),
            Kind::NoShow => bidder::act(self, scene),
            Kind::Impostor => impostor::act(self, scene),
            Kind::Garbler => garbler::act(self, scene),
            Kind::Sybil => sybil::act(self, scene),
            Kind::Submitter => submitter::act(self, scene),
        };
        self.sent += deeds.len() as u64;
        deeds
    }

    /// What it does about a frame from an honest host.
    pub(crate) fn hear(&mut self, scene: &Scene<'_>, from: HostId, message: &Message) -> Vec<Deed> {
        self.heard += 1;
        let deeds = bidder::hear(self, scene, from, message);
        self.sent += deeds.len() as u64;
        deeds
    }

    /// What it does about a call for bids, as soon as it comes.
    pub(crate) fn hear_call(&mut self, scene: &Scene<'_>) -> Vec<Deed> {
        let deeds = match self.kind {
            Kind::NoShow => bidder::bid(self, scene),
            Kind::Forger
            | Kind::Replayer
            | Kind::Impostor
            | Kind::Garbler
            | Kind::Sybil
            | Kind::Submitter => Vec::new(),
        };
        self.sent += deeds.len() as u64;
        deeds
    }

    /// How long until the next deed.
    pub(crate) fn rests(&mut self, plan: &Hostile) -> Duration {
        let every = if plan.every == Span::default() { OFTEN } else { plan.every };
        every.draw(&mut self.rng).max(Duration::from_millis(1))
    }

    fn sign<T: Document>(&mut self, scene: &Scene<'_>, body: T) -> Signed<T> {
        self.sequence += 1;
        self.identity.sign(scene.network, scene.unix, self.sequence, body).into_signed()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[place(&mut self.rng, of.len())])
    }
}

impl Scene<'_> {
    fn direct(&self, to: HostId, message: &Message) -> Deed {
        Deed::Direct { to, bytes: encode_message(self.network, message) }
    }

    fn for_coordinators(&self, message: &Message) -> Vec<Deed> {
        self.coordinators.iter().map(|to| self.direct(*to, message)).collect()
    }

    fn gossip(&self, topic: Topic, gossip: &Gossip) -> Deed {
        Deed::Gossip { topic, bytes: encode_gossip(self.network, gossip) }
    }
}

/// A machine that anyone would choose.
fn boast() -> Capability {
    let memory_mb = 64_000;
    let cpu = Device { kind: DeviceKind::Cpu, name: "the very best".to_owned(), memory_mb };
    Capability {
        cores: 64,
        memory_mb,
        disk_mb: 1_000_000,
        devices: vec![cpu],
        max_concurrent: 2,
        speed: 1_000_000,
        sandbox_level: 2,
        price: 0,
    }
}
