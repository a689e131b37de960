//! Rows for training: reads CSV and NPY files into one matrix of features and one list of
//! targets, every value checked to be a finite number. Which rows are for what is decided in
//! [`split`], how features are scaled in [`scaling`]; whether a model fits is left to
//! [`crate::plan`].

mod csv;
mod labels;
mod npy;
pub(crate) mod scaling;
pub(crate) mod split;

use std::io;
use std::path::Path;

use crate::definition::{DataSpec, Loss};
use crate::limits;

/// A whole data set in memory, in file order.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row-major, `rows * columns`.
    pub(crate) features: Vec<f32>,
    /// Empty where the format has no names.
    pub(crate) feature_names: Vec<String>,
    pub(crate) targets: Targets,
}

impl Dataset {
    /// Of the features of one row, without the batch axis.
    pub(crate) fn row_shape(&self) -> Vec<usize> {
        vec![self.columns]
    }
}

/// What the model shall say about each row.
#[derive(Debug)]
pub(crate) enum Targets {
    /// One class a row, as an index into `names`.
    Classes { ids: Vec<u32>, names: Vec<String> },
    /// Row-major, `rows * names.len()`.
    Values { values: Vec<f32>, names: Vec<String> },
}

impl Targets {
    /// Outputs a model needs for these targets.
    pub(crate) fn width(&self) -> usize {
        self.names().len()
    }

    /// Labels of the classes, or names of the target columns.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Classes { names, .. } | Self::Values { names, .. } => names,
        }
    }
}

/// Why a data set cannot be used; names file, line and column where there is one.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read {file}: {fault}")]
    Read { file: String, fault: io::Error },
    #[error("{file} line {line}: {fault}")]
    Line { file: String, line: u64, fault: LineFault },
    #[error("{file}, header: column {position} has no name")]
    Unnamed { file: String, position: usize },
    #[error("{file}, header: column \"{name}\" appears twice; rename one")]
    Repeated { file: String, name: String },
    #[error("{file} has no column \"{name}\"; it has {known}")]
    NoColumn { file: String, name: String, known: String },
    #[error("{file} has only label columns; features are needed too")]
    NoFeatures { file: String },
    #[error("{file} has no rows")]
    Empty { file: String },
    #[error("{file} has {found} {what}, more than the {limit} allowed")]
    TooMany { file: String, what: &'static str, found: u64, limit: u64 },
    #[error("{file} needs more than {limit} bytes of memory as f32; use fewer rows or columns")]
    TooLarge { file: String, limit: u64 },
    #[error("not enough memory for {bytes} bytes of {file}")]
    NoMemory { file: String, bytes: u64 },
    #[error("{file} is no usable NPY file: {fault}")]
    Npy { file: String, fault: NpyFault },
    #[error("{labels} has {found} rows, {source_file} has {expected}; they must agree")]
    RowsDiffer { labels: String, found: usize, source_file: String, expected: usize },
    #[error("the labels in {file} have one value only, \"{value}\"; two classes are the least")]
    OneClass { file: String, value: String },
    #[error("{total} rows leave none for {what}; change data.test or data.validation, or add rows")]
    NoRowsLeft { total: usize, what: &'static str },
}

/// What is wrong with one line of a CSV file.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    #[error("column \"{column}\" holds \"{text}\", which is no number")]
    NotANumber { column: String, text: String },
    #[error("column \"{column}\" holds \"{text}\", which is not finite as a 32-bit float")]
    NotFinite { column: String, text: String },
    #[error("column \"{column}\" is empty; fill it in or remove the row")]
    EmptyField { column: String },
    #[error("column \"{column}\" is longer than {limit} bytes")]
    LongField { column: String, limit: usize },
    #[error("{found} fields, the header has {expected}")]
    Fields { found: u64, expected: u64 },
    #[error("not UTF-8")]
    NotUtf8,
}

/// What is wrong with an NPY file.
#[derive(Debug, thiserror::Error)]
pub enum NpyFault {
    #[error("it does not begin with the NPY signature")]
    Signature,
    #[error("version {0} of the format is unknown; 1, 2 and 3 are known")]
    Version(u8),
    #[error("its header is damaged or not as NumPy writes it")]
    Header,
    #[error("values of type \"{0}\"; use one of <f4, <f8, <i4, <i8, |u1")]
    Type(String),
    #[error("Fortran order; save numpy.ascontiguousarray(array)")]
    FortranOrder,
    #[error("shape {0}; {1}")]
    Shape(String, &'static str),
    #[error("its shape needs {expected} bytes of data, the file holds {found}")]
    Length { expected: u64, found: u64 },
    #[error("row {row}, value {column} is {value}; {allowed}")]
    Value { row: usize, column: usize, value: f64, allowed: &'static str },
}

/// Reads the data set that `spec` names from `inputs`.
///
/// # Errors
/// The first fault found in a file.
pub(crate) fn load(spec: &DataSpec, loss: Loss, inputs: &Path) -> Result<Dataset, DataError> {
    match &spec.labels {
        Some(labels) => npy::load(&spec.source, labels, loss, inputs),
        None => csv::load(spec, loss, inputs),
    }
}

/// Opens an input and tells its length in bytes.
fn open(inputs: &Path, file: &str) -> Result<(std::fs::File, u64), DataError> {
    let read = |fault| DataError::Read { file: file.to_owned(), fault };
    let opened = std::fs::File::open(inputs.join(file)).map_err(read)?;
    let meta = opened.metadata().map_err(read)?;
    if meta.is_file() {
        Ok((opened, meta.len()))
    } else {
        Err(read(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")))
    }
}

/// Makes room for `more` values, within the limit on a whole data set.
fn reserve(values: &mut Vec<f32>, more: usize, file: &str) -> Result<(), DataError> {
    let bytes = (values.len() as u64 + more as u64).saturating_mul(4);
    if bytes > limits::MAX_DATA_BYTES {
        let limit = limits::MAX_DATA_BYTES;
        return Err(DataError::TooLarge { file: file.to_owned(), limit });
    }
    // The error carries nothing but the fact.
    let Ok(()) = values.try_reserve(more) else {
        return Err(DataError::NoMemory { file: file.to_owned(), bytes });
    };
    Ok(())
}
