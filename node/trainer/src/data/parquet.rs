//! Parquet tables without nesting: columns of numbers, booleans and texts, plain or packed by
//! snappy, gzip or lz4. Values are read column by column, one group of rows after the other.
//!
//! The decoder is not ours, and a page of up to 2 GiB is unpacked before we see it: the memory
//! limit of the process that reads a stranger's file is what holds there. A panic of the decoder
//! is a damaged file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::AssertUnwindSafe;
use std::path::Path;

use ::parquet::basic::{ConvertedType, LogicalType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetStatisticsPolicy;
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;

use super::table::{self, Field, Id, Table, Targets};
use super::{DataError, FieldFault, Raw, open, reserve};
use crate::definition::{DataSpec, Loss};
use crate::limits;

pub(super) fn load(spec: &DataSpec, loss: Option<Loss>, inputs: &Path) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| read(spec, loss, inputs)));
    match caught {
        Ok(read) => read,
        Err(_) => Err(damaged(file, "its values do not decode".to_owned())),
    }
}

fn read(spec: &DataSpec, loss: Option<Loss>, inputs: &Path) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let reader = reader(inputs, file)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let header: Vec<String> =
        schema.columns().iter().map(|column| column.path().string()).collect();
    table::check_header(&header, file)?;
    let mut table = Table::new(spec, loss, &header, file)?;
    let labels = match &table.targets {
        Targets::Classes { position, .. } => vec![*position],
        Targets::Values { positions, .. } => positions.clone(),
    };
    let used: Vec<usize> = table.features.iter().map(|feature| feature.position).collect();
    let id = table.id.as_ref().map(|id| id.position);
    for &position in used.iter().chain(&labels).chain(&id) {
        fits(&schema.column(position), file)?;
    }
    let (mut rows, mut features) = (0, Vec::new());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|fault| foreign(file, fault))?;
        let Ok(count) = usize::try_from(group.metadata().num_rows()) else {
            return Err(damaged(file, "a group has a negative number of rows".to_owned()));
        };
        let mut group = Group { file, reader: group, first: rows, count };
        group.features(&mut table, &used, &mut features)?;
        group.targets(&mut table, &labels)?;
        if let Some(Id { position, .. }) = table.id {
            group.each(position, &mut |field| Ok(table.name(field)))?;
        }
        rows += count;
    }
    if rows == 0 {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    Ok(table.finish(file, rows, features))
}

/// Opens a file whose footer is no longer than it may be.
fn reader(inputs: &Path, file: &str) -> Result<SerializedFileReader<File>, DataError> {
    let (mut opened, length) = open(inputs, file)?;
    let fault = |fault| DataError::Read { file: file.to_owned(), fault };
    if length < 12 {
        return Err(damaged(file, "it is too short".to_owned()));
    }
    let mut end = [0; 8];
    opened.seek(SeekFrom::End(-8)).map_err(fault)?;
    opened.read_exact(&mut end).map_err(fault)?;
    let [a, b, c, d, magic @ ..] = end;
    if &magic != b"PAR1" {
        return Err(damaged(file, "it does not end with the signature of the format".to_owned()));
    }
    let limit = limits::MAX_PARQUET_FOOTER_BYTES;
    if u32::from_le_bytes([a, b, c, d]) > limit {
        return Err(damaged(file, format!("its footer has more than {limit} bytes")));
    }
    let options = ReadOptionsBuilder::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .build();
    SerializedFileReader::new_with_options(opened, options).map_err(|fault| foreign(file, fault))
}

/// Refuses columns whose values are no numbers, booleans or texts.
fn fits(column: &ColumnDescriptor, file: &str) -> Result<(), DataError> {
    use ConvertedType::{
        ENUM, INT_8, INT_16, INT_32, INT_64, NONE, UINT_8, UINT_16, UINT_32, UINT_64, UTF8,
    };
    let refused = |found: String| {
        let (file, column) = (file.to_owned(), column.path().string());
        let allowed = "a plain column of integers, floats, booleans or texts";
        Err(DataError::ColumnType { file, column, found, allowed })
    };
    if column.max_rep_level() > 0 || column.max_def_level() > 1 {
        return refused("nested".to_owned());
    }
    let plain =
        [NONE, UTF8, ENUM, INT_8, INT_16, INT_32, INT_64, UINT_8, UINT_16, UINT_32, UINT_64];
    let converted = column.converted_type();
    if !plain.contains(&converted) {
        return refused(format!("of type {converted}"));
    }
    match column.logical_type_ref() {
        None | Some(LogicalType::Integer(_) | LogicalType::String | LogicalType::Enum) => {}
        Some(other) => return refused(format!("of type {other:?}")),
    }
    match column.physical_type() {
        Type::BOOLEAN
        | Type::INT32
        | Type::INT64
        | Type::FLOAT
        | Type::DOUBLE
        | Type::BYTE_ARRAY => Ok(()),
        other @ (Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY) => refused(format!("of type {other}")),
    }
}

/// Some rows of a file.
struct Group<'a> {
    file: &'a str,
    reader: Box<dyn RowGroupReader + 'a>,
    /// Rows of the file before these.
    first: usize,
    count: usize,
}

