//! The one loop of a node: wait for whatever happens next, let the peer think, carry its effects
//! out. Disk before wire: what one input's effects send, start or tell waits until what they wrote
//! is on disk; inputs go on being handled meanwhile, and their writes share the next flush.

mod chores;
mod held;
mod notice;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cyxwiz_net::{Handle, PeerKey, Verdict};
use cyxwiz_protocol::{
    Command, CommandId, Effects, Event, Input, JobId, Network, Peer, PeerId, PeerStatus, Reply,
    Send, Task, TaskEvent, Topic, effects::Acceptance,
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    address_book::AddressBook,
    clock::{Clock, unix_now},
    executor::ExecutorEvent,
    recording::Tape,
    store::{Batch, Flushed, Store, StoreError},
    tasks::{self, Done, Tasks, Transfers, serve_stream},
};

/// What the local API may ask of the driver; it waits when this many wait already.
pub const CALLS: usize = 256;
/// News that a slow listener may be behind before it misses some.
pub const NEWS: usize = 1_024;
/// Effects that may wait for the disk; beyond, no more inputs from outside are taken.
const HELD: usize = 512;
/// How long a node that shall end waits for its runs to be handed back.
const FAREWELL: Duration = Duration::from_secs(8);

/// A call of the local API.
#[derive(Debug)]
pub enum Call {
    /// Do something, and tell how it went.
    Command { command: Command, reply: oneshot::Sender<Reply> },
    /// How does the peer stand?
    Status { reply: oneshot::Sender<PeerStatus> },
}

/// Something that several listeners may want to know.
#[derive(Clone, Debug)]
pub enum News {
    /// A report of a watched job.
    Report(std::sync::Arc<cyxwiz_protocol::Verified<cyxwiz_protocol::report::Report>>),
    /// A job of this peer's ended.
    Ended(JobId),
}

/// Why a node stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("the store failed; what was acknowledged is safe")]
    Store(#[source] StoreError),
    #[error("the store's writer ended unasked")]
    StoreGone,
    #[error("the network ended unasked")]
    NetworkGone,
}

/// Where everything comes from.
#[derive(Debug)]
pub struct Inputs {
    pub calls: mpsc::Receiver<Call>,
    pub done: mpsc::Receiver<Done>,
    pub executor: mpsc::Receiver<ExecutorEvent>,
    pub flushed: mpsc::Receiver<Flushed>,
    pub network: cyxwiz_net::Events,
}

/// See the module's text.
#[derive(Debug)]
pub struct Driver {
    pub peer: Peer,
    pub clock: Clock,
    pub store: Store,
    pub net: Handle,
    pub tasks: Tasks,
    pub transfers: Transfers,
    pub book: AddressBook,
    pub news: broadcast::Sender<News>,
    pub network: Network,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    held: held::Held,
    notice: notice::Notice,
    waiting: BTreeMap<CommandId, oneshot::Sender<Reply>>,
    next_command: u64,
    /// Own publications, which gossip does not bring back.
    loopback: VecDeque<Input>,
    subscribed: BTreeSet<Topic>,
    chores: chores::Chores,
    tape: Option<Tape>,
}

