//! Whole peers in memory and virtual time: what is under way is in one ordered queue, a disk takes
//! each batch a moment later or not at all, and what an input promises leaves when its batch is on
//! disk. The test says what is lost, who is cut off from whom, whose disk stands still and who
//! falls over. Equal seeds give equal traces.

mod look;
mod outside;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cyxwiz_protocol::{
    ArtifactId, Command, CommandId, Config, CoordinatorConfig, Digest, Effects, Epoch, Event,
    Input, Instant, JobId, Peer, PeerId, Rng, Run, Send, StoreId, Timing, Topic, WorkerConfig,
    effects::{StopReason, Write},
    message::{Gossip, Message, decode_gossip, decode_message, encode_message},
    spec::JobKind,
};

use super::{
    STORE, WALL, Who, capability, coordinating, gossip_in_words, message_in_words, ms, network,
    network_id,
};

pub(crate) use outside::{Fetching, Training};

/// See the module's text.
pub(crate) struct World {
    pub(crate) now: Instant,
    nodes: BTreeMap<Who, Node>,
    queue: BTreeMap<(Instant, u64), Due>,
    next: u64,
    chance: Rng,
    /// Of 100 messages so many are lost.
    pub(crate) loss: u64,
    cut: BTreeSet<(Who, Who)>,
    trace: Vec<u8>,
    /// Direct messages that left their sender, oldest first.
    pub(crate) sent: Vec<Sent>,
    /// How often everyone was asked for bids.
    pub(crate) calls: u64,
    pub(crate) events: Vec<(Who, Event)>,
    /// Processes that were ended from outside.
    pub(crate) killed: Vec<(Who, Run, StopReason)>,
    pub(crate) training: Training,
    /// The receipt by which each job was seen to be settled.
    settled: BTreeMap<JobId, Digest>,
    commands: u64,
}

/// A message that left.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) from: Who,
    pub(crate) message: Message,
}

struct Node {
    config: Shape,
    /// None while it is down.
    peer: Option<Peer>,
    /// What is under way to an earlier life never arrives.
    life: u64,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches that are not on disk, with what waits for them.
    unflushed: VecDeque<(u64, Effects)>,
    disk_stands_still: bool,
    listens: BTreeSet<Topic>,
    files: BTreeSet<ArtifactId>,
    fetching: Fetching,
}

/// What a node is when it starts.
#[derive(Clone)]
struct Shape {
    store: StoreId,
    coordinator: Option<CoordinatorConfig>,
    seed: u8,
}

enum Due {
    Given { to: Who, life: u64, input: Input },
    Written { who: Who, life: u64 },
}

/// The coordinators, in the order in which they come.
pub(crate) const COUNCIL: [Who; 5] =
    [Who::Coordinator, Who::SecondCoordinator, Who::Member(3), Who::Member(4), Who::Member(5)];

