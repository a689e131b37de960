#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the messages it is about")]
use std::{collections::BTreeMap, time::Duration};

use cyxwiz_scoring::{Capability, Device, DeviceKind, Load, Policy, Requirements};

use super::*;
use crate::{
    CellId, Config, CoordinatorConfig, Effects, Epoch, Identity, Input, Network, Peer, RequestId,
    Send, StoreId, TaskEvent, Timing, UnixMillis,
    charter::{Founding, Ticket},
    effects::Task,
    message::{
        decode_gossip, decode_message, encode_message,
        query::{Answer, Query, Question},
        submission::Submission,
    },
    spec::{Estimate, JobKind, JobLimits, JobSpec, Priority},
};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

/// A leader, and what it said since the last time that somebody listened.
struct Hall {
    network: Network,
    peer: Peer,
    now: Instant,
    workers: Vec<Identity>,
    submitter: Identity,
    sequence: u64,
    direct: Vec<(PeerId, Vec<u8>)>,
    calls: Vec<Announcement>,
}

fn capability(slots: u16) -> Capability {
    let cpu = Device { kind: DeviceKind::Cpu, name: "cpu".to_owned(), memory_mb: 64_000 };
    Capability {
        cores: 8,
        memory_mb: 64_000,
        disk_mb: 64_000,
        devices: vec![cpu],
        max_concurrent: slots,
        ..Capability::default()
    }
}

impl Hall {
    fn new(workers: u8, slots: u16) -> Self {
        let charter = Identity::from_seed([1; 32]);
        let network = Network::new("hall", charter.id()).unwrap();
        let me = Identity::from_seed([2; 32]);
        let store = StoreId([5; 16]);
        let ticket = Ticket::issue(&charter, &network, [3; 32], UnixMillis(WALL.0 * 2));
        let coordinator = CoordinatorConfig {
            credential: ticket.seat(&network, me.id()),
            policy: Policy::default(),
            finished_jobs: limits::FINISHED_JOBS,
            founding: Some(Founding::sign(&charter, &network, (me.id(), store), 0, WALL)),
        };
        let config = Config {
            network: network.clone(),
            epoch: Epoch(WALL),
            seed: [4; 32],
            store,
            timing: Timing::default(),
            coordinator: Some(coordinator),
            worker: None,
        };
        let (peer, first) = Peer::open(config, me, [], Instant::START).unwrap();
        let mut hall = Self {
            network,
            peer,
            now: Instant::START,
            workers: (0..workers).map(|number| Identity::from_seed([100 + number; 32])).collect(),
            submitter: Identity::from_seed([9; 32]),
            sequence: 0,
            direct: Vec::new(),
            calls: Vec::new(),
        };
        hall.carry_out(first);
        hall.pass(Duration::from_secs(1));
        let offers = membership::Offer {
            capability: capability(slots),
            load: Load::idle(&capability(slots)),
            running: Vec::new(),
            stands_ms: 300_000,
        };
        let offer = Message::Membership(membership::Membership::Offer(offers));
        for number in 0..hall.workers.len() {
            hall.from(hall.workers[number].id(), &offer);
        }
        hall
    }

    fn feed(&mut self, input: Input) {
        let effects = self.peer.handle(self.now, input);
        self.carry_out(effects);
    }

    fn from(&mut self, from: PeerId, message: &Message) {
        let bytes = encode_message(self.network.id(), message);
        self.feed(Input::Frame { from, bytes });
    }

