//! Fits a definition to its data before anything is trained: shapes layer by layer, parameters,
//! memory, rows of each part. What a [`Plan`] was made for can be trained; how is left to
//! [`crate::train`].

mod applied;
mod beginning;
mod ids;
mod table;
mod targets;

use std::path::Path;

use crate::data::encoding::Known;
use crate::data::scaling::Scaling;
use crate::data::split::Split;
use crate::data::{self, DataError, Dataset, Reading};
use crate::definition::{DefinitionError, Job, LayerSpec, LossSpec, ModelSpec, Workload};
use crate::frames::{FailureClass, Started};
use crate::layers::{Axes, Chain, LayerFault, Misfit, NamedValues};
use crate::limits;
use crate::model::LoadError;
pub(crate) use applied::Applied;
pub use beginning::PartError;
pub(crate) use beginning::{Beginning, Continued};
pub use table::{LayerPlan, LayerState, ModelTable, model_table};
pub use targets::TargetError;

/// The size of a piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub layers: Vec<LayerPlan>,
    /// Numbers that are learnt, now or before.
    pub parameters: u64,
    /// Of these, the ones that learn now.
    pub trainable: u64,
    /// Estimate of the memory that the work takes at its peak, data included.
    pub memory_bytes: u64,
    /// What the features of all rows take in memory, or on disk.
    pub rows_bytes: u64,
    /// All that are read; the next three are parts of them, and none where nothing is trained.
    pub rows: u64,
    pub train_rows: u64,
    pub validation_rows: u64,
    pub test_rows: u64,
    /// Input columns.
    pub features: u64,
    /// Of the features of one row, as `[channels, height, width]`; the product is `features`.
    pub feature_shape: Vec<u64>,
    /// Classes, or target columns; values of a row where those of a layer are extracted.
    pub outputs: u64,
    /// Rows of one step, or that pass at once where nothing is trained.
    pub batch_size: u32,
    pub batches_per_epoch: u32,
    /// Whether features are read from disk as they are needed.
    pub streamed: bool,
    /// Of the predictions or features that are written, about; 0 where none are.
    pub result_bytes: u64,
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
    #[error("{place}: {misfit}")]
    Layer { place: String, misfit: Misfit },
    #[error("the input shape {found} is none; use 1 to {limit} lengths of 1 or more")]
    InputShape { found: Axes, limit: usize },
    #[error(
        "the last layer gives {found} for a row, but {file} has {expected} {what}; end with \
         flatten and a dense layer with units = {expected}"
    )]
    OutputShape { found: Axes, file: String, expected: u64, what: &'static str },
    #[error(
        "{file}, row {row}, column {column}: {id} is no id of a vocabulary of {vocabulary}; use \
         whole numbers from 0, or a larger vocabulary in the embedding"
    )]
    Id { file: String, row: u64, column: String, id: f32, vocabulary: u32 },
    #[error(
        "batches of {batch} rows through a layer with {width} values a row are more than the {limit} values \
         allowed; use a smaller training.batch_size"
    )]
    ActivationsTooLarge { batch: u64, width: u64, limit: u64 },
    #[error(
        "model.layers, layer {layer}: {found} outputs, but {file} has {expected} {what}; set \
         units = {expected} in the last dense layer"
    )]
    Outputs { layer: usize, found: u64, file: String, expected: u64, what: &'static str },
    #[error(transparent)]
    Targets(#[from] TargetError),
    #[error(transparent)]
    Part(PartError),
    #[error(transparent)]
    Start(LoadError),
}

impl CheckError {
    /// Whether definition or data are at fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Definition(_)
            | Self::Layer { .. }
            | Self::InputShape { .. }
            | Self::TooManyParameters { .. }
            | Self::Part(_)
            | Self::ActivationsTooLarge { .. } => FailureClass::InvalidJob,
            Self::Data(DataError::NoMemory { .. }) => FailureClass::OutOfMemory,
            Self::Data(DataError::Stopped | DataError::Paused) => FailureClass::Stopped,
            Self::Data(DataError::NoDisk { .. } | DataError::Lost { .. }) => FailureClass::Internal,
            Self::Data(_)
            | Self::Id { .. }
            | Self::Outputs { .. }
            | Self::OutputShape { .. }
            | Self::Start(_)
            | Self::Targets(_) => FailureClass::InvalidData,
        }
    }

    /// What is wrong, where, and what to do.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

