//! Tables with named columns, whatever file they lie in: which columns are features and which are
//! targets, and what a field of them is worth. Reading fields is left to the formats.

use std::collections::{BTreeMap, BTreeSet};

use super::labels::{Classes, Numbered};
use super::names::NamesSink;
use super::raw::{Raw, RawColumn, RawTargets};
use super::rows::{Features, Stored};
use super::storage::Storage;
use super::{DataError, FieldFault, shortened, too_many};
use crate::definition::{DataSpec, Loss, Missing};
use crate::limits;

/// One field as the format tells it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Null,
    Number(f64),
    /// Without blanks around it; may stand for a number or for nothing.
    Text(&'a str),
}

/// The columns that are used and what has been read of them.
pub(super) struct Table<'a> {
    pub(super) features: Vec<Feature>,
    pub(super) targets: Targets,
    pub(super) id: Option<Id<'a>>,
    missing: Missing,
}

/// A feature column.
#[derive(Debug)]
pub(super) struct Feature {
    name: String,
    /// Among all columns of the file.
    pub(super) position: usize,
    /// Of a column that is one-hot encoded.
    texts: Option<Numbered>,
}

/// The column that names rows.
pub(super) struct Id<'a> {
    name: String,
    /// Among all columns of the file.
    pub(super) position: usize,
    names: NamesSink<'a>,
}

/// The target columns.
#[derive(Debug)]
pub(super) enum Targets {
    Classes { name: String, position: usize, classes: Classes },
    Values { names: Vec<String>, positions: Vec<usize>, values: Vec<f32> },
}

impl<'a> Table<'a> {
    /// Finds the columns that `spec` names among `header`.
    pub(super) fn new(
        spec: &DataSpec,
        loss: Option<Loss>,
        header: &[String],
        file: &str,
        storage: Storage<'a>,
    ) -> Result<Self, DataError> {
        let places: BTreeMap<&str, usize> = header.iter().map(String::as_str).zip(0..).collect();
        let position = |name: &String| {
            places.get(name.as_str()).copied().ok_or_else(|| DataError::NoColumn {
                file: file.to_owned(),
                what: "column",
                name: name.clone(),
                known: listed(header),
            })
        };
        let label = spec.label.as_ref().map_or(&[][..], |label| label.names());
        let labels = label.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let targets: BTreeSet<usize> = labels.iter().copied().collect();
        let id = spec.id.as_ref().map(position).transpose()?;
        let used = match &spec.features {
            Some(names) => names.iter().map(position).collect::<Result<Vec<_>, _>>()?,
            None => (0..header.len())
                .filter(|column| !targets.contains(column) && Some(*column) != id)
                .collect(),
        };
        if used.is_empty() {
            return Err(DataError::NoFeatures { file: file.to_owned() });
        }
        if used.len() > limits::MAX_UNITS {
            return Err(too_many(file, "feature columns", used.len(), limits::MAX_UNITS));
        }
        let one_hot = spec.one_hot.as_deref().unwrap_or(&[]);
        let one_hot = one_hot.iter().map(position).collect::<Result<BTreeSet<_>, _>>()?;
        let feature = |position: usize| Feature {
            name: header[position].clone(),
            position,
            texts: one_hot.contains(&position).then(Numbered::default),
        };
        let names: Vec<String> = labels.iter().map(|&column| header[column].clone()).collect();
        let targets = if loss.is_some_and(|loss| loss.wants_classes(labels.len())) {
            let (name, position) = (names[0].clone(), labels[0]);
            Targets::Classes { name, position, classes: Classes::default() }
        } else {
            Targets::Values { names, positions: labels, values: Vec::new() }
        };
        let features = used.into_iter().map(feature).collect();
        let id = id.filter(|_| loss.is_none()).map(|position| Id {
            name: header[position].clone(),
            position,
            names: NamesSink::new(storage, file),
        });
        Ok(Self { features, targets, id, missing: spec.missing() })
    }

    /// What a feature column makes of a field: NaN for a missing value, the number of a text.
    pub(super) fn feature(&mut self, index: usize, field: Field<'_>) -> Result<f32, FieldFault> {
        let missing = self.missing;
        let Feature { name, texts, .. } = &mut self.features[index];
        match texts {
            None => number(name, field, missing != Missing::Refuse),
            Some(texts) => category(name, field, texts, missing != Missing::Refuse),
        }
    }

    /// Notes the target of the next row; `file` is for messages.
    pub(super) fn class(
        &mut self,
        field: Field<'_>,
        file: &str,
    ) -> Result<Result<(), FieldFault>, DataError> {
        let Targets::Classes { name, classes, .. } = &mut self.targets else {
            unreachable!("classes are read for classifications only");
        };
        let mut storage = String::new();
        match text(field, &mut storage) {
            Some(label) => match length(name, label) {
                Ok(()) => classes.push(label, file)?,
                Err(fault) => return Ok(Err(fault)),
            },
            None if self.missing == Missing::DropRow => classes.push_missing(file)?,
            None => return Ok(Err(FieldFault::NoTarget { column: name.clone() })),
        }
        Ok(Ok(()))
    }

    /// What a target column of a regression makes of a field.
    pub(super) fn value(&self, index: usize, field: Field<'_>) -> Result<f32, FieldFault> {
        let Targets::Values { names, .. } = &self.targets else {
            unreachable!("values are read for regressions only");
        };
        let value = number(&names[index], field, true)?;
        if value.is_nan() && self.missing != Missing::DropRow {
            return Err(FieldFault::NoTarget { column: names[index].clone() });
        }
        Ok(value)
    }

