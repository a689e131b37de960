//! What a process is allowed, and why it could not be held to that.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::report::{Layer, Report};

/// All that a process may reach and use. What is not named here is refused.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Read with everything below it.
    pub directory: PathBuf,
    /// Folders where files and folders may be made, changed and removed. Links, pipes, sockets and
    /// devices may be made nowhere.
    pub writable: Vec<PathBuf>,
    /// Files and folders to read besides the system's libraries: those of an engine. What is not
    /// there is left out.
    pub readable: Vec<PathBuf>,
    /// The only program it may start.
    pub program: PathBuf,
    pub limits: Limits,
    /// Whether it may use the GPUs: their device files, what drivers read and the memory they
    /// share.
    pub gpu: bool,
    pub strength: Strength,
}

/// What the system counts for one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Private writable memory in bytes. Address space is not limited: GPU drivers reserve far
    /// more than they use.
    pub memory_bytes: u64,
    /// One file.
    pub file_bytes: u64,
    pub open_files: u64,
    /// Of all threads together; rounded up to seconds.
    pub processor: Duration,
    /// Added to its niceness.
    pub niceness: i32,
}

/// What is done about a layer that the machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Nothing is started.
    Whole,
    /// It is left out, and the report says so.
    WhatThereIs,
    /// Limits only, for a program that its owner trusts like the node itself.
    LimitsOnly,
}

/// Why there is no cage.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("this machine cannot hold a process: {layer} is missing: {why}")]
    Missing { layer: Layer, why: String },
    #[error("cannot look at {path} to allow it")]
    Path {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the rules for files cannot be made: {0}")]
    Files(String),
    #[error("the filter of system calls cannot be made: {0}")]
    Calls(String),
}

/// Why a process did not confine itself.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("the system refused to put up a wall")]
    Enter(#[source] io::Error),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why a process that should be in a cage will not go on.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("there is no wall around this process: {0}; it was not started by a node")]
    Open(&'static str),
    #[error("the last wall cannot be put up")]
    Refused(#[source] io::Error),
    #[error("the filter of system calls cannot be made: {0}")]
    Calls(String),
    #[error("there is no sandbox for this system; see the report: {0:?}")]
    Unsupported(Report),
}
