//! Parquet tables without nesting: columns of numbers, booleans and texts, plain or packed by
//! snappy, gzip or lz4. All columns are read together, some rows at a time, so that a group of rows
//! may be larger than memory.
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

use super::storage::{Sink, Storage};
use super::table::{self, Field, Table, Targets};
use super::{DataError, FieldFault, Raw, open, reserve};
use crate::definition::{DataSpec, Loss};
use crate::limits;

pub(super) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| read(spec, loss, inputs, storage)));
    match caught {
        Ok(read) => read,
        Err(_) => Err(damaged(file, "its values do not decode".to_owned())),
    }
}

fn read(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let reader = reader(inputs, file)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let header: Vec<String> =
        schema.columns().iter().map(|column| column.path().string()).collect();
    table::check_header(&header, file)?;
    let mut table = Table::new(spec, loss, &header, file, storage)?;
    let labels = match &table.targets {
        Targets::Classes { position, .. } => vec![*position],
        Targets::Values { positions, .. } => positions.clone(),
    };
    let used: Vec<usize> = table.features.iter().map(|feature| feature.position).collect();
    let id = table.id.as_ref().map(|id| id.position);
    for &position in used.iter().chain(&labels).chain(&id) {
        fits(&schema.column(position), file)?;
    }
    // What the file claims decides where its values go, and reserves nothing.
    let claimed = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let expected = claimed.saturating_mul(used.len() as u64);
    let (mut rows, mut features) = (0, storage.sink(file, Some(expected))?);
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|fault| foreign(file, fault))?;
        let Ok(count) = usize::try_from(group.metadata().num_rows()) else {
            return Err(damaged(file, "a group has a negative number of rows".to_owned()));
        };
        let group = Group { file, reader: group, first: rows, count };
        group.read(&mut table, [&used, &labels, id.as_slice()], &mut features)?;
        rows += count;
    }
    if rows == 0 {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    table.finish(file, rows, features.finish()?)
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
    fn read(
        &self,
        table: &mut Table<'_>,
        [used, labels, id]: [&[usize]; 3],
        features: &mut Sink<'_>,
    ) -> Result<(), DataError> {
        let open = |positions: &[usize]| -> Result<Vec<Column<'_>>, DataError> {
            positions.iter().map(|&position| self.column(position)).collect()
        };
        let (mut columns, mut targets, mut names) = (open(used)?, open(labels)?, open(id)?);
        let (mut block, mut done) = (Vec::new(), 0);
        let at_once = (VALUES_AT_ONCE / used.len()).clamp(1, ROWS_AT_ONCE);
        while done < self.count {
            let rows = at_once.min(self.count - done);
            block.resize(rows * used.len(), f32::NAN);
            for (index, column) in columns.iter_mut().enumerate() {
                let mut places = block.iter_mut().skip(index).step_by(used.len());
                column.numbers(rows, &mut places, |field| table.feature(index, field))?;
            }
            features.push(&block)?;
            self.targets(table, rows, &mut targets)?;
            for column in &mut names {
                column.each(rows, &mut |field| table.name(field))?;
            }
            done += rows;
        }
        Ok(())
    }

    fn targets(
        &self,
        table: &mut Table<'_>,
        rows: usize,
        columns: &mut [Column<'_>],
    ) -> Result<(), DataError> {
        if let (Targets::Classes { .. }, [column]) = (&table.targets, &mut *columns) {
            return column.each(rows, &mut |field| table.class(field, self.file));
        }
        let width = columns.len();
        let mut block = vec![f32::NAN; rows * width];
        for (index, column) in columns.iter_mut().enumerate() {
            let mut places = block.iter_mut().skip(index).step_by(width);
            column.numbers(rows, &mut places, |field| table.value(index, field))?;
        }
        if let Targets::Values { values, .. } = &mut table.targets {
            reserve(values, block.len(), self.file)?;
            values.append(&mut block);
        }
        Ok(())
    }

    fn column(&self, position: usize) -> Result<Column<'_>, DataError> {
        let reader = self.reader.get_column_reader(position);
        let about = self.reader.metadata().column(position).column_descr_ptr();
        Ok(Column {
            file: self.file,
            name: super::shortened(about.name()),
            reader: reader.map_err(|fault| foreign(self.file, fault))?,
            nullable: about.max_def_level() > 0,
            unsigned: is_unsigned(&about),
            first: self.first,
            count: self.count,
            seen: 0,
        })
    }
}

