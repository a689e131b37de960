//! Features that are ids of a vocabulary: judged before anything runs, with their place in the
//! data.

use super::CheckError;
use crate::data::{Dataset, Reading};
use crate::definition::ModelSpec;
use crate::engine::arrays::index;

/// That every feature is an id, if the model begins with an embedding.
pub(super) fn check(
    model: &ModelSpec,
    source: &str,
    data: &Dataset,
    reading: &Reading<'_>,
) -> Result<(), CheckError> {
    let Some(vocabulary) = model.vocabulary() else {
        return Ok(());
    };
    let wrong = |id: &f32| index(*id, vocabulary as usize).is_none();
    data.features.each(reading, 0..data.rows as u32, |row, ids| {
        let Some(place) = ids.iter().position(wrong) else {
            return Ok(());
        };
        let column = match data.feature_names.get(place) {
            Some(name) => format!("\"{name}\""),
            None => (place + 1).to_string(),
        };
        let (file, row) = (source.to_owned(), u64::from(row) + 1);
        Err(CheckError::Id { file, row, column, id: ids[place], vocabulary })
    })
}
