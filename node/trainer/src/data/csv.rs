//! CSV with a header, plain or gzipped. A field is read as its column needs it: as a number, as
//! one of some texts, or as a class.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use flate2::read::MultiGzDecoder;

use super::storage::Storage;
use super::table::{self, Field, Id, Table, Targets};
use super::{DataError, FieldFault, Raw, is_gzip, open, reserve};
use crate::definition::{DataSpec, Loss};
use crate::limits;

/// Bytes that the CSV reader takes at once.
const BUFFER_BYTES: usize = 1 << 16;

pub(super) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let mut rows = Rows::open(inputs, file)?;
    let header = rows.header()?;
    let mut table = Table::new(spec, loss, &header, file, storage)?;
    let (mut features, mut row) = (storage.sink(file, None)?, Vec::new());
    let mut count = 0;
    while rows.next()? {
        row.clear();
        read(&mut table, &mut row, &rows)?;
        features.push(&row)?;
        count += 1;
    }
    if count == 0 {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    table.finish(file, count, features.finish()?)
}

/// Reads one row: its targets into `table`, the rest into `features`.
fn read(table: &mut Table<'_>, features: &mut Vec<f32>, rows: &Rows) -> Result<(), DataError> {
    let file = rows.file.as_str();
    for index in 0..table.features.len() {
        let field = rows.field(table.features[index].position)?;
        let value = table.feature(index, field);
        features.push(value.map_err(|fault| rows.fault(fault))?);
    }
    if let Some(Id { position, .. }) = table.id {
        let field = rows.field(position)?;
        table.name(field)?.map_err(|fault| rows.fault(fault))?;
    }
    if let Targets::Classes { position, .. } = table.targets {
        let field = rows.field(position)?;
        return table.class(field, file)?.map_err(|fault| rows.fault(fault));
    }
    let mut row = Vec::new();
    if let Targets::Values { positions, .. } = &table.targets {
        for (index, &position) in positions.iter().enumerate() {
            let value = table.value(index, rows.field(position)?);
            row.push(value.map_err(|fault| rows.fault(fault))?);
        }
    }
    if let Targets::Values { values, .. } = &mut table.targets {
        reserve(values, row.len(), file)?;
        values.append(&mut row);
    }
    Ok(())
}

/// The records of a file, one at a time.
struct Rows {
    file: String,
    reader: Reader<Meter>,
    /// Bytes that the reader may still take for the record it is at.
    left: Rc<Cell<u64>>,
    record: ByteRecord,
    /// Where `record` begins.
    line: u64,
}

impl Rows {
    fn open(inputs: &Path, file: &str) -> Result<Self, DataError> {
        let (opened, _) = open(inputs, file)?;
        let inner: Box<dyn Read> = if is_gzip(file) {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, opened)))
        } else {
            Box::new(opened)
        };
        let left = Rc::new(Cell::new(0));
        let meter = Meter { inner, left: Rc::clone(&left), all: limits::MAX_UNPACKED_BYTES };
        let reader = ReaderBuilder::new().buffer_capacity(BUFFER_BYTES).from_reader(meter);
        let record = ByteRecord::new();
        Ok(Self { file: file.to_owned(), reader, left, record, line: 1 })
    }

    fn header(&mut self) -> Result<Vec<String>, DataError> {
        self.left.set(limits::MAX_ROW_BYTES);
        let Self { reader, file, line, .. } = self;
        let record = reader.headers().map_err(|fault| read_error(fault, file, *line))?;
        let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
        table::check_header(&names, file)?;
        Ok(names)
    }

    /// Whether there was one more record.
    fn next(&mut self) -> Result<bool, DataError> {
        self.left.set(limits::MAX_ROW_BYTES);
        let line = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.record);
        let more = read.map_err(|fault| read_error(fault, &self.file, line))?;
        self.line = self.record.position().map_or(line, |position| position.line());
        Ok(more)
    }

    fn field(&self, column: usize) -> Result<Field<'_>, DataError> {
        // The reader refuses records whose length is not the header's.
        match std::str::from_utf8(self.record[column].trim_ascii()) {
            Ok(text) => Ok(Field::Text(text)),
            Err(_) => Err(self.fault(FieldFault::NotUtf8)),
        }
    }

    fn fault(&self, fault: FieldFault) -> DataError {
        DataError::Line { file: self.file.clone(), line: self.line, fault }
    }
}

/// Fails where a record or all of them take more than they may: a quote that is never closed
/// would otherwise make one record of a whole file.
struct Meter {
    inner: Box<dyn Read>,
    left: Rc<Cell<u64>>,
    all: u64,
}

impl Read for Meter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 || self.all == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(count as u64));
        self.all = self.all.saturating_sub(count as u64);
        Ok(count)
    }
}

fn read_error(fault: ::csv::Error, file: &str, line: u64) -> DataError {
    let line = fault.position().map_or(line, |position| position.line());
    let at = |fault| DataError::Line { file: file.to_owned(), line, fault };
    if let ErrorKind::UnequalLengths { expected_len, len, .. } = *fault.kind() {
        return at(FieldFault::Fields { found: len, expected: expected_len });
    }
    if let ErrorKind::Utf8 { .. } = fault.kind() {
        return at(FieldFault::NotUtf8);
    }
    if let ErrorKind::Io(fault) = fault.kind()
        && fault.kind() == io::ErrorKind::FileTooLarge
    {
        return at(FieldFault::LongRow { limit: limits::MAX_ROW_BYTES });
    }
    DataError::Read { file: file.to_owned(), fault: fault.into() }
}
