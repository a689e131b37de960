//! The life of a bootstrap peer: keys, listening, announcing, serving, farewell.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cyxwiz_net::{Config, Event, Events, Handle, NetError, NetRole, dialable};
use cyxwiz_protocol::charter::CharterError;
use cyxwiz_protocol::notice::{committee_key, keeps_committee};
use cyxwiz_protocol::{Identity, Network};
use serde::Serialize;

use crate::founding::{
    Anew, ConfirmError, DecisionError, Decisions, FOUNDING, ForceError, Registrar,
    force_new_committee, unix_now,
};
use crate::invite::{coordinator_line, invite_line};
use crate::key_file::{KeyFileError, load_or_make, write_private};
use crate::{Options, health};

/// What others need to know of a bootstrap peer.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Announcement {
    /// It can be reached.
    Listening {
        /// Its libp2p peer id.
        peer_id: String,
        /// The network's name.
        network: String,
        /// Where others reach it, each with `/p2p/…`, best first.
        addresses: Vec<String>,
        /// The line that brings a machine into the network.
        invite: String,
        /// The private file with the line that brings a coordinator into the network.
        coordinator_invite_file: PathBuf,
    },
    /// The health page is served.
    Health {
        /// Where.
        url: String,
    },
    /// A committee is to be founded; see [`Options::force_new_committee`].
    NewCommittee {
        /// The network's name.
        network: String,
        /// The generation that the next coordinator that asks founds.
        generation: u32,
        /// Whether anything changed: not when nobody has founded in that generation yet.
        changed: bool,
    },
    /// It has said farewell to its peers.
    Stopped,
}

