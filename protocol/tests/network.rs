//! A whole network in memory: an ordered queue of what is under way, virtual time, a disk that
//! takes each batch a moment later. Equal seeds give equal traces, and loss costs time alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use cyxwiz_protocol::{
    ArtifactId, Command, CommandId, Config, Digest, Effects, Epoch, Event, Input, Instant, JobId,
    Key, Peer, PeerId, Reply, RequestId, Rng, Run, Send, Task, TaskEvent, Timing, Topic,
    WorkerConfig,
    job::JobState,
    message::{
        Gossip, Message, decode_gossip, decode_message, encode_message,
        query::{Answer, JobDetail, Query, Question},
    },
    spec::JobKind,
};
use cyxwiz_scoring::DeviceKind;

use crate::harness::{
    STORE, WALL, Who, capability, coordinating, gossip_in_words, job, message_in_words, ms,
    name_of, network, network_id, progress, spec, success,
};

const JOBS: u8 = 20;
const END: Duration = Duration::from_secs(3_600);

/// Something that will happen at one peer. Heavier fields are in `Net::mail`.
type Due = Reverse<(Instant, u64)>;

struct Net {
    now: Instant,
    peers: BTreeMap<PeerId, Peer>,
    listeners: BTreeMap<Topic, BTreeSet<PeerId>>,
    queue: BinaryHeap<Due>,
    mail: BTreeMap<u64, (PeerId, Input)>,
    next: u64,
    chance: Rng,
    /// Of 100 messages so many are lost.
    loss: u64,
    trace: Vec<u8>,
    accepted: BTreeSet<JobId>,
    ended: BTreeSet<JobId>,
    /// Jobs and the receipts that were counted for them.
    settled: BTreeMap<JobId, Digest>,
    killed: BTreeSet<(PeerId, Run)>,
}

impl Net {
    fn new(seed: u8, loss: u64) -> Self {
        let mut net = Self {
            now: Instant::START,
            peers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            queue: BinaryHeap::new(),
            mail: BTreeMap::new(),
            next: 0,
            chance: Rng::new([seed; 32]),
            loss,
            trace: Vec::new(),
            accepted: BTreeSet::new(),
            ended: BTreeSet::new(),
            settled: BTreeMap::new(),
            killed: BTreeSet::new(),
        };
        let cast = [Who::Coordinator, Who::Submitter];
        let workers = (1..=3).map(Who::Worker);
        for who in cast.into_iter().chain(workers) {
            net.add(who, seed);
        }
        let all: Vec<PeerId> = net.peers.keys().copied().collect();
        for &one in &all {
            for &other in all.iter().filter(|other| **other != one) {
                net.post(one, Input::Connected(other), ms(10));
            }
        }
        net
    }

    fn add(&mut self, who: Who, seed: u8) {
        let worker = || WorkerConfig {
            capability: capability(2),
            accepts: vec![JobKind::Train],
            report_interval: ms(1_000),
        };
        let mut own_seed = who.seed();
        own_seed[0] = seed;
        let config = Config {
            network: network(),
            epoch: Epoch(WALL),
            seed: own_seed,
            store: STORE,
            timing: Timing::default(),
            coordinator: (who == Who::Coordinator).then(|| coordinating(who)),
            worker: matches!(who, Who::Worker(_)).then(worker),
        };
        let (peer, effects) = Peer::open(config, who.identity(), Vec::new(), Instant::START)
            .expect("an empty store opens");
        self.peers.insert(who.id(), peer);
        self.apply(who.id(), effects);
    }

    fn post(&mut self, to: PeerId, input: Input, after: Duration) {
        self.next += 1;
        self.queue.push(Reverse((self.now + after, self.next)));
        self.mail.insert(self.next, (to, input));
    }

    /// A message takes up to 40 ms, or for ever.
    fn carry(&mut self, to: PeerId, input: Input) {
        let delay = ms(1 + self.chance.number() % 40);
        let lost = self.chance.number() % 100 < self.loss;
        if !lost {
            self.post(to, input, delay);
        }
    }

    fn note(&mut self, who: PeerId, what: &str) {
        let line = format!("{} {} {what}\n", self.now, name_of(who));
        self.trace.extend(line.bytes());
    }

