//! Parquet tables of integers, texts and f32, plain, in groups of rows that fit into memory.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;

use super::table::{Cells, Column, ColumnKind};

/// A file, and the rows that are not in it yet.
pub(super) struct Groups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    waiting: Vec<Cells>,
    /// Bytes of `waiting`.
    bytes: usize,
}

impl<W: Write + Send> Groups<W> {
    pub(super) fn new(columns: &[Column], sink: W) -> io::Result<Self> {
        let field = |column: &Column| {
            let (physical, logical) = match column.kind {
                ColumnKind::Integer => (Physical::INT64, None),
                ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                ColumnKind::Number => (Physical::FLOAT, None),
            };
            let field = Type::primitive_type_builder(&column.name, physical)
                .with_repetition(Repetition::REQUIRED)
                .with_logical_type(logical);
            field.build().map(Arc::new)
        };
        let fields = columns.iter().map(field).collect::<Result<_, _>>().map_err(other)?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build().map_err(other)?;
        let properties = Arc::new(WriterProperties::builder().build());
        let file = SerializedFileWriter::new(sink, Arc::new(schema), properties).map_err(other)?;
        Ok(Self { file, waiting: Vec::new(), bytes: 0 })
    }

    pub(super) fn write(&mut self, cells: Vec<Cells>) -> io::Result<()> {
        self.bytes += cells.iter().map(bytes).sum::<usize>();
        if self.waiting.is_empty() {
            self.waiting = cells;
        } else {
            for (all, more) in self.waiting.iter_mut().zip(cells) {
                match (all, more) {
                    (Cells::Integers(all), Cells::Integers(more)) => all.extend(more),
                    (Cells::Texts(all), Cells::Texts(more)) => all.extend(more),
                    (Cells::Numbers(all), Cells::Numbers(more)) => all.extend(more),
                    (Cells::Integers(_) | Cells::Texts(_) | Cells::Numbers(_), _) => {
                        unreachable!("a column is of one kind")
                    }
                }
            }
        }
        if self.bytes >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.flush()?;
        }
        self.file.close().map(|_about| ()).map_err(other)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(other)?;
        for cells in std::mem::take(&mut self.waiting) {
            match cells {
                Cells::Integers(cells) => put::<Int64Type, W>(&mut group, &cells),
                Cells::Numbers(cells) => put::<FloatType, W>(&mut group, &cells),
                Cells::Texts(cells) => {
                    let texts: Vec<ByteArray> =
                        cells.into_iter().map(|text| text.into_bytes().into()).collect();
                    put::<ByteArrayType, W>(&mut group, &texts)
                }
            }
            .map_err(other)?;
        }
        group.close().map_err(other)?;
        self.bytes = 0;
        Ok(())
    }
}

fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.expect("as many columns as the schema has");
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn other(fault: ParquetError) -> io::Error {
    io::Error::other(fault)
}

/// As cells take memory.
fn bytes(cells: &Cells) -> usize {
    match cells {
        Cells::Integers(cells) => size_of_val(&cells[..]),
        Cells::Texts(cells) => {
            size_of_val(&cells[..]) + cells.iter().map(String::len).sum::<usize>()
        }
        Cells::Numbers(cells) => size_of_val(&cells[..]),
    }
}

/// Of a group of rows, before it is encoded.
const GROUP_BYTES: usize = 8 << 20;
