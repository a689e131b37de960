//! Features that are ids of a vocabulary: judged before anything runs, with their place in the
//! data.

use super::CheckError;
use crate::data::Dataset;
use crate::definition::ModelSpec;
use crate::engine::arrays::index;

/// That every feature is an id, if the model begins with an embedding.
pub(super) fn check(model: &ModelSpec, source: &str, data: &Dataset) -> Result<(), CheckError> {
    let Some(vocabulary) = model.vocabulary() else {
        return Ok(());
    };
    let wrong = |id: &f32| index(*id, vocabulary as usize).is_none();
    let Some(place) = data.features.iter().position(wrong) else {
        return Ok(());
    };
    let (row, column) = (place / data.columns, place % data.columns);
    let file = source.to_owned();
    let column = match data.feature_names.get(column) {
        Some(name) => format!("\"{name}\""),
        None => (column + 1).to_string(),
    };
    let id = data.features[place];
    Err(CheckError::Id { file, row: row as u64 + 1, column, id, vocabulary })
}
