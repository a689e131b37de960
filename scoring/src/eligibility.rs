//! May this worker run this job: the hard filter, with a reason for every refusal.
//!
//! All reasons are collected, not the first alone, so that a person who lifts one obstacle is not
//! shown the next only then. How well an eligible worker would do is left to `score`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Capability, DeviceKind, Load, Permille, Requirements};

/// Why a worker may not run a job. Shown as the end of a sentence that begins with the worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ineligible {
    /// It lends no device of the kind.
    Device { wanted: DeviceKind, offered: Vec<DeviceKind> },
    /// It has too few processor cores.
    Cores { needed: u16, offered: u16 },
    /// It has too little main memory, in use or not.
    Memory { needed_mb: u32, offered_mb: u32 },
    /// No device of the kind has enough memory of its own; `offered_mb` is the largest.
    DeviceMemory { needed_mb: u32, offered_mb: u32 },
    /// It has too little disk space, in use or not.
    Disk { needed_mb: u32, offered_mb: u32 },
    /// It asks for more credits than the job pays.
    Price { max: u64, asked: u64 },
    /// It is trusted too little.
    Reputation { needed: Permille, has: Permille },
    /// It cannot confine the job well enough.
    Sandbox { needed: u8, offered: u8 },
    /// The job excludes it, usually after a failed attempt.
    Excluded,
    /// It runs as many jobs as it takes.
    Busy { active: u16, max: u16 },
    /// Enough main memory, but too much of it in use.
    MemoryInUse { needed_mb: u32, free_mb: u32 },
    /// Enough disk space, but too much of it in use.
    DiskInUse { needed_mb: u32, free_mb: u32 },
}

impl Ineligible {
    /// Whether waiting for the worker to become free leaves the obstacle in place.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Device { .. }
            | Self::Cores { .. }
            | Self::Memory { .. }
            | Self::DeviceMemory { .. }
            | Self::Disk { .. }
            | Self::Price { .. }
            | Self::Reputation { .. }
            | Self::Sandbox { .. }
            | Self::Excluded => true,
            Self::Busy { max, .. } => *max == 0,
            Self::MemoryInUse { .. } | Self::DiskInUse { .. } => false,
        }
    }
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { wanted, offered } if offered.is_empty() => {
                write!(f, "needs a {wanted} device, offers none")
            }
            Self::Device { wanted, offered } => {
                let offered: Vec<_> = offered.iter().map(|kind| kind.as_str()).collect();
                write!(f, "needs a {wanted} device, offers {}", offered.join(", "))
            }
            Self::Cores { needed, offered } => {
                write!(f, "needs {needed} processor cores, has {offered}")
            }
            Self::Memory { needed_mb, offered_mb } => {
                needs_memory(f, *needed_mb, *offered_mb)?;
                write!(f, ", has {offered_mb} MB")
            }
            Self::DeviceMemory { needed_mb, offered_mb } => {
                write!(f, "needs {needed_mb} MB of device memory, has {offered_mb} MB")
            }
            Self::Disk { needed_mb, offered_mb } => {
                write!(f, "needs {needed_mb} MB of disk space, has {offered_mb} MB")
            }
            Self::Price { max, asked } => {
                write!(f, "asks {asked} credits, the job pays at most {max}")
            }
            Self::Reputation { needed, has } => {
                write!(f, "needs a reputation of {needed}, has {has}")
            }
            Self::Sandbox { needed, offered } => {
                write!(f, "needs sandbox level {needed}, offers level {offered}")
            }
            Self::Excluded => f.write_str("is excluded from this job"),
            Self::Busy { max: 0, .. } => f.write_str("takes no jobs"),
            Self::Busy { active, max } => write!(f, "is busy with {active} of {max} jobs"),
            Self::MemoryInUse { needed_mb, free_mb } => {
                needs_memory(f, *needed_mb, *free_mb)?;
                write!(f, ", has {free_mb} MB free")
            }
            Self::DiskInUse { needed_mb, free_mb } => {
                write!(f, "needs {needed_mb} MB of disk space, has {free_mb} MB free")
            }
        }
    }
}