impl World {
    /// Nobody.
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            now: Instant::START,
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            chance: Rng::new([seed; 32]),
            loss: 0,
            cut: BTreeSet::new(),
            trace: Vec::new(),
            sent: Vec::new(),
            calls: 0,
            events: Vec::new(),
            killed: Vec::new(),
            training: Training::default(),
            settled: BTreeMap::new(),
            commands: 0,
        }
    }

    /// A committee of `size`, one submitter and two workers that know it.
    pub(crate) fn led_by(size: usize) -> Self {
        let mut world = Self::new(1);
        for who in &COUNCIL[..size] {
            world.add(*who);
        }
        for who in [Who::Submitter, Who::Worker(1), Who::Worker(2)] {
            world.add(who);
        }
        world.until("the committee sits", |world| world.sits(&COUNCIL[..size]));
        world.pass(ms(1_000));
        world
    }

    pub(crate) fn add(&mut self, who: Who) {
        let coordinator = match who {
            Who::Coordinator | Who::SecondCoordinator | Who::Member(_) => Some(coordinating(who)),
            Who::Submitter | Who::OtherSubmitter | Who::Stranger | Who::Worker(_) => None,
        };
        self.add_as(who, coordinator);
    }

    pub(crate) fn add_as(&mut self, who: Who, coordinator: Option<CoordinatorConfig>) {
        let seed = u8::try_from(self.chance.number() % 256).expect("less than 256");
        let config = Shape { store: STORE, coordinator, seed };
        let node = Node {
            config,
            peer: None,
            life: 0,
            disk: BTreeMap::new(),
            unflushed: VecDeque::new(),
            disk_stands_still: false,
            listens: BTreeSet::new(),
            files: BTreeSet::new(),
            fetching: Fetching::Works,
        };
        self.nodes.insert(who, node);
        self.start(who);
    }

    /// It falls over: what its disk did not have is gone.
    pub(crate) fn crash(&mut self, who: Who) {
        let node = self.node(who);
        node.peer = None;
        node.life += 1;
        node.unflushed.clear();
        node.listens.clear();
        for other in self.up() {
            self.post(other, Input::Disconnected(who.id()), ms(1));
        }
    }

    /// It comes back with what its disk has.
    pub(crate) fn start(&mut self, who: Who) {
        let now = self.now;
        let node = self.node(who);
        let Shape { store, coordinator, seed } = node.config.clone();
        let mut own_seed = who.seed();
        (own_seed[0], own_seed[1]) = (seed, u8::try_from(node.life % 256).expect("less than 256"));
        let worker = || WorkerConfig {
            capability: capability(2),
            accepts: vec![JobKind::Train],
            report_interval: ms(1_000),
        };
        let config = Config {
            network: network(),
            epoch: Epoch(WALL),
            seed: own_seed,
            store,
            timing: Timing::default(),
            coordinator,
            worker: matches!(who, Who::Worker(_)).then(worker),
        };
        let (peer, effects) = Peer::open(config, who.identity(), node.disk.clone(), now)
            .expect("records that this peer wrote");
        node.peer = Some(peer);
        self.apply(who, effects);
        for other in self.up().into_iter().filter(|other| *other != who) {
            self.connect(who, other);
        }
    }

    /// It falls over and comes back with an empty disk, so as another replica.
    pub(crate) fn lose_disk(&mut self, who: Who) {
        self.crash(who);
        let node = self.node(who);
        node.disk.clear();
        node.files.clear();
        let life = u8::try_from(node.life % 256).expect("less than 256");
        node.config.store = StoreId([100 + life; 16]);
    }

    fn connect(&mut self, one: Who, other: Who) {
        if !self.is_cut(one, other) {
            self.post(one, Input::Connected(other.id()), ms(3));
            self.post(other, Input::Connected(one.id()), ms(3));
        }
    }

    /// Nothing passes between these two sides any more.
    pub(crate) fn cut(&mut self, one: &[Who], other: &[Who]) {
        for one in one {
            for other in other {
                self.cut.extend([(*one, *other), (*other, *one)]);
                self.post(*one, Input::Disconnected(other.id()), ms(1));
                self.post(*other, Input::Disconnected(one.id()), ms(1));
            }
        }
    }

    /// `who` is cut off from everyone.
    pub(crate) fn isolate(&mut self, who: Who) {
        let others: Vec<Who> = self.nodes.keys().copied().filter(|other| *other != who).collect();
        self.cut(&[who], &others);
    }

    /// Everyone hears everyone again.
    pub(crate) fn heal(&mut self) {
        for (one, other) in std::mem::take(&mut self.cut) {
            if self.nodes[&one].peer.is_some() && self.nodes[&other].peer.is_some() {
                self.post(one, Input::Connected(other.id()), ms(3));
            }
        }
    }

    /// These two hear each other again, and nobody says so.
    pub(crate) fn mend(&mut self, one: Who, other: Who) {
        self.cut.remove(&(one, other));
        self.cut.remove(&(other, one));
    }

    fn is_cut(&self, one: Who, other: Who) -> bool {
        self.cut.contains(&(one, other))
    }

    /// Whether the disk of `who` takes anything.
    pub(crate) fn disk(&mut self, who: Who, works: bool) {
        let node = self.node(who);
        node.disk_stands_still = !works;
        let life = node.life;
        if works {
            self.push(Due::Written { who, life }, ms(2));
        }
    }

    /// How `who` fetches files from now on.
    pub(crate) fn fetching(&mut self, who: Who, fetching: Fetching) {
        self.node(who).fetching = fetching;
    }

    fn node(&mut self, who: Who) -> &mut Node {
        self.nodes.get_mut(&who).unwrap_or_else(|| panic!("{who:?} was never added"))
    }

    /// Those who are not down.
    fn up(&self) -> Vec<Who> {
        self.nodes.iter().filter(|(_, node)| node.peer.is_some()).map(|(who, _)| *who).collect()
    }

    fn push(&mut self, due: Due, after: Duration) {
        self.next += 1;
        self.queue.insert((self.now + after, self.next), due);
    }

    fn post(&mut self, to: Who, input: Input, after: Duration) {
        let life = self.nodes[&to].life;
        self.push(Due::Given { to, life, input }, after);
    }

    /// The user of a peer wants something.
    pub(crate) fn command(&mut self, who: Who, command: Command) {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.post(who, Input::Command { id, command }, Duration::ZERO);
    }

    pub(crate) fn give(&mut self, who: Who, input: Input) {
        self.post(who, input, Duration::ZERO);
    }

    /// A message that its sender's program did not make.
    pub(crate) fn forge(&mut self, from: Who, to: Who, message: &Message) {
        let bytes = encode_message(network_id(), message);
        self.post(to, Input::Frame { from: from.id(), bytes }, ms(1));
    }

    /// A message takes up to 20 ms, or for ever.
    fn carry(&mut self, from: Who, to: Who, input: Input) {
        let delay = ms(1 + self.chance.number() % 20);
        let lost = self.chance.number() % 100 < self.loss;
        if !lost && !self.is_cut(from, to) && self.nodes.contains_key(&to) {
            self.post(to, input, delay);
        }
    }

    fn handle(&mut self, who: Who, input: Input) {
        let now = self.now;
        if let Input::Frame { from, .. } | Input::Gossip { from, .. } = &input
            && self.nodes.keys().any(|one| one.id() == *from && self.is_cut(*one, who))
        {
            return;
        }
        let Some(peer) = &mut self.node(who).peer else {
            return;
        };
        let woken = matches!(input, Input::Timeout);
        let effects = peer.handle(now, input);
        let next = peer.next_deadline();
        let later = |at: Instant| if woken { at > now } else { at >= now };
        assert!(next.is_none_or(|next| later(next.at)), "{who:?} waits for the past: {next:?}");
        self.apply(who, effects);
    }

    /// What has writes waits for them; what has none happens now.
    fn apply(&mut self, who: Who, mut effects: Effects) {
        for send in &effects.sends {
            if let Send::Subscribe(topic) = send {
                self.node(who).listens.insert(*topic);
            }
            if let Send::Unsubscribe(topic) = send {
                self.node(who).listens.remove(topic);
            }
        }
        let Some(batch) = effects.batch.take() else {
            return self.release(who, effects);
        };
        let node = self.node(who);
        node.unflushed.push_back((batch, effects));
        let life = node.life;
        self.push(Due::Written { who, life }, ms(2));
    }

    /// The disk has everything that was written by now.
    fn write_down(&mut self, who: Who) {
        let node = self.node(who);
        if node.disk_stands_still {
            return;
        }
        let batches = std::mem::take(&mut node.unflushed);
        let Some((last, _)) = batches.back() else {
            return;
        };
        let last = *last;
        for (_, effects) in batches {
            for Write { key, value } in &effects.writes {
                let disk = &mut self.node(who).disk;
                match value {
                    Some(value) => disk.insert(key.clone(), value.clone()),
                    None => disk.remove(key),
                };
            }
            self.release(who, effects);
        }
        self.handle(who, Input::Flushed { batch: last });
    }

    fn release(&mut self, who: Who, effects: Effects) {
        for send in effects.sends {
            match send {
                Send::Direct { to, frame } => self.send(who, to, frame),
                Send::Publish { topic, frame } => self.publish(who, topic, &frame),
                Send::Subscribe(_) | Send::Unsubscribe(_) => {}
                Send::Ban { peer, why, .. } => panic!("{} bans {peer}: {why}", who.name()),
            }
        }
        for task in effects.tasks {
            self.work(who, task);
        }
        self.events.extend(effects.events.into_iter().map(|event| (who, event)));
    }

    fn send(&mut self, from: Who, to: PeerId, frame: Vec<u8>) {
        let Some(to) = self.nodes.keys().copied().find(|who| who.id() == to) else {
            return;
        };
        let message = decode_message(network_id(), &frame).expect("own frame");
        self.note(from, &format!("to {}: {}", to.name(), message_in_words(&message)));
        self.sent.push(Sent { from, message });
        self.carry(from, to, Input::Frame { from: from.id(), bytes: frame });
    }

    fn publish(&mut self, from: Who, topic: Topic, frame: &[u8]) {
        let gossip: Gossip = decode_gossip(network_id(), frame).expect("own frame");
        self.note(from, &gossip_in_words(&gossip));
        self.calls += u64::from(matches!(gossip, Gossip::Announcement(_)));
        let listens = |node: &Node| node.listens.contains(&topic);
        let nodes = self.nodes.iter();
        let all: Vec<Who> = nodes.filter(|(_, it)| listens(it)).map(|(who, _)| *who).collect();
        for to in all {
            self.carry(from, to, Input::Gossip { from: from.id(), bytes: frame.to_vec() });
        }
    }

    fn note(&mut self, who: Who, what: &str) {
        let line = format!("{} {} {what}\n", self.now, who.name());
        self.trace.extend(line.bytes());
    }

    /// One step: what comes next, a delivery or a deadline.
    fn step(&mut self) {
        let deadlines = self.nodes.iter().filter_map(|(who, node)| {
            let deadline = node.peer.as_ref()?.next_deadline()?;
            Some((deadline.at.max(self.now), *who))
        });
        let deadline = deadlines.min();
        let delivery = self.queue.first_key_value().map(|(key, _)| key.0);
        match (delivery, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|(wake, _)| at <= wake) => {
                let ((at, _), due) = self.queue.pop_first().expect("it was seen");
                self.now = at;
                match due {
                    Due::Given { to, life, input } if self.nodes[&to].life == life => {
                        self.handle(to, input);
                    }
                    Due::Written { who, life } if self.nodes[&who].life == life => {
                        self.write_down(who);
                    }
                    Due::Given { .. } | Due::Written { .. } => {}
                }
            }
            (_, Some((wake, who))) => {
                self.now = wake;
                self.handle(who, Input::Timeout);
            }
            (_, None) => panic!("everyone sleeps for ever"),
        }
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        // So that the world has something to do at the very end.
        let whoever = *self.nodes.keys().next().expect("somebody is here");
        self.push(Due::Given { to: whoever, life: u64::MAX, input: Input::Timeout }, duration);
        while self.now < end {
            self.step();
        }
        self.check_promises();
    }

    /// Until something holds, which must be within ten minutes.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !holds(self) {
            self.step();
            assert!(self.now < end, "{what}: never\n{}", self.stand());
        }
        self.check_promises();
    }

    /// Of everything that was said.
    pub(crate) fn hash(&self) -> Digest {
        Digest::of(&self.trace)
    }
}