/// What the loop woke up for.
enum Wake {
    Shutdown,
    Call(Call),
    Done(Done),
    Executor(ExecutorEvent),
    Flushed(Flushed),
    Timeout,
    Chores,
    Network(Box<cyxwiz_net::Event>),
    StoreGone,
    NetworkGone,
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "the parts of a node, each given once")]
    #[must_use]
    pub fn new(
        peer: Peer,
        clock: Clock,
        store: Store,
        net: Handle,
        tasks: Tasks,
        transfers: Transfers,
        book: AddressBook,
        news: broadcast::Sender<News>,
        network: Network,
    ) -> Self {
        let state = State::default();
        Self { peer, clock, store, net, tasks, transfers, book, news, network, state }
    }

    /// Runs until `shutdown` completes, or something that the node cannot do without fails.
    /// `first` is what the peer does on its own at the start.
    pub async fn run(
        mut self,
        first: Effects,
        mut inputs: Inputs,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DriverError> {
        tokio::pin!(shutdown);
        let mut chores = tokio::time::interval(chores::EVERY);
        chores.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.carry_out(first).await;
        let mut farewell = None;
        let outcome = loop {
            while let Some(input) = self.state.loopback.pop_front() {
                self.handle(input).await;
            }
            if farewell.is_some() && self.peer.is_idle() && self.state.held.len() == 0 {
                break Ok(());
            }
            let room = self.state.held.len() < HELD;
            let deadline = self.peer.next_deadline().map(|next| self.clock.machine(next.at));
            let wake = tokio::select! {
                biased;
                () = &mut shutdown, if farewell.is_none() => Wake::Shutdown,
                () = sleep_until(farewell) => break Ok(()),
                flushed = inputs.flushed.recv() => flushed.map_or(Wake::StoreGone, Wake::Flushed),
                Some(call) = inputs.calls.recv(), if room => Wake::Call(call),
                Some(event) = inputs.executor.recv(), if room => Wake::Executor(event),
                Some(done) = inputs.done.recv(), if room => Wake::Done(done),
                () = sleep_until(deadline), if room => Wake::Timeout,
                _ = chores.tick() => Wake::Chores,
                event = inputs.network.next(), if room => {
                    event.map_or(Wake::NetworkGone, |event| Wake::Network(Box::new(event)))
                }
            };
            match wake {
                Wake::Shutdown => {
                    farewell = Some(tokio::time::Instant::now() + FAREWELL);
                    // Nobody waits for the answer.
                    let (reply, _) = oneshot::channel();
                    self.on_call(Call::Command { command: Command::Leave, reply }).await;
                }
                Wake::StoreGone => break Err(DriverError::StoreGone),
                Wake::NetworkGone => break Err(DriverError::NetworkGone),
                Wake::Flushed(Flushed::Failed { error }) => break Err(DriverError::Store(error)),
                Wake::Flushed(Flushed::UpTo(batch)) => self.on_flushed(batch).await,
                Wake::Call(call) => self.on_call(call).await,
                Wake::Done(done) => self.on_done(done).await,
                Wake::Executor(event) => {
                    if let Some(event) = self.tasks.on_executor(event) {
                        self.handle(Input::Task(event)).await;
                    }
                }
                Wake::Timeout => self.handle(Input::Timeout).await,
                Wake::Chores => self.do_chores().await,
                Wake::Network(event) => self.on_network(*event).await,
            }
        };
        self.close(inputs).await;
        outcome
    }

    /// One input: think, promise on disk, act.
    async fn handle(&mut self, input: Input) {
        let effects = self.think(input);
        self.carry_out(effects).await;
    }

    fn think(&mut self, input: Input) -> Effects {
        let now = self.clock.now();
        let Some(tape) = &mut self.state.tape else {
            return self.peer.handle(now, input);
        };
        tape.before(now, &input);
        let effects = self.peer.handle(now, input);
        tape.after(&effects);
        effects
    }

    /// Writes down everything that the peer handles from now on.
    pub fn record(&mut self, tape: Option<Tape>) {
        self.state.tape = tape;
    }

    async fn carry_out(&mut self, mut effects: Effects) {
        let writes = std::mem::take(&mut effects.writes);
        let Some(batch) = effects.batch else { return self.act(effects).await };
        let mut commit = Batch::new();
        for write in writes {
            match write.value {
                Some(value) => commit.put(write.key, value),
                None => commit.delete(write.key),
            }
        }
        let number = self.store.commit(commit);
        assert_eq!(number, batch, "peer and store count the same batches");
        self.state.held.push(batch, effects);
    }

    async fn on_flushed(&mut self, batch: u64) {
        while let Some(effects) = self.state.held.pop(batch) {
            self.act(effects).await;
        }
        self.handle(Input::Flushed { batch }).await;
    }

    /// What the writes promised is on disk: the rest may be seen.
    async fn act(&mut self, effects: Effects) {
        for send in effects.sends {
            self.send(send).await;
        }
        for task in effects.tasks {
            self.begin(task);
        }
        for event in effects.events {
            self.tell(event);
        }
    }

    /// Waits while the swarm is behind. It never waits for this loop, so neither waits for ever.
    async fn send(&mut self, send: Send) {
        // An error means that the swarm has ended, which the loop sees by itself; a frame that is
        // too large is a fault of this program.
        let result = match send {
            Send::Direct { to, frame } => self.net.send(PeerKey(to.0), frame).await,
            Send::Publish { topic, frame } => {
                if self.state.subscribed.contains(&topic) {
                    let from = self.peer.id();
                    self.state.loopback.push_back(Input::Gossip { from, bytes: frame.clone() });
                }
                self.net.publish(&topic.to_string(), frame).await
            }
            Send::Subscribe(topic) => {
                self.state.subscribed.insert(topic);
                self.net.subscribe(&topic.to_string()).await
            }
            Send::Unsubscribe(topic) => {
                self.state.subscribed.remove(&topic);
                self.net.unsubscribe(&topic.to_string()).await
            }
            Send::Ban { peer, for_, why } => {
                tracing::warn!(%peer, %why, "a peer misbehaved too often and is shut out");
                self.net.disconnect(PeerKey(peer.0), for_).await
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "something was not sent");
        }
    }

    fn begin(&mut self, task: Task) {
        self.tasks.begin(task);
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Reply { id, reply } => {
                if let Some(waiting) = self.state.waiting.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(reply);
                }
            }
            Event::Report { report } => {
                let _ = self.news.send(News::Report(std::sync::Arc::new(*report)));
            }
            Event::Ended { job } => {
                tracing::info!(%job, "a job of this peer has ended and its result is here");
                let _ = self.news.send(News::Ended(job));
            }
            Event::Forgotten { job } => tracing::warn!(
                %job,
                "this job ended longer ago than the coordinator remembers; submit it anew if its \
                 result is missing"
            ),
            Event::ClockDiffers { author, by } => tracing::warn!(
                peer = %author, seconds = by.as_secs(),
                "this machine's clock and that peer's differ: set them, or nothing it says counts"
            ),
            Event::Committee { leader } => tracing::info!(%leader, "the coordinator is known"),
            Event::Announced { jobs } => tracing::debug!(jobs = jobs.len(), "bids are taken"),
            Event::Awarded { run, worker, score, bids } => {
                tracing::info!(%run, %worker, score, bids, "a job was awarded");
            }
            Event::RunTaken { run } => tracing::info!(%run, "this worker takes a job"),
        }
    }

    async fn on_call(&mut self, call: Call) {
        match call {
            Call::Status { reply } => {
                let _ = reply.send(self.peer.status());
            }
            Call::Command { command, reply } => {
                self.state.next_command += 1;
                let id = CommandId(self.state.next_command);
                self.state.waiting.retain(|_, waiting| !waiting.is_closed());
                self.state.waiting.insert(id, reply);
                self.handle(Input::Command { id, command }).await;
            }
        }
    }

    async fn on_done(&mut self, done: Done) {
        let event = match done {
            Done::Event(event) => Some(event),
            Done::Inputs { run, result } => self.tasks.launch(run, result),
        };
        let Some(event) = event else { return };
        if let TaskEvent::Ended { run, .. } = &event {
            self.tasks.tidy(*run);
        }
        self.handle(Input::Task(event)).await;
    }

    async fn on_network(&mut self, event: cyxwiz_net::Event) {
        use cyxwiz_net::Event as Net;
        match event {
            Net::Frame { from, bytes } => {
                self.handle(Input::Frame { from: PeerId(from.0), bytes }).await;
            }
            Net::Gossip { source, id, bytes, .. } => {
                let input = Input::Gossip { from: PeerId(source.0), bytes };
                let effects = self.think(input);
                let verdict = match effects.verdict {
                    Some(Acceptance::Accept) => Verdict::Accept,
                    Some(Acceptance::Reject) => Verdict::Reject,
                    Some(Acceptance::Ignore) | None => Verdict::Ignore,
                };
                if let Err(error) = self.net.verdict(id, source, verdict).await {
                    tracing::debug!(%error, "a verdict was not told");
                }
                self.carry_out(effects).await;
            }
            Net::Connected(peer) => {
                self.state.notice.on_connected(PeerId(peer.0));
                self.handle(Input::Connected(PeerId(peer.0))).await;
            }
            Net::Disconnected(peer) => {
                self.state.notice.on_disconnected(PeerId(peer.0));
                self.handle(Input::Disconnected(PeerId(peer.0))).await;
            }
            Net::Stream { from, purpose: tasks::PURPOSE, stream } => {
                serve_stream(&self.transfers, from, stream);
            }
            Net::Stream { from, purpose, .. } => {
                tracing::debug!(%from, purpose, "a stream that only others serve was closed");
            }
            Net::AddressLearned { peer, address } => {
                self.book.saw(&peer.to_string(), &address.to_string(), unix_now().0);
            }
            Net::SendFailed { to, frames, reason } => {
                tracing::debug!(%to, frames, %reason, "frames were given up");
            }
            Net::JoinFailing { address, attempt, error, retry_in } => {
                let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    %address, attempt, retry_ms,
                    "cannot reach the network there ({error}); trying again"
                );
            }
            // The network part has logged them.
            Net::Listening(_) | Net::Joined { .. } | Net::ForeignNetwork { .. } => {}
        }
    }

    /// Ends the processes, writes what waits, leaves the network.
    async fn close(mut self, inputs: Inputs) {
        let Inputs { mut flushed, .. } = inputs;
        self.tasks.shutdown().await;
        self.state.chores.close_book(&mut self.book).await;
        self.net.shutdown().await;
        let store = self.store;
        flushed.close();
        // Dropping it writes what waits and blocks for the disk.
        let closed = tokio::task::spawn_blocking(move || drop(store)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the store could not be closed");
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