    fn apply(&mut self, me: PeerId, effects: Effects) {
        if let Some(batch) = effects.batch {
            for write in &effects.writes {
                let key = Key::from_bytes(&write.key).expect("a key of the crate");
                assert!(
                    !matches!(key, Key::Register(_)) || write.value.is_some(),
                    "a job was forgotten"
                );
                self.note(me, &format!("{key:?}"));
            }
            self.post(me, Input::Flushed { batch }, ms(2));
        }
        for send in effects.sends {
            match send {
                Send::Direct { to, frame } => {
                    let message = decode_message(network_id(), &frame).expect("own frame");
                    self.note(me, &message_in_words(&message));
                    self.carry(to, Input::Frame { from: me, bytes: frame });
                }
                Send::Publish { topic, frame } => {
                    let gossip: Gossip = decode_gossip(network_id(), &frame).expect("own frame");
                    self.note(me, &gossip_in_words(&gossip));
                    for to in self.listeners.get(&topic).cloned().unwrap_or_default() {
                        self.carry(to, Input::Gossip { from: me, bytes: frame.clone() });
                    }
                }
                Send::Subscribe(topic) => {
                    self.listeners.entry(topic).or_default().insert(me);
                }
                Send::Unsubscribe(topic) => {
                    self.listeners.entry(topic).or_default().remove(&me);
                }
                Send::Ban { peer, why, .. } => panic!("{} is banned: {why}", name_of(peer)),
            }
        }
        for task in effects.tasks {
            self.work(me, task);
        }
        for event in effects.events {
            self.tell(event);
        }
    }

    /// The world outside: inspecting and fetching take a moment, training five seconds.
    fn work(&mut self, me: PeerId, task: Task) {
        match task {
            Task::Inspect { spec, .. } => {
                let event = TaskEvent::Inspected { job: spec.id, result: Ok(()) };
                self.post(me, Input::Task(event), ms(20));
            }
            Task::Run { run, .. } => {
                self.post(me, Input::Task(TaskEvent::Started { run }), ms(50));
                let event = TaskEvent::Progress { run, progress: progress(5) };
                self.post(me, Input::Task(event), ms(2_500));
                let event = TaskEvent::Ended { run, ending: success(), compute_ms: 5_000 };
                self.post(me, Input::Task(event), ms(5_000));
            }
            Task::Stop { run, .. } => {
                self.killed.insert((me, run));
                let ending = cyxwiz_protocol::report::Ending::Cancelled;
                let event = TaskEvent::Ended { run, ending, compute_ms: 1 };
                self.post(me, Input::Task(event), ms(30));
            }
            Task::Discard { .. } => {}
            Task::Collect { job, why, files, .. } => {
                assert_ne!(files[0].artifact, ArtifactId([0; 32]));
                let event = TaskEvent::Collected { job, why, result: Ok(()) };
                self.post(me, Input::Task(event), ms(40));
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Reply { reply: Reply::Accepted { job }, .. } => {
                assert!(self.accepted.insert(job), "answered twice");
            }
            Event::Ended { job } => {
                assert!(self.ended.insert(job), "ended twice");
            }
            Event::Reply { .. }
            | Event::Report { .. }
            | Event::Committee { .. }
            | Event::Announced { .. }
            | Event::Awarded { .. }
            | Event::RunTaken { .. } => {}
            Event::Forgotten { .. } | Event::ClockDiffers { .. } => {
                panic!("the committee is as old as the jobs, and all clocks agree")
            }
        }
    }

    fn handle(&mut self, me: PeerId, input: Input) {
        let flushed = matches!(input, Input::Flushed { .. });
        let peer = self.peers.get_mut(&me).expect("one of the cast");
        let effects = peer.handle(self.now, input);
        let next = peer.next_deadline();
        assert!(next.is_none_or(|next| next.at >= self.now), "{next:?} is past");
        self.apply(me, effects);
        let leads = self.peers[&me].status().coordinator.is_some_and(|it| it.leading);
        if flushed && leads {
            self.check_promises();
        }
    }

    /// After each change: every accepted job is known to the leader, and the receipt that settled
    /// one is still the same.
    fn check_promises(&mut self) {
        for number in 1..=JOBS {
            let id = job(number);
            let Some(detail) = self.ask(id) else {
                assert!(!self.accepted.contains(&id), "an accepted job is unknown");
                continue;
            };
            let JobState::Completed { receipt, .. } = detail.record.state else {
                assert!(!self.settled.contains_key(&id), "a settled job is not any more");
                continue;
            };
            let digest = receipt.digest();
            let first = *self.settled.entry(id).or_insert(digest);
            assert_eq!(first, digest, "settled twice");
        }
    }

    /// What the leader says of a job.
    fn ask(&mut self, id: JobId) -> Option<JobDetail> {
        let question = Question::Job(id);
        let ask = Message::Query(Query::Ask { request: RequestId(1), question });
        let input =
            Input::Frame { from: Who::Stranger.id(), bytes: encode_message(network_id(), &ask) };
        let leader = self.peers.get_mut(&Who::Coordinator.id()).expect("one of the cast");
        let effects = leader.handle(self.now, input);
        let [Send::Direct { frame, .. }] = effects.sends.as_slice() else {
            panic!("one answer: {effects:?}");
        };
        match decode_message(network_id(), frame) {
            Ok(Message::Query(Query::Answer { answer, .. })) => match *answer {
                Answer::Job(detail) => detail.map(|detail| *detail),
                Answer::Jobs(_) | Answer::Workers(_) => panic!("an answer to another question"),
            },
            other => panic!("an answer: {other:?}"),
        }
    }

    /// One step: what comes next, a delivery or a deadline.
    fn step(&mut self) {
        let deadlines = self.peers.iter().filter_map(|(id, peer)| {
            peer.next_deadline().map(|deadline| (deadline.at.max(self.now), *id))
        });
        let deadline = deadlines.min();
        let delivery = self.queue.peek().map(|Reverse((at, _))| *at);
        match (delivery, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|(wake, _)| at <= wake) => {
                let Reverse((at, number)) = self.queue.pop().expect("it was seen");
                let (to, input) = self.mail.remove(&number).expect("each is delivered once");
                self.now = at;
                self.handle(to, input);
            }
            (_, Some((wake, id))) => {
                self.now = wake;
                self.handle(id, Input::Timeout);
                let next = self.peers[&id].next_deadline();
                assert!(
                    next.is_none_or(|next| next.at > self.now),
                    "woken at once again: {next:?}"
                );
            }
            (_, None) => panic!("everyone sleeps for ever"),
        }
    }

