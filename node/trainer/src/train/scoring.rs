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
    let at_once = network.chain().scored_at_once();
    let watch = Watch { at_once, passed: &mut |_| Ok(()) };
    score_watched(engine, network, data, rows, criterion, confusion, watch)
}

/// How rows pass, and who is told.
pub(crate) struct Watch<'a, F> {
    /// Rows at once.
    pub(crate) at_once: usize,
    /// Told how many rows are done; its error ends the scoring.
    pub(crate) passed: &'a mut dyn FnMut(usize) -> Result<(), F>,
}

/// As [`score`], under the eyes of `watch`.
pub(crate) fn score_watched<E: Engine, F: From<EngineError>>(
    engine: &mut E,
    network: &Network<E::Tensor>,
    data: &Dataset,
    rows: &[u32],
    criterion: &Criterion<E::Tensor>,
    confusion: bool,
    watch: Watch<'_, F>,
) -> Result<Tally, F> {
    let Watch { mut at_once, passed } = watch;
    let mut tally = criterion.tally(confusion);
    let mut batch = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let part = &rest[..at_once.min(rest.len())];
        match seen(engine, network, data, part, criterion, &mut batch) {
            Ok(seen) => {
                tally.add(&seen);
                rest = &rest[part.len()..];
                passed(rows.len() - rest.len())?;
            }
            Err(EngineError::OutOfMemory { .. }) if part.len() > 1 => {
                at_once = part.len().div_ceil(2);
            }
            Err(error) => return Err(error.into()),
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
pub(crate) fn gather<E: Engine>(
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
