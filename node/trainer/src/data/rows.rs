//! The features of a data set, wherever they lie: row by row in memory, or in a file that is read
//! where a row is needed. Both give the same numbers, encoded and scaled as they are asked for, so
//! that a data set larger than memory is trained on as any other. Who decides where they lie is
//! [`super::storage`].

mod stored;
mod window;

use std::sync::Arc;

use super::encoding::Encoder;
use super::scaling::Scaling;
use super::sum::ValuesDigest;
use super::{DataError, Reading, storage};
use crate::definition::{DataSpec, Format, Streaming};
pub(super) use stored::{OnDisk, Stored, Values};
pub(crate) use window::Window;

/// Where the features of a data set are while they are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Whether they are read from disk as they are needed.
    pub(crate) streamed: bool,
    /// Of memory, at the most.
    pub(crate) bytes: u64,
}

/// Rows of features, each of as many values.
#[derive(Debug)]
pub(crate) struct Features {
    stored: Arc<Stored>,
    /// Values of a row as it is stored.
    width: usize,
    /// Values from the beginning of a stored row to that of the next: fewer than it has, where
    /// rows are windows that overlap.
    stride: usize,
    rows: usize,
    /// Which of the stored rows they are; nothing where they are all.
    kept: Option<Vec<u32>>,
    encoder: Option<Encoder>,
    scaling: Option<Scaling>,
}

impl Features {
    pub(super) fn new(stored: Stored, width: usize, rows: usize) -> Self {
        Self::windows(stored, width, width, rows)
    }

    /// Rows of `width` values, each beginning `stride` values behind the one before.
    pub(super) fn windows(stored: Stored, width: usize, stride: usize, rows: usize) -> Self {
        let stored = Arc::new(stored);
        Self { stored, width, stride, rows, kept: None, encoder: None, scaling: None }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row as it is stored.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Values of a row as a model sees it.
    pub(crate) fn columns(&self) -> usize {
        self.encoder.as_ref().map_or(self.width, Encoder::width)
    }

    pub(crate) fn on_disk(&self) -> bool {
        self.stored.on_disk()
    }

    /// What the rows take in the process that `reading` is for, in batches of so many.
    pub(crate) fn place(&self, spec: &DataSpec, batch: u64, reading: &Reading<'_>) -> Place {
        let (values, budget) = (self.stored.values(), reading.memory_budget());
        let all = 4 * values;
        let streamed = match reading.is_for_another() {
            true => storage::is_streamed(spec.streaming, values, budget),
            false => self.on_disk(),
        };
        if !streamed {
            return Place { streamed, bytes: all };
        }
        // Whoever does not know how many there are begins in memory.
        let counted = Format::of(&spec.source) != Some(Format::Csv);
        let begun = match spec.streaming {
            Streaming::Auto if !counted => all.min(budget),
            Streaming::Auto | Streaming::Always | Streaming::Never => 0,
        };
        let ahead = all.min(window::bytes(budget)).max(4 * batch * self.width as u64);
        Place { streamed, bytes: begun.max(2 * ahead) }
    }

    /// Bytes that the rows take as they are stored.
    pub(crate) fn bytes(&self) -> u64 {
        4 * self.stored.values()
    }

    /// Leaves out the rows without a flag.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        assert!(self.kept.is_none() && keep.len() == self.rows, "one flag a row, once");
        let kept = (0..).zip(keep).filter_map(|(row, keep)| keep.then_some(row));
        let kept: Vec<u32> = kept.collect();
        self.rows = kept.len();
        self.kept = Some(kept);
    }

    pub(super) fn encode_by(&mut self, encoder: Encoder) {
        self.encoder = Some(encoder);
    }

    pub(crate) fn scale_by(&mut self, scaling: Scaling) {
        self.scaling = Some(scaling);
    }

    /// Calls `visit` with the number and the values of some rows, in ascending order, as they are
    /// stored.
    pub(super) fn each_stored<E: From<DataError>>(
        &self,
        reading: &Reading<'_>,
        rows: impl Iterator<Item = u32>,
        mut visit: impl FnMut(u32, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let at_once = (BLOCK_VALUES / self.width).max(1);
        let mut rows = rows.peekable();
        let (mut numbers, mut values) = (Vec::with_capacity(at_once), Vec::new());
        while rows.peek().is_some() {
            numbers.clear();
            numbers.extend(rows.by_ref().take(at_once));
            values.clear();
            self.append(&numbers, &mut values)?;
            reading.passed(values.len())?;
            for (number, row) in numbers.iter().zip(values.chunks_exact(self.width)) {
                visit(*number, row)?;
            }
        }
        Ok(())
    }

    /// As [`Self::each_stored`], with rows as a model sees them, but not scaled.
    pub(crate) fn each<E: From<DataError>>(
        &self,
        reading: &Reading<'_>,
        rows: impl Iterator<Item = u32>,
        mut visit: impl FnMut(u32, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut encoded = Vec::new();
        self.each_stored(reading, rows, |number, row| match &self.encoder {
            None => visit(number, row),
            Some(encoder) => {
                encoded.clear();
                encoder.append(row, &mut encoded);
                visit(number, &encoded)
            }
        })
    }

    /// Of all values as they are stored, in order.
    pub(crate) fn digest(&self) -> ValuesDigest {
        self.stored.digest.expect("it was wanted by whoever has them read for checkpoints")
    }

    /// Appends rows as a model sees them, scaled, in the order in which they are named. Those that
    /// `window` holds are taken from there.
    pub(crate) fn gather(
        &self,
        rows: &[u32],
        window: &Window,
        batch: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        let begin = batch.len();
        match &self.encoder {
            None => self.take(rows, window, batch)?,
            Some(encoder) => {
                let mut stored = Vec::with_capacity(rows.len() * self.width);
                self.take(rows, window, &mut stored)?;
                stored.chunks_exact(self.width).for_each(|row| encoder.append(row, batch));
            }
        }
        if let Some(scaling) = &self.scaling {
            scaling.apply(&mut batch[begin..]);
        }
        Ok(())
    }

    /// Appends rows as they are stored, from `window` if they are there.
    fn take(&self, rows: &[u32], window: &Window, out: &mut Vec<f32>) -> Result<(), DataError> {
        let begin = out.len();
        for &row in rows {
            let Some(values) = window.row(row, self.width) else {
                out.truncate(begin);
                return self.append(rows, out);
            };
            out.extend_from_slice(values);
        }
        Ok(())
    }

    /// Appends rows as they are stored.
    fn append(&self, rows: &[u32], out: &mut Vec<f32>) -> Result<(), DataError> {
        match self.stored.slice() {
            Some(values) => {
                let rows = self.spans(rows);
                rows.for_each(|Span { first, count }| {
                    out.extend_from_slice(&values[first as usize..][..count]);
                });
                Ok(())
            }
            None => {
                let spans: Vec<Span> = self.spans(rows).collect();
                self.stored.append(&spans, out)
            }
        }
    }

    /// Where rows are stored.
    fn spans(&self, rows: &[u32]) -> impl Iterator<Item = Span> {
        rows.iter().map(|&row| {
            let place = self.kept.as_ref().map_or(row, |kept| kept[row as usize]);
            Span { first: u64::from(place) * self.stride as u64, count: self.width }
        })
    }
}

/// Values that lie one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Values before them.
    first: u64,
    count: usize,
}

/// Values that are looked at together: 1 MiB.
const BLOCK_VALUES: usize = 1 << 18;