impl Workload {
    /// As [`Job::check`], for this process.
    ///
    /// # Errors
    /// The first fault, with its class and place.
    pub fn check(&self, inputs: &Path) -> Result<Plan, CheckError> {
        self.plan(inputs, None)
    }

    fn plan(&self, inputs: &Path, process: Option<u64>) -> Result<Plan, CheckError> {
        let prepared = Reading::alone(process, |reading| Prepared::new(self, inputs, reading));
        prepared.map(|prepared| prepared.plan)
    }
}

impl Job {
    /// Reads all files in `inputs` and fits the definition to them; computes nothing. The plan is
    /// that of a `process` that may have so many bytes of private memory, or of this one.
    ///
    /// # Errors
    /// The first fault, with its class and place.
    pub fn check(&self, inputs: &Path, process: Option<u64>) -> Result<Plan, CheckError> {
        match self {
            Self::Train(job) => job.plan(inputs, process),
            Self::FineTune(job) => job.plan(inputs, process),
            Self::Apply(job) => job.plan(inputs, process),
        }
    }
}

/// Data, scaled and divided, that fit the model.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) data: Dataset,
    pub(crate) split: Split,
    pub(crate) scaling: Scaling,
    /// With nothing left to be worked out from these data.
    pub(crate) loss: LossSpec,
    pub(crate) plan: Plan,
    /// Where the run does not begin by chance.
    pub(crate) beginning: Option<Beginning>,
}

impl Prepared {
    pub(crate) fn new(
        workload: &Workload,
        inputs: &Path,
        reading: &Reading<'_>,
    ) -> Result<Self, CheckError> {
        let mut prepared = Self::unscaled(workload, inputs, None, reading)?;
        prepared.data.features.scale_by(prepared.scaling.clone());
        Ok(prepared)
    }

    /// As [`Self::new`], but with the features not scaled yet; of a trained model, with what it
    /// knows of its data.
    pub(crate) fn unscaled(
        workload: &Workload,
        inputs: &Path,
        known: Option<Known<'_>>,
        reading: &Reading<'_>,
    ) -> Result<Self, CheckError> {
        workload.validate()?;
        let loss = workload.training.loss.kind();
        let raw = data::load(&workload.data, Some(loss), inputs, known, reading)?;
        let split = Split::new(&workload.data, workload.training.seed, raw.rows())?;
        let data = raw.encode(&workload.data, &split.train, known, reading)?;
        let plan = plan(workload, &data, &split, None, reading)?;
        ids::check(&workload.model, &workload.data.source, &data, reading)?;
        let scaling = Scaling::fit(&workload.data, &data.features, &split.train, reading)?;
        let loss = targets::settled(&workload.training.loss, &data.targets, &split.train);
        Ok(Self { data, split, scaling, loss, plan, beginning: None })
    }

    /// Begins with a trained model.
    fn begin(
        &mut self,
        workload: &Workload,
        beginning: Beginning,
        reading: &Reading<'_>,
    ) -> Result<(), CheckError> {
        self.plan = plan(workload, &self.data, &self.split, Some(&beginning), reading)?;
        self.beginning = Some(beginning);
        Ok(())
    }

    /// The layers of the run, and the values that they begin with.
    pub(crate) fn start(
        &self,
        workload: &Workload,
    ) -> Result<(Chain, Vec<NamedValues>), CheckError> {
        let chain = fitted(&workload.model, &self.data.shape)?;
        let mut values = chain.start(workload.training.seed);
        let Some(beginning) = &self.beginning else {
            return Ok((chain, values));
        };
        beginning.put_into(&mut values);
        Ok((beginning.chain(chain), values))
    }
}

impl Plan {
    pub(crate) fn started(
        &self,
        epochs: u32,
        resumed_epochs: u32,
        resumed_batches: u32,
    ) -> Started {
        Started {
            parameters: self.parameters,
            train_rows: self.train_rows,
            validation_rows: self.validation_rows,
            test_rows: self.test_rows,
            epochs,
            batches_per_epoch: self.batches_per_epoch,
            resumed_epochs,
            resumed_batches,
            streamed: self.streamed,
        }
    }
}

