//! Peers that break the rules, on real connections: what they send is dropped and counted, they
//! are shut out after a few, and the network works on meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cyxwiz_net::{Config, Event, Events, Handle, PeerKey};
use cyxwiz_protocol::{
    Attempt, Ballot, CellId, Digest, Identity, JobId, Network as Charter, NetworkId, PeerId,
    RequestId, Signed, StoreId, Topic, UnixMillis,
    charter::{Founding, Invite, Ticket},
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Audience, Award},
        decode_message, encode_gossip, encode_message,
        membership::{CommitteeRecord, Member, Membership},
        query::{Query, Question},
        run::RunStep,
        submission::{Refusal, Submission},
    },
    report::{Ending, Receipt, Success},
    signed::Document,
    spec::{CancelOrder, Estimate, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::Requirements;
use cyxwiz_tests::{Job, Network, Node, SOON, eventually};
use serde_json::Value;
use tokio::runtime::Runtime;

#[test]
fn rule_breakers_are_counted_and_shut_out_while_jobs_go_on() {
    let (network, coordinator, laptop) = Network::with_coordinator("hostile");
    let worker = network.worker("worker", &["--memory-mb", "1024", "--threads", "1"]);
    laptop.awaits_workers(1);
    let job = Job::endless("steady").submit(&laptop.cli());
    laptop.awaits_training(&job);

    let mut misdeeds = Misdeeds::new(&network, &coordinator, &worker);
    for (counter, frame) in misdeeds.frames(&job) {
        let before = count(&coordinator, counter);
        misdeeds.until_shut_out(&frame);
        eventually(SOON, &format!("five more {counter}"), || {
            let now = count(&coordinator, counter);
            if now >= before + 5 { Ok(()) } else { Err(format!("{now}, {before} before")) }
        });
    }
    misdeeds.until_shut_out(&vec![7; 1_500_000]);
    misdeeds.forged_gossip_is_counted(&coordinator);
    misdeeds.lies_change_nothing(&job);

    assert_eq!(laptop.cli().job(&job)["state"], "running");
    let attempts = laptop.cli().job(&job)["attempts"].as_array().map(Vec::len);
    assert_eq!(attempts, Some(1), "{:#}", laptop.cli().job(&job));
    assert_eq!(worker.cli().json(&["node", "status"])["worker"]["running"], 1);
    laptop.cli().run(&["job", "cancel", &job, "--wait"]).succeeds();
    let after = Job::short("after").submit(&laptop.cli());
    laptop.awaits(&after, "completed");
    for log in [coordinator.log(), worker.log(), network.bootstrap.log()] {
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// A peer with a key of its own for each offence, in this process.
struct Misdeeds {
    runtime: Runtime,
    charter: Charter,
    joins: Vec<String>,
    coordinator: PeerKey,
    worker: PeerKey,
    number: u8,
}

/// One such peer, connected to its victim.
struct Offender {
    handle: Handle,
    events: Events,
}

impl Misdeeds {
    fn new(network: &Network, coordinator: &Node, worker: &Node) -> Self {
        let invite: Invite = network.invite.parse().expect("an invite");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut joins = invite.addresses.clone();
        for node in [coordinator, worker] {
            let listening = node.ready["listening"].as_array().expect("addresses");
            joins.extend(listening.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        let key = |node: &Node| node.peer.parse().expect("a peer's id");
        let (coordinator, worker) = (key(coordinator), key(worker));
        Self { runtime, charter: invite.network, joins, coordinator, worker, number: 0 }
    }

    /// Frames of which five end a connection, each with the counter that tells of it.
    fn frames(&self, job: &str) -> Vec<(&'static str, Vec<u8>)> {
        let (ours, id) = (self.charter.id(), Identity::from_seed([99; 32]));
        let ask = Message::Membership(Membership::AskCommittee);
        let mut wrong_version = encode_message(ours, &ask);
        wrong_version[0] = 0xfe;
        let mut cut = encode_message(ours, &cancel(&id, ours, job));
        cut.pop();
        let mut unsigned = encode_message(ours, &committee(&id, &self.charter, ours));
        *unsigned.last_mut().expect("bytes") ^= 1;
        let foreign = NetworkId([7; 16]);
        vec![
            ("unreadable", b"GET /".to_vec()),
            ("unreadable", cut),
            ("version", wrong_version),
            ("network", encode_message(foreign, &ask)),
            // A document of another network in a frame of this one.
            ("network", encode_message(ours, &committee(&id, &self.charter, foreign))),
            ("unsigned", unsigned),
            // Signed well, by one to whom the charter gave no seat.
            ("unsigned", encode_message(ours, &committee(&id, &self.charter, ours))),
        ]
    }

    fn offender(&mut self, victim: PeerKey) -> Offender {
        self.number += 1;
        let mut config = Config::new([self.number; 32], self.charter.slug());
        config.join = self.joins.iter().map(|it| it.parse().expect("an address")).collect();
        config.protocol_version = self.charter.fact();
        config.agent = "hostile/1".to_owned();
        // It does not keep to the limits that it is held to.
        config.limits.max_frame_bytes = 4 << 20;
        let (handle, events) =
            self.runtime.block_on(cyxwiz_net::start(config)).expect("a peer starts");
        let mut offender = Offender { handle, events };
        self.runtime.block_on(offender.awaits(Event::Connected(victim)));
        offender
    }

    /// Sends `frame` again and again until the coordinator has hung up.
    fn until_shut_out(&mut self, frame: &[u8]) {
        let victim = self.coordinator;
        let mut offender = self.offender(victim);
        self.runtime.block_on(async {
            for _ in 0..5 {
                offender.handle.send(victim, frame.to_vec()).await.expect("it is queued");
            }
            offender.awaits(Event::Disconnected(victim)).await;
            offender.handle.shutdown().await;
        });
    }

    /// A call for bids that no leader signed.
    fn forged_gossip_is_counted(&mut self, coordinator: &Node) {
        let before = dropped(coordinator);
        let offender = self.offender(self.coordinator);
        let id = Identity::from_seed([self.number; 32]);
        let announcement = Announcement {
            ballot: Ballot { term: u64::MAX, leader: PeerId(self.coordinator.0) },
            round: 1,
            window_ms: 1,
            audience: Audience::ByLot { threshold: u64::MAX },
            calls: Vec::new(),
        };
        // Everyone listens to this one; what an announcement is does not hang on its topic.
        let committee = Topic::Committee.to_string();
        let ours = self.charter.id();
        eventually(SOON, "forged gossip to be counted", || {
            let sequence = now().0;
            let gossip = Gossip::Announcement(sign(&id, ours, sequence, announcement.clone()));
            let frame = encode_gossip(ours, &gossip);
            self.runtime.block_on(async {
                offender.handle.subscribe(&committee).await.expect("it is queued");
                offender.handle.publish(&committee, frame).await.expect("it is queued");
            });
            let after = dropped(coordinator);
            if after["unsigned"].as_u64() > before["unsigned"].as_u64() {
                Ok(())
            } else {
                Err(after.to_string())
            }
        });
        self.runtime.block_on(offender.handle.shutdown());
    }

    /// Well-formed and well signed, but not the sender's business.
    fn lies_change_nothing(&mut self, job: &str) {
        let (victim, worker, ours) = (self.coordinator, self.worker, self.charter.id());
        let mut offender = self.offender(victim);
        let id = Identity::from_seed([self.number; 32]);
        let messages = [
            Message::Run(RunStep::Receipt(sign(&id, ours, 1, receipt(job)))),
            Message::Auction(Auction::Taken(receipt(job).run())),
            Message::Auction(Auction::Declined(receipt(job).run())),
            cancel(&id, ours, job),
        ];
        self.runtime.block_on(async {
            for message in messages {
                let frame = encode_message(ours, &message);
                offender.handle.send(victim, frame).await.expect("it is queued");
            }
            // Answers come in order: when the last is here, all were looked at.
            let refused = |message: &Message| {
                let Message::Submission(Submission::Refused { refusal, .. }) = message else {
                    return false;
                };
                *refusal == Refusal::NotYours
            };
            offender.awaits_answer(ours, victim, "refusal", refused).await;
            let to_worker = [
                Message::Run(RunStep::Stop(receipt(job).run())),
                award(&id, ours, job, PeerId(worker.0)),
                Message::Query(Query::Ask { request: RequestId(9), question: Question::Workers }),
            ];
            for message in to_worker {
                let frame = encode_message(ours, &message);
                offender.handle.send(worker, frame).await.expect("it is queued");
            }
            let redirected = |message: &Message| {
                matches!(message, Message::Query(Query::Redirect { request: RequestId(9), .. }))
            };
            offender.awaits_answer(ours, worker, "redirection", redirected).await;
            offender.handle.shutdown().await;
        });
    }
}

impl Offender {
    /// Waits for news of a peer.
    async fn awaits(&mut self, wanted: Event) {
        let wanted = format!("{wanted:?}");
        let waiting = async {
            while let Some(event) = self.events.next().await {
                if format!("{event:?}") == wanted {
                    return;
                }
            }
            panic!("the peer ended before {wanted}");
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "no {wanted} in {PATIENCE:?}");
    }

    /// Waits for one answer among others.
    async fn awaits_answer(
        &mut self,
        network: NetworkId,
        from: PeerKey,
        what: &str,
        wanted: impl Fn(&Message) -> bool,
    ) {
        let waiting = async {
            while let Some(event) = self.events.next().await {
                if let Event::Frame { from: author, bytes } = event
                    && author == from
                    && wanted(&decode_message(network, &bytes).expect("honest peers speak well"))
                {
                    return;
                }
            }
            panic!("the peer ended before the {what} of {from} came");
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "no {what} of {from} in {PATIENCE:?}");
    }
}

fn sign<T: Document>(id: &Identity, network: NetworkId, sequence: u64, body: T) -> Signed<T> {
    id.sign(network, now(), sequence, body).into_signed()
}

/// A committee of one, founded and seated by a charter of its own making.
fn committee(id: &Identity, charter: &Charter, network: NetworkId) -> Message {
    let ticket = Ticket::issue(id, charter, [3; 32], UnixMillis(u64::MAX));
    let member = Member {
        peer: id.id(),
        store: StoreId([1; 16]),
        credential: ticket.seat(charter, id.id()),
    };
    let record = CommitteeRecord {
        cell: CellId::default(),
        epoch: u64::MAX,
        ballot: Ballot { term: u64::MAX, leader: id.id() },
        founding: Founding::sign(id, charter, (id.id(), member.store), u32::MAX, now()),
        members: vec![member],
    };
    Message::Membership(Membership::Committee(sign(id, network, 1, record)))
}

fn receipt(job: &str) -> Receipt {
    let success = Success {
        outputs: Vec::new(),
        metrics: Vec::new(),
        parameters: 1,
        engine: "none".to_owned(),
        threads: 1,
    };
    Receipt {
        job: id_of(job),
        attempt: Attempt(1),
        ending: Ending::Succeeded(success),
        compute_ms: 1,
        reports: 0,
        chain: Digest::of(b"nothing"),
    }
}

fn cancel(id: &Identity, network: NetworkId, job: &str) -> Message {
    let order = sign(id, network, 2, CancelOrder { job: id_of(job) });
    Message::Submission(Submission::Cancel { request: RequestId(1), order })
}

/// An award by one who leads nothing, for a job of its own.
fn award(id: &Identity, network: NetworkId, job: &str, worker: PeerId) -> Message {
    let award = Award {
        job: id_of(job),
        attempt: Attempt(2),
        ballot: Ballot { term: u64::MAX, leader: id.id() },
        worker,
        price: 0,
        lease_ms: u32::MAX,
        resume: None,
    };
    let spec = JobSpec {
        id: id_of(job),
        cell: CellId::default(),
        name: "forged".parse().expect("a name"),
        kind: JobKind::Train,
        workload: "{}".to_owned(),
        inputs: Vec::new(),
        requirements: Requirements::default(),
        priority: Priority(5),
        limits: JobLimits::default(),
        estimate: Estimate::default(),
    };
    let (award, spec) = (sign(id, network, 3, award), sign(id, network, 4, spec));
    Message::Auction(Auction::Award { award, spec })
}

fn id_of(job: &str) -> JobId {
    job.parse().expect("a job's id")
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("for a while yet"))
}

fn dropped(node: &Node) -> Value {
    node.cli().json(&["node", "status"])["dropped"].clone()
}

fn count(node: &Node, counter: &str) -> u64 {
    dropped(node)[counter].as_u64().unwrap_or_else(|| panic!("no counter {counter}"))
}

const PATIENCE: Duration = Duration::from_secs(60);
