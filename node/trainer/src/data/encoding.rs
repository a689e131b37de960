//! How what a file holds becomes the numbers that a model sees, before they are scaled: gaps are
//! filled, texts become one feature each. Learnt from the training rows alone and kept with the
//! model, so that rows it has never seen are encoded the same.

use serde::{Deserialize, Serialize};

use super::raw::{Raw, RawColumn};
use super::{DataError, Reading, too_many};
use crate::definition::Missing;
use crate::limits;

/// From the content of a file to features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// A table, column by column.
    Columns { columns: Vec<ColumnEncoding> },
    /// Numbers without names, each with what stands for a missing one.
    Numbers { missing: Vec<f32> },
    /// `[channels, height, width]`, values from 0 to 255.
    Images { channels: u32, height: u32, width: u32 },
    /// Each character by its index in `vocabulary`, which is in the order of code points.
    Characters { vocabulary: String, context: u32 },
}

/// From one column of a table to features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnEncoding {
    /// One feature; `missing` stands for a missing value, which is refused where there is none.
    Number {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<f32>,
    },
    /// One feature for each category, 1 where it is the row's; a text that is none of them, or
    /// is missing, leaves all at 0.
    OneHot { name: String, categories: Vec<String> },
}

/// What a trained model knows of its data, which new data must agree with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) encoding: Option<&'a Encoding>,
    /// Labels by number; nothing where the model has none of these data.
    pub(crate) classes: Option<&'a [String]>,
}

impl Encoding {
    /// Features of a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Columns { columns } => columns.iter().map(ColumnEncoding::width).sum(),
            Self::Numbers { missing } => missing.len(),
            Self::Images { channels, height, width } => {
                let sides = (*height as usize).saturating_mul(*width as usize);
                sides.saturating_mul(*channels as usize)
            }
            Self::Characters { context, .. } => *context as usize,
        }
    }

    /// Classes that a model of this data predicts for each row.
    pub(crate) fn positions(&self) -> usize {
        match self {
            Self::Columns { .. } | Self::Numbers { .. } | Self::Images { .. } => 1,
            Self::Characters { context, .. } => *context as usize,
        }
    }

    /// Columns of texts.
    pub(crate) fn one_hot(&self) -> Vec<String> {
        let Self::Columns { columns } = self else {
            return Vec::new();
        };
        let texts = columns.iter().filter(|column| matches!(column, ColumnEncoding::OneHot { .. }));
        texts.map(|column| column.name().to_owned()).collect()
    }

    /// What stands for missing numbers.
    pub(crate) fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Numbers { missing } => missing.clone(),
            Self::Columns { columns } => columns.iter().filter_map(ColumnEncoding::fill).collect(),
            Self::Images { .. } | Self::Characters { .. } => Vec::new(),
        }
    }

    /// Names of the features, where they have any.
    pub(super) fn names(&self) -> Vec<String> {
        let Self::Columns { columns } = self else {
            return Vec::new();
        };
        let mut names = Vec::new();
        for column in columns {
            match column {
                ColumnEncoding::Number { name, .. } => names.push(name.clone()),
                ColumnEncoding::OneHot { name, categories } => {
                    names.extend(categories.iter().map(|category| format!("{name}={category}")));
                }
            }
        }
        names
    }

    /// What encodes the rows of `raw`; nothing where they are as they shall be.
    pub(super) fn encoder(
        &self,
        raw: &Raw,
        policy: Missing,
        reading: &Reading<'_>,
    ) -> Result<Option<Encoder>, DataError> {
        let stored = raw.features.width();
        match self {
            Self::Numbers { missing } if raw.columns.is_empty() && missing.len() == stored => {
                let steps = missing.iter().map(|fill| Step::Copy { fill: Some(*fill) });
                Ok(Some(Encoder { steps: steps.collect(), width: stored }))
            }
            Self::Columns { columns } if columns.len() == raw.columns.len() => {
                table(columns, raw, policy, reading).map(Some)
            }
            // Their readers have done it.
            Self::Images { .. } | Self::Characters { .. } => Ok(None),
            Self::Numbers { .. } | Self::Columns { .. } => {
                Err(DataError::OtherEncoding { file: raw.file.clone() })
            }
        }
    }
}

