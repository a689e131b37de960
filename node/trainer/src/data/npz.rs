//! NPZ archives, as `numpy.savez` and `numpy.savez_compressed` write them: one array for the
//! features, one for the targets.

use std::path::Path;

use super::archive::Archive;
use super::array::{Array, Length};
use super::{DataError, Raw, npy, table};
use crate::definition::{DataSpec, Loss};

pub(super) fn load(spec: &DataSpec, loss: Loss, inputs: &Path) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let mut archive = Archive::open(inputs, file)?;
    let names = archive.names()?;
    let names: Vec<(&str, usize)> = names
        .iter()
        .filter_map(|(name, index)| Some((name.strip_suffix(".npy")?, *index)))
        .collect();
    let wanted = |names: Option<&[String]>| names.and_then(|names| names.first().cloned());
    let x = wanted(spec.features.as_deref());
    let y = wanted(spec.label.as_ref().map(|label| label.names()));
    let (x, y) = chosen(&names, x, y, file)?;
    let features = array(&mut archive, file, x)?.features(spec.missing())?;
    array(&mut archive, file, y)?.targets(features, loss)
}

/// Features and targets: as named; else `x` and `y`; else the one that is left of two.
fn chosen<'a>(
    names: &[(&'a str, usize)],
    x: Option<String>,
    y: Option<String>,
    file: &str,
) -> Result<((&'a str, usize), (&'a str, usize)), DataError> {
    let find = |name: &str| names.iter().copied().find(|(known, _)| *known == name);
    let named = |name: Option<String>, default: &str, other: &Option<String>, place: usize| {
        if let Some(found) = find(name.as_deref().unwrap_or(default)) {
            return Ok(found);
        }
        let other = other.as_deref();
        match (&name, names) {
            (None, [first, second]) => Ok(match (place, other) {
                (_, Some(other)) if other == first.0 => *second,
                (_, Some(other)) if other == second.0 => *first,
                (0, _) => *first,
                (_, _) => *second,
            }),
            _ => {
                let known: Vec<String> = names.iter().map(|(name, _)| (*name).to_owned()).collect();
                Err(DataError::NoColumn {
                    file: file.to_owned(),
                    what: "array",
                    name: name.unwrap_or_else(|| default.to_owned()),
                    known: table::listed(&known),
                })
            }
        }
    };
    let (features, targets) = (named(x.clone(), "x", &y, 0)?, named(y, "y", &x, 1)?);
    if features.1 == targets.1 {
        return Err(DataError::NoFeatures { file: file.to_owned() });
    }
    Ok((features, targets))
}

fn array<'a>(
    archive: &'a mut Archive,
    file: &str,
    (name, index): (&str, usize),
) -> Result<Array<'a>, DataError> {
    let (entry, packed) = archive.entry(index)?;
    let shown = format!("{file}, array \"{}\"", super::shortened(name));
    npy::array(shown, Box::new(entry), Length::Packed(packed))
}
