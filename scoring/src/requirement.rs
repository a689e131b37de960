//! What a job asks of the worker that runs it.
//!
//! Whether a worker has it is left to `eligibility`; how well it has it, to `score`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Permille;

/// The kind of device a job computes on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum DeviceKind {
    /// The processor of the machine.
    #[default]
    Cpu,
    /// A CUDA accelerator.
    Cuda,
    /// An OpenCL accelerator.
    OpenCl,
    /// A oneAPI accelerator.
    OneApi,
    /// A Metal accelerator.
    Metal,
}

impl DeviceKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cuda, Self::OpenCl, Self::OneApi, Self::Metal];

    /// The kind in one lower-case word, as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::OpenCl => "opencl",
            Self::OneApi => "oneapi",
            Self::Metal => "metal",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeviceKind {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownDevice { name: name.to_owned() })
    }
}

/// A name that is no device kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown device {name:?}, give one of cpu, cuda, opencl, oneapi, metal")]
pub struct UnknownDevice {
    /// The name given.
    pub name: String,
}

/// What a job asks for. The default asks for a processor and nothing more, at any price.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirements {
    /// The kind of device it computes on.
    pub device: DeviceKind,
    /// Main memory, in MB. A worker must have a tenth more than this.
    pub memory_mb: u32,
    /// Memory of one device of the kind asked for, in MB; 0 when it does not matter.
    pub device_memory_mb: u32,
    /// Disk space, in MB.
    pub disk_mb: u32,
    /// Processor cores.
    pub cores: u16,
    /// The most the submitter pays for the job, in credits. 0 admits only free offers,
    /// [`Requirements::ANY_PRICE`] every offer.
    pub max_price: u64,
    /// The lowest reputation it trusts.
    pub min_reputation: Permille,
    /// The lowest sandbox level it may run under; 0 is no sandbox.
    pub min_sandbox_level: u8,
}

impl Requirements {
    /// The `max_price` of a job that sets no limit.
    pub const ANY_PRICE: u64 = u64::MAX;

    /// The most the submitter pays, in credits, or `None` when it set no limit.
    pub const fn price_limit(&self) -> Option<u64> {
        if self.max_price == Self::ANY_PRICE { None } else { Some(self.max_price) }
    }

    /// The main memory that must be free before the job starts, in MB: a tenth more than asked,
    /// rounded up, because estimates err low and a worker out of memory loses the whole attempt.
    pub fn memory_with_reserve_mb(&self) -> u64 {
        (u64::from(self.memory_mb) * 11).div_ceil(10)
    }
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            device: DeviceKind::Cpu,
            memory_mb: 0,
            device_memory_mb: 0,
            disk_mb: 0,
            cores: 0,
            max_price: Self::ANY_PRICE,
            min_reputation: Permille::ZERO,
            min_sandbox_level: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in DeviceKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let refusal = "CUDA".parse::<DeviceKind>().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "unknown device \"CUDA\", give one of cpu, cuda, opencl, oneapi, metal"
        );
    }

    #[test]
    fn reserve_is_a_tenth_rounded_up() {
        for (memory_mb, expected) in [(0, 0), (1, 2), (10, 11), (8000, 8800)] {
            let requirements = Requirements { memory_mb, ..Requirements::default() };
            assert_eq!(requirements.memory_with_reserve_mb(), expected);
        }
    }
}