impl ColumnEncoding {
    /// Of the column in the file.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } | Self::OneHot { name, .. } => name,
        }
    }

    /// What stands for a missing number.
    fn fill(&self) -> Option<f32> {
        match self {
            Self::Number { missing, .. } => *missing,
            Self::OneHot { .. } => None,
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
            Self::OneHot { categories, .. } => categories.len(),
        }
    }
}

/// Learns how to encode `raw` from its rows `train`; nothing, where they are features as they are.
pub(super) fn fit(
    raw: &Raw,
    policy: Missing,
    train: &[u32],
    reading: &Reading<'_>,
) -> Result<Option<Encoding>, DataError> {
    let fills = !matches!(policy, Missing::Refuse | Missing::DropRow);
    if raw.columns.is_empty() {
        let name = |column: usize| column.to_string();
        let fills = fills_of(raw, policy, train, reading, name)?;
        return Ok(fills.map(|missing| Encoding::Numbers { missing }));
    }
    let has_texts = raw.columns.iter().any(|column| matches!(column, RawColumn::Texts { .. }));
    if !has_texts && !fills {
        return Ok(None);
    }
    let name = |column: usize| raw.columns[column].name().to_owned();
    let fills = fills_of(raw, policy, train, reading, name)?;
    let mut seen = seen(raw, train, reading)?;
    let mut columns = Vec::new();
    for (index, column) in raw.columns.iter().enumerate() {
        columns.push(match column {
            RawColumn::Number { name } => ColumnEncoding::Number {
                name: name.clone(),
                missing: fills.as_ref().map(|fills| fills[index]),
            },
            RawColumn::Texts { name, texts } => {
                let seen = std::mem::take(&mut seen[index]);
                let seen = texts.iter().filter(|(_, number)| seen[*number as usize]);
                let categories: Vec<String> = seen.map(|(text, _)| text.clone()).collect();
                if categories.is_empty() {
                    let (file, column) = (raw.file.clone(), name.clone());
                    return Err(DataError::NoCategories { file, column });
                }
                ColumnEncoding::OneHot { name: name.clone(), categories }
            }
        });
    }
    Ok(Some(Encoding::Columns { columns }))
}

/// For each column of texts, by number: whether a training row has the text.
fn seen(raw: &Raw, train: &[u32], reading: &Reading<'_>) -> Result<Vec<Vec<bool>>, DataError> {
    let texts = |column: &RawColumn| match column {
        RawColumn::Number { .. } => Vec::new(),
        RawColumn::Texts { texts, .. } => vec![false; texts.len()],
    };
    let mut seen: Vec<Vec<bool>> = raw.columns.iter().map(texts).collect();
    if seen.iter().all(Vec::is_empty) {
        return Ok(seen);
    }
    raw.features.each_stored(reading, train.iter().copied(), |_, row| {
        let cells =
            row.iter().zip(&mut seen).filter(|(cell, seen)| !cell.is_nan() && !seen.is_empty());
        cells.for_each(|(&cell, seen)| seen[cell as usize] = true);
        Ok::<(), DataError>(())
    })?;
    Ok(seen)
}

/// What stands for a missing number in each column; columns of texts have a place, but no use.
fn fills_of(
    raw: &Raw,
    policy: Missing,
    train: &[u32],
    reading: &Reading<'_>,
    name: impl Fn(usize) -> String,
) -> Result<Option<Vec<f32>>, DataError> {
    let width = raw.features.width();
    let all = |value| Ok(Some(vec![value; width]));
    match policy {
        Missing::Refuse | Missing::DropRow => return Ok(None),
        Missing::Zero => return all(0.0),
        Missing::Value(value) => return all(value as f32),
        Missing::Mean => {}
    }
    let (mut sums, mut counts) = (vec![0.0_f64; width], vec![0_u64; width]);
    raw.features.each_stored(reading, train.iter().copied(), |_, row| {
        for ((cell, sum), count) in row.iter().zip(&mut sums).zip(&mut counts) {
            if !cell.is_nan() {
                *sum += f64::from(*cell);
                *count += 1;
            }
        }
        Ok::<(), DataError>(())
    })?;
    let is_text = |column: usize| matches!(raw.columns.get(column), Some(RawColumn::Texts { .. }));
    if let Some(column) = (0..width).find(|&column| counts[column] == 0 && !is_text(column)) {
        return Err(DataError::NoMean { file: raw.file.clone(), column: name(column) });
    }
    let means = sums.iter().zip(&counts).map(|(sum, count)| (sum / *count as f64) as f32);
    Ok(Some(means.collect()))
}