    /// Lets time pass, a deadline after the other.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.peer.next_deadline().filter(|next| next.at <= end) {
            self.now = self.now.max(next.at);
            self.feed(Input::Timeout);
        }
        self.now = end;
    }

    fn carry_out(&mut self, effects: Effects) {
        for send in effects.sends {
            match send {
                Send::Direct { to, frame } => self.direct.push((to, frame)),
                Send::Publish { frame, .. } => {
                    if let Gossip::Announcement(signed) =
                        decode_gossip(self.network.id(), &frame).unwrap()
                    {
                        self.calls.push((*signed.verify(self.network.id()).unwrap()).clone());
                    }
                }
                Send::Subscribe(_) | Send::Unsubscribe(_) | Send::Ban { .. } => {}
            }
        }
        for task in effects.tasks {
            if let Task::Inspect { spec, .. } = task {
                self.feed(Input::Task(TaskEvent::Inspected { job: spec.id, result: Ok(()) }));
            }
        }
        if let Some(batch) = effects.batch {
            self.feed(Input::Flushed { batch });
        }
    }

    fn submit(&mut self, number: u8) -> JobId {
        let spec = JobSpec {
            id: JobId([number; 16]),
            cell: CellId::default(),
            name: "job".parse().unwrap(),
            kind: JobKind::Train,
            workload: "{}".to_owned(),
            inputs: Vec::new(),
            requirements: Requirements { memory_mb: 256, ..Requirements::default() },
            priority: Priority::default(),
            limits: JobLimits::default(),
            estimate: Estimate::default(),
        };
        self.sequence += 1;
        let spec = self.submitter.sign(self.network.id(), WALL, self.sequence, spec).into_signed();
        let submit = Submission::Submit { request: RequestId(1), spec };
        self.from(self.submitter.id(), &Message::Submission(submit));
        JobId([number; 16])
    }

    /// What was said to single peers, and is of interest here.
    fn heard<T>(&mut self, of: impl Fn(Message) -> Option<T>) -> Vec<(PeerId, T)> {
        let network = self.network.id();
        let heard = std::mem::take(&mut self.direct).into_iter();
        heard
            .filter_map(|(to, frame)| Some((to, of(decode_message(network, &frame).ok()?)?)))
            .collect()
    }

    fn invitations(&mut self) -> Vec<(PeerId, Signed<Announcement>)> {
        self.heard(|message| match message {
            Message::Auction(Auction::Invitation(signed)) => Some(signed),
            _ => None,
        })
    }

    fn awards(&mut self) -> Vec<(PeerId, Signed<Award>)> {
        self.heard(|message| match message {
            Message::Auction(Auction::Award { award, .. }) => Some(award),
            _ => None,
        })
    }

    /// A worker bids for all that it was asked for.
    fn bid(&mut self, worker: PeerId, announcement: &Announcement, slots: u16) {
        let bid = |call: &crate::message::auction::Call| Bid {
            job: call.job,
            attempt: call.attempt,
            price: 0,
            start_ms: 0,
            warm_permille: 0,
        };
        let bids = Bids {
            ballot: announcement.ballot,
            round: announcement.round,
            capability: capability(slots),
            load: Load::idle(&capability(slots)),
            bids: announcement.calls.iter().map(bid).collect(),
        };
        self.sequence += 1;
        let by = self.workers.iter().find(|identity| identity.id() == worker).unwrap();
        let bids = by.sign(self.network.id(), WALL, self.sequence, bids).into_signed();
        self.from(worker, &Message::Auction(Auction::Bids(bids)));
    }

    /// Everyone who is invited bids, until nobody is any more.
    fn hold_auctions(&mut self, slots: u16) -> BTreeMap<PeerId, usize> {
        let mut awarded = BTreeMap::new();
        for _ in 0..100 {
            self.pass(Duration::from_millis(20));
            let network = self.network.id();
            let messages = self.heard(Some);
            for (to, message) in messages {
                match message {
                    Message::Auction(Auction::Invitation(signed)) => {
                        let announcement = signed.verify(network).unwrap();
                        self.bid(to, &announcement, slots);
                    }
                    Message::Auction(Auction::Award { award, .. }) => {
                        *awarded.entry(to).or_default() += 1;
                        let run = award.verify(network).unwrap().run();
                        self.from(to, &Message::Auction(Auction::Taken(run)));
                    }
                    _ => {}
                }
            }
        }
        awarded
    }
}

#[test]
fn a_few_are_invited_by_one_document_and_nobody_else_hears_of_it() {
    let mut hall = Hall::new(40, 1);
    let job = hall.submit(1);
    hall.pass(Duration::from_millis(20));
    let invitations = hall.invitations();
    assert_eq!(invitations.len(), EXPECTED_BIDS as usize);
    assert!(invitations.iter().all(|(_, signed)| *signed == invitations[0].1));
    assert!(hall.calls.is_empty(), "it was published too");

    let announcement = invitations[0].1.verify(hall.network.id()).unwrap();
    for (worker, _) in &invitations {
        hall.bid(*worker, &announcement, 1);
    }
    assert_eq!(hall.awards().len(), 1, "it closes when all have answered");
    let ask = Query::Ask { request: RequestId(2), question: Question::Job(job) };
    hall.from(hall.submitter.id(), &Message::Query(ask));
    let answers = hall.heard(|message| match message {
        Message::Query(Query::Answer { answer, .. }) => Some(*answer),
        _ => None,
    });
    let [(_, Answer::Job(Some(detail)))] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(detail.decisions[0].invited, Some(EXPECTED_BIDS));
}

