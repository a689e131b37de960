//! A model layer by layer, with or without data: shapes, parameters, memory, work.

use super::{Beginning, CheckError, batch_fits, fitted};
use crate::definition::{DefinitionError, ModelSpec};
use crate::layers::{Axes, Chain, Kind, Layer, Role, TensorSpec, values};
use crate::limits;

/// One module of the model, numbered as `torch.nn.Sequential` would: an activation written inside
/// a dense layer counts by itself. A layer that is made of others stands before them and has only
/// what it adds, so that every number is counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// Where it is, as in `2` or `2.layers.0`: its tensors have names that begin like this.
    pub path: String,
    /// What it is, as in `dense`.
    pub kind: &'static str,
    /// How many layers it lies within.
    pub depth: u32,
    /// Without the batch axis.
    pub output_shape: Vec<u64>,
    /// Numbers that are learnt, now or before.
    pub parameters: u64,
    pub state: LayerState,
    /// What a training step holds for it: parameters, buffers, and the layer's values for each
    /// row of a batch, all but buffers with their gradients; and what an engine needs besides.
    pub memory_bytes: u64,
    /// Additions and multiplications of a forward pass over one row, about; a training step takes
    /// about three times as many.
    pub flops: u64,
}

/// Where the parameters of a layer come from, and whether they change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// They begin by chance, in a model that does.
    Plain,
    /// They begin by chance, behind layers that were trained before.
    New,
    /// They were trained before, and go on learning.
    Continued,
    /// They were trained before, and stay as they are.
    Frozen,
}

/// A whole model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTable {
    /// Of a row, without the batch axis.
    pub input_shape: Vec<u64>,
    pub layers: Vec<LayerPlan>,
    /// Sums over all layers.
    pub parameters: u64,
    pub memory_bytes: u64,
    pub flops: u64,
}

/// Fits a model to rows of shape `input` (without the batch axis) in batches of `batch` rows. No
/// data are needed; what the loss asks of the last layer is left to [`crate::Workload::check`].
///
/// # Errors
/// The first fault of the definition, or the first layer that does not fit, by its place.
pub fn model_table(
    model: &ModelSpec,
    input: &[usize],
    batch: u32,
) -> Result<ModelTable, CheckError> {
    model.validate_layers().map_err(|fault: DefinitionError| CheckError::Definition(fault))?;
    let size = values(input);
    let limit = limits::MAX_AXES;
    if input.len() > limit || size == 0 || size > limits::MAX_ROW_VALUES || input.is_empty() {
        return Err(CheckError::InputShape { found: Axes(input.to_vec()), limit });
    }
    let chain = fitted(model, input)?;
    batch_fits(&chain, u64::from(batch))?;
    let layers = rows(&chain, u64::from(batch), None);
    let sum = |of: fn(&LayerPlan) -> u64| layers.iter().map(of).sum();
    Ok(ModelTable {
        input_shape: counts(input),
        parameters: sum(|layer| layer.parameters),
        memory_bytes: sum(|layer| layer.memory_bytes),
        flops: sum(|layer| layer.flops),
        layers,
    })
}

pub(super) fn rows(chain: &Chain, batch: u64, beginning: Option<&Beginning>) -> Vec<LayerPlan> {
    let mut rows = Vec::new();
    for (index, layer) in chain.numbered() {
        let state = match beginning {
            None => LayerState::Plain,
            Some(beginning) if beginning.frozen[index] => LayerState::Frozen,
            Some(beginning) if index >= beginning.new_from => LayerState::New,
            Some(_) => LayerState::Continued,
        };
        add(&mut rows, Place { path: index.to_string(), depth: 0, state }, layer, batch);
    }
    rows
}

/// Where a layer stands.
struct Place {
    path: String,
    depth: u32,
    state: LayerState,
}

/// The layer, then those within it.
fn add(rows: &mut Vec<LayerPlan>, place: Place, layer: &Kind, batch: u64) {
    let Place { path, depth, state } = place;
    let size = |layer: &Kind| Size::of(layer, batch, state);
    let inner = layer.inner().into_iter();
    let inner: Vec<_> = inner.map(|(place, part)| (format!("{path}.{place}"), part)).collect();
    let own = inner.iter().fold(size(layer), |left, (_, part)| left.without(size(part)));
    // What an engine needs besides is needed within, one layer after the other.
    let scratch = if inner.is_empty() { layer.scratch() } else { 0 };
    rows.push(LayerPlan {
        path,
        kind: layer.kind(),
        depth,
        output_shape: counts(layer.output()),
        parameters: own.parameters,
        state,
        memory_bytes: 4 * (own.numbers + scratch),
        flops: own.flops,
    });
    for (path, part) in inner {
        add(rows, Place { path, depth: depth + 1, state }, part, batch);
    }
}

/// What a layer takes, with those within it.
#[derive(Clone, Copy)]
struct Size {
    parameters: u64,
    /// Held for a batch.
    numbers: u64,
    flops: u64,
}

impl Size {
    fn of(layer: &Kind, batch: u64, state: LayerState) -> Self {
        let tensors = layer.tensors();
        let count = |role| {
            let of_role = tensors.iter().filter(|tensor| tensor.role == role);
            of_role.map(TensorSpec::values).sum::<u64>()
        };
        let parameters = count(Role::Parameter);
        let gradients = if state == LayerState::Frozen { 0 } else { parameters };
        let numbers = parameters + gradients + count(Role::Buffer) + 2 * batch * layer.held();
        Self { parameters, numbers, flops: layer.flops() }
    }

    fn without(self, part: Self) -> Self {
        Self {
            parameters: self.parameters - part.parameters,
            numbers: self.numbers - part.numbers,
            flops: self.flops - part.flops,
        }
    }
}

fn counts(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|length| *length as u64).collect()
}
