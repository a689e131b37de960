//! Watches what a process uses where the system has no limit for one process: memory that is not
//! private, threads, and all files together. Looks ten times a second, so that what is used in
//! between is bounded by what a machine does in a tenth of a second.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::usage::Meter;
use super::{MIB, Run, confinement};

/// What a process used too much of. Costs it its life.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    #[error("the training process uses {used_mb} MiB of memory; its limit is {limit_mb} MiB")]
    Memory { used_mb: u64, limit_mb: u64 },
    #[error("the training process has {threads} threads, more than the {limit} allowed")]
    Threads { threads: u64, limit: u64 },
    #[error(
        "the training process left {used_mb} MiB of files, more than the {limit_mb} allowed; raise \
         requirements.disk_mb for rows that do not fit into memory, limits.output_mb for the rest"
    )]
    Files { used_mb: u64, limit_mb: u64 },
    #[error("the training process left more than {limit} files and folders, or too deep ones")]
    Names { limit: usize },
    #[error("the disk of the run is full but for {free_mb} MiB, and the node keeps {floor_mb}")]
    Disk { free_mb: u64, floor_mb: u64 },
}

/// What is allowed, and where to look.
#[derive(Clone, Debug)]
struct Allowed {
    pid: u32,
    folders: [PathBuf; 3],
    memory: u64,
    threads: u64,
    files: u64,
    /// Free bytes of the disk below which the run ends: files that are open and have no name any
    /// more are seen nowhere else.
    floor: u64,
}

/// A watch over one process; ends with this value.
#[derive(Debug)]
pub(super) struct Watch {
    /// Resolves when the process uses too much; with an error, when nobody looks any more.
    pub(super) excess: oneshot::Receiver<Excess>,
    task: AbortHandle,
}