#[test]
fn the_next_job_goes_to_those_who_were_not_asked_yet() {
    let mut hall = Hall::new(32, 4);
    hall.submit(1);
    hall.pass(Duration::from_millis(20));
    let first: BTreeSet<_> = hall.invitations().into_iter().map(|(to, _)| to).collect();
    hall.submit(2);
    hall.pass(Duration::from_millis(20));
    let second: BTreeSet<_> = hall.invitations().into_iter().map(|(to, _)| to).collect();
    assert_eq!((first.len(), second.len()), (16, 16));
    assert!(first.is_disjoint(&second), "some were asked twice, others never");
}

#[test]
fn a_burst_fills_every_slot_once() {
    let mut hall = Hall::new(24, 2);
    for number in 1..=48 {
        hall.submit(number);
    }
    let awarded = hall.hold_auctions(2);
    assert_eq!(awarded.len(), 24);
    assert!(awarded.values().all(|runs| *runs == 2), "{awarded:?}");
    assert!(hall.calls.is_empty(), "a job was published although invited workers bid");
}

#[test]
fn what_the_invited_leave_alone_is_called_out_to_everyone() {
    let mut hall = Hall::new(20, 1);
    hall.submit(1);
    hall.pass(Duration::from_millis(300));
    assert_eq!(hall.invitations().len(), 16);
    assert!(hall.calls.is_empty(), "those who are far away get more time");
    hall.pass(Duration::from_secs(1));
    let audience = hall.calls.first().expect("it is called out").audience;
    assert!(matches!(audience, Audience::ByLot { .. }), "{audience:?}");
}

#[test]
fn whoever_was_silent_is_asked_after_the_others() {
    let mut hall = Hall::new(32, 1);
    hall.submit(1);
    hall.pass(Duration::from_millis(20));
    let invitations = hall.invitations();
    let announcement = invitations[0].1.verify(hall.network.id()).unwrap();
    let silent = invitations[0].0;
    for (worker, _) in &invitations[1..] {
        hall.bid(*worker, &announcement, 1);
    }
    hall.pass(Duration::from_millis(300));
    let mut asked = Vec::new();
    for number in 2..=3 {
        hall.submit(number);
        hall.pass(Duration::from_millis(20));
        asked.extend(hall.invitations().into_iter().map(|(to, _)| to));
    }
    assert!(!asked.contains(&silent), "others have room");
}

#[test]
fn an_award_that_is_sent_again_is_the_same() {
    let mut hall = Hall::new(1, 1);
    hall.submit(1);
    hall.pass(Duration::from_millis(20));
    let invitations = hall.invitations();
    let announcement = invitations[0].1.verify(hall.network.id()).unwrap();
    hall.bid(invitations[0].0, &announcement, 1);
    hall.pass(Timing::default().award_resend + Duration::from_millis(1));
    let awards = hall.awards();
    assert_eq!(awards.len(), 2);
    assert_eq!(awards[0], awards[1]);
}

#[test]
fn a_search_ends_when_enough_are_found() {
    let mut line = workforce_with(3_000);
    line.reserve(peer(0));
    let needs = Requirements { memory_mb: 100_000, ..Requirements::default() };
    let none = line.candidates(&needs, &BTreeSet::new(), 80, WALL);
    assert!(none.workers.is_empty() && none.looked == 2_999, "{}", none.looked);
    let some = line.candidates(&Requirements::default(), &BTreeSet::new(), 80, WALL);
    assert_eq!((some.workers.len(), some.looked), (80, 80));
    assert_eq!(some.estimate, 2_999);
}

fn peer(number: u16) -> PeerId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

fn workforce_with(workers: u16) -> crate::coordinator::workforce::Workforce {
    let mut workforce = crate::coordinator::workforce::Workforce::new(BTreeMap::new());
    for number in 0..workers {
        let capability = capability(1);
        let load = Load::idle(&capability);
        workforce.note(peer(number), capability, load, Instant::START, WALL);
    }
    workforce
}
