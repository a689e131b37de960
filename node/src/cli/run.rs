//! Hands commands that are more than a question to the part of the crate that carries them out.

use std::path::{Path, PathBuf};

use super::error::CommandError;
use super::node::NodeRunArgs;
use super::{BenchArgs, Context, DemoArgs};

/// A peer that lives as long as this value, for one command.
#[derive(Debug)]
pub struct EphemeralNode {
    /// Holds the `api.json` of the peer.
    pub data_dir: PathBuf,
}

/// `cyxwiz node run`: returns when the node has ended in order.
pub fn run_node(_context: &Context, _args: NodeRunArgs) -> Result<(), CommandError> {
    Err(CommandError::failure("this build has no node"))
}

/// Joins the network through `join` for the time of one command.
pub fn ephemeral(_join: &[String], _data_dir: &Path) -> Result<EphemeralNode, CommandError> {
    Err(CommandError::failure("this build has no node"))
}

/// `cyxwiz demo`.
pub fn demo(_context: &Context, _args: DemoArgs) -> Result<(), CommandError> {
    Err(CommandError::failure("this build has no demo"))
}

/// `cyxwiz bench`.
pub fn bench(_context: &Context, _args: BenchArgs) -> Result<(), CommandError> {
    Err(CommandError::failure("this build has no bench"))
}

/// `cyxwiz bootstrap`.
pub fn bootstrap(_options: cyxwiz_bootstrap::Options) -> Result<(), CommandError> {
    Err(CommandError::failure("this build has no bootstrap peer"))
}
