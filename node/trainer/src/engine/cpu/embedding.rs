//! Rows of a table by id, and the sums that are their gradient. Threads divide the vocabulary, so
//! each sum is one thread's, in the order of the ids.

use super::rows::PIECE;
use super::{CpuEngine, CpuTensor, matrix};
use crate::engine::EngineError;
use crate::engine::arrays::{indices, unfit};

pub(super) fn embed(
    engine: &CpuEngine,
    table: &CpuTensor,
    ids: &CpuTensor,
) -> Result<CpuTensor, EngineError> {
    let (vocabulary, dimensions) = matrix("embed", table)?;
    let places = places(ids, vocabulary)?;
    let mut result = engine.unset(&[&ids.shape[..], &[dimensions]].concat())?;
    engine.in_rows(&mut result.values, dimensions, dimensions, |first, piece| {
        for (row, place) in piece.chunks_exact_mut(dimensions).zip(&places[first..]) {
            row.copy_from_slice(&table.values[place * dimensions..(place + 1) * dimensions]);
        }
    });
    Ok(result)
}

pub(super) fn embed_backward(
    engine: &CpuEngine,
    ids: &CpuTensor,
    dy: &CpuTensor,
    vocabulary: usize,
) -> Result<CpuTensor, EngineError> {
    let dimensions = match dy.shape.split_last() {
        Some((&dimensions, rest)) if rest == ids.shape && dimensions > 0 => dimensions,
        Some(_) | None => return Err(unfit("embed_backward", &ids.shape, &dy.shape)),
    };
    let places = places(ids, vocabulary)?;
    let mut result = engine.zeros_of(&[vocabulary, dimensions])?;
    // Each piece reads all ids, so there are no more pieces than threads.
    let threads = if dy.values.len() > PIECE { engine.team.size() } else { 1 };
    let share = vocabulary.div_ceil(threads);
    let sum = |first: usize, piece: &mut [f32]| {
        let rows = first..first + piece.len() / dimensions;
        for (place, slope) in places.iter().zip(dy.values.chunks_exact(dimensions)) {
            if rows.contains(place) {
                let row = &mut piece[(place - first) * dimensions..][..dimensions];
                row.iter_mut().zip(slope).for_each(|(sum, value)| *sum += value);
            }
        }
    };
    engine.in_shares(&mut result.values, share * dimensions, |offset, piece| {
        sum(offset / dimensions, piece);
    });
    Ok(result)
}

fn places(ids: &CpuTensor, vocabulary: usize) -> Result<Vec<usize>, EngineError> {
    let positions = ids.shape.iter().skip(1).product();
    indices(ids.values.iter().copied(), positions, vocabulary)
}
