//! IDX arrays, the format of MNIST, plain or gzipped: a type, the axes and big-endian values.
//! Format: <https://yann.lecun.org/exdb/mnist/>.

use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::array::{Array, Element, Features, Length, element};
use super::storage::Storage;
use super::{ArrayFault, DataError, Raw, is_gzip, open};
use crate::definition::{DataSpec, Loss};

const FORMAT: &str = "IDX";

pub(super) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let mut features = file(inputs, &spec.source)?.features(spec.missing(), storage)?;
    with_channel(&mut features);
    let Some(loss) = loss else {
        return Ok(features.alone());
    };
    let labels = spec.labels.as_deref().expect("the rules ask for labels");
    file(inputs, labels)?.targets(features, loss, storage)
}

/// An image of two axes has one channel, which IDX leaves out and layers ask for.
fn with_channel(features: &mut Features) {
    if let [height, width] = features.shape[..] {
        features.shape = vec![1, height, width];
    }
}

fn file(inputs: &Path, name: &str) -> Result<Array<'static>, DataError> {
    let (opened, length) = open(inputs, name)?;
    let again = opened.try_clone();
    let again = again.map_err(|fault| DataError::Read { file: name.to_owned(), fault })?;
    let plain = BufReader::with_capacity(1 << 16, opened);
    if is_gzip(name) {
        let unpacked = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain));
        array(name, Box::new(unpacked), Length::Packed(length))
    } else {
        Ok(array(name, Box::new(plain), Length::Exact(length))?.in_plain(again))
    }
}

fn array(
    name: &str,
    mut reader: Box<dyn Read>,
    length: Length,
) -> Result<Array<'static>, DataError> {
    let damaged = |fault| DataError::Array { file: name.to_owned(), format: FORMAT, fault };
    let mut take = || {
        let mut bytes = [0; 4];
        match reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => {
                Err(damaged(ArrayFault::Header))
            }
            Err(fault) => Err(DataError::Read { file: name.to_owned(), fault }),
        }
    };
    let [0, 0, type_byte, rank] = take()? else {
        return Err(damaged(ArrayFault::Signature));
    };
    let element = kind(type_byte).map_err(damaged)?;
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(u64::from(u32::from_be_bytes(take()?)));
    }
    let length = match length {
        Length::Exact(length) => Length::Exact(length.saturating_sub(4 + 4 * u64::from(rank))),
        Length::Packed(length) => Length::Packed(length),
    };
    Array::new(name.to_owned(), FORMAT, reader, element, &shape, length)
}

fn kind(type_byte: u8) -> Result<Element, ArrayFault> {
    Ok(match type_byte {
        0x08 => element!(u8, from_be_bytes),
        0x09 => element!(i8, from_be_bytes),
        0x0b => element!(i16, from_be_bytes),
        0x0c => element!(i32, from_be_bytes),
        0x0d => element!(f32, from_be_bytes),
        0x0e => element!(f64, from_be_bytes),
        other => return Err(ArrayFault::TypeByte(other)),
    })
}
