//! The libp2p behaviours of a peer and how each is set up. Two networks never mix: every
//! protocol and topic carries the network's name.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, Swarm, SwarmBuilder, connection_limits, dns, gossipsub, identify, kad, mdns,
    memory_connection_limits, noise, ping, relay, tcp, yamux,
};

use crate::config::{Config, Limits, Names, NetRole};
use crate::error::NetError;
use crate::key::keypair;
use crate::streams::Streams;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that a connection over the limits is refused before anybody sets it up.
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(crate) streams: Streams,
    pub(crate) identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: gossipsub::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    relay: Toggle<relay::Behaviour>,
    relay_client: relay::client::Behaviour,
}

/// A swarm that introduces itself and does nothing else; for asking who somebody is.
#[derive(NetworkBehaviour)]
pub(crate) struct Introduction {
    pub(crate) identify: identify::Behaviour,
}

pub(crate) fn swarm(config: &Config, names: &Names) -> Result<Swarm<Behaviour>, NetError> {
    build(Keypair::from(keypair(config.secret)), IDLE_TIMEOUT, |keypair, relay_client| {
        behaviour(config, names, keypair, relay_client)
    })
}

pub(crate) fn introduction_swarm() -> Result<Swarm<Introduction>, NetError> {
    build(Keypair::generate_ed25519(), Duration::from_secs(5), |keypair, _| {
        let config = identify::Config::new("cyxwiz/ask".to_owned(), keypair.public());
        Ok(Introduction { identify: identify::Behaviour::new(config) })
    })
}

fn behaviour(
    config: &Config,
    names: &Names,
    keypair: &Keypair,
    relay_client: relay::client::Behaviour,
) -> Result<Behaviour, String> {
    let me = keypair.public().to_peer_id();
    let mdns = match config.mdns {
        true => Some(
            mdns::tokio::Behaviour::new(mdns::Config::default(), me)
                .map_err(|error| format!("multicast DNS does not start: {error}"))?,
        ),
        false => None,
    };
    let relay = match config.role {
        NetRole::Bootstrap => Some(relay::Behaviour::new(me, relay::Config::default())),
        NetRole::Peer => None,
    };
    let identify = identify::Config::new(config.protocol_version.clone(), keypair.public())
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true)
        .with_interval(Duration::from_secs(300));
    let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
    let memory = f64::from(config.limits.max_memory_percent.min(100)) / 100.0;
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
        memory: memory_connection_limits::Behaviour::with_max_percentage(memory),
        streams: Streams::new(names.inbound()),
        identify: identify::Behaviour::new(identify),
        kad: kademlia(me, names, &config.limits),
        gossip: gossip(names, &config.limits)?,
        ping: ping::Behaviour::new(ping),
        mdns: mdns.into(),
        relay: relay.into(),
        relay_client,
    })
}

fn connection_limits(limits: &Limits) -> connection_limits::ConnectionLimits {
    let all = limits.max_connections;
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(all))
        // The rest is for connections this peer opens: others can never shut it in.
        .with_max_established_incoming(Some(all - all / 4))
        .with_max_established_per_peer(Some(4))
        .with_max_pending_incoming(Some(128))
        .with_max_pending_outgoing(Some(128))
}

fn kademlia(me: PeerId, names: &Names, limits: &Limits) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStoreConfig {
        max_records: 1024,
        max_value_bytes: limits.max_record_bytes,
        max_providers_per_key: 1,
        max_provided_keys: 1,
    };
    let mut config = kad::Config::new(names.kad.clone());
    config
        .set_query_timeout(Duration::from_secs(15))
        // A lookup asks about as many peers as a record is kept at: a fraction of the work of
        // the customary 20, and enough for peers that come and go by the hour.
        .set_replication_factor(REPLICATION)
        .set_record_ttl(Some(Duration::from_secs(24 * 3600)))
        .set_publication_interval(Some(Duration::from_secs(3600)))
        .set_replication_interval(Some(Duration::from_secs(3600)))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(120)))
        .set_max_packet_size(limits.max_record_bytes + (16 << 10))
        // Others' records are stored by us, after the owner's check, or not at all.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled);
    let store = MemoryStore::with_config(me, store);
    let mut kad = kad::Behaviour::with_config(me, store, config);
    // Left to itself it waits for a confirmed public address: on a private network for ever.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// Unsigned: the owner's envelopes are, and one verification of a message is enough. What names
/// a message is its content, so that a copy is a copy whoever published it.
fn gossip(names: &Names, limits: &Limits) -> Result<gossipsub::Behaviour, String> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(names.gossip_prefix.clone())
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| message_id(&message.topic, &message.data))
        .max_transmit_size(limits.max_gossip_bytes + GOSSIP_OVERHEAD_BYTES)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .heartbeat_interval(Duration::from_millis(700))
        .mesh_n_low(4)
        .mesh_n(6)
        .mesh_n_high(12)
        // Two peers are a network, and one of them dialled nobody.
        .mesh_outbound_min(1)
        .flood_publish(true)
        .prune_backoff(Duration::from_secs(10))
        .connection_handler_queue_len(1024)
        .build()
        .map_err(|error| error.to_string())?;
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)
        .map_err(str::to_owned)
}

fn message_id(topic: &gossipsub::TopicHash, data: &[u8]) -> gossipsub::MessageId {
    let mut hasher = blake3::Hasher::new();
    // The length keeps topic and data apart.
    hasher.update(&(topic.as_str().len() as u64).to_le_bytes());
    hasher.update(topic.as_str().as_bytes());
    hasher.update(data);
    gossipsub::MessageId::new(hasher.finalize().as_bytes())
}

fn build<B: NetworkBehaviour>(
    keypair: Keypair,
    idle: Duration,
    behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> Result<B, String>,
) -> Result<Swarm<B>, NetError> {
    let setup = |reason: String| NetError::Setup { reason };
    let failed = |error: noise::Error| setup(error.to_string());
    let transports = || {
        let tcp = tcp::Config::default().nodelay(true);
        SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp, noise::Config::new, yamux::Config::default)
            .map(|builder| builder.with_quic())
    };
    let make = |keypair: &Keypair, relay| {
        behaviour(keypair, relay).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    };
    let timing = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(idle);
    // A machine without a name server can still use addresses that need none.
    let swarm = match transports().map_err(failed)?.with_dns() {
        Ok(builder) => builder
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .map_err(failed)?
            .with_behaviour(make)
            .map(|builder| builder.with_swarm_config(timing).build()),
        Err(error) => {
            tracing::info!(%error, "no name server configured: names are not resolved");
            transports()
                .map_err(failed)?
                .with_dns_config(dns::ResolverConfig::default(), dns::ResolverOpts::default())
                .with_relay_client(noise::Config::new, yamux::Config::default)
                .map_err(failed)?
                .with_behaviour(make)
                .map(|builder| builder.with_swarm_config(timing).build())
        }
    };
    swarm.map_err(|error| setup(error.to_string()))
}

/// Job channels are quiet for long, but their open streams keep a connection; this is for
/// connections with none.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

const REPLICATION: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// What gossipsub's own fields may take beside the message.
const GOSSIP_OVERHEAD_BYTES: usize = 4 << 10;
