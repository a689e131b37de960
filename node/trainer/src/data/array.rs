//! Arrays of numbers whose header has been read: what NPY, NPZ and IDX have in common. The header
//! is compared with what the file can hold before anything is allocated for it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use super::names::Names;
use super::raw::{Raw, RawTargets};
use super::rows::{self, OnDisk, Stored, Values};
use super::storage::Storage;
use super::{ArrayFault, DataError, labels, reserve, too_many};
use crate::definition::{Loss, Missing};
use crate::limits;

/// How one value lies in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// Bytes.
    pub(super) size: usize,
    /// Exact for all but the largest integers of 64 bits, which no f32 could hold either.
    pub(super) decode: fn(&[u8]) -> f64,
    /// Appends several as 32-bit floats.
    pub(super) append: fn(&[u8], &mut Vec<f32>),
}

/// How long the values are together, as far as the container tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Exact(u64),
    /// Compressed to so many bytes.
    Packed(u64),
}

/// An array that can be read from its first value on.
pub(super) struct Array<'a> {
    /// As messages call it.
    file: String,
    format: &'static str,
    reader: Box<dyn Read + 'a>,
    element: Element,
    shape: Vec<usize>,
    count: usize,
    /// Where the values are the end of a file as they are.
    plain: Option<File>,
}

impl<'a> Array<'a> {
    /// Takes an array whose header says `shape` and whose values come next from `reader`.
    pub(super) fn new(
        file: String,
        format: &'static str,
        reader: Box<dyn Read + 'a>,
        element: Element,
        shape: &[u64],
        length: Length,
    ) -> Result<Self, DataError> {
        let refused = |why| {
            let fault = ArrayFault::Shape(shown(shape), why);
            Err(DataError::Array { file: file.clone(), format, fault })
        };
        if shape.is_empty() {
            return refused("the first axis must be rows");
        }
        if shape.len() > limits::MAX_AXES + 1 {
            return refused("that are more axes than the 7 allowed");
        }
        let product = shape.iter().try_fold(1_u64, |all, &size| all.checked_mul(size));
        let Some(count) = product.filter(|count| count.checked_mul(8).is_some()) else {
            return refused("that is more than any file holds");
        };
        if count == 0 {
            return Err(DataError::Empty { file });
        }
        let expected = count * element.size as u64;
        let fault = match length {
            Length::Exact(found) if found != expected => {
                Some(ArrayFault::Length { expected, found })
            }
            Length::Packed(packed) if !super::can_unpack(packed, expected) => {
                Some(ArrayFault::Unpacked { expected })
            }
            Length::Exact(_) | Length::Packed(_) => None,
        };
        if let Some(fault) = fault {
            return Err(DataError::Array { file, format, fault });
        }
        if count * 4 > limits::MAX_STREAMED_BYTES {
            return Err(DataError::TooLarge { file, limit: limits::MAX_STREAMED_BYTES });
        }
        let shape = shape.iter().map(|&size| size as usize).collect();
        Ok(Self { file, format, reader, element, shape, count: count as usize, plain: None })
    }

    /// Lets values be read from `file` where they are needed; they are its end.
    pub(super) fn in_plain(self, file: File) -> Self {
        Self { plain: Some(file), ..self }
    }

    fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Values of one row, over all further axes.
    fn width(&self) -> usize {
        self.count / self.rows()
    }

    /// Rows of features, still without targets.
    pub(super) fn features(
        mut self,
        missing: Missing,
        storage: Storage<'_>,
    ) -> Result<Features, DataError> {
        let columns = self.width();
        if columns > limits::MAX_FEATURES {
            return Err(too_many(&self.file, "values a row", columns, limits::MAX_FEATURES));
        }
        let shape = match &self.shape[1..] {
            [] => vec![1],
            axes => axes.to_vec(),
        };
        let missing = missing != Missing::Refuse;
        let stored = match self.plain.take() {
            Some(file) if storage.wants_disk(self.count as u64) => {
                let mut sum = storage.sum();
                self.checked(missing, |values| {
                    sum.add(values);
                    storage.passed(values.len())
                })?;
                Stored { all: Values::Disk(self.in_place(file)?), digest: sum.finish() }
            }
            Some(_) | None => {
                let mut sink = storage.sink(&self.file, Some(self.count as u64))?;
                self.checked(missing, |values| sink.push(values))?;
                sink.finish()?
            }
        };
        let values = rows::Features::new(stored, columns, self.shape[0]);
        Ok(Features { file: self.file, shape, values })
    }

    fn in_place(&self, file: File) -> Result<OnDisk, DataError> {
        let (name, values, element) = (self.file.clone(), self.count as u64, self.element);
        let about = file.metadata();
        let length = about.map_err(|fault| DataError::Read { file: name.clone(), fault })?.len();
        let offset = length.saturating_sub(values * element.size as u64);
        Ok(OnDisk { name, file, _path: None, offset, values, element })
    }

