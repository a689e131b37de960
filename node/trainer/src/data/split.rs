//! Which rows train, which are watched, which are kept for the end. A function of the definition
//! and the number of rows alone.

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
        let all = 0..rows as u32;
        let (test, rest): (Vec<u32>, Vec<u32>) = match spec.test {
            None => (Vec::new(), all.collect()),
            Some(TestSplit::Every(every)) => all.partition(|index| index % every == 0),
            Some(TestSplit::Fraction(fraction)) => {
                draw(all.collect(), fraction, Stream::new(seed, Purpose::TestSplit))
            }
        };
        if spec.test.is_some() && test.is_empty() {
            return Err(DataError::NoRowsLeft { total: rows, what: "testing" });
        }
        let stream = Stream::new(seed, Purpose::ValidationSplit);
        let (validation, train) = draw(rest, spec.validation, stream);
        if spec.validation > 0.0 && validation.is_empty() {
            return Err(DataError::NoRowsLeft { total: rows, what: "validation" });
        }
        if train.is_empty() {
            return Err(DataError::NoRowsLeft { total: rows, what: "training" });
        }
        Ok(Self { train, validation, test })
    }
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
