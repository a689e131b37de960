//! A peer under test: its handle, and its events gathered by a task until somebody asks.

use std::sync::Arc;
use std::time::Duration;

use cyxwiz_net::{Config, Event, Handle, Multiaddr, NetError, PeerKey, Verdict};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

pub(crate) const NETWORK: &str = "test-0123456789abcdef";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    pub(crate) handle: Handle,
    pub(crate) key: PeerKey,
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
}

pub(crate) fn config(number: u8) -> Config {
    let mut config = Config::new([number; 32], NETWORK);
    config.listen = vec![address("/ip4/127.0.0.1/tcp/0")];
    config
}

pub(crate) fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

pub(crate) async fn start(config: Config) -> Result<Peer, NetError> {
    let (handle, mut events) = cyxwiz_net::start(config).await?;
    let (gathered, receiver) = mpsc::unbounded_channel();
    let judge = handle.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Gossip { id, source, .. } = &event {
                let _ = judge.verdict(*id, *source, Verdict::Accept).await;
            }
            if gathered.send(event).is_err() {
                return;
            }
        }
    });
    Ok(Peer { key: handle.key(), handle, events: Mutex::new(receiver) })
}

pub(crate) async fn started(config: Config) -> Arc<Peer> {
    Arc::new(start(config).await.unwrap())
}

/// A peer that joins through `other`.
pub(crate) async fn joining(number: u8, other: &Peer) -> Arc<Peer> {
    let mut config = config(number);
    config.join = other.addresses().await;
    started(config).await
}

impl Peer {
    pub(crate) async fn addresses(&self) -> Vec<Multiaddr> {
        self.handle.snapshot().await.unwrap().addresses
    }

    /// The first event for which `pick` gives something; others are passed over.
    pub(crate) async fn wait<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let mut events = self.events.lock().await;
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let Ok(event) = tokio::time::timeout_at(deadline, events.recv()).await else {
                let state = self.handle.snapshot().await;
                panic!("{}: no {what}; seen {seen:?}; {state:?}", self.key);
            };
            let event = event.unwrap_or_else(|| panic!("{}: ended before {what}", self.key));
            seen.push(format!("{event:?}").chars().take(120).collect::<String>());
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }

    pub(crate) async fn connected(&self, other: PeerKey) {
        self.wait("connection", |event| match event {
            Event::Connected(peer) if peer == other => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn frame(&self) -> (PeerKey, Vec<u8>) {
        self.wait("frame", |event| match event {
            Event::Frame { from, bytes } => Some((from, bytes)),
            _ => None,
        })
        .await
    }
}

/// Asks until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    let mut turn = tokio::time::interval(Duration::from_millis(20));
    while !ask().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        turn.tick().await;
    }
}
