//! The learning rate of each step. All but a plateau's is a function of the step's number, so
//! that nothing of it needs to be kept; what a plateau keeps is part of a checkpoint.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::definition::{ScheduleSpec, TrainingSpec, WarmupSpec};
use crate::metrics::Watched;

/// The schedule of one run.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    spec: ScheduleSpec,
    /// The optimizer's.
    rate: f64,
    batches_per_epoch: u64,
    steps: u64,
    warmup_steps: u64,
    start_factor: f64,
    plateau: Option<Plateau>,
}

/// What a plateau is known by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plateau {
    rate: f64,
    best: Option<f64>,
    bad_epochs: u32,
}

impl Schedule {
    pub(crate) fn new(training: &TrainingSpec, batches_per_epoch: u32) -> Self {
        let batches = u64::from(batches_per_epoch);
        let rate = training.optimizer.learning_rate();
        let (warmup_steps, start_factor) = match &training.warmup {
            Some(WarmupSpec { steps, epochs, start_factor }) => {
                let steps = steps.map_or(0, u64::from);
                (steps + epochs.map_or(0, |epochs| u64::from(epochs) * batches), *start_factor)
            }
            None => (0, 1.0),
        };
        let plateau = match training.schedule {
            ScheduleSpec::ReduceOnPlateau { .. } => {
                Some(Plateau { rate, best: None, bad_epochs: 0 })
            }
            ScheduleSpec::Constant
            | ScheduleSpec::Step { .. }
            | ScheduleSpec::Exponential { .. }
            | ScheduleSpec::Cosine { .. }
            | ScheduleSpec::OneCycle { .. } => None,
        };
        Self {
            spec: training.schedule.clone(),
            rate,
            batches_per_epoch: batches,
            steps: u64::from(training.epochs) * batches,
            warmup_steps,
            start_factor,
            plateau,
        }
    }

    /// The rate of the step after `done` others.
    pub(crate) fn rate(&self, done: u64) -> f64 {
        if done < self.warmup_steps {
            let part = done as f64 / self.warmup_steps as f64;
            return self.after_warmup(0) * (self.start_factor + (1.0 - self.start_factor) * part);
        }
        self.after_warmup(done - self.warmup_steps)
    }

    /// Hears the metrics of an epoch; gives the new rate if there is one.
    pub(crate) fn epoch_end(&mut self, metrics: &BTreeMap<String, f64>) -> Option<f64> {
        let (plateau, spec) = (self.plateau.as_mut()?, &self.spec);
        let ScheduleSpec::ReduceOnPlateau { metric, factor, patience, min, threshold } = spec
        else {
            unreachable!("only this schedule has a plateau")
        };
        let value = *metrics.get(metric)?;
        let better = plateau.best.is_none_or(|best| match Watched::of(metric) {
            Watched::Falling => value < best * (1.0 - threshold),
            Watched::Rising => value > best * (1.0 + threshold),
        });
        if better {
            plateau.best = Some(value);
            plateau.bad_epochs = 0;
            return None;
        }
        plateau.bad_epochs += 1;
        if plateau.bad_epochs <= *patience {
            return None;
        }
        plateau.bad_epochs = 0;
        let next = (plateau.rate * factor).max(*min);
        // As PyTorch's `eps`: steps too small to matter are not taken.
        if plateau.rate - next <= 1e-8 {
            return None;
        }
        plateau.rate = next;
        Some(next)
    }

    pub(crate) fn plateau(&self) -> Option<&Plateau> {
        self.plateau.as_ref()
    }

    /// Puts back what a checkpoint kept; tells whether that can be of this schedule.
    pub(crate) fn resume(&mut self, kept: Option<Plateau>) -> bool {
        let fits = match (&self.plateau, &kept) {
            (None, None) => true,
            (Some(_), Some(kept)) => kept.rate > 0.0 && kept.rate <= self.rate,
            (None, Some(_)) | (Some(_), None) => false,
        };
        self.plateau = kept;
        fits
    }

    fn after_warmup(&self, done: u64) -> f64 {
        let epoch = done / self.batches_per_epoch;
        let steps = self.steps.saturating_sub(self.warmup_steps);
        match self.spec {
            ScheduleSpec::Constant => self.rate,
            ScheduleSpec::Step { every_epochs, factor } => {
                self.rate * libm::pow(factor, (epoch / u64::from(every_epochs)) as f64)
            }
            ScheduleSpec::Exponential { factor } => self.rate * libm::pow(factor, epoch as f64),
            ScheduleSpec::Cosine { last } => {
                let epochs = steps.div_ceil(self.batches_per_epoch).max(1);
                between(self.rate, last, epoch as f64 / epochs as f64)
            }
            ScheduleSpec::OneCycle { max, pct_start, div_factor, final_div_factor } => {
                let max = max.unwrap_or(self.rate);
                let first = max / div_factor;
                // As `OneCycleLR` counts: the rise ends at this step, the fall at the last.
                let (top, end) = (pct_start * steps as f64 - 1.0, steps as f64 - 1.0);
                let done = done as f64;
                if done <= top {
                    between(first, max, if top > 0.0 { done / top } else { 1.0 })
                } else {
                    let part = if end > top { (done - top) / (end - top) } else { 1.0 };
                    between(max, first / final_div_factor, part)
                }
            }
            ScheduleSpec::ReduceOnPlateau { .. } => {
                self.plateau.as_ref().map_or(self.rate, |plateau| plateau.rate)
            }
        }
    }
}

/// From one rate to another along half a cosine; `part` of the way is done.
fn between(from: f64, to: f64, part: f64) -> f64 {
    // From libm: the host's cosine may differ in the last bit.
    to + (from - to) * 0.5 * (1.0 + libm::cos(PI * part))
}