    /// Notes what the next row is called.
    pub(super) fn name(&mut self, field: Field<'_>) -> Result<Result<(), FieldFault>, DataError> {
        let Some(Id { name, names, .. }) = &mut self.id else {
            unreachable!("names are read where there is a column of them");
        };
        let mut storage = String::new();
        let text = text(field, &mut storage).unwrap_or_default();
        match length(name, text) {
            Ok(()) => names.push(text).map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The rows, with their features row by row.
    pub(super) fn finish(
        self,
        file: &str,
        rows: usize,
        features: Stored,
    ) -> Result<Raw, DataError> {
        let column = |feature: Feature| match feature.texts {
            None => RawColumn::Number { name: feature.name },
            Some(texts) => RawColumn::Texts { name: feature.name, texts: texts.in_order() },
        };
        let columns: Vec<RawColumn> = self.features.into_iter().map(column).collect();
        let targets = match self.targets {
            Targets::Classes { classes, .. } => RawTargets::Classes(classes),
            Targets::Values { names, values, .. } => RawTargets::Values { values, names },
        };
        Ok(Raw {
            file: file.to_owned(),
            label_file: file.to_owned(),
            shape: vec![columns.len()],
            features: Features::new(features, columns.len(), rows),
            columns,
            encoding: None,
            targets,
            ids: self.id.map(|id| id.names.finish()).transpose()?.unwrap_or_default(),
        })
    }
}

/// Refuses a header that could not tell columns apart.
pub(super) fn check_header(names: &[String], file: &str) -> Result<(), DataError> {
    if names.is_empty() {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    if names.len() > limits::MAX_COLUMNS {
        return Err(too_many(file, "columns", names.len(), limits::MAX_COLUMNS));
    }
    if let Some(index) = names.iter().position(String::is_empty) {
        return Err(DataError::Unnamed { file: file.to_owned(), position: index + 1 });
    }
    if let Some(long) = names.iter().find(|name| name.len() > limits::MAX_FIELD_BYTES) {
        let (column, limit) = (shortened(long), limits::MAX_FIELD_BYTES);
        let fault = FieldFault::LongField { column, limit };
        return Err(DataError::Line { file: file.to_owned(), line: 1, fault });
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(DataError::Repeated { file: file.to_owned(), name: name.clone() }),
        None => Ok(()),
    }
}

/// The first column names, as many as a person reads.
pub(crate) fn listed(header: &[String]) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = header.iter().take(SHOWN).map(|name| shortened(name)).collect();
    let rest = header.len().saturating_sub(SHOWN);
    let tail = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{tail}", names.join(", "))
}

fn number(column: &str, field: Field<'_>, missing: bool) -> Result<f32, FieldFault> {
    let name = || column.to_owned();
    let value = match field {
        Field::Number(value) => value as f32,
        Field::Null if missing => return Ok(f32::NAN),
        Field::Null => return Err(FieldFault::EmptyField { column: name() }),
        Field::Text(text) => {
            length(column, text)?;
            match text.parse::<f32>() {
                Ok(value) if !value.is_nan() => value,
                Ok(_) | Err(_) if stands_for_nothing(text) => {
                    if missing {
                        return Ok(f32::NAN);
                    }
                    return Err(match text {
                        "" => FieldFault::EmptyField { column: name() },
                        _ => FieldFault::NoValue { column: name(), text: text.to_owned() },
                    });
                }
                Ok(_) | Err(_) => {
                    return Err(FieldFault::NotANumber { column: name(), text: shortened(text) });
                }
            }
        }
    };
    if value.is_finite() {
        return Ok(value);
    }
    let text = match field {
        Field::Text(text) => shortened(text),
        Field::Number(value) if value.is_nan() && missing => return Ok(f32::NAN),
        Field::Number(value) if value.is_nan() => {
            return Err(FieldFault::NoValue { column: name(), text: "NaN".to_owned() });
        }
        Field::Number(value) => value.to_string(),
        Field::Null => String::new(),
    };
    Err(FieldFault::NotFinite { column: name(), text })
}

/// Words that stand for a missing number, as other tools write them.
fn stands_for_nothing(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["", "na", "n/a", "#na", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn category(
    column: &str,
    field: Field<'_>,
    texts: &mut Numbered,
    missing: bool,
) -> Result<f32, FieldFault> {
    let mut storage = String::new();
    let Some(text) = text(field, &mut storage) else {
        let column = column.to_owned();
        return if missing { Ok(f32::NAN) } else { Err(FieldFault::EmptyField { column }) };
    };
    length(column, text)?;
    let number = match texts.known(text) {
        Some(number) => number,
        None if texts.len() == limits::MAX_CATEGORIES => {
            let (column, limit) = (column.to_owned(), limits::MAX_CATEGORIES);
            return Err(FieldFault::Categories { column, limit });
        }
        None => texts.insert(text),
    };
    // Exact: there are far fewer than an f32 can count.
    Ok(number as f32)
}

/// A field as text; whatever is not empty is one, "NA" too.
fn text<'a>(field: Field<'a>, storage: &'a mut String) -> Option<&'a str> {
    match field {
        Field::Null => None,
        Field::Number(value) if value.is_nan() => None,
        Field::Number(value) => {
            *storage = value.to_string();
            Some(storage)
        }
        Field::Text(text) => Some(text).filter(|text| !text.is_empty()),
    }
}

fn length(column: &str, text: &str) -> Result<(), FieldFault> {
    if text.len() <= limits::MAX_FIELD_BYTES {
        return Ok(());
    }
    Err(FieldFault::LongField { column: column.to_owned(), limit: limits::MAX_FIELD_BYTES })
}
