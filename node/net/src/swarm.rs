//! The one task that owns the swarm: it turns commands into libp2p's calls and libp2p's events
//! into ours, and waits for nobody. What concerns peers and connections is in `links`, finding
//! and dialling in `reach`, gossip in `gossip`, records in `records`, starting in `listen`.

mod gossip;
mod links;
mod listen;
mod reach;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::links::{Link, Shares};
use self::reach::Reach;
use self::records::Records;
use crate::behaviour::{self, Behaviour, BehaviourEvent};
use crate::config::{Config, Limits, Names, RecordOffer};
use crate::error::NetError;
use crate::event::{Event, EventQueues, Events, queues};
use crate::frames::{self, Intake, Report};
use crate::handle::{COMMAND_QUEUE, Command, Counters, Handle, NetSnapshot, PeerInfo};
use crate::key::PeerKey;
use crate::news::News;

pub(crate) async fn start(config: Config) -> Result<(Handle, Events), NetError> {
    let names = Names::new(&config.network, &config.purposes)?;
    let mut swarm = behaviour::swarm(&config, &names)?;
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }
    let (queues, events) = queues(&config.limits);
    let (command_in, commands) = mpsc::channel(COMMAND_QUEUE);
    let (report_in, reports) = mpsc::channel(REPORT_QUEUE);
    let counters = Arc::new(Counters::default());
    let limits = Arc::new(config.limits.clone());
    let key = PeerKey::of_secret(config.secret);
    let intake = Intake {
        max_frame_bytes: limits.max_frame_bytes,
        queue: queues.frames.clone(),
        total: frames::share_of(limits.inbound_bytes, limits.max_frame_bytes),
        counters: Arc::clone(&counters),
        reports: report_in,
    };
    let mut net = Net {
        reach: Reach::new(&config, Instant::now()),
        swarm,
        names,
        key,
        limits: Arc::clone(&limits),
        accepts_record: config.accepts_record,
        counters: Arc::clone(&counters),
        queues,
        news: News::default(),
        intake,
        links: BTreeMap::new(),
        shares: BTreeMap::new(),
        writers: BTreeMap::new(),
        writing: JoinSet::new(),
        reading: JoinSet::new(),
        records: Records::default(),
        unpublished: gossip::Unpublished::default(),
    };
    net.listen(&config.listen).await?;
    tokio::spawn(net.run(commands, reports));
    Ok((Handle::new(command_in, key, limits, counters), events))
}

