//! NPY arrays, versions 1 to 3 of the format, as `numpy.save` writes them.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

mod header;

use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::array::{Array, Element, Length, element};
use super::storage::Storage;
use super::{ArrayFault, DataError, Raw, open};
use crate::definition::{DataSpec, Loss};

const FORMAT: &str = "NPY";
const SIGNATURE: &[u8; 6] = b"\x93NUMPY";
/// NumPy's own headers are some hundred bytes; its reader stops at 10 000 characters.
const MAX_HEADER_BYTES: usize = 16 * 1024;

pub(super) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let features = file(inputs, &spec.source)?.features(spec.missing(), storage)?;
    let Some(loss) = loss else {
        return Ok(features.alone());
    };
    let labels = spec.labels.as_deref().expect("the rules ask for labels");
    file(inputs, labels)?.targets(features, loss, storage)
}

fn file(inputs: &Path, name: &str) -> Result<Array<'static>, DataError> {
    let (opened, length) = open(inputs, name)?;
    let again = opened.try_clone();
    let again = again.map_err(|fault| DataError::Read { file: name.to_owned(), fault })?;
    let reader = BufReader::with_capacity(1 << 16, opened);
    let array = array(name.to_owned(), Box::new(reader), Length::Exact(length))?;
    Ok(array.in_plain(again))
}

/// Reads the header of an array; `length` includes it.
pub(super) fn array<'a>(
    file: String,
    mut reader: Box<dyn Read + 'a>,
    length: Length,
) -> Result<Array<'a>, DataError> {
    let (text, used) = header_text(&mut reader, &file)?;
    let fault = |fault| DataError::Array { file: file.clone(), format: FORMAT, fault };
    let header = header::parse(&text).map_err(fault)?;
    if header.fortran {
        return Err(fault(ArrayFault::FortranOrder));
    }
    let element = kind(&header.descr).map_err(fault)?;
    let length = match length {
        Length::Exact(length) => Length::Exact(length.saturating_sub(used)),
        Length::Packed(length) => Length::Packed(length),
    };
    Array::new(file, FORMAT, reader, element, &header.shape, length)
}

fn kind(descr: &str) -> Result<Element, ArrayFault> {
    Ok(match descr {
        "<f4" => element!(f32, from_le_bytes),
        "<f8" => element!(f64, from_le_bytes),
        "<i2" => element!(i16, from_le_bytes),
        "<i4" => element!(i32, from_le_bytes),
        "<i8" => element!(i64, from_le_bytes),
        "<u2" => element!(u16, from_le_bytes),
        "<u4" => element!(u32, from_le_bytes),
        "<u8" => element!(u64, from_le_bytes),
        "|i1" | "<i1" | "i1" => element!(i8, from_le_bytes),
        "|u1" | "<u1" | "u1" | "|b1" => element!(u8, from_le_bytes),
        other => return Err(ArrayFault::Type(super::shortened(other))),
    })
}

/// The header's text, and the bytes of the file before the data.
fn header_text(reader: &mut impl Read, file: &str) -> Result<(String, u64), DataError> {
    let damaged = |fault| DataError::Array { file: file.to_owned(), format: FORMAT, fault };
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        match reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => {
                Err(damaged(ArrayFault::Header))
            }
            Err(fault) => Err(DataError::Read { file: file.to_owned(), fault }),
        }
    };
    let start = take(8)?;
    if start[..6] != SIGNATURE[..] {
        return Err(damaged(ArrayFault::Signature));
    }
    let wide = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(damaged(ArrayFault::Version(version))),
    };
    let length = take(wide)?.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
    if length > MAX_HEADER_BYTES {
        return Err(damaged(ArrayFault::Header));
    }
    let Ok(text) = String::from_utf8(take(length)?) else {
        return Err(damaged(ArrayFault::Header));
    };
    Ok((text, (8 + wide + length) as u64))
}