/// Why a bootstrap peer could not run.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// No place for the key.
    #[error("this system names no home directory to keep the key in")]
    NoDirectory,
    /// A key file is damaged or out of reach.
    #[error("the peer's secrets cannot be used")]
    Key(#[from] KeyFileError),
    /// The network cannot be called so.
    #[error("the network cannot be set up")]
    Network(#[from] CharterError),
    /// Listening failed.
    #[error("the peer cannot be reached by others")]
    Net(#[from] NetError),
    /// The coordinators' invite cannot be written.
    #[error("cannot write {}", path.display())]
    Invite {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The health page cannot be served.
    #[error("cannot serve the health page on {address}")]
    Health {
        /// Where it was to be served.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The decision who founds the committee is out of reach.
    #[error("it is not known who founded the network's committee")]
    Founding(#[from] DecisionError),
    /// A committee is to be founded anew where none can have been founded.
    #[error("{} holds no charter, so that no committee was ever founded from there", dir.display())]
    NoCharter {
        /// The data directory.
        dir: PathBuf,
    },
    /// Nobody agreed to a new committee.
    #[error("the committee is not founded anew")]
    Confirm(#[from] ConfirmError),
    /// No randomness for a ticket.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The network part ended by itself.
    #[error("the network part ended unexpectedly")]
    Ended,
}

impl BootstrapError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoDirectory => "say where with --data-dir DIR",
            Self::Key(_) => "check the data directory, or choose another with --data-dir DIR",
            Self::Network(_) => "choose another name with --network NAME",
            Self::Net(_) => "choose other addresses with --listen MULTIADDR",
            Self::Invite { .. } => "check that the data directory can be written",
            Self::Health { .. } => "choose another address with --health ADDRESS",
            Self::Founding(_) => {
                "is --network the name of before? if it is, put the file right before anything \
                 else: two coordinators must never be told different things"
            }
            Self::NoCharter { .. } => {
                "name the directory and the network of the bootstrap peer with --data-dir and \
                 --network"
            }
            Self::Confirm(_) => "read what it can cost; --yes agrees without being asked",
            Self::NoRandomness | Self::Ended => "run it with RUST_LOG=debug to see more",
        }
    }
}

/// Runs a bootstrap peer until `shutdown` is ready; `announce` is told when it can be reached.
pub async fn run(
    options: Options,
    shutdown: impl Future<Output = ()>,
    mut announce: impl FnMut(&Announcement),
) -> Result<(), BootstrapError> {
    let dir = options.directory().ok_or(BootstrapError::NoDirectory)?;
    if options.force_new_committee && !dir.join("charter").is_file() {
        return Err(BootstrapError::NoCharter { dir });
    }
    let secret = load_or_make(&dir.join("key"))?;
    let charter = Arc::new(Identity::from_seed(load_or_make(&dir.join("charter"))?));
    let network = Network::new(&options.network, charter.id())?;
    let decisions = Decisions::open(&dir, Arc::clone(&charter), network.clone())?;
    if options.force_new_committee {
        // Before anything listens for Ctrl-C: while the question stands, it ends the program.
        return found_anew(&decisions, options.yes, announce);
    }
    let registrar = Registrar::new(decisions);
    let page = match options.health {
        Some(address) => {
            let failed = |source| BootstrapError::Health { address, source };
            Some(health::bind(address).await.map_err(failed)?)
        }
        None => None,
    };
    let (handle, mut events) = cyxwiz_net::start(config(secret, &network, &options)).await?;
    let listening = listening(&options, &network, &charter, &dir, &handle, &mut events).await;
    let listening = match listening {
        Ok(listening) => listening,
        Err(error) => {
            handle.shutdown().await;
            return Err(error);
        }
    };
    announce(&listening);
    let page = page.map(|listener| {
        if let Ok(address) = listener.local_addr() {
            announce(&Announcement::Health { url: format!("http://{address}/health") });
        }
        health::serve(listener, handle.clone(), network.name().to_owned())
    });
    let serve = async {
        match page {
            Some(page) => page.await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        () = watch(&mut events, &registrar) => Err(BootstrapError::Ended),
        () = serve => Err(BootstrapError::Ended),
    };
    handle.shutdown().await;
    announce(&Announcement::Stopped);
    outcome
}

/// Lets the next coordinator that asks found the committee anew.
fn found_anew(
    decisions: &Decisions,
    yes: bool,
    mut announce: impl FnMut(&Announcement),
) -> Result<(), BootstrapError> {
    let Anew { decision, changed } = match force_new_committee(decisions, yes) {
        Ok(anew) => anew,
        Err(ForceError::Decision(error)) => return Err(error.into()),
        Err(ForceError::Confirm(error)) => return Err(error.into()),
    };
    if !changed {
        tracing::info!("nobody has founded this generation yet, so that nothing was changed");
    }
    tracing::info!(
        generation = decision.generation,
        "the next coordinator that starts founds the committee: start the one with the newest \
         disk first, then the others again"
    );
    announce(&Announcement::NewCommittee {
        network: decisions.network().name().to_owned(),
        generation: decision.generation,
        changed,
    });
    Ok(())
}

fn config(secret: [u8; 32], network: &Network, options: &Options) -> Config {
    let mut config = Config::new(secret, network.slug());
    config.purposes = vec![FOUNDING];
    let (ours, key) = (network.clone(), committee_key(network));
    config.accepts_record =
        Arc::new(move |offer| offer.key == key && keeps_committee(&ours, offer.value, offer.held));
    config.listen.clone_from(&options.listen);
    config.external.clone_from(&options.external);
    config.role = NetRole::Bootstrap;
    config.agent = format!("cyxwiz-bootstrap/{}", env!("CARGO_PKG_VERSION"));
    config.protocol_version = network.fact();
    config.limits.max_connections = options.max_connections;
    config
}

async fn listening(
    options: &Options,
    network: &Network,
    charter: &Identity,
    dir: &Path,
    handle: &Handle,
    events: &mut Events,
) -> Result<Announcement, BootstrapError> {
    settle(events).await;
    let snapshot = handle.snapshot().await.map_err(|_closed| BootstrapError::Ended)?;
    let addresses = dialable(snapshot.addresses, &options.external);
    let path = dir.join("coordinator.invite");
    let mut ticket = [0; 32];
    getrandom::fill(&mut ticket).map_err(|_no_source| BootstrapError::NoRandomness)?;
    let line = coordinator_line(network, &addresses, charter, ticket);
    write_private(&path, format!("{line}\n").as_bytes())
        .map_err(|source| BootstrapError::Invite { path: path.clone(), source })?;
    tracing::info!(file = %path.display(), "the coordinators' invite is a secret in this file");
    Ok(Announcement::Listening {
        peer_id: handle.key().to_string(),
        network: network.name().to_owned(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        invite: invite_line(network, &addresses),
        coordinator_invite_file: path,
    })
}

/// Listening on all interfaces is reported one interface after the other.
/// Whoever asks something meanwhile asks again.
async fn settle(events: &mut Events) {
    let settled =
        async { while let Ok(Some(_)) = tokio::time::timeout(SETTLED, events.next()).await {} };
    // A network that waited for this peer may have more to say than there are interfaces.
    let _ = tokio::time::timeout(SETTLED * 10, settled).await;
}

/// Ends when the network does.
async fn watch(events: &mut Events, registrar: &Registrar) {
    while let Some(event) = events.next().await {
        if let Event::Connected(peer) = event {
            tracing::info!(%peer, "peer connected");
        } else if let Event::Disconnected(peer) = event {
            tracing::info!(%peer, "peer disconnected");
        } else if let Event::Stream { from, stream, .. } = event {
            registrar.serve(from, stream);
        } else {
            tracing::debug!(?event, "network");
        }
    }
}

/// No further interface within this time: that were all.
const SETTLED: Duration = Duration::from_millis(100);
