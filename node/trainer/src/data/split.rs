//! Which rows train, which are watched, which are kept for the end. A function of the definition
//! and the number of rows alone. Rows of a table or of images are drawn by the seed; those of a
//! text keep their order, so that what is tested was never read.

use super::DataError;
use crate::definition::{DataSpec, TestSplit};
use crate::random::{Purpose, Stream};

/// Row indices, ascending in each part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) train: Vec<u32>,
    pub(crate) validation: Vec<u32>,
    pub(crate) test: Vec<u32>,
}

impl Split {
    pub(crate) fn new(spec: &DataSpec, seed: u64, rows: usize) -> Result<Self, DataError> {
        if let Some(text) = &spec.text {
            return Self::in_order(spec, rows, text.gap());
        }
        let all = 0..rows as u32;
        let (test, rest): (Vec<u32>, Vec<u32>) = match spec.test {
            None => (Vec::new(), all.collect()),
            Some(TestSplit::Every(every)) => all.partition(|index| index % every == 0),
            Some(TestSplit::Fraction(fraction)) => {
                draw(all.collect(), fraction, Stream::new(seed, Purpose::TestSplit))
            }
        };
        let stream = Stream::new(seed, Purpose::ValidationSplit);
        let (validation, train) = draw(rest, spec.validation, stream);
        Self { train, validation, test }.checked(spec, rows)
    }

    /// Rows that follow each other: the end is for testing, what is before it for validation.
    /// `gap` rows are left out between two parts, as they hold content of both.
    fn in_order(spec: &DataSpec, rows: usize, gap: usize) -> Result<Self, DataError> {
        let mut train: Vec<u32> = (0..rows as u32).collect();
        let test = match spec.test {
            None => Vec::new(),
            Some(TestSplit::Fraction(fraction)) => cut(&mut train, fraction, gap),
            Some(TestSplit::Every(every)) => {
                let all = std::mem::take(&mut train);
                let (test, rest) = all.into_iter().partition(|index| index % every == 0);
                train = rest;
                test
            }
        };
        let validation = cut(&mut train, spec.validation, gap);
        Self { train, validation, test }.checked(spec, rows)
    }

    fn checked(self, spec: &DataSpec, total: usize) -> Result<Self, DataError> {
        for (wanted, part, what) in [
            (spec.test.is_some(), &self.test, "testing"),
            (spec.validation > 0.0, &self.validation, "validation"),
            (true, &self.train, "training"),
        ] {
            if wanted && part.is_empty() {
                return Err(DataError::NoRowsLeft { total, what });
            }
        }
        Ok(self)
    }
}

/// Cuts `fraction` of the rows off the end, and drops the `gap` before them.
fn cut(rows: &mut Vec<u32>, fraction: f64, gap: usize) -> Vec<u32> {
    let count = ((rows.len() as f64 * fraction).round() as usize).min(rows.len());
    let part = rows.split_off(rows.len() - count);
    if !part.is_empty() {
        rows.truncate(rows.len().saturating_sub(gap));
    }
    part
}

/// Draws `fraction` of the rows, rounded to the nearest; gives drawn and left.
fn draw(mut rows: Vec<u32>, fraction: f64, mut stream: Stream) -> (Vec<u32>, Vec<u32>) {
    let count = ((rows.len() as f64 * fraction).round() as usize).min(rows.len());
    if count == 0 {
        return (Vec::new(), rows);
    }
    stream.shuffle(&mut rows);
    let mut left = rows.split_off(count);
    rows.sort_unstable();
    left.sort_unstable();
    (rows, left)
}
