//! One peer on a bench: it is given inputs at given moments, its writes reach the disk when the
//! test says so, and what it does comes back in words.

use std::{collections::BTreeMap, time::Duration};

use super::{
    STORE, WALL, Who, capability, coordinating, network, network_id, words::effects_in_words,
};
use cyxwiz_protocol::{
    Command, CommandId, Config, Effects, Epoch, Input, Instant, Peer, PeerId, Send, Task,
    TaskEvent, Timer, Timing, UnixMillis, WorkerConfig,
    effects::Write,
    message::{
        Gossip, Message, decode_gossip, decode_message, encode_gossip, encode_message,
        membership::{CommitteeRecord, Membership},
    },
    signed::Signed,
    spec::JobKind,
};

/// What a bench's peer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Coordinator,
    /// With room for so many jobs.
    Worker(u16),
    Submitter,
}

pub(crate) struct Bench {
    pub(crate) who: Who,
    pub(crate) role: Role,
    pub(crate) now: Instant,
    pub(crate) peer: Peer,
    /// What survives a crash.
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches that the disk does not have yet.
    unflushed: Vec<(u64, Vec<Write>)>,
    /// Of the last input, in full.
    pub(crate) sent: Vec<(PeerId, Message)>,
    pub(crate) published: Vec<Gossip>,
    pub(crate) tasks: Vec<Task>,
    commands: u64,
    epoch: UnixMillis,
}

impl Bench {
    /// A peer with an empty disk, before anyone else is known. Its first effects are told too.
    pub(crate) fn new(who: Who, role: Role) -> (Self, Vec<String>) {
        Self::open(who, role, BTreeMap::new(), WALL)
    }

    fn open(
        who: Who,
        role: Role,
        disk: BTreeMap<Vec<u8>, Vec<u8>>,
        epoch: UnixMillis,
    ) -> (Self, Vec<String>) {
        let config = Config {
            network: network(),
            epoch: Epoch(epoch),
            seed: who.seed(),
            store: STORE,
            timing: Timing::default(),
            coordinator: match role {
                Role::Coordinator => Some(coordinating(who)),
                Role::Worker(_) | Role::Submitter => None,
            },
            worker: match role {
                Role::Worker(max_concurrent) => Some(WorkerConfig {
                    capability: capability(max_concurrent),
                    accepts: vec![JobKind::Train],
                    report_interval: Duration::from_secs(1),
                }),
                Role::Coordinator | Role::Submitter => None,
            },
        };
        let (peer, effects) = Peer::open(config, who.identity(), disk.clone(), Instant::START)
            .expect("records that this peer wrote");
        let mut bench = Self {
            who,
            role,
            now: Instant::START,
            peer,
            disk,
            unflushed: Vec::new(),
            sent: Vec::new(),
            published: Vec::new(),
            tasks: Vec::new(),
            commands: 0,
            epoch,
        };
        let told = bench.take(effects);
        (bench, told)
    }

    /// The peer falls over and comes back a minute later with what its disk had.
    pub(crate) fn crash(self) -> (Self, Vec<String>) {
        let epoch = UnixMillis(self.epoch.0 + self.now.0 / 1_000 + 60_000);
        Self::open(self.who, self.role, self.disk, epoch)
    }

    /// The founder of a committee, which leads and sits alone.
    pub(crate) fn leading() -> Self {
        let (mut bench, _) = Self::new(Who::Coordinator, Role::Coordinator);
        bench.take_the_lead();
        bench
    }

    /// One that sits alone and has promised itself a ballot leads with two flushes: of its promise
    /// and of its seat. Tells what it did when it leads. A tenth of a millisecond later nothing
    /// that a test begins falls together with a beat.
    pub(crate) fn take_the_lead(&mut self) -> Vec<String> {
        assert_effects(self.flush(), &["write seat"]);
        let told = self.flush();
        self.pass(Duration::from_micros(100));
        told
    }

    /// A peer that knows the committee of [`Bench::leading`].
    pub(crate) fn joined(who: Who, role: Role) -> Self {
        let (mut bench, _) = Self::new(who, role);
        bench.learn_committee();
        bench
    }

    pub(crate) fn learn_committee(&mut self) -> Vec<String> {
        let record = committee_record();
        let message = Message::Membership(Membership::Committee(record));
        self.from(Who::Coordinator, &message)
    }

    /// The peer's wall clock, for documents.
    pub(crate) fn clock(&self) -> Instant {
        self.now + Duration::from_millis(self.epoch.0 - WALL.0)
    }

    /// Handles one input at this moment.
    pub(crate) fn give(&mut self, input: Input) -> Vec<String> {
        let effects = self.peer.handle(self.now, input);
        self.take(effects)
    }

