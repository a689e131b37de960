//! What makes the data section of a definition impossible: keys that its format does not have,
//! columns that contradict each other, sizes that nothing holds.

use super::{DefinitionError, Problem, at_most, fault, range};
use crate::definition::{
    DataSpec, Format, ImageSpec, JobKind, Loss, Missing, Normalize, TestSplit,
};
use crate::limits;

/// What is read besides features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Targets {
    Of(Loss),
    /// Those of a model that has not been looked at, which also knows how rows are read.
    OfModel,
    /// Not any, and as with [`Self::OfModel`].
    None(JobKind),
}

/// Judges the data section of a job that reads such targets.
pub(crate) fn check(data: &DataSpec, targets: Targets) -> Result<(), DefinitionError> {
    plain_file_name("data.source", &data.source)?;
    let Some(format) = Format::of(&data.source) else {
        return Err(fault("data.source".into(), Problem::Format(data.source.clone())));
    };
    keys_fit(data, format)?;
    if let Targets::None(kind) = targets {
        let kind = kind.name();
        for (key, given) in [("label", data.label.is_some()), ("labels", data.labels.is_some())] {
            if given {
                return Err(fault(format!("data.{key}"), Problem::NoTargets { kind, key }));
            }
        }
    }
    match format {
        Format::Csv | Format::Parquet => table(data, targets)?,
        Format::Npy | Format::Idx => arrays(data, format, targets)?,
        Format::Npz => named_arrays(data)?,
        Format::Images => images(data, targets)?,
        Format::Text => text(data, targets)?,
    }
    shape(data)?;
    if let Some(Missing::Value(value)) = data.missing
        && !(value as f32).is_finite()
    {
        return Err(range("data.missing, value".into(), value, "a finite number"));
    }
    scaling(data)?;
    split(data)
}

/// Refuses each key that means nothing to the format of the source.
fn keys_fit(data: &DataSpec, format: Format) -> Result<(), DefinitionError> {
    use Format::{Csv, Idx, Images, Npy, Npz, Parquet, Text};
    const COLUMNS: &str = ".csv, .parquet and .npz";
    const NUMBERS: &str = ".csv, .parquet, .npy and .npz";
    let named = [Csv, Parquet, Npz];
    let numbers = [Csv, Parquet, Npy, Npz];
    let arrays = [Csv, Parquet, Npy, Npz, Idx];
    for (key, given, formats, names) in [
        ("label", data.label.is_some(), &named[..], COLUMNS),
        ("labels", data.labels.is_some(), &[Npy, Idx], ".npy and IDX"),
        ("features", data.features.is_some(), &named, COLUMNS),
        ("id", data.id.is_some(), &[Csv, Parquet], ".csv and .parquet"),
        ("one_hot", data.one_hot.is_some(), &[Csv, Parquet], ".csv and .parquet"),
        ("missing", data.missing.is_some(), &numbers, NUMBERS),
        ("shape", data.shape.is_some(), &arrays, ".csv, .parquet, .npy, .npz and IDX"),
        ("images", data.images.is_some(), &[Images], ".zip"),
        ("text", data.text.is_some(), &[Text], ".txt"),
    ] {
        if given && !formats.contains(&format) {
            let problem = Problem::WrongFormat { key, format: names };
            return Err(fault(format!("data.{key}"), problem));
        }
    }
    Ok(())
}

fn table(data: &DataSpec, targets: Targets) -> Result<(), DefinitionError> {
    let label = match (&data.label, targets) {
        (Some(label), _) => label.names(),
        (None, Targets::None(_)) => &[],
        (None, Targets::Of(_) | Targets::OfModel) => {
            return Err(fault("data.label".into(), Problem::LabelMissing));
        }
    };
    if data.label.is_some() {
        distinct("data.label", label, limits::MAX_OUTPUTS)?;
    }
    if let Some(features) = &data.features {
        distinct("data.features", features, limits::MAX_UNITS)?;
        if let Some(both) = label.iter().find(|name| features.contains(name)) {
            let problem = Problem::LabelAsFeature(both.clone());
            return Err(fault("data.features".into(), problem));
        }
    }
    if let Some(id) = &data.id {
        let mut others = label.iter().chain(data.features.iter().flatten());
        if others.any(|name| name == id) {
            return Err(fault("data.id".into(), Problem::IdElsewhere(id.clone())));
        }
    }
    let Some(one_hot) = &data.one_hot else {
        return Ok(());
    };
    distinct("data.one_hot", one_hot, limits::MAX_UNITS)?;
    let unused = |name: &&String| {
        label.contains(name)
            || data.id.as_ref() == Some(name)
            || data.features.as_ref().is_some_and(|features| !features.contains(name))
    };
    match one_hot.iter().find(unused) {
        Some(name) => Err(fault("data.one_hot".into(), Problem::NoFeature(name.clone()))),
        None => Ok(()),
    }
}

fn arrays(data: &DataSpec, format: Format, targets: Targets) -> Result<(), DefinitionError> {
    let labels = match (&data.labels, targets) {
        (Some(labels), _) => labels,
        (None, Targets::None(_)) => return Ok(()),
        (None, Targets::Of(_) | Targets::OfModel) => {
            return Err(fault("data.labels".into(), Problem::LabelsMissing));
        }
    };
    plain_file_name("data.labels", labels)?;
    if Format::of(labels) == Some(format) {
        Ok(())
    } else {
        Err(fault("data.labels".into(), Problem::LabelFormat(labels.clone())))
    }
}