impl Watch {
    /// Over the process `pid`. What is heard after the process is reaped may be another's.
    pub(super) fn begin(pid: u32, run: &Run, directory: &Path, meter: Arc<Meter>) -> Self {
        let limits = &run.limits;
        let allowed = Allowed {
            pid,
            folders: confinement::writable(directory),
            memory: confinement::memory_bytes(run) + STACK_BYTES,
            threads: u64::from(limits.threads).saturating_mul(THREADS_FOR_ONE) + THREADS_BESIDES,
            files: limits.output_bytes()
                + CHECKPOINTS * limits.checkpoint_bytes()
                + limits.disk_bytes()
                + SCRATCH_BYTES,
            floor: free_bytes(directory).map_or(0, |free| (free / 4).min(FLOOR_BYTES)),
        };
        let (sender, excess) = oneshot::channel();
        let gpu = run.engine.uses_driver();
        let task = tokio::spawn(async move {
            let mut turn = 0_u32;
            loop {
                tokio::time::sleep(INTERVAL).await;
                let (allowed, with_files) = (allowed.clone(), turn.is_multiple_of(FILES_EVERY));
                if turn.is_multiple_of(MEASURED_EVERY) {
                    let meter = Arc::clone(&meter);
                    // Beside this: a GPU's driver takes its time.
                    tokio::task::spawn_blocking(move || meter.look(pid, gpu));
                }
                turn = turn.wrapping_add(1);
                // A thread for it, as a process can make its folders slow to read.
                let look = tokio::task::spawn_blocking(move || allowed.check(with_files));
                match look.await {
                    Ok(Ok(())) => {}
                    Ok(Err(excess)) => {
                        // Whoever dropped the receiver has ended the process already.
                        sender.send(excess).ok();
                        return;
                    }
                    Err(_panicked) => return,
                }
            }
        });
        Self { excess, task: task.abort_handle() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Allowed {
    fn check(&self, with_files: bool) -> Result<(), Excess> {
        let Use { memory, threads } = Use::of(self.pid);
        if threads > self.threads {
            return Err(Excess::Threads { threads, limit: self.threads });
        }
        if memory > self.memory {
            return Err(Excess::Memory { used_mb: memory / MIB, limit_mb: self.memory / MIB });
        }
        if !with_files {
            return Ok(());
        }
        match free_bytes(&self.folders[0]) {
            Some(free) if free < self.floor => {
                let (free_mb, floor_mb) = (free / MIB, self.floor / MIB);
                return Err(Excess::Disk { free_mb, floor_mb });
            }
            Some(_) | None => {}
        }
        let mut tally = Tally::default();
        for folder in &self.folders {
            // A folder that cannot be read holds what was counted when it could.
            tally.add_all(folder).ok();
        }
        if tally.names > NAMES_MAX {
            return Err(Excess::Names { limit: NAMES_MAX });
        }
        if tally.bytes > self.files {
            return Err(Excess::Files { used_mb: tally.bytes / MIB, limit_mb: self.files / MIB });
        }
        Ok(())
    }
}

/// What the system says that a process uses; nothing for one that is gone.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// Bytes that are the process's alone, shared memory and page tables included, files that it
    /// reads not.
    pub(super) memory: u64,
    threads: u64,
}

impl Use {
    pub(super) fn of(pid: u32) -> Self {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            return Self::default();
        };
        let number = |line: &str| {
            let (_, value) = line.split_once(':')?;
            value.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        let mut sum = Self::default();
        for line in status.lines() {
            let value = number(line).unwrap_or(0);
            match line.split(':').next() {
                Some("RssAnon" | "RssShmem" | "VmSwap" | "VmPTE") => {
                    sum.memory = sum.memory.saturating_add(value.saturating_mul(1024));
                }
                Some("Threads") => sum.threads = value,
                Some(_) | None => {}
            }
        }
        sum
    }
}

/// Names and bytes in some folders.
#[derive(Debug, Default)]
struct Tally {
    names: usize,
    bytes: u64,
}

impl Tally {
    /// Counts what is on disk, holes not. Stops where there is too much; follows no links.
    fn add_all(&mut self, folder: &Path) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;

        let mut pending = vec![(folder.to_path_buf(), 0)];
        while let Some((folder, depth)) = pending.pop() {
            if depth > DEPTH_MAX {
                // So that nothing is hidden where no path reaches any more.
                self.names = usize::MAX;
                return Ok(());
            }
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                self.names += 1;
                if self.names > NAMES_MAX {
                    return Ok(());
                }
                // Of the link itself, not of what it names.
                let Ok(about) = entry.metadata() else {
                    continue;
                };
                self.bytes = self.bytes.saturating_add(about.blocks().saturating_mul(512));
                if about.is_dir() {
                    pending.push((entry.path(), depth + 1));
                }
            }
        }
        Ok(())
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

const INTERVAL: Duration = Duration::from_millis(100);

/// Every so many looks what is used is told to people.
const MEASURED_EVERY: u32 = 5;

/// Every so many looks the files are counted, which takes longer.
const FILES_EVERY: u32 = 3;

/// An engine's library brings a pool of its own beside ours.
const THREADS_FOR_ONE: u64 = 3;
/// For control, timers, and a GPU's driver.
const THREADS_BESIDES: u64 = 32;

/// What a process has beside its private writable memory: the first stack and page tables.
const STACK_BYTES: u64 = 32 * MIB;

/// As many as a job may keep, and one that is being written.
const CHECKPOINTS: u64 = cyxwiz_trainer::limits::MAX_KEPT_CHECKPOINTS as u64 + 1;
/// For what an engine keeps between two steps, such as compiled kernels.
const SCRATCH_BYTES: u64 = 64 * MIB;
/// Far more files than a trainer makes, few enough to be counted in milliseconds.
const NAMES_MAX: usize = 2048;
/// Far deeper than a trainer goes.
const DEPTH_MAX: usize = 16;
/// What is left free for the node's own store: or a quarter of what was free at the start.
const FLOOR_BYTES: u64 = 512 * MIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = Use::of(std::process::id());
        assert!(own.threads >= 1 && own.memory > 100_000, "{own:?}");
        let nobody = Use::of(u32::MAX);
        assert_eq!((nobody.threads, nobody.memory), (0, 0));
    }

    #[test]
    fn files_are_counted_without_holes_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("full"), vec![1; 1 << 20]).unwrap();
        fs::File::create(inner.join("hole")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", inner.join("link")).unwrap();
        let mut tally = Tally::default();
        tally.add_all(folder.path()).unwrap();
        assert_eq!(tally.names, 5);
        assert!((1 << 20..1 << 21).contains(&tally.bytes), "{tally:?}");
    }
}
