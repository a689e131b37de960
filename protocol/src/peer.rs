//! A peer of the network, as a function of its inputs: `handle(now, input) -> Effects`.
//!
//! It opens and verifies what arrives, and routes it to the roles that this peer plays. Roles
//! never call each other; what one has for another goes through here or over the wire. It reads
//! no clock, draws no chance but from its seed, and touches nothing outside.

mod recover;
mod route;

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

pub use recover::RecoverError;

use crate::{
    ArtifactId, Identity, Instant, Network, NetworkId, PeerId, Rng, StoreId, Timing,
    conduct::{Conduct, Dropped},
    context::Context,
    coordinator::{Coordinator, CoordinatorConfig, CoordinatorCounts},
    directory::{Directory, Learned},
    effects::{Acceptance, Collecting, Command, Effects, Event, Input, Send, TaskEvent, Topic},
    limits,
    message::{
        Gossip, Message,
        auction::{Announcement, Audience},
        decode_gossip, decode_message, encode_message,
        membership::{CommitteeRecord, Membership},
    },
    replay::{ReplayWindow, Stale},
    signed::{Rejection, Signed, Verified},
    submitter::Submitter,
    time::Epoch,
    timers::{Deadline, Timer, Timers},
    worker::{Worker, WorkerConfig},
};

/// What a peer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub network: Network,
    /// The wall clock at [`Instant::START`].
    pub epoch: Epoch,
    /// For everything that is decided by lot.
    pub seed: [u8; 32],
    pub store: StoreId,
    pub timing: Timing,
    pub coordinator: Option<CoordinatorConfig>,
    pub worker: Option<WorkerConfig>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Peer {
    core: Core,
    roles: Roles,
}

/// What all roles share through [`Context`].
#[derive(Debug)]
struct Core {
    network: Network,
    network_id: NetworkId,
    epoch: Epoch,
    timing: Timing,
    identity: Identity,
    rng: Rng,
    directory: Directory,
    timers: Timers,
    sequence: u64,
    batches: u64,
    replay: ReplayWindow,
    conduct: Conduct,
    connected: BTreeSet<PeerId>,
    /// The moment of the last input.
    now: Instant,
    /// No complaint about a clock before this.
    clock_complaint_after: Instant,
}

#[derive(Debug)]
struct Roles {
    coordinator: Option<Coordinator>,
    worker: Option<Worker>,
    submitter: Submitter,
}

/// How a peer stands, for people.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub id: PeerId,
    pub committee: Option<CommitteeRecord>,
    pub connected: usize,
    pub coordinator: Option<CoordinatorCounts>,
    pub worker: Option<WorkerStatus>,
    /// Own jobs that were not accepted yet, and those whose result is not here yet.
    pub unaccepted: usize,
    pub unfinished: usize,
    pub dropped: Dropped,
    /// What happens next if nothing else does.
    pub next: Option<Deadline>,
}

/// How a worker stands.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    pub running: usize,
    pub max_concurrent: u16,
    pub capability: cyxwiz_scoring::Capability,
}

impl Core {
    fn context<'a>(&'a mut self, now: Instant, effects: &'a mut Effects) -> Context<'a> {
        Context {
            now,
            unix: self.epoch.unix(now),
            network: self.network_id,
            charter: &self.network,
            identity: &self.identity,
            rng: &mut self.rng,
            directory: &self.directory,
            timers: &mut self.timers,
            sequence: &mut self.sequence,
            batch: self.batches + 1,
            effects,
        }
    }

    /// Says that clocks differ, seldom enough to be read.
    fn complain_of_clock(
        &mut self,
        now: Instant,
        author: PeerId,
        by: Duration,
        effects: &mut Effects,
    ) {
        if now >= self.clock_complaint_after {
            self.clock_complaint_after = now + CLOCK_COMPLAINTS;
            effects.events.push(Event::ClockDiffers { author, by });
        }
    }
}

/// How often a clock that differs is complained of at most.
const CLOCK_COMPLAINTS: Duration = Duration::from_secs(60);