fn named_arrays(data: &DataSpec) -> Result<(), DefinitionError> {
    let label = data.label.as_ref().map(|label| label.names());
    for (place, names) in [("data.label", label), ("data.features", data.features.as_deref())] {
        if let Some(names) = names
            && names.len() != 1
        {
            return Err(fault(place.into(), Problem::OneArray(names.len())));
        }
    }
    match (label, &data.features) {
        (Some(label), Some(features)) if label == features => {
            let problem = Problem::LabelAsFeature(label[0].clone());
            Err(fault("data.features".into(), problem))
        }
        _ => Ok(()),
    }
}

fn images(data: &DataSpec, targets: Targets) -> Result<(), DefinitionError> {
    let ImageSpec { size, channels } = match (data.images, targets) {
        (Some(images), _) => images,
        (None, Targets::OfModel | Targets::None(_)) => return Ok(()),
        (None, Targets::Of(_)) => {
            return Err(fault("data.images".into(), Problem::ImagesMissing));
        }
    };
    if channels != 1 && channels != 3 {
        return Err(range("data.images, channels".into(), channels, "1 or 3"));
    }
    if size.contains(&0) {
        return Err(range("data.images, size".into(), format!("{size:?}"), "1 or more each"));
    }
    let values =
        size.iter().fold(u64::from(channels), |all, &side| all.saturating_mul(u64::from(side)));
    at_most("data.images, size".into(), values, limits::MAX_FEATURES as u64)?;
    classification(targets, "data.source")
}

fn text(data: &DataSpec, targets: Targets) -> Result<(), DefinitionError> {
    let text = match (&data.text, targets) {
        (Some(text), _) => text,
        (None, Targets::OfModel | Targets::None(_)) => return Ok(()),
        (None, Targets::Of(_)) => return Err(fault("data.text".into(), Problem::TextMissing)),
    };
    for (place, found) in [
        ("data.text, context", text.context),
        ("data.text, stride", text.stride.unwrap_or(text.context)),
    ] {
        if found == 0 {
            return Err(range(place.into(), found, "1 or more"));
        }
        at_most(place.into(), u64::from(found), limits::MAX_CONTEXT as u64)?;
    }
    if data.scale.is_some() || data.normalize != Normalize::None {
        return Err(fault("data".into(), Problem::ScaledText));
    }
    if matches!(data.test, Some(TestSplit::Every(_))) && text.gap() > 0 {
        return Err(fault("data.test".into(), Problem::OverlappingTest));
    }
    classification(targets, "data.source")
}

fn classification(targets: Targets, place: &str) -> Result<(), DefinitionError> {
    match targets {
        Targets::Of(loss) if loss != Loss::SoftmaxCrossEntropy => {
            Err(fault(place.into(), Problem::NeedsClasses))
        }
        Targets::Of(_) | Targets::OfModel | Targets::None(_) => Ok(()),
    }
}

fn shape(data: &DataSpec) -> Result<(), DefinitionError> {
    let Some(shape) = &data.shape else {
        return Ok(());
    };
    let place = || "data.shape".to_owned();
    if shape.is_empty() || shape.contains(&0) {
        return Err(range(place(), format!("{shape:?}"), "one axis or more, none of them 0"));
    }
    at_most(place(), shape.len() as u64, limits::MAX_AXES as u64)?;
    let values = shape.iter().fold(1_u64, |all, &size| all.saturating_mul(u64::from(size)));
    at_most(place(), values, limits::MAX_FEATURES as u64)
}

fn scaling(data: &DataSpec) -> Result<(), DefinitionError> {
    let Some(scale) = data.scale else {
        return Ok(());
    };
    if data.normalize != Normalize::None {
        return Err(fault("data".into(), Problem::ScaleAndNormalize));
    }
    // The factor is applied in f32, where it must still be a number other than zero.
    let factor = scale as f32;
    if factor.is_finite() && factor != 0.0 {
        Ok(())
    } else {
        Err(range("data.scale".into(), scale, "a finite number other than 0"))
    }
}

fn split(data: &DataSpec) -> Result<(), DefinitionError> {
    match data.test {
        Some(TestSplit::Every(every)) if every < 2 => {
            return Err(range("data.test, every".into(), every, "2 or more"));
        }
        Some(TestSplit::Fraction(fraction)) if !(fraction > 0.0 && fraction < 1.0) => {
            return Err(range("data.test, fraction".into(), fraction, "a number between 0 and 1"));
        }
        Some(TestSplit::Every(_) | TestSplit::Fraction(_)) | None => {}
    }
    if (0.0..1.0).contains(&data.validation) {
        return Ok(());
    }
    let allowed = "0 up to, but not including, 1";
    Err(range("data.validation".into(), data.validation, allowed))
}

pub(super) fn distinct(place: &str, names: &[String], limit: usize) -> Result<(), DefinitionError> {
    if names.is_empty() {
        return Err(fault(place.into(), Problem::NoColumns));
    }
    at_most(place.into(), names.len() as u64, limit as u64)?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(fault(place.into(), Problem::Repeated(pair[0].clone()))),
        None => Ok(()),
    }
}

/// The node puts inputs into one flat directory; anything that could leave it is refused.
pub(super) fn plain_file_name(place: &str, name: &str) -> Result<(), DefinitionError> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain { Ok(()) } else { Err(fault(place.into(), Problem::FileName(name.into()))) }
}