/// Whether the worker could run the job if nothing else ran on it.
///
/// # Errors
///
/// Every obstacle that waiting does not remove, at least one.
pub fn could_ever_run(
    requirements: &Requirements,
    capability: &Capability,
    reputation: Permille,
) -> Result<(), Vec<Ineligible>> {
    let mut reasons = Vec::new();
    lasting(requirements, capability, reputation, capability.price, &mut reasons);
    if capability.max_concurrent == 0 {
        reasons.push(Ineligible::Busy { active: 0, max: 0 });
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Whether the worker can start the job at once, beside what already runs on it.
///
/// # Errors
///
/// Every obstacle, at least one. What the worker lacks altogether is not named a second time as
/// in use.
pub fn can_run_now(
    requirements: &Requirements,
    capability: &Capability,
    load: &Load,
    reputation: Permille,
) -> Result<(), Vec<Ineligible>> {
    let reasons = obstacles(requirements, capability, load, reputation, capability.price);
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Every obstacle to starting at once at the price `asked`, none when there is none.
pub(crate) fn obstacles(
    requirements: &Requirements,
    capability: &Capability,
    load: &Load,
    reputation: Permille,
    asked: u64,
) -> Vec<Ineligible> {
    let mut reasons = Vec::new();
    lasting(requirements, capability, reputation, asked, &mut reasons);

    if load.active >= capability.max_concurrent {
        reasons.push(Ineligible::Busy { active: load.active, max: capability.max_concurrent });
    }
    let reserve_mb = requirements.memory_with_reserve_mb();
    let free_mb = load.memory_free_mb;
    if u64::from(capability.memory_mb) >= reserve_mb && u64::from(free_mb) < reserve_mb {
        reasons.push(Ineligible::MemoryInUse { needed_mb: requirements.memory_mb, free_mb });
    }
    let needed_mb = requirements.disk_mb;
    let free_mb = load.disk_free_mb;
    if capability.disk_mb >= needed_mb && free_mb < needed_mb {
        reasons.push(Ineligible::DiskInUse { needed_mb, free_mb });
    }
    reasons
}

fn lasting(
    requirements: &Requirements,
    capability: &Capability,
    reputation: Permille,
    asked: u64,
    reasons: &mut Vec<Ineligible>,
) {
    let wanted = requirements.device;
    match capability.devices_of(wanted).map(|device| device.memory_mb).max() {
        None => reasons.push(Ineligible::Device { wanted, offered: capability.device_kinds() }),
        Some(offered_mb) if offered_mb < requirements.device_memory_mb => {
            let needed_mb = requirements.device_memory_mb;
            reasons.push(Ineligible::DeviceMemory { needed_mb, offered_mb });
        }
        Some(_) => {}
    }
    if capability.cores < requirements.cores {
        let (needed, offered) = (requirements.cores, capability.cores);
        reasons.push(Ineligible::Cores { needed, offered });
    }
    if u64::from(capability.memory_mb) < requirements.memory_with_reserve_mb() {
        let (needed_mb, offered_mb) = (requirements.memory_mb, capability.memory_mb);
        reasons.push(Ineligible::Memory { needed_mb, offered_mb });
    }
    if capability.disk_mb < requirements.disk_mb {
        let (needed_mb, offered_mb) = (requirements.disk_mb, capability.disk_mb);
        reasons.push(Ineligible::Disk { needed_mb, offered_mb });
    }
    if asked > requirements.max_price {
        reasons.push(Ineligible::Price { max: requirements.max_price, asked });
    }
    if reputation < requirements.min_reputation {
        let needed = requirements.min_reputation;
        reasons.push(Ineligible::Reputation { needed, has: reputation });
    }
    if capability.sandbox_level < requirements.min_sandbox_level {
        let (needed, offered) = (requirements.min_sandbox_level, capability.sandbox_level);
        reasons.push(Ineligible::Sandbox { needed, offered });
    }
}

/// The reserve is named only where it decides: to a person, "needs 8000 MB, has 8000 MB" is a bug.
fn needs_memory(f: &mut fmt::Formatter<'_>, needed_mb: u32, has_mb: u32) -> fmt::Result {
    write!(f, "needs {needed_mb} MB of memory")?;
    if has_mb >= needed_mb {
        write!(f, " and {} MB to spare", needed_mb.div_ceil(10))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
