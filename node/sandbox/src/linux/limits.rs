//! The system's own limits on one process.

use std::io;

use rustix::process::{Resource, Rlimit};

use crate::Limits;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    limits: [(Resource, Rlimit); 7],
    niceness: i32,
}

impl Bounds {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { memory_bytes, file_bytes, open_files, processor, niceness } = *limits;
        let seconds = processor.as_secs().saturating_add(u64::from(processor.subsec_nanos() > 0));
        Self {
            limits: [
                bound(Resource::Core, 0, 0),
                bound(Resource::Data, memory_bytes, memory_bytes),
                bound(Resource::Fsize, file_bytes, file_bytes),
                bound(Resource::Nofile, open_files, open_files),
                bound(Resource::Memlock, 0, 0),
                // Queued signals take kernel memory; a runtime uses a handful.
                bound(Resource::Sigpending, SIGNALS, SIGNALS),
                // SIGXCPU at the first, which tells this end from others, SIGKILL at the second.
                bound(Resource::Cpu, seconds, seconds.saturating_add(2)),
            ],
            niceness,
        }
    }

    pub(super) fn set(&self) -> io::Result<()> {
        for (resource, limit) in self.limits {
            rustix::process::setrlimit(resource, limit)?;
        }
        rustix::process::nice(self.niceness)?;
        Ok(())
    }
}

/// A limit, never above what the caller itself is held to: only a superuser may raise that.
fn bound(resource: Resource, soft: u64, hard: u64) -> (Resource, Rlimit) {
    let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(ceiling)), maximum: Some(hard.min(ceiling)) };
    (resource, limit)
}

const SIGNALS: u64 = 64;
