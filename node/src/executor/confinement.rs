//! What a training process may use: the resource limits, worked out by the parent, and their
//! taking effect between fork and exec. Stronger walls (no new privileges, Landlock, seccomp,
//! namespaces) find their place at the end of [`Confinement::enter`] or, where they need memory to
//! be set up, in the program itself. Counting a job's total disk use is left to them too:
//! `RLIMIT_FSIZE` counts one file at a time.

use std::io;

use rustix::process::{Pid, Resource, Rlimit};

use super::{MIB, RunLimits};

/// Everything [`Confinement::enter`] needs, computed beforehand: the child of a fork of a process
/// with threads must not allocate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confinement {
    limits: [(Resource, Rlimit); 6],
    parent: Pid,
}

impl Confinement {
    pub(super) fn new(limits: &RunLimits) -> Self {
        let threads = u64::from(limits.threads);
        let memory = u64::from(limits.memory_mb) * MIB + PROGRAM_BYTES + threads * THREAD_BYTES;
        let processor_s = limits.wall.as_secs().saturating_add(1).saturating_mul(threads).max(1);
        Self {
            limits: [
                bound(Resource::Core, 0, 0),
                bound(Resource::Data, memory, memory),
                bound(Resource::Fsize, limits.checkpoint_bytes(), limits.checkpoint_bytes()),
                bound(Resource::Nofile, OPEN_FILES, OPEN_FILES),
                bound(Resource::Memlock, 0, 0),
                // SIGXCPU at the first, which tells this end from others, SIGKILL at the second.
                bound(Resource::Cpu, processor_s, processor_s.saturating_add(2)),
            ],
            parent: rustix::process::getpid(),
        }
    }

    /// Confines the calling process, for good. Meant for the time between fork and exec: makes
    /// system calls only, never allocates, never locks.
    pub(super) fn enter(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Signal, getppid, set_parent_process_death_signal};
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            if getppid() != Some(self.parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            close_on_exec()?;
        }
        for (resource, limit) in self.limits {
            rustix::process::setrlimit(resource, limit)?;
        }
        rustix::process::nice(NICENESS)?;
        Ok(())
    }
}

/// A limit, never above what the node itself is held to: only a superuser may raise that.
fn bound(resource: Resource, soft: u64, hard: u64) -> (Resource, Rlimit) {
    let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(ceiling)), maximum: Some(hard.min(ceiling)) };
    (resource, limit)
}

/// Marks every descriptor but the three standard ones. Rust opens all of its files this way; this
/// is for those that a C library or the node's own parent has left open.
#[cfg(target_os = "linux")]
fn close_on_exec() -> io::Result<()> {
    use std::mem::MaybeUninit;
    use std::os::fd::BorrowedFd;

    use rustix::fs::{Mode, OFlags, RawDir};
    use rustix::io::FdFlags;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let digits = entry.file_name().to_bytes();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            // SAFETY: the number was just listed as open in this process, which has one thread
            // between fork and exec, so nothing closes it meanwhile.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

/// What the program takes before it has read anything: code tables, allocator, buffers of frames.
const PROGRAM_BYTES: u64 = 64 * MIB;

/// A thread's stack of 2 MiB and its share of the allocator's arenas.
const THREAD_BYTES: u64 = 4 * MIB;

/// Enough for inputs, outputs and an engine's device files; also what `select` can name.
const OPEN_FILES: u64 = 1024;

/// The node and its owner's programs come first, but training still gets what is left.
const NICENESS: i32 = 10;