    /// Until every job has ended at its submitter.
    fn run(mut self) -> Self {
        let submitter = Who::Submitter.id();
        for number in 1..=JOBS {
            let command = Command::Submit(Box::new(spec(number)));
            let input = Input::Command { id: CommandId(u64::from(number)), command };
            self.post(submitter, input, ms(100 * u64::from(number)));
        }
        while self.ended.len() < usize::from(JOBS) {
            self.step();
            assert!(self.now.0 < 1_000_000 * END.as_secs(), "stuck: {}", self.stand());
        }
        self.look_at_settlements();
        self
    }

    /// Every job is completed by the receipt of one attempt that was awarded.
    fn look_at_settlements(&mut self) {
        self.check_promises();
        for number in 1..=JOBS {
            let record = self.ask(job(number)).expect("known").record;
            let JobState::Completed { receipt, .. } = record.state else {
                panic!("completed: {record:?}");
            };
            let receipt = receipt.verify(network_id()).expect("the worker's");
            let awarded = record.attempts.iter().any(|attempt| {
                (attempt.attempt, attempt.worker) == (receipt.attempt, receipt.author())
            });
            assert!(awarded, "settled by an attempt that was not awarded");
        }
        let receipts: BTreeSet<_> = self.settled.values().collect();
        assert_eq!(receipts.len(), usize::from(JOBS), "one receipt for each");
    }

    fn stand(&self) -> String {
        let waits = self.peers.iter().map(|(id, peer)| {
            let status = peer.status();
            let (name, next) = (name_of(*id), status.next);
            format!("{name}: {next:?} {:?} {:?}", status.coordinator, status.worker)
        });
        waits.collect::<Vec<_>>().join("\n")
    }

    fn hash(&self) -> Digest {
        Digest::of(&self.trace)
    }
}

#[test]
fn a_network_does_twenty_jobs_and_two_runs_are_alike() {
    let (first, second) = (Net::new(1, 0).run(), Net::new(1, 0).run());
    assert_eq!(first.hash(), second.hash());
    assert_ne!(first.hash(), Net::new(2, 0).run().hash(), "another seed is another life");
    assert!(first.killed.is_empty(), "nothing was computed twice");
    // 20 jobs of 5 s over 6 places: 4 waves.
    assert!(first.now.0 < 40_000_000, "took {}", first.now);
}

#[test]
fn with_a_fifth_of_the_messages_lost_every_job_completes() {
    for seed in 0..4 {
        let net = Net::new(seed, 20).run();
        assert_eq!(net.accepted.len(), usize::from(JOBS));
    }
}

#[test]
fn topics_are_those_of_the_devices() {
    let net = Net::new(1, 0);
    let workers = net.listeners.get(&Topic::Jobs(DeviceKind::Cpu)).map(BTreeSet::len);
    assert_eq!(workers, Some(3));
}
