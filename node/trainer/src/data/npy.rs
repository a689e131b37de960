//! NPY arrays, versions 1 to 3 of the format, as `numpy.save` writes them. The header is compared
//! with the length of the file before anything is allocated for it.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::{DataError, Dataset, NpyFault, Targets, labels, open, reserve};
use crate::definition::Loss;
use crate::limits;

const SIGNATURE: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own headers are some hundred bytes; its reader stops at 10 000 characters.
const MAX_HEADER_BYTES: usize = 16 * 1024;

pub(super) fn load(
    source: &str,
    label_file: &str,
    loss: Loss,
    inputs: &Path,
) -> Result<Dataset, DataError> {
    let mut array = Array::open(inputs, source)?;
    let columns = array.width()?;
    if columns > limits::MAX_UNITS {
        let (found, limit) = (columns as u64, limits::MAX_UNITS as u64);
        let file = source.to_owned();
        return Err(DataError::TooMany { file, what: "values a row", found, limit });
    }
    let features = array.floats()?;
    let mut label_array = Array::open(inputs, label_file)?;
    if label_array.rows() != array.rows() {
        return Err(DataError::RowsDiffer {
            labels: label_file.to_owned(),
            found: label_array.rows(),
            source_file: source.to_owned(),
            expected: array.rows(),
        });
    }
    let width = label_array.width()?;
    let targets = if loss.wants_classes(width) {
        let (ids, names) = label_array.classes()?;
        Targets::Classes { ids, names }
    } else {
        if width > limits::MAX_OUTPUTS {
            let (found, limit) = (width as u64, limits::MAX_OUTPUTS as u64);
            let file = label_file.to_owned();
            return Err(DataError::TooMany { file, what: "targets a row", found, limit });
        }
        let names = (0..width).map(|index| format!("target{index}")).collect();
        Targets::Values { values: label_array.floats()?, names }
    };
    Ok(Dataset { rows: array.rows(), columns, features, feature_names: Vec::new(), targets })
}

#[derive(Clone, Copy)]
enum Kind {
    F4,
    F8,
    I4,
    I8,
    U1,
}

impl Kind {
    fn parse(text: &str) -> Result<Self, NpyFault> {
        match text {
            "<f4" => Ok(Self::F4),
            "<f8" => Ok(Self::F8),
            "<i4" => Ok(Self::I4),
            "<i8" => Ok(Self::I8),
            "|u1" | "<u1" | "u1" => Ok(Self::U1),
            other => Err(NpyFault::Type(other.to_owned())),
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F4 | Self::I4 => 4,
            Self::F8 | Self::I8 => 8,
            Self::U1 => 1,
        }
    }

    /// Exact for all but the largest `i8`, which no f32 could hold either.
    fn decode(self, bytes: &[u8]) -> f64 {
        let four = || <[u8; 4]>::try_from(bytes).expect("chunks are as long as bytes() says");
        let eight = || <[u8; 8]>::try_from(bytes).expect("chunks are as long as bytes() says");
        match self {
            Self::F4 => f64::from(f32::from_le_bytes(four())),
            Self::F8 => f64::from_le_bytes(eight()),
            Self::I4 => f64::from(i32::from_le_bytes(four())),
            Self::I8 => i64::from_le_bytes(eight()) as f64,
            Self::U1 => f64::from(bytes[0]),
        }
    }
}

/// An array whose header has been read and agrees with the length of its file.
struct Array {
    file: String,
    reader: BufReader<File>,
    kind: Kind,
    shape: Vec<usize>,
    count: usize,
}

impl Array {
    fn open(inputs: &Path, file: &str) -> Result<Self, DataError> {
        let (opened, length) = open(inputs, file)?;
        let mut reader = BufReader::with_capacity(1 << 16, opened);
        let npy = |fault| DataError::Npy { file: file.to_owned(), fault };
        let (text, used) = header_text(&mut reader, file)?;
        let header = parse_header(&text).map_err(npy)?;
        if header.fortran {
            return Err(npy(NpyFault::FortranOrder));
        }
        let kind = Kind::parse(&header.descr).map_err(npy)?;
        let shape = || format!("{:?}", header.shape);
        if header.shape.is_empty() {
            return Err(npy(NpyFault::Shape(shape(), "the first axis must be rows")));
        }
        let product = |sizes: &[u64]| sizes.iter().try_fold(1_u64, |all, &n| all.checked_mul(n));
        let count = product(&header.shape).filter(|count| count.checked_mul(8).is_some());
        let Some(count) = count else {
            return Err(npy(NpyFault::Shape(shape(), "that is more than any file holds")));
        };
        if count == 0 {
            return Err(DataError::Empty { file: file.to_owned() });
        }
        let (expected, found) = (count * kind.bytes() as u64, length.saturating_sub(used));
        if expected != found {
            return Err(npy(NpyFault::Length { expected, found }));
        }
        if count * 4 > limits::MAX_DATA_BYTES {
            let limit = limits::MAX_DATA_BYTES;
            return Err(DataError::TooLarge { file: file.to_owned(), limit });
        }
        let shape = header.shape.iter().map(|&size| size as usize).collect();
        Ok(Self { file: file.to_owned(), reader, kind, shape, count: count as usize })
    }

    fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Values of one row, over all further axes.
    fn width(&self) -> Result<usize, DataError> {
        Ok(self.count / self.rows())
    }

    fn floats(&mut self) -> Result<Vec<f32>, DataError> {
        let width = self.width()?;
        let mut values = Vec::new();
        reserve(&mut values, self.count, &self.file)?;
        self.each(|index, value| {
            let value32 = value as f32;
            if !value32.is_finite() {
                let allowed = "only numbers that are finite as 32-bit floats";
                let (row, column) = (index / width, index % width);
                return Err(NpyFault::Value { row, column, value, allowed });
            }
            values.push(value32);
            Ok(())
        })?;
        Ok(values)
    }

    fn classes(&mut self) -> Result<(Vec<u32>, Vec<String>), DataError> {
        if self.width()? != 1 {
            let fault = NpyFault::Shape(format!("{:?}", self.shape), "one label a row is needed");
            return Err(DataError::Npy { file: self.file.clone(), fault });
        }
        let file = self.file.clone();
        let mut classes = labels::Classes::default();
        let mut refused = None;
        self.each(|row, value| {
            // Beyond 2^53 neighbouring integers would become one class.
            if libm::trunc(value) != value || value.abs() > 9_007_199_254_740_992.0 {
                let allowed = "class labels must be whole numbers";
                return Err(NpyFault::Value { row, column: 0, value, allowed });
            }
            if refused.is_none() {
                refused = classes.push(&(value as i64).to_string(), &file).err();
            }
            Ok(())
        })?;
        match refused {
            Some(refusal) => Err(refusal),
            None => classes.sorted(&self.file),
        }
    }

    fn each(
        &mut self,
        mut visit: impl FnMut(usize, f64) -> Result<(), NpyFault>,
    ) -> Result<(), DataError> {
        let size = self.kind.bytes();
        let mut buffer = vec![0; size * 4096];
        let mut index = 0;
        while index < self.count {
            let chunk = &mut buffer[..size * (self.count - index).min(4096)];
            let read = self.reader.read_exact(chunk);
            read.map_err(|fault| DataError::Read { file: self.file.clone(), fault })?;
            for bytes in chunk.chunks_exact(size) {
                let visited = visit(index, self.kind.decode(bytes));
                visited.map_err(|fault| DataError::Npy { file: self.file.clone(), fault })?;
                index += 1;
            }
        }
        Ok(())
    }
}

/// The header's text, and the bytes of the file before the data.
fn header_text(reader: &mut impl Read, file: &str) -> Result<(String, u64), DataError> {
    let npy = |fault| DataError::Npy { file: file.to_owned(), fault };
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        match reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(fault) if fault.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(npy(NpyFault::Header))
            }
            Err(fault) => Err(DataError::Read { file: file.to_owned(), fault }),
        }
    };
    let start = take(8)?;
    if start[..6] != SIGNATURE[..] {
        return Err(npy(NpyFault::Signature));
    }
    let wide = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(npy(NpyFault::Version(version))),
    };
    let length = take(wide)?.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
    if length > MAX_HEADER_BYTES {
        return Err(npy(NpyFault::Header));
    }
    let Ok(text) = String::from_utf8(take(length)?) else {
        return Err(npy(NpyFault::Header));
    };
    Ok((text, (8 + wide + length) as u64))
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

/// Reads the Python dictionary of three keys that the header is.
fn parse_header(text: &str) -> Result<Header, NpyFault> {
    let mut rest = Tokens(text);
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    rest.expect("{")?;
    while !rest.skip("}") {
        let key = rest.string()?;
        rest.expect(":")?;
        match key {
            "descr" => descr = Some(rest.descr()?),
            "fortran_order" => fortran = Some(rest.boolean()?),
            "shape" => shape = Some(rest.tuple()?),
            _ => return Err(NpyFault::Header),
        }
        if !rest.skip(",") {
            rest.expect("}")?;
            break;
        }
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) if rest.0.trim().is_empty() => {
            Ok(Header { descr, fortran, shape })
        }
        _ => Err(NpyFault::Header),
    }
}

/// What is left of a header.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn skip(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), NpyFault> {
        if self.skip(token) { Ok(()) } else { Err(NpyFault::Header) }
    }

    fn string(&mut self) -> Result<&'a str, NpyFault> {
        let quote = if self.skip("'") {
            '\''
        } else {
            self.expect("\"")?;
            '"'
        };
        let (text, rest) = self.0.split_once(quote).ok_or(NpyFault::Header)?;
        self.0 = rest;
        Ok(text)
    }

    /// A list instead of a string is a structured array.
    fn descr(&mut self) -> Result<String, NpyFault> {
        if self.skip("[") {
            return Err(NpyFault::Type("structured".to_owned()));
        }
        self.string().map(str::to_owned)
    }

    fn boolean(&mut self) -> Result<bool, NpyFault> {
        if self.skip("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<u64>, NpyFault> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.skip(")") {
            self.0 = self.0.trim_start();
            let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            let (digits, rest) = self.0.split_at(end);
            sizes.push(digits.parse().map_err(|_: std::num::ParseIntError| NpyFault::Header)?);
            self.0 = rest;
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}