pub(crate) struct Net {
    swarm: Swarm<Behaviour>,
    names: Names,
    key: PeerKey,
    limits: Arc<Limits>,
    accepts_record: Arc<dyn Fn(&RecordOffer<'_>) -> bool + Send + Sync>,
    counters: Arc<Counters>,
    queues: EventQueues,
    news: News,
    intake: Intake,
    /// Connected peers; bounded by the limit on connections.
    links: BTreeMap<PeerId, Link>,
    /// Survive a reconnection as long as something holds a part of them.
    shares: BTreeMap<PeerId, Shares>,
    /// At most [`MAX_WRITERS`].
    writers: BTreeMap<PeerKey, Writer>,
    writing: JoinSet<()>,
    reading: JoinSet<()>,
    reach: Reach,
    records: Records,
    unpublished: gossip::Unpublished,
}

struct Writer {
    queue: mpsc::Sender<Vec<u8>>,
    last_used: Instant,
}

impl Net {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let news = self.queues.news.clone();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => {
                        commands.close();
                        self.shut_down(&mut reports).await;
                        // Whoever asked may have given up waiting.
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    // The last handle is gone: nobody can want anything more.
                    None => return self.shut_down(&mut reports).await,
                },
                Some(report) = reports.recv() => self.on_report(report),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                room = news.reserve(), if !self.news.is_empty() => match room {
                    Ok(room) => if let Some(event) = self.news.pop() {
                        room.send(event);
                    },
                    Err(_) => return self.shut_down(&mut reports).await,
                },
                _ = tick.tick() => self.on_tick(Instant::now()),
                Some(_) = self.writing.join_next() => {}
                Some(_) = self.reading.join_next() => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Send { to, frame } => self.send(to, frame),
            Command::Publish { topic, frame } => self.publish(&topic, frame),
            Command::Subscribe { topic } => self.subscribe(&topic),
            Command::Unsubscribe { topic } => self.unsubscribe(&topic),
            Command::Verdict { id, source, verdict } => self.on_verdict(id, source, verdict),
            Command::Disconnect { peer, ban_for } => self.disconnect(peer, ban_for),
            Command::Dial { address } => self.dial(address),
            Command::OpenStream { peer, purpose, reply } => {
                self.open_bulk_stream(peer, purpose, reply);
            }
            // Whoever asked may have given up waiting.
            Command::Snapshot { reply } => drop(reply.send(self.snapshot())),
            Command::PutRecord { key, value, reply } => self.put_record(key, value, reply),
            Command::GetRecord { key, reply } => self.get_record(key, reply),
            Command::Shutdown { .. } => unreachable!("taken by the loop"),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Open { to, reply } => {
                self.open_stream(to.to_peer_id(), self.names.frames.clone(), reply);
            }
            Report::Failed { to, frames, reason } => {
                tracing::debug!(peer = %to, frames, reason, "frames given up");
                self.tell(Event::SendFailed { to, frames, reason });
            }
            Report::Oversized { from } => {
                tracing::info!(peer = %from, "disconnected: announced a frame over the limit");
                self.disconnect(from, Duration::ZERO);
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p's enums are long and open")]
    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, num_established, cause, ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_disconnected(peer_id, connection_id, num_established, now);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error, now);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.tell(Event::Listening(address));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "no longer listening");
            }
            other => tracing::trace!(event = ?other, "swarm"),
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Streams(inbound) => self.on_inbound_stream(inbound),
            BehaviourEvent::Identify(event) => self.on_identify(event, now),
            BehaviourEvent::Kad(event) => self.on_kad(event, now),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event, now),
            BehaviourEvent::Relay(event) => tracing::debug!(?event, "relay"),
            BehaviourEvent::RelayClient(event) => tracing::debug!(?event, "relay client"),
            BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::Memory(never) => match never {},
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.close_unwanted(now);
        self.reach_out(now);
        self.publish_waiting(now);
        let idle = |writer: &Writer| now.duration_since(writer.last_used) > WRITER_IDLE;
        // Its task writes what is queued, then ends.
        self.writers.retain(|_, writer| !idle(writer));
        self.shares.retain(|peer, shares| self.links.contains_key(peer) || shares.in_use());
        self.counters.banned_refused.add(self.swarm.behaviour_mut().streams.take_refused());
    }

    fn send(&mut self, to: PeerKey, frame: Vec<u8>) {
        if to == self.key {
            return self.send_to_self(frame);
        }
        if !self.writers.contains_key(&to) && self.writers.len() >= MAX_WRITERS {
            let oldest = self.writers.iter().min_by_key(|(_, writer)| writer.last_used);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.writers.remove(&oldest);
            }
        }
        let now = Instant::now();
        let writer = self.writers.entry(to).or_insert_with(|| {
            let (queue, frames) = mpsc::channel(self.limits.per_peer_queue.max(1));
            let reports = self.intake.reports.clone();
            let counters = Arc::clone(&self.counters);
            self.writing.spawn(frames::write_frames(to, frames, reports, counters));
            Writer { queue, last_used: now }
        });
        writer.last_used = now;
        if writer.queue.try_send(frame).is_err() {
            let queued = self.limits.per_peer_queue;
            self.give_up(to, format!("{queued} frames are already waiting for that peer"));
        }
    }

    fn send_to_self(&mut self, bytes: Vec<u8>) {
        let frame = crate::event::Shared {
            event: Event::Frame { from: self.key, bytes },
            _shares: [None, None],
        };
        if self.queues.frames.try_send(frame).is_err() {
            self.give_up(self.key, "the queue of inbound frames is full".to_owned());
        }
    }

    fn give_up(&mut self, to: PeerKey, reason: String) {
        self.counters.frames_failed.add(1);
        self.tell(Event::SendFailed { to, frames: 1, reason });
    }

    fn tell(&mut self, event: Event) {
        self.news.push(event, &self.counters);
    }

    fn snapshot(&mut self) -> NetSnapshot {
        let routing_peers =
            self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        let swarm = &self.swarm;
        let mut mesh: BTreeMap<PeerId, Vec<String>> = BTreeMap::new();
        let gossip = &swarm.behaviour().gossip;
        for topic in gossip.topics() {
            for peer in gossip.mesh_peers(topic) {
                let name = self.names.topic_of(topic.as_str()).unwrap_or(topic.as_str());
                mesh.entry(*peer).or_default().push(name.to_owned());
            }
        }
        let peers = self.links.iter().filter(|(_, link)| link.is_ours());
        let info = |(peer, link): (&PeerId, &Link)| PeerInfo {
            key: link.key,
            addresses: link.addresses.values().cloned().collect(),
            agent: link.agent.clone(),
            protocol: link.protocol.clone(),
            rtt: link.rtt,
            mesh: mesh.get(peer).cloned().unwrap_or_default(),
        };
        NetSnapshot {
            key: self.key,
            addresses: self.own_addresses(),
            peers: peers.map(info).collect(),
            routing_peers,
            counters: self.counters.values(),
        }
    }

    fn own_addresses(&self) -> Vec<Multiaddr> {
        let all = self.swarm.external_addresses().chain(self.swarm.listeners());
        let mut addresses: Vec<_> = all.map(|address| self.key.at(address)).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Lets the writers finish, then closes every connection, so that peers see this one go at
    /// once instead of by its silence.
    async fn shut_down(&mut self, reports: &mut mpsc::Receiver<Report>) {
        self.writers.clear();
        let limit = tokio::time::sleep(FAREWELL);
        tokio::pin!(limit);
        while !self.writing.is_empty() {
            tokio::select! {
                _ = self.writing.join_next() => {}
                Some(report) = reports.recv() => self.on_report(report),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = &mut limit => break,
            }
        }
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            // Gone already is as good.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let limit = tokio::time::sleep(FAREWELL / 2);
        tokio::pin!(limit);
        while !self.links.is_empty() {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = &mut limit => break,
            }
        }
    }
}

/// How soon a pause is over, a deadline noticed, a peer too few looked for.
const TICK: Duration = Duration::from_millis(100);

/// Reports of all streams' tasks that may wait for the swarm.
const REPORT_QUEUE: usize = 1024;

/// Peers to which frames can be on their way at one time; each costs a task.
const MAX_WRITERS: usize = 1024;

/// After this, the stream is given back; the next frame opens another.
const WRITER_IDLE: Duration = Duration::from_secs(600);

/// How long queued frames may hold up the end.
const FAREWELL: Duration = Duration::from_secs(1);