impl Peer {
    /// This peer's key.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.core.identity.id()
    }

    /// The one way in: everything that happens comes through here, one thing at a time.
    pub fn handle(&mut self, now: Instant, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.core.now = now;
        match input {
            Input::Frame { from, bytes } => self.on_frame(now, from, &bytes, &mut effects),
            Input::Gossip { from, bytes } => {
                let verdict = self.on_gossip(now, from, &bytes, &mut effects);
                effects.verdict = Some(verdict);
            }
            Input::Connected(peer) => self.on_connected(now, peer, &mut effects),
            Input::Disconnected(peer) => {
                self.core.connected.remove(&peer);
            }
            Input::Command { id, command } => {
                let mut cx = self.core.context(now, &mut effects);
                let Roles { coordinator, worker, submitter } = &mut self.roles;
                match (&command, coordinator, worker) {
                    (Command::Leave, _, Some(worker)) => worker.on_leave(&mut cx),
                    (Command::Found(founding), Some(coordinator), _) => {
                        coordinator.committee().found(**founding, &mut cx);
                    }
                    _ => {}
                }
                submitter.on_command(id, command, &mut cx);
            }
            Input::Task(event) => self.on_task(now, event, &mut effects),
            Input::Flushed { batch } => self.on_flushed(now, batch, &mut effects),
            Input::DiskFull(full) => {
                if let Some(coordinator) = &mut self.roles.coordinator {
                    coordinator.on_disk_full(full);
                }
            }
            Input::Timeout => {
                while let Some(timer) = self.core.timers.expired(now) {
                    self.on_timer(now, timer, &mut effects);
                }
            }
        }
        self.conclude(now, &mut effects);
        self.seal(effects)
    }

    /// What follows from what has become certain with this input.
    fn conclude(&mut self, now: Instant, effects: &mut Effects) {
        let Some(coordinator) = &mut self.roles.coordinator else {
            return;
        };
        let mut cx = self.core.context(now, effects);
        let Some(record) = coordinator.conclude(&mut cx) else {
            return;
        };
        let (me, members) = (self.id(), record.members.clone());
        let signed = record.signed().clone();
        // This peer's own record: it holds unless another stands that it has heard of since.
        if let Ok(Learned::Leader) = self.core.directory.learn(record, &self.core.network) {
            self.on_leader(now, me, effects);
        }
        let members = members.iter().map(|member| member.peer).filter(|peer| *peer != me);
        let told: BTreeSet<PeerId> = self.core.connected.iter().copied().chain(members).collect();
        let mut cx = self.core.context(now, effects);
        for peer in told {
            let record = Membership::Committee(signed.clone());
            cx.send(peer, &Message::Membership(record));
        }
        if let Some(coordinator) = &mut self.roles.coordinator {
            // Taking up the lead may have decided more.
            let mut cx = self.core.context(now, effects);
            let _told_already = coordinator.conclude(&mut cx);
        }
    }

    /// Numbers the write batch, so that its flush can be told.
    fn seal(&mut self, mut effects: Effects) -> Effects {
        if !effects.writes.is_empty() {
            self.core.batches += 1;
            effects.batch = Some(self.core.batches);
        }
        effects
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`] at the latest, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.core.timers.next()
    }

    /// How this peer stands.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        let (unaccepted, unfinished) = self.roles.submitter.counts();
        PeerStatus {
            id: self.id(),
            committee: self.committee().cloned(),
            connected: self.core.connected.len(),
            coordinator: self.roles.coordinator.as_ref().map(|it| it.counts(self.core.now)),
            worker: self.roles.worker.as_ref().map(|worker| {
                let (running, max_concurrent) = worker.counts();
                let capability = worker.capability().clone();
                WorkerStatus { running, max_concurrent, capability }
            }),
            unaccepted,
            unfinished,
            dropped: self.core.conduct.dropped,
            next: self.next_deadline(),
        }
    }

    /// The committee that this peer knows of.
    #[must_use]
    pub fn committee(&self) -> Option<&CommitteeRecord> {
        self.core.directory.committee().map(|record| &**record)
    }

    /// Whether this peer acts as the committee's leader.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.roles.coordinator.as_ref().is_some_and(Coordinator::is_leading)
    }

    /// The committee's record as this peer would tell it, if it knows one.
    #[must_use]
    pub fn committee_frame(&self) -> Option<Vec<u8>> {
        let signed = self.core.directory.committee()?.signed().clone();
        let message = Message::Membership(Membership::Committee(signed));
        Some(encode_message(self.core.network_id, &message))
    }

    /// Whether this peer could go without anyone missing it: nothing runs here and nothing of
    /// it waits to be counted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.roles.worker.as_ref().is_none_or(Worker::is_idle)
    }

    /// The files that must stay on this machine: others were promised them, or will ask for them.
    #[must_use]
    pub fn artifacts(&self) -> BTreeSet<ArtifactId> {
        let (Roles { coordinator, worker, submitter }, network) =
            (&self.roles, self.core.network_id);
        let mut held: BTreeSet<ArtifactId> = submitter.artifacts(network).into_iter().collect();
        held.extend(coordinator.iter().flat_map(|it| it.artifacts(network)));
        held.extend(worker.iter().flat_map(|it| it.artifacts(network)));
        held
    }

    fn on_frame(&mut self, now: Instant, from: PeerId, bytes: &[u8], effects: &mut Effects) {
        match decode_message(self.core.network_id, bytes) {
            Ok(message) => self.route(now, from, message, effects),
            Err(error) => {
                self.note_bad_frame(&error);
                self.strike(now, from, &error.to_string(), effects);
            }
        }
    }

    fn on_gossip(
        &mut self,
        now: Instant,
        from: PeerId,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> Acceptance {
        let gossip = match decode_gossip(self.core.network_id, bytes) {
            Ok(gossip) => gossip,
            Err(error) => {
                self.note_bad_frame(&error);
                self.strike(now, from, &error.to_string(), effects);
                return Acceptance::Reject;
            }
        };
        match gossip {
            Gossip::Announcement(signed) => match self.open_gossip(now, from, &signed, effects) {
                Ok(announcement) => self.on_announcement(now, &announcement, effects),
                Err(verdict) => verdict,
            },
            Gossip::Report(signed) => match self.open_gossip(now, from, &signed, effects) {
                Ok(report) => {
                    if self.roles.submitter.watches(report.job) {
                        let report = Box::new(report);
                        effects.events.push(Event::Report { report });
                    }
                    Acceptance::Accept
                }
                Err(verdict) => verdict,
            },
            Gossip::Committee(signed) => match self.open_gossip(now, from, &signed, effects) {
                Ok(record) => self.learn_committee(now, from, record, effects),
                Err(verdict) => verdict,
            },
        }
    }

    /// Verifies a gossiped document and its freshness.
    fn open_gossip<T: crate::signed::Document>(
        &mut self,
        now: Instant,
        from: PeerId,
        signed: &Signed<T>,
        effects: &mut Effects,
    ) -> Result<Verified<T>, Acceptance> {
        let document = match signed.verify(self.core.network_id) {
            Ok(document) => document,
            Err(rejection) => {
                self.note_rejection(&rejection);
                self.strike(now, from, &rejection.to_string(), effects);
                return Err(Acceptance::Reject);
            }
        };
        let unix = self.core.epoch.unix(now);
        if let Err(stale) = self.core.replay.admit(document.header(), unix) {
            self.core.conduct.dropped.stale += 1;
            if let Stale::Clock(by) = stale {
                self.core.complain_of_clock(now, document.author(), by, effects);
            }
            return Err(Acceptance::Ignore);
        }
        Ok(document)
    }

    /// Only the leader calls jobs out; a call of anyone else is nobody's business. What it sent to
    /// a few is not for gossip: whoever puts it there wants everyone to answer.
    fn on_announcement(
        &mut self,
        now: Instant,
        announcement: &Verified<Announcement>,
        effects: &mut Effects,
    ) -> Acceptance {
        let Audience::ByLot { threshold } = announcement.audience else {
            self.core.conduct.dropped.unsigned += 1;
            return Acceptance::Reject;
        };
        let author = announcement.author();
        if announcement.ballot.leader != author || !self.core.directory.is_member(author) {
            self.core.conduct.dropped.unsigned += 1;
            return Acceptance::Ignore;
        }
        if let Some(worker) = &self.roles.worker {
            let mut cx = self.core.context(now, effects);
            worker.on_announcement(announcement, threshold, &mut cx);
        }
        Acceptance::Accept
    }

    fn on_connected(&mut self, now: Instant, peer: PeerId, effects: &mut Effects) {
        if self.core.connected.len() < limits::STRIKE_PEERS {
            self.core.connected.insert(peer);
        }
        let record = self.core.directory.committee().map(|record| record.signed().clone());
        let mut cx = self.core.context(now, effects);
        let message = match record {
            Some(record) => Membership::Committee(record),
            None => Membership::AskCommittee,
        };
        cx.send(peer, &Message::Membership(message));
    }

    /// Believes a committee's record, if it is one.
    fn learn_committee(
        &mut self,
        now: Instant,
        from: PeerId,
        record: Verified<CommitteeRecord>,
        effects: &mut Effects,
    ) -> Acceptance {
        let leader = record.ballot.leader;
        let known = (*record).clone();
        match self.core.directory.learn(record, &self.core.network) {
            Ok(learned @ (Learned::Leader | Learned::Refreshed)) => {
                self.core.directory.refresh(now);
                let mut cx = self.core.context(now, effects);
                if let Some(coordinator) = &mut self.roles.coordinator {
                    coordinator.on_record(&known, &mut cx);
                }
                if learned == Learned::Leader {
                    self.on_leader(now, leader, effects);
                }
                Acceptance::Accept
            }
            Ok(Learned::Nothing { current }) => {
                if current {
                    self.core.directory.refresh(now);
                }
                Acceptance::Accept
            }
            Err(error) => {
                self.core.conduct.dropped.unsigned += 1;
                self.strike(now, from, &error.to_string(), effects);
                Acceptance::Reject
            }
        }
    }

    /// Another leader is in force: every role goes to it.
    fn on_leader(&mut self, now: Instant, leader: PeerId, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        if let Some(worker) = &self.roles.worker {
            worker.on_leader(&mut cx);
        }
        self.roles.submitter.on_leader(&mut cx);
        cx.emit(Event::Committee { leader });
    }

    fn on_flushed(&mut self, now: Instant, batch: u64, effects: &mut Effects) {
        if let Some(worker) = &mut self.roles.worker {
            worker.on_flushed(batch, &mut self.core.context(now, effects));
        }
        if let Some(coordinator) = &mut self.roles.coordinator {
            let mut cx = self.core.context(now, effects);
            coordinator.committee().on_flushed(batch, &mut cx);
        }
    }

    fn on_task(&mut self, now: Instant, event: TaskEvent, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, worker, submitter } = &mut self.roles;
        match event {
            TaskEvent::Inspected { job, result } => {
                if let Some(coordinator) = coordinator {
                    coordinator.on_inspected(job, result, &mut cx);
                }
            }
            TaskEvent::Collected { job, why: Collecting::Home, result } => {
                submitter.on_collected(job, &result, &mut cx);
            }
            TaskEvent::Collected { job, why: Collecting::Keeping, result } => {
                if let Some(coordinator) = coordinator {
                    coordinator.on_collected(job, result, &mut cx);
                }
            }
            TaskEvent::Collected { job, why: Collecting::Replica, result } => {
                if let Some(coordinator) = coordinator {
                    coordinator.committee().on_replica_collected(job, result, &mut cx);
                }
            }
            TaskEvent::Checkpointed { run, checkpoint } => {
                if let Some(worker) = worker {
                    worker.on_checkpointed(run, checkpoint);
                }
            }
            TaskEvent::Started { run } => {
                if let Some(worker) = worker {
                    worker.on_started(run, &mut cx);
                }
            }
            TaskEvent::Progress { run, progress } => {
                if let Some(worker) = worker {
                    worker.on_progress(run, progress, &mut cx);
                }
            }
            TaskEvent::Ended { run, ending, compute_ms } => {
                if let Some(worker) = worker {
                    worker.on_ended(run, ending, compute_ms, &mut cx);
                }
            }
        }
    }

    fn note_bad_frame(&mut self, error: &crate::message::FrameError) {
        use crate::message::FrameError;
        let dropped = &mut self.core.conduct.dropped;
        match error {
            FrameError::Version { .. } => dropped.version += 1,
            FrameError::Network { .. } => dropped.network += 1,
            FrameError::TooShort | FrameError::Body(_) => dropped.unreadable += 1,
        }
    }

    fn note_rejection(&mut self, rejection: &Rejection) {
        let dropped = &mut self.core.conduct.dropped;
        match rejection {
            Rejection::Version { .. } => dropped.version += 1,
            Rejection::Network { .. } => dropped.network += 1,
            Rejection::Key | Rejection::Signature | Rejection::Kind { .. } => dropped.unsigned += 1,
            Rejection::TooLong { .. } | Rejection::Body(_) => dropped.unreadable += 1,
        }
    }

    fn strike(&mut self, now: Instant, peer: PeerId, why: &str, effects: &mut Effects) {
        if peer != self.id() && self.core.conduct.strike(peer, now) {
            let why = why.to_owned();
            effects.sends.push(Send::Ban { peer, for_: limits::BAN, why });
        }
    }

    /// What a peer does first.
    fn on_start(&mut self, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut cx = self.core.context(now, &mut effects);
        cx.subscribe(Topic::Committee);
        let Roles { coordinator, worker, submitter } = &mut self.roles;
        if let Some(coordinator) = coordinator {
            coordinator.on_start(&mut cx);
        }
        if let Some(worker) = worker {
            worker.on_start(&mut cx);
        }
        submitter.on_start(&mut cx);
        cx.after(route::ASK_COMMITTEE, Timer::AskCommittee);
        self.conclude(now, &mut effects);
        self.seal(effects)
    }
}
