//! Which engine a process computes with, as the node tells it.

use std::path::PathBuf;

use cyxwiz_arrayfire::Backend;

/// What a process computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// The embedded engine.
    Cpu,
    ArrayFire(ArrayFireChoice),
}

/// A device of ArrayFire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayFireChoice {
    pub backend: Backend,
    /// Counted from 0.
    pub device: u16,
    /// The library's file; without one it is looked for where libraries lie.
    pub library: Option<PathBuf>,
}

impl EngineChoice {
    /// Whether it uses a GPU's driver.
    #[must_use]
    pub fn uses_driver(&self) -> bool {
        match self {
            Self::Cpu => false,
            Self::ArrayFire(choice) => match choice.backend {
                Backend::Cuda | Backend::OpenCl => true,
                Backend::Cpu => false,
            },
        }
    }
}
