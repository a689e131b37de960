//! What can be wrong with data, in words that name the file, the place in it and the remedy.

use std::io;
use std::path::PathBuf;

/// Why a data set cannot be used; names file, line and column where there is one.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read {file}: {fault}")]
    Read { file: String, fault: io::Error },
    #[error("{file} line {line}: {fault}")]
    Line { file: String, line: u64, fault: FieldFault },
    #[error("{file} row {row}: {fault}")]
    Row { file: String, row: u64, fault: FieldFault },
    #[error("{file}, header: column {position} has no name")]
    Unnamed { file: String, position: usize },
    #[error("{file}, header: column \"{name}\" appears twice; rename one")]
    Repeated { file: String, name: String },
    #[error("{file} has no {what} \"{name}\"; it has {known}")]
    NoColumn { file: String, what: &'static str, name: String, known: String },
    #[error("{file} has only label columns; features are needed too")]
    NoFeatures { file: String },
    #[error("{file} has no rows")]
    Empty { file: String },
    #[error("{file}: each of its {rows} rows lacks a value; choose another data.missing")]
    AllDropped { file: String, rows: usize },
    #[error(
        "{file}, column \"{column}\": no training row has a value, so there is no mean; leave the \
         column out of data.features"
    )]
    NoMean { file: String, column: String },
    #[error("{file}, column \"{column}\": no training row has a value to encode; leave it out")]
    NoCategories { file: String, column: String },
    #[error("{file} has {found} {what}, more than the {limit} allowed")]
    TooMany { file: String, what: &'static str, found: u64, limit: u64 },
    #[error("{file} needs more than {limit} bytes of memory as f32; use fewer rows or columns")]
    TooLarge { file: String, limit: u64 },
    #[error("{file} needs more than the {limit} bytes that its rows may take on disk as f32")]
    TooLargeForDisk { file: String, limit: u64 },
    #[error(
        "the rows of {file} do not fit into memory, nor into the {limit_mb} MB of disk that the job \
         asks for: raise requirements.disk_mb, or requirements.memory_mb so that they fit there"
    )]
    DiskUsedUp { file: String, limit_mb: u64 },
    #[error(
        "not enough memory for {bytes} bytes of {file}; allow more of it, or leave data.streaming \
         out"
    )]
    NoMemory { file: String, bytes: u64 },
    #[error(
        "cannot put the rows of {file} into {}, after {bytes} bytes: {fault}; make room there, or \
         allow more memory",
        .folder.display()
    )]
    NoDisk { file: String, bytes: u64, folder: PathBuf, fault: io::Error },
    #[error("cannot read the rows of {file} any more: {fault}")]
    Lost { file: String, fault: io::Error },
    #[error("stopped on request while data were read")]
    Stopped,
    #[error("paused on request while data were read")]
    Paused,
    #[error("{file} is no usable {format} file: {fault}")]
    Array { file: String, format: &'static str, fault: ArrayFault },
    #[error("{file} is no usable {format} file: {fault}")]
    Damaged { file: String, format: &'static str, fault: String },
    #[error("{file}, column \"{column}\" is {found}; save it as {allowed}")]
    ColumnType { file: String, column: String, found: String, allowed: &'static str },
    #[error("{file}: {entry} {fault}")]
    Entry { file: String, entry: String, fault: String },
    #[error("{labels} has {found} rows, {source_file} has {expected}; they must agree")]
    RowsDiffer { labels: String, found: usize, source_file: String, expected: usize },
    #[error("the labels in {file} have one value only, \"{value}\"; two classes are the least")]
    OneClass { file: String, value: String },
    #[error("data.shape {shape:?} holds {product} values, but a row of {file} has {columns}")]
    Shape { file: String, shape: Vec<u32>, product: u64, columns: usize },
    #[error("{file} has {found} characters; a window of {context} and the one after it need more")]
    ShortText { file: String, found: usize, context: usize },
    #[error("{file} line {line} is not UTF-8; save the text as UTF-8")]
    TextNotUtf8 { file: String, line: u64 },
    #[error("{file} has the label \"{value}\", which the model was not trained on")]
    OtherClass { file: String, value: String },
    #[error("{file} line {line} has the character {character:?}, which the model does not know")]
    OtherCharacter { file: String, line: u64, character: char },
    #[error("{file} does not have the columns that the model was trained on")]
    OtherEncoding { file: String },
    #[error("{total} rows leave none for {what}; change data.test or data.validation, or add rows")]
    NoRowsLeft { total: usize, what: &'static str },
}

/// What is wrong with one line of a CSV file, or one row of a Parquet file.
#[derive(Debug, thiserror::Error)]
pub enum FieldFault {
    #[error(
        "column \"{column}\" holds \"{text}\", which is no number; a column of texts belongs into \
         data.one_hot"
    )]
    NotANumber { column: String, text: String },
    #[error("column \"{column}\" holds \"{text}\", which is not finite as a 32-bit float")]
    NotFinite { column: String, text: String },
    #[error("column \"{column}\" is empty; fill it in, remove the row or set data.missing")]
    EmptyField { column: String },
    #[error(
        "column \"{column}\" holds \"{text}\", no value; fill it in, remove the row or set \
         data.missing"
    )]
    NoValue { column: String, text: String },
    #[error("column \"{column}\", a target, has no value; fill it in or remove the row")]
    NoTarget { column: String },
    #[error("column \"{column}\" is longer than {limit} bytes")]
    LongField { column: String, limit: usize },
    #[error("column \"{column}\" has more than the {limit} texts that can be one-hot encoded")]
    Categories { column: String, limit: usize },
    #[error("{found} fields, the header has {expected}")]
    Fields { found: u64, expected: u64 },
    #[error("the row is longer than {limit} bytes; is a quote left open?")]
    LongRow { limit: u64 },
    #[error("not UTF-8")]
    NotUtf8,
}

/// What is wrong with an NPY or IDX array.
#[derive(Debug, thiserror::Error)]
pub enum ArrayFault {
    #[error("it does not begin with the signature of the format")]
    Signature,
    #[error("version {0} of the format is unknown; 1, 2 and 3 are known")]
    Version(u8),
    #[error("its header is damaged or cut off")]
    Header,
    #[error(
        "values of type \"{0}\"; use one of <f4, <f8, |i1, <i2, <i4, <i8, |u1, <u2, <u4, <u8, |b1"
    )]
    Type(String),
    #[error("values of type 0x{0:02x}, which the format does not have")]
    TypeByte(u8),
    #[error("Fortran order; save numpy.ascontiguousarray(array)")]
    FortranOrder,
    #[error("shape {0}; {1}")]
    Shape(String, &'static str),
    #[error("its shape needs {expected} bytes of data, the file holds {found}")]
    Length { expected: u64, found: u64 },
    #[error("its shape needs {expected} bytes of data, more than the file can unpack to")]
    Unpacked { expected: u64 },
    #[error("it goes on after the {expected} bytes of data that its shape needs")]
    Longer { expected: u64 },
    #[error("its data end before row {row}")]
    Cut { row: usize },
    #[error("row {row}, value {column} is {value}; {allowed}")]
    Value { row: usize, column: usize, value: f64, allowed: &'static str },
}
