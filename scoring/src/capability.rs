//! What a worker has, and how much of it is in use.
//!
//! These are a worker's own claims. What to believe is left to the callers, who bound the strings
//! and lists on receipt; nothing here or downstream relies on a claim being consistent.

use serde::{Deserialize, Serialize};

use crate::DeviceKind;

/// One device of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its name, for people.
    pub name: String,
    /// Its own memory, in MB; for a processor, the memory of the machine.
    pub memory_mb: u32,
}

/// What a worker offers when nothing runs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Processor cores.
    pub cores: u16,
    /// Main memory, in MB.
    pub memory_mb: u32,
    /// Disk space for jobs, in MB.
    pub disk_mb: u32,
    /// The devices it lends. A processor counts only if it is listed here too.
    pub devices: Vec<Device>,
    /// Jobs it runs at a time; 0 when it takes none.
    pub max_concurrent: u16,
    /// Benchmark of one core, in MFLOP/s.
    pub speed: u32,
    /// The strongest sandbox it can put a job in; 0 is none.
    pub sandbox_level: u8,
    /// The least it asks for a job, in credits.
    pub price: u64,
}

impl Capability {
    /// The devices of one kind.
    pub fn devices_of(&self, kind: DeviceKind) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(move |device| device.kind == kind)
    }

    /// The kinds it lends, each once, in the order of [`DeviceKind`].
    pub fn device_kinds(&self) -> Vec<DeviceKind> {
        DeviceKind::ALL.into_iter().filter(|kind| self.devices_of(*kind).next().is_some()).collect()
    }
}

/// What is in use on a worker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Jobs awarded to it and not finished.
    pub active: u16,
    /// Main memory not in use, in MB.
    pub memory_free_mb: u32,
    /// Disk space not in use, in MB.
    pub disk_free_mb: u32,
}

impl Load {
    /// The load of a worker on which nothing runs.
    pub fn idle(capability: &Capability) -> Self {
        Self { active: 0, memory_free_mb: capability.memory_mb, disk_free_mb: capability.disk_mb }
    }
}
