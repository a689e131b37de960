//! Fits a trained model to rows that it is used on.

use std::path::Path;

use super::beginning::{PartError, found};
use super::{CheckError, Plan, batch_fits, ids, table, targets};
use crate::data::scaling::Scaling;
use crate::data::{self, Dataset, Place, Reading};
use crate::definition::{
    Application, ExtractSpec, JobKind, LossSpec, ModelSpec, TableFormat, Task, WantedTargets,
    check_data,
};
use crate::layers::{Chain, NamedValues, values};
use crate::limits;
use crate::model::{Artifact, LoadError, ModelFile, Outputs};

/// A trained model, and rows that fit it.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) file: ModelFile,
    /// As far as it is used.
    pub(crate) chain: Chain,
    /// Of its tensors.
    pub(crate) values: Vec<NamedValues>,
    /// Scaled as the model wants it.
    pub(crate) data: Dataset,
    /// Rows at once.
    pub(crate) batch: usize,
    pub(crate) plan: Plan,
}

impl Application {
    /// As [`crate::Job::check`].
    pub(super) fn plan(&self, inputs: &Path, process: Option<u64>) -> Result<Plan, CheckError> {
        let applied = Reading::alone(process, |reading| Applied::new(self, inputs, reading));
        applied.map(|applied| applied.plan)
    }
}

impl Applied {
    pub(crate) fn new(
        job: &Application,
        inputs: &Path,
        reading: &Reading<'_>,
    ) -> Result<Self, CheckError> {
        let artifact = Artifact::of(&job.start, job.model.is_some(), inputs)?;
        let (data, file) = match (artifact.file(), &job.model) {
            (Some(file), _) => {
                file.chain()?;
                known(job, file, inputs, reading)?
            }
            (None, Some(model)) => foreign(job, model, inputs, reading)?,
            (None, None) => {
                let file = artifact.name().to_owned();
                return Err(LoadError::NoDefinition { file }.into());
            }
        };
        Self::fitted(job, &artifact, file, data, reading)
    }

    fn fitted(
        job: &Application,
        artifact: &Artifact,
        file: ModelFile,
        mut data: Dataset,
        reading: &Reading<'_>,
    ) -> Result<Self, CheckError> {
        let whole = file.chain()?;
        let mut values = artifact.values(whole.tensors(), |_| false)?;
        ids::check(&file.model, &job.data.source, &data, reading)?;
        if let Task::Evaluate(spec) = &job.task {
            let loss = file.loss.kind();
            file.agrees_on_targets(&data, loss, &job.data)?;
            targets::fit_trained(&job.data, loss, spec.top_k, &data)?;
        }
        data.features.scale_by(file.scaling.clone());
        let chain = match &job.task {
            Task::Extract(spec) => {
                let names = whole.names();
                whole.first(1 + found(&spec.layer, &names, "extract.layer")?)
            }
            Task::Evaluate(_) | Task::Infer(_) => whole,
        };
        columns_fit(&job.task, &chain)?;
        values.truncate(chain.tensors().len());
        let batch = job.task.batch_size().map_or(chain.scored_at_once(), |size| size as usize);
        let batch = batch.min(data.rows);
        batch_fits(&chain, batch as u64)?;
        let place = data.features.place(&job.data, batch as u64, reading);
        let plan = plan(job, &file, &chain, &data, batch, place);
        Ok(Self { file, chain, values, data, batch, plan })
    }
}

/// Whether what a layer gives can be the columns of a table.
fn columns_fit(task: &Task, chain: &Chain) -> Result<(), CheckError> {
    let Task::Extract(ExtractSpec { format: TableFormat::Csv | TableFormat::Parquet, .. }) = task
    else {
        return Ok(());
    };
    let (found, limit) = (values(chain.output()), limits::MAX_UNITS as u64);
    if found <= limit {
        return Ok(());
    }
    Err(CheckError::Part(PartError::ManyColumns { found, limit }))
}