impl Group<'_> {
    fn features(
        &mut self,
        table: &mut Table,
        used: &[usize],
        features: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        let start = features.len();
        for (index, &position) in used.iter().enumerate() {
            let values = self.column(position, |field| table.feature(index, field))?;
            // Room is made when there is a column of values, not when the file says so.
            if index == 0 {
                reserve(features, values.len().saturating_mul(used.len()), self.file)?;
                features.resize(start + values.len() * used.len(), f32::NAN);
            }
            let places = features[start..].iter_mut().skip(index).step_by(used.len());
            places.zip(values).for_each(|(place, value)| *place = value);
        }
        Ok(())
    }

    fn targets(&mut self, table: &mut Table, labels: &[usize]) -> Result<(), DataError> {
        if let Targets::Classes { position, .. } = table.targets {
            let file = self.file;
            return self.each(position, &mut |field| table.class(field, file));
        }
        let mut columns = Vec::new();
        for (index, &position) in labels.iter().enumerate() {
            columns.push(self.column(position, |field| table.value(index, field))?);
        }
        if let Targets::Values { values, .. } = &mut table.targets {
            reserve(values, self.count.saturating_mul(labels.len()), self.file)?;
            for row in 0..self.count {
                values.extend(columns.iter().map(|column| column[row]));
            }
        }
        Ok(())
    }

    /// One column, as `read` makes it numbers.
    fn column(
        &self,
        position: usize,
        mut read: impl FnMut(Field<'_>) -> Result<f32, FieldFault>,
    ) -> Result<Vec<f32>, DataError> {
        let mut values = Vec::new();
        let file = self.file;
        self.each(position, &mut |field| {
            reserve(&mut values, 1, file)?;
            Ok(read(field).map(|value| values.push(value)))
        })?;
        Ok(values)
    }

    /// Calls `visit` with every field of a column.
    fn each(&self, position: usize, visit: &mut Visit<'_>) -> Result<(), DataError> {
        let reader = self.reader.get_column_reader(position);
        let column = self.reader.metadata().column(position).column_descr_ptr();
        let nullable = column.max_def_level() > 0;
        let unsigned = is_unsigned(&column);
        let mut row = self.first;
        let mut visit = |field: Result<Field<'_>, FieldFault>| {
            let visited = match field {
                Ok(field) => visit(field)?,
                Err(fault) => Err(fault),
            };
            visited.map_err(|fault| DataError::Row {
                file: self.file.to_owned(),
                row: row as u64,
                fault,
            })?;
            row += 1;
            Ok(())
        };
        let number = |value: f64| Ok(Field::Number(value));
        let seen = match reader.map_err(|fault| foreign(self.file, fault))? {
            ColumnReader::BoolColumnReader(reader) => self.values(
                reader,
                nullable,
                |&value| number(f64::from(u8::from(value))),
                &mut visit,
            ),
            ColumnReader::Int32ColumnReader(reader) => self.values(
                reader,
                nullable,
                |&value| number(if unsigned { f64::from(value as u32) } else { f64::from(value) }),
                &mut visit,
            ),
            ColumnReader::Int64ColumnReader(reader) => self.values(
                reader,
                nullable,
                |&value| number(if unsigned { value as u64 as f64 } else { value as f64 }),
                &mut visit,
            ),
            ColumnReader::FloatColumnReader(reader) => {
                self.values(reader, nullable, |&value| number(f64::from(value)), &mut visit)
            }
            ColumnReader::DoubleColumnReader(reader) => {
                self.values(reader, nullable, |&value| number(value), &mut visit)
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.values(reader, nullable, text, &mut visit)
            }
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Ok(0)
            }
        }?;
        if seen == self.count {
            return Ok(());
        }
        let fault = format!(
            "column \"{}\" ends after {seen} of {} rows",
            super::shortened(column.name()),
            self.count
        );
        Err(damaged(self.file, fault))
    }

    /// Reads all values of a column; tells their number, nulls included.
    fn values<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        nullable: bool,
        field: impl Fn(&T::T) -> Result<Field<'_>, FieldFault>,
        visit: &mut VisitRow<'_>,
    ) -> Result<usize, DataError> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut seen = 0;
        while seen < self.count {
            values.clear();
            levels.clear();
            let at_most = (self.count - seen).min(ROWS_AT_ONCE);
            let read =
                reader.read_records(at_most, nullable.then_some(&mut levels), None, &mut values);
            let (records, _, _) = read.map_err(|fault| foreign(self.file, fault))?;
            if records == 0 {
                break;
            }
            let mut present = values.iter();
            for row in 0..records {
                if nullable && levels.get(row).is_none_or(|&level| level == 0) {
                    visit(Ok(Field::Null))?;
                    continue;
                }
                match present.next() {
                    Some(value) => visit(field(value))?,
                    None => return Ok(seen + row),
                }
            }
            seen += records;
        }
        Ok(seen)
    }
}

/// What is done with a field: a fault of the field, or one of the whole file.
type Visit<'a> = dyn FnMut(Field<'_>) -> Result<Result<(), FieldFault>, DataError> + 'a;

/// The same, once the row that a fault is in has been noted.
type VisitRow<'a> = dyn FnMut(Result<Field<'_>, FieldFault>) -> Result<(), DataError> + 'a;

const ROWS_AT_ONCE: usize = 1024;

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    matches!(
        column.converted_type(),
        ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    )
}

fn text(value: &ByteArray) -> Result<Field<'_>, FieldFault> {
    match std::str::from_utf8(value.data().trim_ascii()) {
        Ok(text) => Ok(Field::Text(text)),
        Err(_) => Err(FieldFault::NotUtf8),
    }
}

fn foreign(file: &str, fault: ParquetError) -> DataError {
    damaged(file, fault.to_string())
}

fn damaged(file: &str, fault: String) -> DataError {
    DataError::Damaged { file: file.to_owned(), format: "Parquet", fault }
}
