//! NPZ archives, as `numpy.savez` and `numpy.savez_compressed` write them: one array for the
//! features, one for the targets. Where the job does not name them, they are `x` and `y`, or the
//! only two in the order of their names; without targets `x`, or the only one.

use std::path::Path;

use super::archive::Archive;
use super::array::{Array, Length};
use super::storage::Storage;
use super::{DataError, Raw, npy, table};
use crate::definition::{DataSpec, Loss};

pub(super) fn load(
    spec: &DataSpec,
    loss: Option<Loss>,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let mut archive = Archive::open(inputs, file)?;
    let names = archive.names()?;
    let arrays = names.iter().filter_map(|(name, index)| {
        Some(Member { name: name.strip_suffix(".npy")?, index: *index })
    });
    let arrays: Vec<Member<'_>> = arrays.collect();
    let x = spec.features.as_ref().and_then(|names| names.first()).map(String::as_str);
    let y = spec.label.as_ref().and_then(|label| label.names().first()).map(String::as_str);
    let Some(loss) = loss else {
        let x = match (x, arrays.as_slice()) {
            (None, [only]) => *only,
            (x, _) => member(&arrays, x.unwrap_or("x"), file)?,
        };
        return Ok(array(&mut archive, file, x)?.features(spec.missing(), storage)?.alone());
    };
    let (x, y) = match (x, y, arrays.as_slice()) {
        (Some(x), Some(y), _) => (member(&arrays, x, file)?, member(&arrays, y, file)?),
        (Some(x), None, [_, _]) => {
            let x = member(&arrays, x, file)?;
            (x, other(&arrays, x))
        }
        (None, Some(y), [_, _]) => {
            let y = member(&arrays, y, file)?;
            (other(&arrays, y), y)
        }
        (None, None, [first, second]) => (*first, *second),
        (x, y, _) => {
            let (x, y) = (x.unwrap_or("x"), y.unwrap_or("y"));
            (member(&arrays, x, file)?, member(&arrays, y, file)?)
        }
    };
    if x.index == y.index {
        return Err(DataError::NoFeatures { file: file.to_owned() });
    }
    let features = array(&mut archive, file, x)?.features(spec.missing(), storage)?;
    array(&mut archive, file, y)?.targets(features, loss, storage)
}

/// An array in the archive.
#[derive(Clone, Copy)]
struct Member<'a> {
    name: &'a str,
    index: usize,
}

fn member<'a>(arrays: &[Member<'a>], name: &str, file: &str) -> Result<Member<'a>, DataError> {
    if let Some(found) = arrays.iter().find(|array| array.name == name) {
        return Ok(*found);
    }
    let known: Vec<String> = arrays.iter().map(|array| array.name.to_owned()).collect();
    let (file, known) = (file.to_owned(), table::listed(&known));
    Err(DataError::NoColumn { file, what: "array", name: name.to_owned(), known })
}

fn other<'a>(arrays: &[Member<'a>], one: Member<'a>) -> Member<'a> {
    arrays.iter().copied().find(|array| array.index != one.index).unwrap_or(one)
}

fn array<'a>(
    archive: &'a mut Archive,
    file: &str,
    member: Member<'_>,
) -> Result<Array<'a>, DataError> {
    let (entry, packed) = archive.entry(member.index)?;
    let shown = format!("{file}, array \"{}\"", super::shortened(member.name));
    npy::array(shown, Box::new(entry), Length::Packed(packed))
}