/// One column of a group, read from its beginning to its end.
struct Column<'a> {
    file: &'a str,
    /// As messages call it.
    name: String,
    reader: ColumnReader,
    nullable: bool,
    unsigned: bool,
    /// Rows of the file before the group.
    first: usize,
    /// Rows of the group, and those that have been read.
    count: usize,
    seen: usize,
}

impl Column<'_> {
    /// Puts the next rows, as `read` makes them numbers, into `places`.
    fn numbers(
        &mut self,
        rows: usize,
        places: &mut dyn Iterator<Item = &mut f32>,
        mut read: impl FnMut(Field<'_>) -> Result<f32, FieldFault>,
    ) -> Result<(), DataError> {
        self.each(rows, &mut |field| {
            Ok(read(field).map(|value| {
                *places.next().expect("one place for each row") = value;
            }))
        })
    }

    /// Calls `visit` with the fields of the next rows.
    fn each(&mut self, rows: usize, visit: &mut Visit<'_>) -> Result<(), DataError> {
        let Self { file, reader, nullable, unsigned, .. } = self;
        let (file, nullable, unsigned) = (*file, *nullable, *unsigned);
        let mut row = self.first + self.seen;
        let mut visit = |field: Result<Field<'_>, FieldFault>| {
            let visited = match field {
                Ok(field) => visit(field)?,
                Err(fault) => Err(fault),
            };
            let at = |fault| DataError::Row { file: file.to_owned(), row: row as u64, fault };
            visited.map_err(at)?;
            row += 1;
            Ok(())
        };
        let visit: &mut VisitRow<'_> = &mut visit;
        let number = |value: f64| Ok(Field::Number(value));
        let read = match reader {
            ColumnReader::BoolColumnReader(reader) => {
                let wide = |value: bool| f64::from(u8::from(value));
                values(file, reader, nullable, rows, |&value| number(wide(value)), visit)
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let wide =
                    |value: i32| if unsigned { f64::from(value as u32) } else { value.into() };
                values(file, reader, nullable, rows, |&value| number(wide(value)), visit)
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let wide = |value: i64| if unsigned { value as u64 as f64 } else { value as f64 };
                values(file, reader, nullable, rows, |&value| number(wide(value)), visit)
            }
            ColumnReader::FloatColumnReader(reader) => {
                values(file, reader, nullable, rows, |&value| number(f64::from(value)), visit)
            }
            ColumnReader::DoubleColumnReader(reader) => {
                values(file, reader, nullable, rows, |&value| number(value), visit)
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                values(file, reader, nullable, rows, text, visit)
            }
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Ok(0)
            }
        }?;
        self.seen += read;
        if read == rows {
            return Ok(());
        }
        let Self { name, seen, count, .. } = self;
        Err(damaged(file, format!("column \"{name}\" ends after {seen} of {count} rows")))
    }
}

/// Reads the next values of a column; tells their number, nulls included.
fn values<T: DataType>(
    file: &str,
    reader: &mut ColumnReaderImpl<T>,
    nullable: bool,
    rows: usize,
    field: impl Fn(&T::T) -> Result<Field<'_>, FieldFault>,
    visit: &mut VisitRow<'_>,
) -> Result<usize, DataError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut seen = 0;
    while seen < rows {
        values.clear();
        levels.clear();
        let levels_here = nullable.then_some(&mut levels);
        let read = reader.read_records(rows - seen, levels_here, None, &mut values);
        let (records, _, _) = read.map_err(|fault| foreign(file, fault))?;
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

/// What is done with a field: a fault of the field, or one of the whole file.
type Visit<'a> = dyn FnMut(Field<'_>) -> Result<Result<(), FieldFault>, DataError> + 'a;

/// The same, once the row that a fault is in has been noted.
type VisitRow<'a> = dyn FnMut(Result<Field<'_>, FieldFault>) -> Result<(), DataError> + 'a;

/// Rows that are read together, and values of all their features.
const ROWS_AT_ONCE: usize = 1024;
const VALUES_AT_ONCE: usize = 1 << 20;

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