/// Rows as a model reads them that says how.
fn known(
    job: &Application,
    file: &ModelFile,
    inputs: &Path,
    reading: &Reading<'_>,
) -> Result<(Dataset, ModelFile), CheckError> {
    let spec = file.complete(&job.data);
    let kind = file.loss.kind();
    let (targets, loss) = match &job.task {
        Task::Evaluate(_) => (WantedTargets::Of(kind), Some(kind)),
        Task::Infer(_) | Task::Extract(_) => (WantedTargets::None(job.task.kind()), None),
    };
    check_data(&spec, targets)?;
    let raw = data::load(&spec, loss, inputs, Some(file.known()), reading)?;
    let mut data = raw.encode(&spec, &[], Some(file.known()), reading)?;
    // Where the job does not say what a row looks like, the model does.
    if spec.shape.is_none() && data.columns as u64 == values(&file.input_shape) {
        data.shape.clone_from(&file.input_shape);
    }
    file.agrees(&data, &spec.source)?;
    Ok((data, file.clone()))
}

/// Rows for layers without a past, and what is known of them then.
fn foreign(
    job: &Application,
    model: &ModelSpec,
    inputs: &Path,
    reading: &Reading<'_>,
) -> Result<(Dataset, ModelFile), CheckError> {
    let said = job.start.outputs.as_ref();
    let loss = said.map(|it| job.start.loss.clone().unwrap_or(it.usual_loss().into()));
    let wanted = loss.as_ref().map(LossSpec::kind);
    let wanted = wanted.filter(|_| job.task.kind() == JobKind::Evaluate);
    check_data(&job.data, wanted.map_or(WantedTargets::None(job.task.kind()), WantedTargets::Of))?;
    let known = job.start.outputs.as_ref().map(Outputs::known);
    let raw = data::load(&job.data, wanted, inputs, known, reading)?;
    // Nothing is learnt from rows that a model was not trained on.
    let data = raw.encode(&job.data, &[], known, reading)?;
    let scaling = Scaling::fit(&job.data, &data.features, &[], reading)?;
    let outputs = match &job.start.outputs {
        Some(outputs) => outputs.clone(),
        None => {
            let chain = super::fitted(model, &data.shape)?;
            let count = chain.output().iter().product::<usize>();
            Outputs::Targets((0..count).map(|index| index.to_string()).collect())
        }
    };
    let loss = loss.unwrap_or(outputs.usual_loss().into());
    let file = ModelFile::foreign(model.clone(), loss, outputs, &data, scaling);
    Ok((data, file))
}

fn plan(
    job: &Application,
    file: &ModelFile,
    chain: &Chain,
    data: &Dataset,
    batch: usize,
    place: Place,
) -> Plan {
    let (rows, columns) = (data.rows as u64, data.columns as u64);
    let outputs = values(chain.output());
    let width = match &job.task {
        Task::Evaluate(_) => 0,
        Task::Infer(_) | Task::Extract(_) => outputs,
    };
    let bytes_a_value = match &job.task {
        Task::Infer(spec) => bytes_a_value(spec.format),
        Task::Extract(spec) => bytes_a_value(spec.format),
        Task::Evaluate(_) => 0,
    };
    Plan {
        layers: table::rows(chain, batch as u64, None),
        parameters: chain.parameters(),
        trainable: 0,
        memory_bytes: memory(chain, data, batch) + place.bytes,
        rows_bytes: data.features.bytes(),
        rows,
        train_rows: 0,
        validation_rows: 0,
        test_rows: 0,
        features: columns,
        feature_shape: data.shape.iter().map(|&size| size as u64).collect(),
        outputs: match &job.task {
            Task::Extract(_) => outputs,
            Task::Evaluate(_) | Task::Infer(_) => file.outputs.names().len() as u64,
        },
        batches_per_epoch: rows.div_ceil(batch as u64) as u32,
        batch_size: batch as u32,
        streamed: place.streamed,
        result_bytes: rows.saturating_mul(width).saturating_mul(bytes_a_value),
    }
}

/// As a number takes on the disk; in text about.
fn bytes_a_value(format: TableFormat) -> u64 {
    match format {
        TableFormat::Csv => 10,
        TableFormat::Npy | TableFormat::Parquet => 4,
    }
}

/// Targets, parameters, and the values of some rows in one layer at a time.
fn memory(chain: &Chain, data: &Dataset, batch: usize) -> u64 {
    let activations = 3 * batch as u64 * chain.widest();
    // The engine's, and the copy that was read.
    let parameters = 2 * chain.parameters();
    super::BASE_BYTES + 4 * (parameters + activations + chain.scratch()) + data.memory_bytes()
}