/// Turns rows as they are stored into features, one by one.
#[derive(Debug)]
pub(super) struct Encoder {
    /// One for each stored value.
    steps: Vec<Step>,
    width: usize,
}

/// How one column of the file is written into a row of features.
#[derive(Debug)]
enum Step {
    Copy {
        fill: Option<f32>,
    },
    /// Place of each text, by number, among `width` features.
    Place {
        places: Vec<Option<u32>>,
        width: usize,
    },
}

impl Encoder {
    /// Features of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Appends the features of a row that [`table`] found to have them all.
    pub(super) fn append(&self, row: &[f32], features: &mut Vec<f32>) {
        for (&cell, step) in row.iter().zip(&self.steps) {
            match step {
                Step::Copy { fill: Some(fill) } if cell.is_nan() => features.push(*fill),
                Step::Copy { .. } => features.push(cell),
                Step::Place { places, width } => {
                    let start = features.len();
                    features.resize(start + width, 0.0);
                    if !cell.is_nan()
                        && let Some(place) = places[cell as usize]
                    {
                        features[start + place as usize] = 1.0;
                    }
                }
            }
        }
    }

    /// Whether it leaves a gap in a row.
    fn lacks(&self, row: &[f32]) -> bool {
        let gap = |step: &Step| matches!(step, Step::Copy { fill: None });
        row.iter().zip(&self.steps).any(|(cell, step)| cell.is_nan() && gap(step))
    }
}

fn table(
    columns: &[ColumnEncoding],
    raw: &Raw,
    policy: Missing,
    reading: &Reading<'_>,
) -> Result<Encoder, DataError> {
    let other = || DataError::OtherEncoding { file: raw.file.clone() };
    let mut steps = Vec::new();
    for (encoding, column) in columns.iter().zip(&raw.columns) {
        steps.push(match (encoding, column) {
            (ColumnEncoding::Number { name, missing }, RawColumn::Number { name: found })
                if name == found =>
            {
                Step::Copy { fill: *missing }
            }
            (
                ColumnEncoding::OneHot { name, categories },
                RawColumn::Texts { name: found, texts },
            ) if name == found => {
                Step::Place { places: places(categories, texts), width: categories.len() }
            }
            _ => return Err(other()),
        });
    }
    let width = columns.iter().map(ColumnEncoding::width).sum::<usize>();
    if width > limits::MAX_FEATURES {
        let what = "features after one-hot encoding";
        return Err(too_many(&raw.file, what, width, limits::MAX_FEATURES));
    }
    let encoder = Encoder { steps, width };
    if !matches!(policy, Missing::Refuse | Missing::DropRow) {
        raw.features.each_stored(reading, 0..raw.rows() as u32, |_, row| {
            if encoder.lacks(row) { Err(other()) } else { Ok(()) }
        })?;
    }
    Ok(encoder)
}

/// For each text by its number: which of the categories it is.
fn places(categories: &[String], texts: &[(String, u32)]) -> Vec<Option<u32>> {
    let mut by_text: Vec<(&str, u32)> = categories.iter().map(String::as_str).zip(0..).collect();
    by_text.sort_unstable();
    let mut places = vec![None; texts.len()];
    for (text, number) in texts {
        let found = by_text.binary_search_by(|(category, _)| (*category).cmp(text));
        places[*number as usize] = found.ok().map(|index| by_text[index].1);
    }
    places
}
