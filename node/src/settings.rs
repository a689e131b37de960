//! What a node is told at its start, from the command line, the environment and the configuration
//! file, in that order of weight. A settings value is whole and right, or there is none.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use cyxwiz_net::Multiaddr;
use cyxwiz_trainer::Backend;
use serde::Deserialize;

use crate::engines::{EngineKind, EngineSettings};
use crate::membership::Join;

/// Everything a node is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub joins: Vec<Join>,
    pub listen: Vec<Multiaddr>,
    pub external: Vec<Multiaddr>,
    /// The name of a network to begin.
    pub network: Option<String>,
    pub coordinator: bool,
    /// Begin the committee of this peer's own network anew. Somebody has agreed to it.
    pub force_new_committee: bool,
    pub worker: Option<WorkerSettings>,
    /// Where the local API listens; loopback only.
    pub api: SocketAddr,
    pub mdns: bool,
    /// Whether to go on trying while nobody of the network can be reached.
    pub patient: bool,
    /// Where everything that the peer handles is written down, for whoever looks for a fault.
    pub record: Option<PathBuf>,
}

/// How much of this machine jobs may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    pub max_concurrent: u16,
    /// Per job.
    pub threads: u16,
    /// For all jobs together; what the machine has, less a reserve, when absent.
    pub memory_mb: Option<u32>,
    pub price: u64,
    pub report_interval: Duration,
    /// Run strangers' jobs even where this machine cannot put all walls around them.
    pub allow_unsandboxed: bool,
    pub engines: EngineSettings,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            max_concurrent: 3,
            threads: 4,
            memory_mb: None,
            price: 0,
            report_interval: Duration::from_secs(1),
            allow_unsandboxed: false,
            engines: EngineSettings::default(),
        }
    }
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub node: NodeTable,
    pub jobs: JobsTable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeTable {
    pub join: Vec<String>,
    pub listen: Vec<String>,
    pub external: Vec<String>,
    pub coordinator: Option<bool>,
    pub worker: Option<bool>,
    pub mdns: Option<bool>,
}

/// The keys that CyxWiz users know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsTable {
    pub max_concurrent: Option<u16>,
    pub default_cpu_threads: Option<u16>,
    pub memory_mb: Option<u32>,
    pub price: Option<u64>,
    pub progress_report_interval_ms: Option<u64>,
    pub allow_unsandboxed: Option<bool>,
    pub engine: Option<EngineKind>,
    pub af_backend: Option<Backend>,
    pub device: Option<u16>,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration {path} is not right: {message}")]
    Parse { path: PathBuf, message: String },
}

impl ConfigFile {
    /// Reads `path`; without one, the file at the platform's place if there is one.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = || {
            let dirs = directories::ProjectDirs::from("", "", "cyxwiz")?;
            Some(dirs.config_dir().join("config.toml")).filter(|path| path.exists())
        };
        let Some(path) = path.map(Path::to_owned).or_else(usual) else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        // The message carries line and column.
        toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path, message: error.to_string() })
    }
}
