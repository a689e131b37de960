//! Which epoch was the best so far, and whether it is long enough ago to stop.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definition::EarlyStoppingSpec;
use crate::metrics::Watched;

/// The state of early stopping. Part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stopping {
    best: Option<f64>,
    /// 0 before the first epoch.
    best_epoch: u32,
    /// All metrics of the best epoch.
    metrics: BTreeMap<String, f64>,
}

impl Stopping {
    /// Hears the metrics of an epoch; tells whether it is the best so far. A metric that is not
    /// there, as an R² that is undefined, is no improvement.
    pub(super) fn epoch_end(
        &mut self,
        spec: &EarlyStoppingSpec,
        epoch: u32,
        metrics: &BTreeMap<String, f64>,
    ) -> bool {
        let value = metrics.get(&spec.metric).copied();
        let better = match (value, self.best) {
            (None, _) => self.best_epoch == 0,
            (Some(_), None) => true,
            (Some(value), Some(best)) => match Watched::of(&spec.metric) {
                Watched::Falling => value < best - spec.min_delta,
                Watched::Rising => value > best + spec.min_delta,
            },
        };
        if better {
            self.best = value;
            self.best_epoch = epoch;
            self.metrics.clone_from(metrics);
        }
        better
    }

    /// Whether patience is at its end after `epoch`.
    pub(super) fn is_over(&self, spec: &EarlyStoppingSpec, epoch: u32) -> bool {
        epoch - self.best_epoch >= spec.patience
    }

    pub(super) fn best_epoch(&self) -> u32 {
        self.best_epoch
    }

    pub(super) fn metrics(&self) -> &BTreeMap<String, f64> {
        &self.metrics
    }

    /// Whether this can be the state of a run that goes on after `epoch`.
    pub(super) fn is_of(&self, spec: &EarlyStoppingSpec, epoch: u32) -> bool {
        match epoch {
            0 => *self == Self::default(),
            _ => (1..=epoch).contains(&self.best_epoch) && !self.is_over(spec, epoch),
        }
    }
}
