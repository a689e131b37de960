//! A model on rows that it is not trained on.

use super::{Criterion, TrainError};
use crate::data::{DataError, Dataset, Window};
use crate::engine::{Engine, EngineError};
use crate::layers::{Network, batched};
use crate::metrics::{Seen, Tally};
use crate::model::LoadError;
use crate::plan::CheckError;

/// Metrics of a model on some rows of `data`, in their order. Where memory runs out, with fewer
/// rows at once: each by itself gives the same.
pub(crate) fn score<E: Engine>(
    engine: &mut E,
    network: &Network<E::Tensor>,
    data: &Dataset,
    rows: &[u32],
    criterion: &Criterion<E::Tensor>,
    confusion: bool,
) -> Result<Tally, PassError> {
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
pub(crate) fn score_watched<E: Engine, F: From<PassError>>(
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
    let mut rest = rows;
    while !rest.is_empty() {
        let part = &rest[..at_once.min(rest.len())];
        match seen(engine, network, data, part, criterion) {
            Ok(seen) => {
                tally.add(&seen);
                rest = &rest[part.len()..];
                passed(rows.len() - rest.len())?;
            }
            Err(PassError::Engine(EngineError::OutOfMemory { .. })) if part.len() > 1 => {
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
) -> Result<Seen, PassError> {
    let x = gather(engine, data, rows, &Window::default())?;
    let y = network.predict(engine, x, rows.len())?;
    let whole = criterion.weight(data, rows);
    Ok(criterion.measure(engine, &y, data, rows, whole)?.seen)
}

/// Puts some rows onto the engine.
pub(crate) fn gather<E: Engine>(
    engine: &mut E,
    data: &Dataset,
    rows: &[u32],
    window: &Window,
) -> Result<E::Tensor, PassError> {
    let shape = batched(rows.len(), &data.shape);
    engine.upload_written(&shape, |batch| Ok(data.features.gather(rows, window, batch)?))
}

/// Why rows did not pass through a model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<PassError> for TrainError {
    fn from(error: PassError) -> Self {
        match error {
            PassError::Data(error) => Self::Check(error.into()),
            PassError::Engine(error) => error.into(),
        }
    }
}

impl From<PassError> for LoadError {
    fn from(error: PassError) -> Self {
        match error {
            PassError::Data(error) => CheckError::from(error).into(),
            PassError::Engine(error) => error.into(),
        }
    }
}
