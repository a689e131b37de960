//! When the observer hears of progress, and the numbers that come from the clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::definition::Workload;
use crate::frames::Progress;
use crate::metrics::Tally;
use crate::plan::Plan;

/// Often enough for a live curve, rare enough to cost nothing.
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);

pub(super) struct Reporter {
    began: Instant,
    reported: Instant,
    epochs: u32,
    batches: u32,
    /// Of the last step.
    learning_rate: f64,
    samples: u64,
    /// Of [`Self::samples`], those of the attempt that left the checkpoint.
    samples_resumed: u64,
    samples_in_all: u64,
    /// Of the validation, at the end of the last epoch; told until the next.
    validation: BTreeMap<String, f64>,
}

impl Reporter {
    /// For a run of which so many epochs are done, and so many batches of the next.
    pub(super) fn new(workload: &Workload, plan: &Plan, epochs_done: u32, batches: u32) -> Self {
        let now = Instant::now();
        let begun = u64::from(batches) * u64::from(workload.training.batch_size);
        let samples = plan.train_rows * u64::from(epochs_done) + begun;
        let epochs = workload.training.epochs;
        Self {
            began: now,
            reported: now,
            epochs,
            batches: plan.batches_per_epoch,
            learning_rate: workload.training.optimizer.learning_rate(),
            samples,
            samples_resumed: samples,
            samples_in_all: plan.train_rows * u64::from(epochs),
            validation: BTreeMap::new(),
        }
    }

    /// Counts a batch; gives a report if the last is long enough ago. The epoch's last batch is
    /// left to [`Self::epoch_end`].
    pub(super) fn batch_end(
        &mut self,
        epoch: u32,
        batch: u32,
        rows: usize,
        learning_rate: f64,
        tally: &Tally,
    ) -> Option<Progress> {
        self.samples += rows as u64;
        self.learning_rate = learning_rate;
        if batch == self.batches || self.reported.elapsed() < BETWEEN_REPORTS {
            return None;
        }
        let mut metrics = self.validation.clone();
        tally.write("", &mut metrics);
        Some(self.report(epoch, batch, metrics))
    }

    pub(super) fn epoch_end(&mut self, epoch: u32, metrics: BTreeMap<String, f64>) -> Progress {
        let of_validation = metrics.iter().filter(|(name, _)| name.starts_with("val_"));
        self.validation = of_validation.map(|(name, value)| (name.clone(), *value)).collect();
        self.report(epoch, self.batches, metrics)
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn report(&mut self, epoch: u32, batch: u32, metrics: BTreeMap<String, f64>) -> Progress {
        self.reported = Instant::now();
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let samples_per_second = (self.samples - self.samples_resumed) as f64 / seconds;
        let left = self.samples_in_all - self.samples;
        Progress {
            epoch,
            epochs: self.epochs,
            batch,
            batches: self.batches,
            metrics,
            learning_rate: self.learning_rate,
            samples_processed: self.samples,
            samples_per_second,
            elapsed_ms: self.elapsed_ms(),
            eta_ms: Some((left as f64 / samples_per_second * 1000.0) as u64),
            memory_bytes: resident_bytes(),
        }
    }
}

/// What Linux says this process has in memory.
pub(crate) fn resident_bytes() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
