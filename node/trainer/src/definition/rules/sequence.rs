//! What makes layers for sequences impossible whatever their input is; and what an embedding asks
//! of its place and of the data.

use super::{DefinitionError, Problem, at_most, fault, range};
use crate::definition::{DataSpec, LayerSpec, ModelSpec, Normalize};
use crate::limits;

pub(super) fn embedding(
    place: &str,
    vocabulary: u32,
    dimensions: u32,
) -> Result<(), DefinitionError> {
    width(format!("{place}, vocabulary"), vocabulary, limits::MAX_VOCABULARY)?;
    width(format!("{place}, dimensions"), dimensions, limits::MAX_UNITS)
}

pub(super) fn attention(place: &str, heads: u32, dropout: f64) -> Result<(), DefinitionError> {
    width(format!("{place}, heads"), heads, limits::MAX_UNITS)?;
    if (0.0..1.0).contains(&dropout) {
        return Ok(());
    }
    let allowed = "0 up to, but not including, 1";
    Err(range(format!("{place}, dropout"), dropout, allowed))
}

pub(super) fn recurrent(place: &str, units: u32) -> Result<(), DefinitionError> {
    width(format!("{place}, units"), units, limits::MAX_UNITS)
}

fn width(place: String, found: u32, limit: usize) -> Result<(), DefinitionError> {
    if found == 0 {
        return Err(range(place, found, "1 or more"));
    }
    at_most(place, u64::from(found), limit as u64)
}

/// Ids come from the data: nothing but a change of shape may lie between. `depth` counts the
/// layers around these.
pub(super) fn embedding_first(
    layers: &[LayerSpec],
    place: &str,
    depth: usize,
) -> Result<(), DefinitionError> {
    let first = layers.iter().position(|layer| !keeps_ids(layer)).filter(|_| depth == 0);
    for (index, layer) in layers.iter().enumerate() {
        if matches!(layer, LayerSpec::Embedding { .. }) && Some(index) != first {
            let place = format!("{place}, layer {index} (embedding)");
            return Err(fault(place, Problem::EmbeddingNotFirst));
        }
    }
    Ok(())
}

/// Ids go into the model as they are in the file.
pub(in crate::definition) fn ids_unscaled(
    model: &ModelSpec,
    data: &DataSpec,
) -> Result<(), DefinitionError> {
    if vocabulary(&model.layers).is_none() {
        return Ok(());
    }
    if data.scale.is_some() {
        return Err(fault("data.scale".into(), Problem::ScaledIds));
    }
    if data.normalize != Normalize::None {
        return Err(fault("data.normalize".into(), Problem::ScaledIds));
    }
    Ok(())
}

/// Ids that the input of a model is, if it begins with an embedding.
pub(in crate::definition) fn vocabulary(layers: &[LayerSpec]) -> Option<u32> {
    match layers.iter().find(|layer| !keeps_ids(layer)) {
        Some(LayerSpec::Embedding { vocabulary, .. }) => Some(*vocabulary),
        Some(_) | None => None,
    }
}

fn keeps_ids(layer: &LayerSpec) -> bool {
    matches!(layer, LayerSpec::Flatten {} | LayerSpec::Reshape { .. })
}
