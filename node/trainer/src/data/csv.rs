//! CSV with a header. Labels of a classification may be any text; everything else is a number.

use std::collections::BTreeSet;
use std::path::Path;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::{DataError, Dataset, LineFault, Targets, labels, open, reserve};
use crate::definition::{DataSpec, Loss};
use crate::limits;

pub(super) fn load(spec: &DataSpec, loss: Loss, inputs: &Path) -> Result<Dataset, DataError> {
    let file = spec.source.as_str();
    let (opened, _) = open(inputs, file)?;
    let mut reader = ReaderBuilder::new().buffer_capacity(1 << 16).from_reader(opened);
    let header = header(&mut reader, file)?;
    let chosen = Chosen::new(spec, &header, file)?;
    if loss.wants_classes(chosen.labels.len()) {
        classification(reader, &header, chosen, file)
    } else {
        regression(reader, &header, chosen, file)
    }
}

/// Positions of the columns that are used.
struct Chosen {
    features: Vec<usize>,
    labels: Vec<usize>,
}

impl Chosen {
    fn new(spec: &DataSpec, header: &[String], file: &str) -> Result<Self, DataError> {
        let position = |name: &String| {
            header.iter().position(|known| known == name).ok_or_else(|| DataError::NoColumn {
                file: file.to_owned(),
                name: name.clone(),
                known: listed(header),
            })
        };
        let label = spec.label.as_ref().map_or(&[][..], |label| label.names());
        let labels = label.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let features = match &spec.features {
            Some(names) => names.iter().map(position).collect::<Result<Vec<_>, _>>()?,
            None => (0..header.len()).filter(|column| !labels.contains(column)).collect(),
        };
        if features.is_empty() {
            return Err(DataError::NoFeatures { file: file.to_owned() });
        }
        Ok(Self { features, labels })
    }

    fn names(header: &[String], positions: &[usize]) -> Vec<String> {
        positions.iter().map(|&position| header[position].clone()).collect()
    }
}

fn classification(
    mut reader: Reader<std::fs::File>,
    header: &[String],
    chosen: Chosen,
    file: &str,
) -> Result<Dataset, DataError> {
    let label = chosen.labels[0];
    let mut classes = labels::Classes::default();
    let mut features = Vec::new();
    let rows = each_row(&mut reader, file, |record, line| {
        numbers(record, line, header, &chosen.features, file, &mut features)?;
        let text = field(record, label, line, header, file)?;
        classes.push(text, file)
    })?;
    let (ids, names) = classes.sorted(file)?;
    Ok(Dataset {
        rows,
        columns: chosen.features.len(),
        features,
        feature_names: Chosen::names(header, &chosen.features),
        targets: Targets::Classes { ids, names },
    })
}

fn regression(
    mut reader: Reader<std::fs::File>,
    header: &[String],
    chosen: Chosen,
    file: &str,
) -> Result<Dataset, DataError> {
    let (mut features, mut values) = (Vec::new(), Vec::new());
    let rows = each_row(&mut reader, file, |record, line| {
        numbers(record, line, header, &chosen.features, file, &mut features)?;
        numbers(record, line, header, &chosen.labels, file, &mut values)
    })?;
    Ok(Dataset {
        rows,
        columns: chosen.features.len(),
        features,
        feature_names: Chosen::names(header, &chosen.features),
        targets: Targets::Values { values, names: Chosen::names(header, &chosen.labels) },
    })
}

fn header(reader: &mut Reader<std::fs::File>, file: &str) -> Result<Vec<String>, DataError> {
    let record = reader.headers().map_err(|fault| read_error(fault, file))?;
    if record.is_empty() {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    if record.len() > limits::MAX_UNITS + limits::MAX_OUTPUTS {
        let (found, limit) = (record.len() as u64, limits::MAX_UNITS as u64);
        return Err(DataError::TooMany { file: file.to_owned(), what: "columns", found, limit });
    }
    let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
    if let Some(index) = names.iter().position(String::is_empty) {
        return Err(DataError::Unnamed { file: file.to_owned(), position: index + 1 });
    }
    if let Some(long) = names.iter().find(|name| name.len() > limits::MAX_FIELD_BYTES) {
        let (column, limit) = (shortened(long), limits::MAX_FIELD_BYTES);
        return Err(line_error(file, 1, LineFault::LongField { column, limit }));
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(DataError::Repeated { file: file.to_owned(), name: name.clone() }),
        None => Ok(names),
    }
}

/// Calls `visit` with every record and the line it begins on; tells the number of records.
fn each_row(
    reader: &mut Reader<std::fs::File>,
    file: &str,
    mut visit: impl FnMut(&ByteRecord, u64) -> Result<(), DataError>,
) -> Result<usize, DataError> {
    let mut record = ByteRecord::new();
    let mut rows = 0;
    while reader.read_byte_record(&mut record).map_err(|fault| read_error(fault, file))? {
        let line = record.position().map_or(0, |position| position.line());
        visit(&record, line)?;
        rows += 1;
    }
    if rows == 0 { Err(DataError::Empty { file: file.to_owned() }) } else { Ok(rows) }
}

fn numbers(
    record: &ByteRecord,
    line: u64,
    header: &[String],
    columns: &[usize],
    file: &str,
    out: &mut Vec<f32>,
) -> Result<(), DataError> {
    reserve(out, columns.len(), file)?;
    for &column in columns {
        let text = field(record, column, line, header, file)?;
        let value = text.parse::<f32>();
        match value {
            Ok(value) if value.is_finite() => out.push(value),
            Ok(_) => {
                let (column, text) = (header[column].clone(), shortened(text));
                return Err(line_error(file, line, LineFault::NotFinite { column, text }));
            }
            Err(_) => {
                let (column, text) = (header[column].clone(), shortened(text));
                return Err(line_error(file, line, LineFault::NotANumber { column, text }));
            }
        }
    }
    Ok(())
}

fn field<'a>(
    record: &'a ByteRecord,
    column: usize,
    line: u64,
    header: &[String],
    file: &str,
) -> Result<&'a str, DataError> {
    let name = || header[column].clone();
    // The reader refuses records whose length is not the header's.
    let bytes = record[column].trim_ascii();
    if bytes.is_empty() {
        return Err(line_error(file, line, LineFault::EmptyField { column: name() }));
    }
    if bytes.len() > limits::MAX_FIELD_BYTES {
        let limit = limits::MAX_FIELD_BYTES;
        return Err(line_error(file, line, LineFault::LongField { column: name(), limit }));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => Err(line_error(file, line, LineFault::NotUtf8)),
    }
}

fn read_error(fault: ::csv::Error, file: &str) -> DataError {
    let line = fault.position().map_or(1, |position| position.line());
    if let ErrorKind::UnequalLengths { expected_len, len, .. } = *fault.kind() {
        return line_error(file, line, LineFault::Fields { found: len, expected: expected_len });
    }
    if let ErrorKind::Utf8 { .. } = fault.kind() {
        return line_error(file, line, LineFault::NotUtf8);
    }
    DataError::Read { file: file.to_owned(), fault: fault.into() }
}

fn line_error(file: &str, line: u64, fault: LineFault) -> DataError {
    DataError::Line { file: file.to_owned(), line, fault }
}

/// The first column names, as many as a person reads.
fn listed(header: &[String]) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = header.iter().take(SHOWN).map(|name| shortened(name)).collect();
    let rest = header.len().saturating_sub(SHOWN);
    let tail = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{tail}", names.join(", "))
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
