//! A model layer by layer, with or without data: shapes, parameters, memory, work.

use super::{Beginning, CheckError, batch_fits, fitted};
use crate::definition::{DefinitionError, ModelSpec};
use crate::layers::{Axes, Chain, Kind, Layer, Role, values};
use crate::limits;

/// One module of the model, numbered as `torch.nn.Sequential` would: an activation written inside
/// a dense layer counts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// Number and kind, as in `2 dense`.
    pub name: String,
    /// Without the batch axis.
    pub output_shape: Vec<u64>,
    /// Numbers that are learnt, now or before.
    pub parameters: u64,
    pub state: LayerState,
    /// What a training step holds for it: parameters, buffers, and the layer's values for each
    /// row of a batch, all but buffers with their gradients.
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
    let state = |index: usize| match beginning {
        None => LayerState::Plain,
        Some(beginning) if beginning.frozen[index] => LayerState::Frozen,
        Some(beginning) if index >= beginning.new_from => LayerState::New,
        Some(_) => LayerState::Continued,
    };
    let row = |(index, (name, layer)): (usize, (String, &Kind))| {
        let tensors = layer.tensors();
        let count = |role| {
            let of_role = tensors.iter().filter(|tensor| tensor.role == role);
            of_role.map(|tensor| tensor.values()).sum::<u64>()
        };
        let parameters = count(Role::Parameter);
        let gradients = if state(index) == LayerState::Frozen { 0 } else { parameters };
        let numbers = parameters + gradients + count(Role::Buffer) + 2 * batch * layer.held();
        LayerPlan {
            name,
            output_shape: counts(layer.output()),
            parameters,
            state: state(index),
            memory_bytes: 4 * (numbers + layer.scratch()),
            flops: layer.flops(),
        }
    };
    chain.named().enumerate().map(row).collect()
}

fn counts(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|length| *length as u64).collect()
}