fn plan(
    workload: &Workload,
    data: &Dataset,
    split: &Split,
    beginning: Option<&Beginning>,
    reading: &Reading<'_>,
) -> Result<Plan, CheckError> {
    let chain = fitted(&workload.model, &data.shape)?;
    let chain = match beginning {
        Some(beginning) => beginning.chain(chain),
        None => chain,
    };
    let batch = u64::from(workload.training.batch_size).min(split.train.len() as u64);
    batch_fits(&chain, batch)?;
    targets::fit(workload, data)?;
    outputs_fit(workload, data, &chain)?;
    let place = data.features.place(&workload.data, batch, reading);
    Ok(Plan {
        layers: table::rows(&chain, batch, beginning),
        parameters: chain.parameters(),
        trainable: chain.trainable(),
        memory_bytes: memory(workload, data, &chain, batch, beginning) + place.bytes,
        rows_bytes: data.features.bytes(),
        rows: data.rows as u64,
        train_rows: split.train.len() as u64,
        validation_rows: split.validation.len() as u64,
        test_rows: split.test.len() as u64,
        features: data.columns as u64,
        feature_shape: data.shape.iter().map(|&size| size as u64).collect(),
        outputs: data.targets.width() as u64,
        batches_per_epoch: (split.train.len() as u64).div_ceil(batch) as u32,
        streamed: place.streamed,
        batch_size: workload.training.batch_size,
        result_bytes: 0,
    })
}

/// The layers for rows of shape `input`.
pub(crate) fn fitted(model: &ModelSpec, input: &[usize]) -> Result<Chain, CheckError> {
    let chain = Chain::new(&model.layers, input).map_err(|LayerFault { place, misfit }| {
        CheckError::Layer { place: format!("model.layers, {place}"), misfit }
    })?;
    let (found, limit) = (chain.parameters(), limits::MAX_PARAMETERS);
    if found > limit {
        return Err(CheckError::TooManyParameters { found, limit });
    }
    Ok(chain)
}

fn batch_fits(chain: &Chain, batch: u64) -> Result<(), CheckError> {
    let (width, limit) = (chain.widest(), limits::MAX_ACTIVATION_VALUES);
    if batch.saturating_mul(width) > limit {
        return Err(CheckError::ActivationsTooLarge { batch, width, limit });
    }
    Ok(())
}

fn outputs_fit(workload: &Workload, data: &Dataset, chain: &Chain) -> Result<(), CheckError> {
    let expected = data.targets.width();
    if chain.output() == data.targets.output_shape() || chain.output() == [expected] {
        return Ok(());
    }
    let what = match data.targets {
        data::Targets::Classes { .. } => "classes",
        data::Targets::Positions { .. } => "outputs, one of each character at each position",
        data::Targets::Values { .. } => "target columns",
    };
    let file = workload.data.labels.as_ref().unwrap_or(&workload.data.source).clone();
    let expected = expected as u64;
    let &[found] = chain.output() else {
        let found = Axes(chain.output().to_vec());
        return Err(CheckError::OutputShape { found, file, expected, what });
    };
    let is_dense = |layer: &LayerSpec| matches!(layer, LayerSpec::Dense { .. });
    let layer = workload.model.layers.iter().rposition(is_dense).unwrap_or(0);
    Err(CheckError::Outputs { layer, found: found as u64, file, expected, what })
}

/// Targets, parameters with gradients and optimizer state, and each activation with its gradient.
fn memory(
    workload: &Workload,
    data: &Dataset,
    chain: &Chain,
    batch: u64,
    beginning: Option<&Beginning>,
) -> u64 {
    let training = &workload.training;
    let restores = training.early_stopping.as_ref().is_some_and(|spec| spec.restore_best);
    let states = training.optimizer.states() + u64::from(restores);
    let scored = (data.rows as u64).min(chain.scored_at_once() as u64);
    let in_training = batch * (2 * chain.held() + 2 * data.columns as u64);
    // While scoring, only the input and the output of one layer are alive.
    let scoring = scored * 3 * chain.widest();
    let activations = in_training.max(scoring);
    // At the end the engine's, a copy, and the file that is made of it.
    let copies = 3 * chain.parameters() + beginning.map_or(0, Beginning::count);
    let parameters = copies + chain.trainable() * (1 + states);
    BASE_BYTES + 4 * (parameters + activations + chain.scratch()) + data.memory_bytes()
}

/// The program itself, its buffers and its threads.
const BASE_BYTES: u64 = 16 << 20;
