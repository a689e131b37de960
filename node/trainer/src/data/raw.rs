//! Rows as a file holds them: numbers, gaps, and texts by number. What fills the gaps and stands
//! for the texts is learnt from the training rows in [`super::encoding`].

use super::encoding::{self, Encoding, Known};
use super::labels::Classes;
use super::names::Names;
use super::rows::Features;
use super::{DataError, Dataset, Reading, Targets};
use crate::definition::{DataSpec, Missing};

/// A data set that has been read, but not encoded.
#[derive(Debug)]
pub(crate) struct Raw {
    /// As messages call the source.
    pub(super) file: String,
    /// As messages call where the targets come from.
    pub(super) label_file: String,
    /// Of a row.
    pub(super) shape: Vec<usize>,
    /// NaN where there is no value; the number of a text in a column of texts.
    pub(super) features: Features,
    /// Empty where all are numbers without names.
    pub(super) columns: Vec<RawColumn>,
    /// Where the format itself settles it.
    pub(super) encoding: Option<Encoding>,
    pub(super) targets: RawTargets,
    /// What each row is called; empty where that is not said, or not asked for.
    pub(super) ids: Names,
}

/// A column of a table.
#[derive(Debug)]
pub(super) enum RawColumn {
    Number {
        name: String,
    },
    /// Texts with their numbers, in the order that their features shall have.
    Texts {
        name: String,
        texts: Vec<(String, u32)>,
    },
}

impl RawColumn {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Number { name } | Self::Texts { name, .. } => name,
        }
    }
}

/// Targets of which some may be missing.
#[derive(Debug)]
pub(super) enum RawTargets {
    Classes(Classes),
    /// NaN where there is no value.
    Values {
        values: Vec<f32>,
        names: Vec<String>,
    },
    /// As in [`Targets::Positions`].
    Positions {
        ids: Vec<u32>,
        positions: usize,
        stride: usize,
        names: Vec<String>,
    },
}

impl Raw {
    pub(crate) fn rows(&self) -> usize {
        self.features.rows()
    }

    /// Leaves out the rows that lack a value, if that is the policy.
    pub(super) fn drop_rows(
        &mut self,
        spec: &DataSpec,
        reading: &Reading<'_>,
    ) -> Result<(), DataError> {
        if spec.missing() != Missing::DropRow {
            return Ok(());
        }
        assert!(self.ids.is_empty(), "rows have names where none is left out");
        let rows = self.rows();
        let whole = |values: &[f32]| !values.iter().any(|value| value.is_nan());
        let mut keep = Vec::with_capacity(rows);
        self.features.each_stored(reading, 0..rows as u32, |_, row| {
            keep.push(whole(row));
            Ok::<(), DataError>(())
        })?;
        match &self.targets {
            RawTargets::Classes(classes) => {
                (0..rows).for_each(|row| keep[row] &= !classes.is_missing(row));
            }
            RawTargets::Values { values, names } => {
                let rows = values.chunks_exact(names.len().max(1));
                rows.zip(&mut keep).for_each(|(row, keep)| *keep &= whole(row));
            }
            RawTargets::Positions { .. } => {}
        }
        let kept = keep.iter().filter(|keep| **keep).count();
        if kept == 0 {
            return Err(DataError::AllDropped { file: self.file.clone(), rows });
        }
        self.features.retain(&keep);
        match &mut self.targets {
            RawTargets::Classes(classes) => classes.retain(&keep),
            RawTargets::Values { values, names } => retain(values, names.len(), &keep),
            RawTargets::Positions { .. } => unreachable!("a text lacks no values"),
        }
        Ok(())
    }

    /// Turns the rows into numbers: with `known`, what a model was trained with, or else with what
    /// the rows `train` teach.
    pub(crate) fn encode(
        mut self,
        spec: &DataSpec,
        train: &[u32],
        known: Option<Known<'_>>,
        reading: &Reading<'_>,
    ) -> Result<Dataset, DataError> {
        let encoding = match (known.and_then(|known| known.encoding), self.encoding.take()) {
            (Some(known), Some(own)) if *known != own => {
                return Err(DataError::OtherEncoding { file: self.file });
            }
            (_, Some(own)) => Some(own),
            (Some(known), None) => Some(known.clone()),
            (None, None) => encoding::fit(&self, spec.missing(), train, reading)?,
        };
        let mut feature_names: Vec<String> =
            self.columns.iter().map(|column| column.name().to_owned()).collect();
        if let Some(encoding) = &encoding {
            if let Some(encoder) = encoding.encoder(&self, spec.missing(), reading)? {
                self.features.encode_by(encoder);
            }
            feature_names = encoding.names();
        }
        let columns = self.features.columns();
        if !self.columns.is_empty() {
            self.shape = vec![columns];
        }
        let shape = shape(spec, &self, columns)?;
        let targets = match self.targets {
            RawTargets::Classes(classes) => {
                let (ids, names) = match known.and_then(|known| known.classes) {
                    Some(known) => classes.numbered_as(known, &self.label_file)?,
                    None => classes.sorted(&self.label_file)?,
                };
                Targets::Classes { ids, names }
            }
            RawTargets::Values { values, names } => Targets::Values { values, names },
            RawTargets::Positions { ids, positions, stride, names } => {
                Targets::Positions { ids, positions, stride, names }
            }
        };
        let (rows, features, ids) = (self.features.rows(), self.features, self.ids);
        Ok(Dataset { rows, columns, shape, features, feature_names, encoding, targets, ids })
    }
}

fn shape(spec: &DataSpec, raw: &Raw, columns: usize) -> Result<Vec<usize>, DataError> {
    let Some(shape) = &spec.shape else {
        return Ok(raw.shape.clone());
    };
    let product = shape.iter().map(|&size| u64::from(size)).product();
    if product == columns as u64 {
        return Ok(shape.iter().map(|&size| size as usize).collect());
    }
    Err(DataError::Shape { file: raw.file.clone(), shape: shape.clone(), product, columns })
}

/// Keeps whole rows of `width` values, in place.
fn retain<T: Copy>(values: &mut Vec<T>, width: usize, keep: &[bool]) {
    let mut end = 0;
    for row in (0..keep.len()).filter(|&row| keep[row]) {
        values.copy_within(row * width..(row + 1) * width, end);
        end += width;
    }
    values.truncate(end);
}
