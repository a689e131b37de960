//! What a training process may do, in the terms of `cyxwiz_sandbox`: from the limits of a run, and
//! the folders that it has, to the walls that the process gets between fork and exec. What the
//! system does not count for one process is for `consumption`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cyxwiz_sandbox::{Cage, Limits, Policy, PrepareError, Strength};
use cyxwiz_trainer::{CHECKPOINT_FOLDER, EngineChoice};

use crate::engines::library_folders;

use super::{ExecutorConfig, MIB, Run, Walls, directory};

/// Makes the walls for a run whose directory is there.
pub(super) fn cage(
    config: &ExecutorConfig,
    run: &Run,
    directory: &Path,
) -> Result<Cage, PrepareError> {
    let policy = Policy {
        directory: directory.to_owned(),
        writable: writable(directory).to_vec(),
        readable: library_folders(&run.engine),
        program: config.program.clone(),
        limits: limits(run),
        gpu: run.engine.uses_driver(),
        strength: match config.walls {
            Walls::All => Strength::Whole,
            Walls::WhatThereIs => Strength::WhatThereIs,
            Walls::LimitsOnly => Strength::LimitsOnly,
        },
    };
    policy.prepare()
}

/// The folders in which a process may leave something.
pub(super) fn writable(run: &Path) -> [PathBuf; 3] {
    [directory::OUTPUT, CHECKPOINT_FOLDER, directory::SCRATCH].map(|name| run.join(name))
}

/// Private memory that a run may have, in bytes.
pub(super) fn memory_bytes(run: &Run) -> u64 {
    let engine = match &run.engine {
        EngineChoice::Cpu => 0,
        EngineChoice::ArrayFire(_) if run.engine.uses_driver() => DRIVER_BYTES,
        EngineChoice::ArrayFire(_) => LIBRARY_BYTES,
    };
    granted_bytes(run.limits.memory_mb, run.limits.threads) + engine
}

/// Private memory that a process on the embedded engine may have whose job asks for so much, in
/// bytes.
pub(crate) fn granted_bytes(memory_mb: u32, threads: u16) -> u64 {
    u64::from(memory_mb) * MIB + PROGRAM_BYTES + u64::from(threads) * THREAD_BYTES
}

fn limits(run: &Run) -> Limits {
    let limits = &run.limits;
    let threads = u64::from(limits.threads);
    Limits {
        memory_bytes: memory_bytes(run),
        file_bytes: limits.file_bytes(),
        open_files: OPEN_FILES,
        processor: Duration::from_secs(
            limits.wall.as_secs().saturating_add(1).saturating_mul(threads),
        ),
        niceness: NICENESS,
    }
}

/// What the program takes before it has read anything: code tables, allocator, buffers of frames.
const PROGRAM_BYTES: u64 = 64 * MIB;

/// A thread's stack of 2 MiB and its share of the allocator's arenas.
const THREAD_BYTES: u64 = 4 * MIB;

/// What ArrayFire for processors takes: its tables, and the buffers of its library of products.
const LIBRARY_BYTES: u64 = 256 * MIB;

/// What a GPU's driver keeps on the host: its context, compiled code and pinned buffers.
const DRIVER_BYTES: u64 = 2048 * MIB;

/// Enough for inputs, outputs and an engine's device files; also what `select` can name.
const OPEN_FILES: u64 = 1024;

/// The node and its owner's programs come first, but training still gets what is left.
pub(crate) const NICENESS: i32 = 10;
