//! The reading of a data set as others see it: how far it is, whether it shall go on, and how much
//! of the disk it may take. Every pass over all values comes by here; what follows from a wish is
//! left to [`crate::train`].

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{DataError, storage};
use crate::frames::ReadSoFar;
use crate::train::Requests;

/// Reads that belong together, under the eyes of whoever waits for them.
pub(crate) struct Reading<'a> {
    requests: &'a Requests,
    told: &'a dyn Fn(ReadSoFar),
    began: Instant,
    reported: Cell<Instant>,
    between_reports: Duration,
    values: Cell<u64>,
    /// The clock is asked again at so many values.
    look_at: Cell<u64>,
    /// Bytes of memory that the process may have for which these data are looked at, where that is
    /// another.
    process: Option<u64>,
    /// Bytes that all temporary files may have, where somebody counts them.
    disk: Option<u64>,
    on_disk: Cell<u64>,
    /// Whether a digest of the features is wanted.
    summed: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(requests: &'a Requests, told: &'a dyn Fn(ReadSoFar)) -> Self {
        let now = Instant::now();
        Self {
            requests,
            told,
            began: now,
            reported: Cell::new(now),
            between_reports: BETWEEN_REPORTS,
            values: Cell::new(0),
            look_at: Cell::new(VALUES_BETWEEN_LOOKS),
            process: None,
            disk: None,
            on_disk: Cell::new(0),
            summed: false,
        }
    }

    /// With so many bytes for temporary files.
    pub(crate) fn with_disk(self, disk: Option<u64>) -> Self {
        Self { disk, ..self }
    }

    /// With a digest of the features, if it is `wanted`.
    pub(crate) fn with_sum(self, wanted: bool) -> Self {
        Self { summed: wanted, ..self }
    }

    /// Reads with nobody around who could have a wish, for a `process` that may have so many bytes
    /// of memory, or for this one.
    pub(crate) fn alone<T>(process: Option<u64>, read: impl FnOnce(&Reading<'_>) -> T) -> T {
        let requests = Requests::default();
        read(&Reading { process, ..Reading::new(&requests, &|_| {}) })
    }

    /// Whether another process than this is to work on these data.
    pub(super) fn is_for_another(&self) -> bool {
        self.process.is_some()
    }

    /// Bytes that features may take in the memory of the process that works on them.
    pub(super) fn memory_budget(&self) -> u64 {
        self.process.map_or_else(storage::memory_budget, storage::budget_of)
    }

    /// Notes that so many more values have been looked at.
    ///
    /// # Errors
    /// [`DataError::Stopped`] or [`DataError::Paused`] where that is asked for.
    pub(super) fn passed(&self, values: usize) -> Result<(), DataError> {
        if self.requests.is_stopped() {
            return Err(DataError::Stopped);
        }
        if self.requests.is_paused() {
            return Err(DataError::Paused);
        }
        let values = self.values.get().saturating_add(values as u64);
        self.values.set(values);
        if values >= self.look_at.get() {
            self.look_at.set(values.saturating_add(VALUES_BETWEEN_LOOKS));
            self.tell(values);
        }
        Ok(())
    }

    pub(super) fn is_summed(&self) -> bool {
        self.summed
    }

    /// Whether the folder of temporary files is looked at by somebody who counts.
    pub(super) fn is_counted(&self) -> bool {
        self.disk.is_some()
    }

    /// Notes that a temporary file for the rows of `file` takes so many more bytes.
    ///
    /// # Errors
    /// [`DataError::DiskUsedUp`] where these are too many.
    pub(super) fn takes_disk(&self, file: &str, bytes: u64) -> Result<(), DataError> {
        let on_disk = self.on_disk.get().saturating_add(bytes);
        if let Some(limit) = self.disk.filter(|limit| on_disk > *limit) {
            let limit_mb = limit / 1_000_000;
            return Err(DataError::DiskUsedUp { file: file.to_owned(), limit_mb });
        }
        self.on_disk.set(on_disk);
        Ok(())
    }

    fn tell(&self, values: u64) {
        if self.reported.get().elapsed() >= self.between_reports {
            self.reported.set(Instant::now());
            let elapsed_ms = self.began.elapsed().as_millis() as u64;
            (self.told)(ReadSoFar { values, elapsed_ms });
        }
    }
}

/// Small data are read before anybody asks what takes so long.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// Of single values, which pass by the million a second; blocks are larger.
const VALUES_BETWEEN_LOOKS: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::definition::Workload;
    use crate::plan::{CheckError, Prepared};

    #[test]
    fn those_who_wait_hear_how_far_it_is() {
        let requests = Requests::default();
        let heard = RefCell::new(Vec::new());
        let told = |so_far: ReadSoFar| heard.borrow_mut().push(so_far.values);
        let mut reading = Reading::new(&requests, &told);
        reading.between_reports = Duration::ZERO;
        for values in [1 << 15, 1 << 15, 1, 1 << 20] {
            reading.passed(values).unwrap();
        }
        requests.pause();
        assert!(matches!(reading.passed(1), Err(DataError::Paused)));
        requests.stop();
        assert!(matches!(reading.passed(1), Err(DataError::Stopped)), "a stop comes first");
        assert_eq!(*heard.borrow(), [1 << 16, (1 << 16) + 1 + (1 << 20)]);
    }

    /// That a wish which comes when so many values have been read ends the rest.
    #[track_caller]
    fn ends_at(values: u64, data: &str) {
        let folder = tempfile::tempdir().unwrap();
        let rows = (0..ROWS).map(|row| format!("{row},{},{}\n", row % 7, row % 2));
        let table = format!("a,b,kind\n{}", rows.collect::<String>());
        std::fs::write(folder.path().join("d.csv"), table).unwrap();
        let workload = Workload::from_json(&format!(
            r#"{{"model": {{"layers": [{{"type": "dense", "units": 2}}]}},
                "data": {{"source": "d.csv", "label": "kind", {data}}},
                "training": {{"epochs": 1, "batch_size": 8, "loss": "softmax_cross_entropy",
                              "optimizer": {{"type": "sgd", "learning_rate": 0.1}}}}}}"#
        ));
        let requests = Requests::default();
        let told = |so_far: ReadSoFar| {
            if so_far.values > values {
                requests.stop();
            }
        };
        let mut reading = Reading::new(&requests, &told);
        reading.between_reports = Duration::ZERO;
        let ended = Prepared::new(&workload.unwrap(), folder.path(), &reading);
        assert!(matches!(ended, Err(CheckError::Data(DataError::Stopped))), "{data}: {ended:?}");
        let read = reading.values.get();
        assert!((values..values + ALL / 2).contains(&read), "{data}: {read} of {ALL} a pass");
    }

    #[test]
    fn a_stop_is_heard_in_every_pass_over_the_rows() {
        ends_at(ALL / 4, r#""streaming": true"#);
        // The second pass measures, or fills gaps; the third measures again.
        for streaming in ["true", "false"] {
            let data = |more: &str| format!(r#"{more}, "streaming": {streaming}"#);
            ends_at(ALL, &data(r#""normalize": "min_max""#));
            ends_at(ALL, &data(r#""missing": "mean""#));
            ends_at(ALL, &data(r#""missing": "drop_row""#));
            ends_at(ALL, &data(r#""one_hot": ["b"]"#));
            ends_at(2 * ALL, &data(r#""normalize": "standard""#));
        }
    }

    /// Of two features.
    const ROWS: u64 = 400_000;
    const ALL: u64 = 2 * ROWS;
}