    fn take(&mut self, effects: Effects) -> Vec<String> {
        let told = effects_in_words(&effects);
        self.sent.clear();
        self.published.clear();
        if let Some(batch) = effects.batch {
            self.unflushed.push((batch, effects.writes));
        }
        for send in effects.sends {
            match send {
                Send::Direct { to, frame } => {
                    let message = decode_message(network_id(), &frame).expect("own frame");
                    self.sent.push((to, message));
                }
                Send::Publish { frame, .. } => {
                    self.published.push(decode_gossip(network_id(), &frame).expect("own frame"));
                }
                Send::Subscribe(_) | Send::Unsubscribe(_) | Send::Ban { .. } => {}
            }
        }
        self.tasks = effects.tasks;
        told
    }

    /// The disk takes everything that was written.
    pub(crate) fn flush(&mut self) -> Vec<String> {
        let Some((batch, _)) = self.unflushed.last() else {
            return Vec::new();
        };
        let batch = *batch;
        for (_, writes) in self.unflushed.drain(..) {
            for Write { key, value } in writes {
                match value {
                    Some(value) => self.disk.insert(key, value),
                    None => self.disk.remove(&key),
                };
            }
        }
        self.give(Input::Flushed { batch })
    }

    pub(crate) fn from(&mut self, from: Who, message: &Message) -> Vec<String> {
        let bytes = encode_message(network_id(), message);
        self.give(Input::Frame { from: from.id(), bytes })
    }

    pub(crate) fn hears(&mut self, from: Who, gossip: &Gossip) -> Vec<String> {
        let bytes = encode_gossip(network_id(), gossip);
        self.give(Input::Gossip { from: from.id(), bytes })
    }

    pub(crate) fn task(&mut self, event: TaskEvent) -> Vec<String> {
        self.give(Input::Task(event))
    }

    /// Commands are numbered from 1.
    pub(crate) fn command(&mut self, command: Command) -> Vec<String> {
        self.commands += 1;
        self.give(Input::Command { id: CommandId(self.commands), command })
    }

    /// Time goes on without anyone calling.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Wakes the peer at its next deadline. It must not want to be woken at once again.
    pub(crate) fn wake(&mut self) -> Vec<String> {
        let deadline = self.peer.next_deadline().expect("a peer always waits for something");
        self.now = self.now.max(deadline.at);
        let told = self.give(Input::Timeout);
        let next = self.peer.next_deadline().map(|next| next.at);
        assert!(next.is_none_or(|next| next > self.now), "woken again at once: {next:?}");
        told
    }

    /// Wakes the peer until the deadline for `why` has come; tells what it did then. It must not
    /// fall together with another: `pass` keeps them apart. As with `live`, who coordinates is asked
    /// in silence.
    pub(crate) fn wait_for(&mut self, why: Timer) -> Vec<String> {
        for _ in 0..100_000 {
            let next = self.peer.next_deadline().expect("something to wait for");
            let told = self.wake();
            if next.why == why {
                return but_asking(told);
            }
        }
        panic!("{why:?} never comes; next is {:?}", self.peer.next_deadline());
    }

    /// Wakes the peer as often as it wants within `duration`; tells everything that it did, but
    /// that it asked who coordinates: on a bench nobody says it again and again.
    pub(crate) fn live(&mut self, duration: Duration) -> Vec<String> {
        let end = self.now + duration;
        let mut told = Vec::new();
        while self.peer.next_deadline().is_some_and(|next| next.at <= end) {
            told.extend(but_asking(self.wake()));
        }
        self.now = end;
        told
    }
}

fn but_asking(told: Vec<String>) -> Vec<String> {
    told.into_iter().filter(|line| !line.ends_with(": who coordinates?")).collect()
}

/// The record of the committee of [`Bench::leading`].
pub(super) fn committee_record() -> Signed<CommitteeRecord> {
    let bench = Bench::leading();
    bench.published_committee().clone()
}

impl Bench {
    pub(crate) fn published_committee(&self) -> &Signed<CommitteeRecord> {
        let record = self.published.iter().find_map(|gossip| match gossip {
            Gossip::Committee(record) => Some(record),
            Gossip::Announcement(_) | Gossip::Report(_) => None,
        });
        record.expect("a founder publishes its record")
    }
}

/// These effects, in this order, and nothing else.
#[track_caller]
pub(crate) fn assert_effects(told: Vec<String>, expected: &[&str]) {
    assert_eq!(told, expected, "\ntold:     {told:#?}\nexpected: {expected:#?}");
}
