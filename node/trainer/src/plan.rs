//! Fits a definition to its data before anything is trained: shapes layer by layer, parameters,
//! memory, rows of each part. What a [`Plan`] was made for can be trained; how is left to
//! [`crate::train`].

use std::path::Path;

use crate::data::encoding::Known;
use crate::data::scaling::Scaling;
use crate::data::split::Split;
use crate::data::{self, DataError, Dataset};
use crate::definition::{Activation, DefinitionError, LayerSpec, OptimizerSpec, Workload};
use crate::frames::{FailureClass, Started};
use crate::limits;

/// The size of a piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub layers: Vec<LayerPlan>,
    /// Trainable numbers.
    pub parameters: u64,
    /// Estimate of the memory that training takes at its peak, data included.
    pub memory_bytes: u64,
    pub train_rows: u64,
    pub validation_rows: u64,
    pub test_rows: u64,
    /// Input columns.
    pub features: u64,
    /// Of the features of one row, as `[channels, height, width]`; the product is `features`.
    pub feature_shape: Vec<u64>,
    /// Classes, or target columns.
    pub outputs: u64,
    pub batches_per_epoch: u32,
}

/// One module of the model, numbered as `torch.nn.Sequential` would: an activation written inside
/// a dense layer counts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// Number and kind, as in `2 dense`.
    pub name: String,
    /// Without the batch axis.
    pub output_shape: Vec<u64>,
    pub parameters: u64,
}

/// Why a piece of work cannot be trained as it is.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the model has {found} parameters, more than the {limit} allowed; use fewer units")]
    TooManyParameters { found: u64, limit: u64 },
    #[error(
        "batches of {batch} rows through a layer {width} wide are more than the {limit} values \
         allowed; use a smaller training.batch_size"
    )]
    ActivationsTooLarge { batch: u64, width: u64, limit: u64 },
    #[error(
        "model.layers, layer {layer}: {found} outputs, but {file} has {expected} {what}; set \
         units = {expected} in the last dense layer"
    )]
    Outputs { layer: usize, found: u64, file: String, expected: u64, what: &'static str },
}

impl CheckError {
    /// Whether definition or data are at fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Definition(_)
            | Self::TooManyParameters { .. }
            | Self::ActivationsTooLarge { .. } => FailureClass::InvalidJob,
            Self::Data(DataError::NoMemory { .. }) => FailureClass::OutOfMemory,
            Self::Data(_) | Self::Outputs { .. } => FailureClass::InvalidData,
        }
    }

    /// What is wrong, where, and what to do.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

impl Workload {
    /// Reads all data in `inputs` and fits the definition to them; trains nothing.
    ///
    /// # Errors
    /// The first fault, with its class and place.
    pub fn check(&self, inputs: &Path) -> Result<Plan, CheckError> {
        Prepared::new(self, inputs).map(|prepared| prepared.plan)
    }
}

/// Data in memory, scaled and divided, that fit the model.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) data: Dataset,
    pub(crate) split: Split,
    pub(crate) scaling: Scaling,
    pub(crate) plan: Plan,
}

impl Prepared {
    pub(crate) fn new(workload: &Workload, inputs: &Path) -> Result<Self, CheckError> {
        let mut prepared = Self::unscaled(workload, inputs, None)?;
        prepared.scaling.apply(&mut prepared.data.features);
        Ok(prepared)
    }

    /// As [`Self::new`], but with the features not scaled yet; of a trained model, with what it
    /// knows of its data.
    pub(crate) fn unscaled(
        workload: &Workload,
        inputs: &Path,
        known: Option<Known<'_>>,
    ) -> Result<Self, CheckError> {
        workload.validate()?;
        let raw = data::load(&workload.data, workload.training.loss, inputs, known)?;
        let split = Split::new(&workload.data, workload.training.seed, raw.rows)?;
        let data = raw.encode(&workload.data, &split.train, known)?;
        let plan = plan(workload, &data, &split)?;
        let scaling = Scaling::fit(&workload.data, &data.features, data.columns, &split.train);
        Ok(Self { data, split, scaling, plan })
    }
}

impl Plan {
    pub(crate) fn started(&self, epochs: u32, resumed_epochs: u32) -> Started {
        Started {
            parameters: self.parameters,
            train_rows: self.train_rows,
            validation_rows: self.validation_rows,
            test_rows: self.test_rows,
            epochs,
            batches_per_epoch: self.batches_per_epoch,
            resumed_epochs,
        }
    }
}

/// A layer as `torch.nn.Sequential` counts them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Module {
    Dense { inputs: usize, units: usize },
    Activation(Activation),
    Dropout { rate: f64 },
    Flatten,
}

impl Module {
    fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Activation(function) => function.name(),
            Self::Dropout { .. } => "dropout",
            Self::Flatten => "flatten",
        }
    }

    pub(crate) fn parameters(&self) -> u64 {
        match *self {
            Self::Dense { inputs, units } => (inputs as u64 + 1) * units as u64,
            Self::Activation(_) | Self::Dropout { .. } | Self::Flatten => 0,
        }
    }
}

