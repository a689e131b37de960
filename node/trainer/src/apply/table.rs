//! Columns of results on their way into a file, block by block.

use std::io;

use super::npy::Array;
use super::parquet::Groups;
use crate::definition::TableFormat;
use crate::output::Sink;

/// A column of a table: its name, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    Text,
    Number,
}

/// Some rows of a column.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    Numbers(Vec<f32>),
}

impl Column {
    pub(super) fn integer(name: &str) -> Self {
        Self { name: name.to_owned(), kind: ColumnKind::Integer }
    }

    pub(super) fn text(name: &str) -> Self {
        Self { name: name.to_owned(), kind: ColumnKind::Text }
    }

    pub(super) fn number(name: String) -> Self {
        Self { name, kind: ColumnKind::Number }
    }
}

impl Cells {
    fn rows(&self) -> usize {
        match self {
            Self::Integers(cells) => cells.len(),
            Self::Texts(cells) => cells.len(),
            Self::Numbers(cells) => cells.len(),
        }
    }

    /// As it is written; numbers in the shortest form that reads back the same.
    fn text(&self, row: usize) -> String {
        match self {
            Self::Integers(cells) => cells[row].to_string(),
            Self::Texts(cells) => cells[row].clone(),
            Self::Numbers(cells) => cells[row].to_string(),
        }
    }
}

/// A file of results in the making.
pub(super) enum Table<'a, 'b> {
    Csv(Box<csv::Writer<&'a mut Sink<'b>>>),
    Npy(Array<&'a mut Sink<'b>>),
    Parquet(Box<Groups<&'a mut Sink<'b>>>),
}

impl<'a, 'b> Table<'a, 'b> {
    /// With these columns, or as an array of this shape.
    pub(super) fn new(
        format: TableFormat,
        columns: &[Column],
        shape: Vec<usize>,
        sink: &'a mut Sink<'b>,
    ) -> io::Result<Self> {
        Ok(match format {
            TableFormat::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer.write_record(columns.iter().map(|column| &column.name))?;
                Self::Csv(Box::new(writer))
            }
            TableFormat::Npy => Self::Npy(Array::new(&shape, sink)?),
            TableFormat::Parquet => Self::Parquet(Box::new(Groups::new(columns, sink)?)),
        })
    }

    /// Some rows, column by column.
    pub(super) fn write(&mut self, cells: Vec<Cells>) -> io::Result<()> {
        match self {
            Self::Csv(writer) => {
                for row in 0..cells.first().map_or(0, Cells::rows) {
                    writer.write_record(cells.iter().map(|column| column.text(row)))?;
                }
                Ok(())
            }
            Self::Parquet(groups) => groups.write(cells),
            Self::Npy(_) => unreachable!("an array has no columns"),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Npy(array) => {
                array.finish();
                Ok(())
            }
            Self::Parquet(groups) => groups.finish(),
        }
    }
}
