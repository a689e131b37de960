//! Systems without walls of this kind: everything is reported as missing, and whoever asks for the
//! whole cage is refused.

use std::io;

use crate::{ApplyError, Layer, Policy, PrepareError, Report, SealError, Strength};

/// A cage without walls.
#[derive(Debug)]
pub struct Cage {
    report: Report,
}

impl Policy {
    /// # Errors
    /// Whenever the policy asks for the whole.
    pub fn prepare(&self) -> Result<Cage, PrepareError> {
        match self.strength {
            Strength::Whole => {
                Err(PrepareError::Missing { layer: Layer::Files, why: WHY.to_owned() })
            }
            Strength::WhatThereIs | Strength::LimitsOnly => Ok(Cage { report: probe() }),
        }
    }
}

impl Cage {
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// # Errors
    /// Never, here.
    pub fn enter(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// # Errors
/// Whenever the policy asks for the whole.
pub fn apply(policy: &Policy) -> Result<Report, ApplyError> {
    Ok(policy.prepare()?.report)
}

/// # Errors
/// Always, here.
pub fn seal() -> Result<(), SealError> {
    Err(SealError::Unsupported(probe()))
}

#[must_use]
pub fn probe() -> Report {
    let mut report = Report::default();
    for layer in Layer::ALL {
        report.lacks(layer, WHY);
    }
    report
}

const WHY: &str = "only Linux has it; on this system jobs run with the rights of the node";