impl Activation {
    /// The name it has in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softmax => "softmax",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Elu => "elu",
        }
    }
}

/// Writes layers out as modules, each with the width of its output.
pub(crate) fn modules(layers: &[LayerSpec], features: usize) -> Vec<(Module, usize)> {
    let mut width = features;
    let mut modules = Vec::new();
    for layer in layers {
        match layer {
            LayerSpec::Dense { units, activation } => {
                let units = *units as usize;
                modules.push((Module::Dense { inputs: width, units }, units));
                width = units;
                modules.extend(activation.map(|function| (Module::Activation(function), width)));
            }
            LayerSpec::Activation { function } => {
                modules.push((Module::Activation(*function), width));
            }
            LayerSpec::Dropout { rate } => modules.push((Module::Dropout { rate: *rate }, width)),
            LayerSpec::Flatten {} => modules.push((Module::Flatten, width)),
        }
    }
    modules
}

fn plan(workload: &Workload, data: &Dataset, split: &Split) -> Result<Plan, CheckError> {
    let modules = modules(&workload.model.layers, data.columns);
    let parameters = modules.iter().map(|(module, _)| module.parameters()).sum();
    if parameters > limits::MAX_PARAMETERS {
        let limit = limits::MAX_PARAMETERS;
        return Err(CheckError::TooManyParameters { found: parameters, limit });
    }
    let widest = modules.iter().map(|(_, width)| *width).max().unwrap_or(0).max(data.columns);
    let batch = u64::from(workload.training.batch_size).min(split.train.len() as u64);
    if batch * widest as u64 > limits::MAX_ACTIVATION_VALUES {
        let (width, limit) = (widest as u64, limits::MAX_ACTIVATION_VALUES);
        return Err(CheckError::ActivationsTooLarge { batch, width, limit });
    }
    outputs_fit(workload, data, modules.last().map_or(data.columns, |(_, width)| *width))?;
    let layers = modules.iter().enumerate().map(|(index, (module, width))| LayerPlan {
        name: format!("{index} {}", module.kind()),
        output_shape: vec![*width as u64],
        parameters: module.parameters(),
    });
    Ok(Plan {
        layers: layers.collect(),
        parameters,
        memory_bytes: memory(workload, data, &modules, parameters, batch),
        train_rows: split.train.len() as u64,
        validation_rows: split.validation.len() as u64,
        test_rows: split.test.len() as u64,
        features: data.columns as u64,
        feature_shape: data.shape.iter().map(|&size| size as u64).collect(),
        outputs: data.targets.width() as u64,
        batches_per_epoch: (split.train.len() as u64).div_ceil(batch) as u32,
    })
}

fn outputs_fit(workload: &Workload, data: &Dataset, found: usize) -> Result<(), CheckError> {
    let expected = data.targets.width();
    if found == expected {
        return Ok(());
    }
    let what = match data.targets {
        data::Targets::Classes { .. } => "classes",
        data::Targets::Positions { .. } => "outputs, one of each character at each position",
        data::Targets::Values { .. } => "target columns",
    };
    let is_dense = |layer: &LayerSpec| matches!(layer, LayerSpec::Dense { .. });
    let layer = workload.model.layers.iter().rposition(is_dense).unwrap_or(0);
    let file = workload.data.labels.as_ref().unwrap_or(&workload.data.source).clone();
    let (found, expected) = (found as u64, expected as u64);
    Err(CheckError::Outputs { layer, found, file, expected, what })
}

/// Data, parameters with gradients and optimizer state, and each activation with its gradient.
fn memory(
    workload: &Workload,
    data: &Dataset,
    modules: &[(Module, usize)],
    parameters: u64,
    batch: u64,
) -> u64 {
    /// The program itself, its buffers and its threads.
    const BASE: u64 = 16 << 20;
    let states = match workload.training.optimizer {
        OptimizerSpec::Sgd { momentum: 0.0, .. } => 0,
        OptimizerSpec::Sgd { .. } => 1,
        OptimizerSpec::Adam { .. } | OptimizerSpec::Adamw { .. } => 2,
    };
    let widths: u64 = modules.iter().map(|(_, width)| *width as u64).sum();
    let scored = (data.rows as u64).min(limits::SCORED_AT_ONCE as u64);
    let widest = modules.iter().map(|(_, width)| *width as u64).max().unwrap_or(0);
    let training = batch * (2 * widths + 2 * data.columns as u64);
    // While scoring, only the input and the output of one module are alive.
    let scoring = scored * (widest + 2 * widest.max(data.columns as u64));
    let activations = training.max(scoring);
    let rows = data.rows as u64 * (data.columns as u64 + data.targets.width() as u64);
    // Vectors of rows grow by doubling while a file is read.
    BASE + 4 * (parameters * (3 + states) + activations + 2 * rows)
}
