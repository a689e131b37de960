//! What a bootstrap peer is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use cyxwiz_net::Multiaddr;

/// Options of a bootstrap peer.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address to listen on; may be given several times.
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_values = ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"],
    )]
    pub listen: Vec<Multiaddr>,

    /// Name of the network: a-z, 0-9 and '-', at most 32.
    #[arg(long, value_name = "NAME", env = "CYXWIZ_NETWORK", default_value = "cyxwiz")]
    pub network: String,

    /// Where the key and the charter of the network are kept [default: the platform's data
    /// directory].
    #[arg(long, value_name = "DIR", env = "CYXWIZ_BOOTSTRAP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address under which others reach this peer, when it is not one it listens on (a public
    /// name, a forwarded port); may be given several times.
    #[arg(long, value_name = "MULTIADDR")]
    pub external: Vec<Multiaddr>,

    /// Connections taken at most.
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub max_connections: u32,

    /// Print one JSON object a line instead of text.
    #[arg(long)]
    pub json: bool,

    /// Serve GET /health over HTTP on this address, e.g. 127.0.0.1:8081.
    #[arg(long, value_name = "ADDRESS")]
    pub health: Option<SocketAddr>,

    /// Let the committee be founded anew, and end. For when the majority of its disks is gone for
    /// good: says what that can cost and asks first. The next coordinator that starts founds.
    #[arg(long)]
    pub force_new_committee: bool,

    /// Agree to --force-new-committee beforehand.
    #[arg(long, requires = "force_new_committee")]
    pub yes: bool,
}

impl Options {
    /// The directory for this network's files; `None` where the platform names no home.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        self.data_dir.clone().or_else(|| {
            let dirs = directories::ProjectDirs::from("", "", "cyxwiz")?;
            Some(dirs.data_dir().join("bootstrap").join(&self.network))
        })
    }
}
