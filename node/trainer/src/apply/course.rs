//! How far the rows are, for whoever watches; and whether to go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::frames::{Paused, Progress};
use crate::plan::Applied;
use crate::train::{Event, Request, Requests, TrainError, resident_bytes};

/// Often enough for a live view, rare enough to cost nothing.
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);

pub(super) struct Course<'a> {
    observer: &'a mut dyn FnMut(Event),
    requests: &'a Requests,
    began: Instant,
    reported: Instant,
    rows: usize,
    batch: usize,
    batches: u32,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        applied: &Applied,
        observer: &'a mut dyn FnMut(Event),
        requests: &'a Requests,
    ) -> Self {
        let now = Instant::now();
        Self {
            observer,
            requests,
            began: now,
            reported: now,
            rows: applied.data.rows,
            batch: applied.batch,
            batches: applied.plan.batches_per_epoch,
        }
    }

    /// Notes that so many rows are done; an error where it is time to stop.
    pub(super) fn passed(&mut self, done: usize) -> Result<(), TrainError> {
        if done == self.rows || self.reported.elapsed() >= BETWEEN_REPORTS {
            self.reported = Instant::now();
            let progress = self.progress(done);
            (self.observer)(Event::Progress(progress));
        }
        if done == self.rows {
            return Ok(());
        }
        match self.requests.next() {
            Some(Request::Stop) => Err(TrainError::StoppedAt { rows: done as u64 }),
            // What goes on later begins at the beginning.
            Some(Request::Pause) => Err(TrainError::Paused(Paused { epoch: 0, batch: 0 })),
            Some(Request::Checkpoint) | None => Ok(()),
        }
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn progress(&self, done: usize) -> Progress {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let samples_per_second = done as f64 / seconds;
        let left = (self.rows - done) as f64;
        Progress {
            epoch: 1,
            epochs: 1,
            batch: (done.div_ceil(self.batch) as u32).min(self.batches),
            batches: self.batches,
            metrics: BTreeMap::new(),
            learning_rate: 0.0,
            samples_processed: done as u64,
            samples_per_second,
            elapsed_ms: self.elapsed_ms(),
            eta_ms: Some((left / samples_per_second * 1000.0) as u64),
            memory_bytes: resident_bytes(),
        }
    }
}