    /// The targets of `features`, and with them the whole data set.
    pub(super) fn targets(
        mut self,
        features: Features,
        loss: Loss,
        storage: Storage<'_>,
    ) -> Result<Raw, DataError> {
        let expected = features.values.rows();
        if self.rows() != expected {
            return Err(DataError::RowsDiffer {
                labels: self.file.clone(),
                found: self.rows(),
                source_file: features.file,
                expected,
            });
        }
        let targets = if loss.wants_classes(self.width()) {
            RawTargets::Classes(self.classes(storage)?)
        } else {
            let width = self.width();
            if width > limits::MAX_OUTPUTS {
                return Err(too_many(&self.file, "targets a row", width, limits::MAX_OUTPUTS));
            }
            let names = (0..width).map(|index| format!("target{index}")).collect();
            let mut values = Vec::new();
            reserve(&mut values, self.count, &self.file)?;
            self.checked(false, |more| {
                storage.passed(more.len())?;
                values.extend_from_slice(more);
                Ok(())
            })?;
            RawTargets::Values { values, names }
        };
        Ok(Raw {
            file: features.file,
            label_file: self.file,
            shape: features.shape,
            features: features.values,
            columns: Vec::new(),
            encoding: None,
            targets,
            ids: Names::default(),
        })
    }

    /// Hands on all values, some at a time, if they can be.
    fn checked(
        &mut self,
        missing: bool,
        mut take: impl FnMut(&[f32]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let width = self.width();
        let mut values = Vec::with_capacity(AT_ONCE);
        self.each(|index, value| {
            let value32 = value as f32;
            if !(value32.is_finite() || missing && value.is_nan()) {
                let allowed = if value.is_nan() && !missing {
                    "set data.missing, or replace it by a number"
                } else {
                    "only numbers that are finite as 32-bit floats"
                };
                let (row, column) = (index / width, index % width);
                return Err(ArrayFault::Value { row, column, value, allowed }.into());
            }
            values.push(value32);
            if values.len() == AT_ONCE {
                take(&values)?;
                values.clear();
            }
            Ok(())
        })?;
        take(&values)
    }

    fn classes(&mut self, storage: Storage<'_>) -> Result<labels::Classes, DataError> {
        if self.width() != 1 {
            let fault = ArrayFault::Shape(shown(&self.shape), "one label a row is needed");
            return Err(self.fault(fault));
        }
        let file = self.file.clone();
        let mut classes = labels::Classes::default();
        self.each(|row, value| {
            // Beyond 2^53 neighbouring integers would become one class.
            if libm::trunc(value) != value || value.abs() > 9_007_199_254_740_992.0 {
                let allowed = "class labels must be whole numbers";
                return Err(ArrayFault::Value { row, column: 0, value, allowed }.into());
            }
            storage.passed(1)?;
            Ok(classes.push(&(value as i64).to_string(), &file)?)
        })?;
        Ok(classes)
    }

    fn each(
        &mut self,
        mut visit: impl FnMut(usize, f64) -> Result<(), Fault>,
    ) -> Result<(), DataError> {
        let Element { size, decode, .. } = self.element;
        let mut buffer = vec![0; size * AT_ONCE];
        let mut index = 0;
        while index < self.count {
            let chunk = &mut buffer[..size * (self.count - index).min(AT_ONCE)];
            let got = fill(&mut self.reader, chunk);
            let got = got.map_err(|fault| DataError::Read { file: self.file.clone(), fault })?;
            if got < chunk.len() {
                return Err(
                    self.fault(ArrayFault::Cut { row: (index + got / size) / self.width() })
                );
            }
            for bytes in chunk.chunks_exact(size) {
                visit(index, decode(bytes)).map_err(|fault| match fault {
                    Fault::Array(fault) => self.fault(fault),
                    Fault::Data(fault) => fault,
                })?;
                index += 1;
            }
        }
        // Reading the end is also what makes a compressed file compare its checksum.
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.fault(ArrayFault::Longer { expected: (self.count * size) as u64 })),
            Err(fault) => Err(DataError::Read { file: self.file.clone(), fault }),
        }
    }

    fn fault(&self, fault: ArrayFault) -> DataError {
        DataError::Array { file: self.file.clone(), format: self.format, fault }
    }
}

/// The features of an array, waiting for their targets.
#[derive(Debug)]
pub(super) struct Features {
    file: String,
    pub(super) shape: Vec<usize>,
    values: rows::Features,
}

/// Why values are read no further.
enum Fault {
    Array(ArrayFault),
    Data(DataError),
}

impl From<ArrayFault> for Fault {
    fn from(fault: ArrayFault) -> Self {
        Self::Array(fault)
    }
}

impl From<DataError> for Fault {
    fn from(fault: DataError) -> Self {
        Self::Data(fault)
    }
}

impl Features {
    /// The whole data set, where no targets are asked for.
    pub(super) fn alone(self) -> Raw {
        Raw {
            label_file: self.file.clone(),
            file: self.file,
            shape: self.shape,
            features: self.values,
            columns: Vec::new(),
            encoding: None,
            targets: super::no_targets(),
            ids: Names::default(),
        }
    }
}

/// Reads until the buffer is full or the end is reached; tells how many bytes there were.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(filled)
}

/// Values that are read together.
const AT_ONCE: usize = 4096;

fn shown<T: std::fmt::Debug>(shape: &[T]) -> String {
    super::shortened(&format!("{shape:?}"))
}

/// Defines how the numbers of one type lie in a file.
macro_rules! element {
    ($kind:ty, $from:ident) => {
        $crate::data::array::Element {
            size: size_of::<$kind>(),
            decode: |bytes| {
                let bytes = bytes.try_into().expect("chunks are as long as the size says");
                <$kind>::$from(bytes) as f64
            },
            append: |bytes, values| {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$kind>() }>();
                // By way of f64, as one by one: large integers would be rounded differently.
                values.extend(chunks.iter().map(|bytes| <$kind>::$from(*bytes) as f64 as f32));
            },
        }
    };
}
pub(super) use element;
