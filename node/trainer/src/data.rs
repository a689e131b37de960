//! Rows for training: reads files of many formats into rows of features and one list of targets,
//! every value checked to be a finite number. A file is a stranger's: nothing it claims is believed
//! before it is compared with a limit, and a fault names the place.
//!
//! Reading has two steps. [`load`] gives [`Raw`] rows; which of them are for what is decided in
//! [`split`]; then [`Raw::encode`] turns them into numbers with what the training rows alone
//! taught ([`encoding`]). Targets are in memory; [`Features`] are wherever [`storage`] has put
//! them, and are encoded and scaled as rows are asked for. How they are scaled is left to
//! [`scaling`], whether a model fits to [`crate::plan`].

mod archive;
mod array;
mod csv;
pub(crate) mod encoding;
mod error;
mod idx;
mod images;
mod labels;
mod names;
mod npy;
mod npz;
mod parquet;
mod raw;
mod reading;
mod rows;
pub(crate) mod scaling;
pub(crate) mod split;
mod storage;
mod sum;
mod table;
mod text;

use std::io;
use std::path::Path;

use encoding::Known;
pub use error::{ArrayFault, DataError, FieldFault};
pub(crate) use names::Names;
pub(crate) use raw::Raw;
pub(crate) use reading::Reading;
pub(crate) use rows::{Features, Place, Window};
use storage::Storage;
pub(crate) use table::listed;

use crate::definition::{DataSpec, Format, Loss};
use crate::limits;

/// A whole data set, in file order.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) rows: usize,
    /// Features of a row: the product of `shape`.
    pub(crate) columns: usize,
    /// Of the features of one row, without the batch axis.
    pub(crate) shape: Vec<usize>,
    pub(crate) features: Features,
    /// Empty where the format has no names.
    pub(crate) feature_names: Vec<String>,
    /// How the features came from what the file holds; nothing where they are it.
    pub(crate) encoding: Option<encoding::Encoding>,
    /// Without targets where only features were read.
    pub(crate) targets: Targets,
    /// What each row is called, where the data say it and no targets were read.
    pub(crate) ids: Names,
}

/// What the model shall say about each row.
#[derive(Debug)]
pub(crate) enum Targets {
    /// One class a row, as an index into `names`.
    Classes { ids: Vec<u32>, names: Vec<String> },
    /// One class at each position of a row, as indices into `names`: those of a row are so many
    /// from `1 + row * stride` on.
    Positions { ids: Vec<u32>, positions: usize, stride: usize, names: Vec<String> },
    /// Row-major, `rows * names.len()`.
    Values { values: Vec<f32>, names: Vec<String> },
}

impl Dataset {
    /// Bytes of memory that all takes which is kept of each row, but its features.
    pub(crate) fn memory_bytes(&self) -> u64 {
        // Its number is in a part of the rows, and in the order of an epoch; vectors of targets
        // grow by doubling while a file is read.
        let numbers = 2 * size_of::<u32>() as u64 * self.rows as u64;
        numbers + 2 * self.targets.memory_bytes() + self.ids.memory_bytes()
    }
}

impl Targets {
    /// Outputs that a model needs for these targets: the product of [`Self::output_shape`].
    pub(crate) fn width(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// What a model must give for a row, without the batch axis.
    pub(crate) fn output_shape(&self) -> Vec<usize> {
        match self {
            Self::Classes { names, .. } | Self::Values { names, .. } => vec![names.len()],
            Self::Positions { positions, names, .. } => vec![*positions, names.len()],
        }
    }

    /// The classes of some rows, or of each of their positions; none where targets are numbers.
    pub(crate) fn classes<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let (ids, stride, length): (&[u32], _, _) = match self {
            Self::Classes { ids, .. } => (ids, 1, 1),
            // Each is that of the position before it.
            Self::Positions { ids, positions, stride, .. } => (&ids[1..], *stride, *positions),
            Self::Values { .. } => (&[], 0, 0),
        };
        rows.iter().flat_map(move |&row| &ids[row as usize * stride..][..length]).copied()
    }

    /// Bytes of memory that they take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let count = match self {
            Self::Classes { ids, .. } | Self::Positions { ids, .. } => ids.len(),
            Self::Values { values, .. } => values.len(),
        };
        4 * count as u64
    }

    /// Labels of the classes, or names of the target columns.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Classes { names, .. }
            | Self::Positions { names, .. }
            | Self::Values { names, .. } => names,
        }
    }
}

/// Reads the data set that `spec` names from `inputs`; for a model that is trained already, with
/// what it knows. Without a loss only features are read, and what rows are called.
///
/// # Errors
/// The first fault found in a file, or the wish to read no further.
pub(crate) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    known: Option<Known<'_>>,
    reading: &Reading<'_>,
) -> Result<Raw, DataError> {
    let format = Format::of(&spec.source).expect("the rules refuse sources of unknown format");
    let storage = Storage::new(spec.streaming, reading);
    let mut raw = match format {
        Format::Csv => csv::load(spec, loss, inputs, storage),
        Format::Parquet => parquet::load(spec, loss, inputs, storage),
        Format::Npy => npy::load(spec, loss, inputs, storage),
        Format::Npz => npz::load(spec, loss, inputs, storage),
        Format::Idx => idx::load(spec, loss, inputs, storage),
        Format::Images => images::load(spec, loss.is_some(), inputs, storage),
        Format::Text => text::load(spec, loss.is_some(), inputs, known, storage),
    }?;
    if raw.rows() > limits::MAX_ROWS {
        return Err(too_many(&spec.source, "rows", raw.rows(), limits::MAX_ROWS));
    }
    raw.drop_rows(spec, reading)?;
    Ok(raw)
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

fn is_gzip(file: &str) -> bool {
    file.to_ascii_lowercase().ends_with(".gz")
}

/// Whether `unpacked` bytes can have been deflated to `packed`: the format shrinks by a factor of
/// 1032 at most, so that a small file cannot make us take much memory.
fn can_unpack(packed: u64, unpacked: u64) -> bool {
    unpacked <= packed.saturating_mul(1032).saturating_add(1 << 12)
}

/// Makes room for `more` values of four bytes, within the limit on what is in memory.
fn reserve<T>(values: &mut Vec<T>, more: usize, file: &str) -> Result<(), DataError> {
    let bytes = (values.len() as u64).saturating_add(more as u64).saturating_mul(4);
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

/// Targets of rows of which only the features were read.
fn no_targets() -> raw::RawTargets {
    raw::RawTargets::Values { values: Vec::new(), names: Vec::new() }
}

fn too_many(file: &str, what: &'static str, found: usize, limit: usize) -> DataError {
    let (found, limit) = (found as u64, limit as u64);
    DataError::TooMany { file: file.to_owned(), what, found, limit }
}

/// As much of a stranger's text as a person reads.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
