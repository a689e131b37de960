//! A model on rows that it is not trained on.

use super::Criterion;
use crate::data::Dataset;
use crate::engine::{Engine, EngineError};
use crate::layers::{Network, batched};
use crate::metrics::{Seen, Tally};

/// Metrics of a model on some rows of `data`, in their order. Where memory runs out, with fewer
/// rows at once: each by itself gives the same.
pub(crate) fn score<E: Engine>(
    engine: &mut E,
    network: &Network<E::Tensor>,
    data: &Dataset,
    rows: &[u32],
    criterion: &Criterion<E::Tensor>,
    confusion: bool,
) -> Result<Tally, EngineError> {
    let mut tally = criterion.tally(confusion);
    let mut batch = Vec::new();
    let (mut rest, mut at_once) = (rows, network.chain().scored_at_once());
    while !rest.is_empty() {
        let part = &rest[..at_once.min(rest.len())];
        match seen(engine, network, data, part, criterion, &mut batch) {
            Ok(seen) => {
                tally.add(&seen);
                rest = &rest[part.len()..];
            }
            Err(EngineError::OutOfMemory { .. }) if part.len() > 1 => {
                at_once = part.len().div_ceil(2);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tally)
}

fn seen<E: Engine>(
    engine: &mut E,
    network: &Network<E::Tensor>,
    data: &Dataset,
    rows: &[u32],
    criterion: &Criterion<E::Tensor>,
    batch: &mut Vec<f32>,
) -> Result<Seen, EngineError> {
    let x = gather(engine, &data.features, &data.shape, rows, batch)?;
    let y = network.predict(engine, x, rows.len())?;
    let whole = criterion.weight(data, rows);
    Ok(criterion.measure(engine, &y, data, rows, whole)?.seen)
}

/// Puts some rows onto the engine.
pub(super) fn gather<E: Engine>(
    engine: &mut E,
    values: &[f32],
    row_shape: &[usize],
    rows: &[u32],
    batch: &mut Vec<f32>,
) -> Result<E::Tensor, EngineError> {
    let width: usize = row_shape.iter().product();
    batch.clear();
    for &row in rows {
        batch.extend_from_slice(&values[row as usize * width..][..width]);
    }
    engine.upload(batch, &batched(rows.len(), row_shape))
}
