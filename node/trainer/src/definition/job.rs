//! A whole piece of work: what kind it is, and the tables that this kind has. Tables and keys that
//! a kind lacks or does not have are told by name; what is in them is judged in [`super::rules`].

use serde::{Deserialize, Serialize};

use super::{
    DataSpec, DefinitionError, LayerSpec, LossSpec, ModelSpec, TrainingSpec, Workload, rules,
};
use crate::model::Outputs;

/// A whole piece of work, as it lies in `job.json`.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Fit a new model to data.
    Train(Workload),
    /// Fit a trained model to other data.
    FineTune(FineTune),
    /// Use a trained model as it is.
    Apply(Application),
}

/// What is done with model and data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Fit a new model to the data.
    #[default]
    Train,
    /// Go on training a model that was trained before, as a whole or in parts.
    FineTune,
    /// Measure a trained model on rows whose targets are known.
    Evaluate,
    /// Say what a trained model predicts for rows.
    Infer,
    /// Give what a layer in the middle of a trained model makes of rows.
    Extract,
}

impl JobKind {
    /// The name it has in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::FineTune => "fine_tune",
            Self::Evaluate => "evaluate",
            Self::Infer => "infer",
            Self::Extract => "extract",
        }
    }
}

/// The tables of a job as they are written; those that are there must be its kind's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTables {
    #[serde(default)]
    pub kind: JobKind,
    /// Layers: of a new model, or of weights that do not say what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<FineTuneSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer: Option<InferSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<ExtractSpec>,
    pub data: DataSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSpec>,
}

impl JobTables {
    /// Names of the files that must lie in the input directory, each once.
    pub fn input_names(&self) -> Vec<&str> {
        let start = self.start.iter().flat_map(|start| {
            std::iter::once(start.weights.as_str()).chain(start.definition.as_deref())
        });
        let mut names: Vec<&str> = Vec::new();
        for name in start.chain(self.data.file_names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// `[start]`: the trained model that a job begins with. Files lie beside the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSpec {
    /// A safetensors file.
    pub weights: String,
    /// The `model.json` of weights that do not carry it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// With `[model]` only: what its outputs stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// With `[model]` only. Default: what classes or targets are usually trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
}

/// `[fine_tune]`: what of the trained model stays, and what is put in its place. Layers are
/// counted as the layer table does, where an activation within a layer counts by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTuneSpec {
    /// Layers that are not trained any further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// New layers in the place of the last ones; they begin afresh, by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_head: Option<Vec<LayerSpec>>,
    /// The first of the layers that the new ones replace. Default: the last with parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_from: Option<LayerRef>,
}

/// The first so many layers, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of layers or a list of layers")]
pub enum Freeze {
    First(u32),
    Each(Vec<LayerRef>),
}

/// A layer as the layer table has it: its number, or number and kind as in `2 dense`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the number of a layer, or its name as in \"2 dense\"")]
pub enum LayerRef {
    Number(u32),
    Name(String),
}

impl std::fmt::Display for LayerRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => write!(formatter, "\"{name}\""),
        }
    }
}

/// `[evaluate]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Rows that pass through the model at once; changes no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// As in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
}

/// `[infer]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferSpec {
    /// Rows that pass through the model at once; changes no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    #[serde(default)]
    pub format: TableFormat,
}

/// How predictions or features are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Text with a header.
    #[default]
    Csv,
    /// One array of f32, a row for each of the data; names stay with the model.
    Npy,
    /// The columns of the CSV file.
    Parquet,
}

/// `[extract]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractSpec {
    /// The layer whose output is wanted.
    pub layer: LayerRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Default: `npy`.
    #[serde(default = "npy")]
    pub format: TableFormat,
}

const fn npy() -> TableFormat {
    TableFormat::Npy
}

/// Training that begins with a trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTune {
    pub start: StartSpec,
    /// Layers of weights that do not say what they are.
    pub model: Option<ModelSpec>,
    pub changes: FineTuneSpec,
    pub data: DataSpec,
    pub training: TrainingSpec,
}

/// A trained model that is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    pub start: StartSpec,
    /// Layers of weights that do not say what they are.
    pub model: Option<ModelSpec>,
    pub data: DataSpec,
    pub task: Task,
}

/// What a trained model is used for.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Evaluate(EvaluateSpec),
    Infer(InferSpec),
    Extract(ExtractSpec),
}

impl Task {
    /// The kind of its job.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Evaluate(_) => JobKind::Evaluate,
            Self::Infer(_) => JobKind::Infer,
            Self::Extract(_) => JobKind::Extract,
        }
    }

    /// Rows at once, where the job says so.
    pub(crate) fn batch_size(&self) -> Option<u32> {
        match self {
            Self::Evaluate(spec) => spec.batch_size,
            Self::Infer(spec) => spec.batch_size,
            Self::Extract(spec) => spec.batch_size,
        }
    }
}

impl Job {
    /// Reads a `job.json`.
    ///
    /// # Errors
    /// [`DefinitionError::Syntax`] with line and column, or whatever [`Self::validate`] finds.
    pub fn from_json(text: &str) -> Result<Self, DefinitionError> {
        let tables: JobTables = serde_json::from_str(text)?;
        let job = Self::try_from(tables)?;
        job.validate()?;
        Ok(job)
    }

    /// The canonical text: fixed key order, defaults written out, the same for equal jobs.
    pub fn to_json(&self) -> String {
        let tables = JobTables::from(self.clone());
        serde_json::to_string(&tables).expect("plain structs with string keys always serialize")
    }

    /// What is done with model and data.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Train(_) => JobKind::Train,
            Self::FineTune(_) => JobKind::FineTune,
            Self::Apply(job) => job.task.kind(),
        }
    }

    /// Judges everything that can be judged without files.
    ///
    /// # Errors
    /// The first fault, with the place it was found in and what is allowed there.
    pub fn validate(&self) -> Result<(), DefinitionError> {
        match self {
            Self::Train(job) => job.validate(),
            Self::FineTune(job) => rules::job::fine_tune(job),
            Self::Apply(job) => rules::job::application(job),
        }
    }
}

impl TryFrom<JobTables> for Job {
    type Error = DefinitionError;

    fn try_from(tables: JobTables) -> Result<Self, DefinitionError> {
        rules::job::tables(&tables)?;
        let JobTables { kind, model, start, data, training, .. } = tables;
        let lacks = |table| rules::job::missing(kind, table);
        let task = match kind {
            JobKind::Train => {
                let model = model.ok_or_else(|| lacks("model"))?;
                let training = training.ok_or_else(|| lacks("training"))?;
                return Ok(Self::Train(Workload { model, data, training }));
            }
            JobKind::FineTune => {
                let start = start.ok_or_else(|| lacks("start"))?;
                let training = training.ok_or_else(|| lacks("training"))?;
                let changes = tables.fine_tune.unwrap_or_default();
                return Ok(Self::FineTune(FineTune { start, model, changes, data, training }));
            }
            JobKind::Evaluate => Task::Evaluate(tables.evaluate.unwrap_or_default()),
            JobKind::Infer => Task::Infer(tables.infer.unwrap_or_default()),
            JobKind::Extract => Task::Extract(tables.extract.ok_or_else(|| lacks("extract"))?),
        };
        let start = start.ok_or_else(|| lacks("start"))?;
        Ok(Self::Apply(Application { start, model, data, task }))
    }
}

impl From<Job> for JobTables {
    fn from(job: Job) -> Self {
        let kind = job.kind();
        let (start, model, data, training) = match &job {
            Job::Train(job) => (None, Some(&job.model), &job.data, Some(&job.training)),
            Job::FineTune(job) => {
                (Some(&job.start), job.model.as_ref(), &job.data, Some(&job.training))
            }
            Job::Apply(job) => (Some(&job.start), job.model.as_ref(), &job.data, None),
        };
        let mut tables = Self {
            kind,
            model: model.cloned(),
            start: start.cloned(),
            fine_tune: None,
            evaluate: None,
            infer: None,
            extract: None,
            data: data.clone(),
            training: training.cloned(),
        };
        match job {
            Job::Train(_) => {}
            Job::FineTune(job) => tables.fine_tune = Some(job.changes),
            Job::Apply(Application { task: Task::Evaluate(spec), .. }) => {
                tables.evaluate = Some(spec);
            }
            Job::Apply(Application { task: Task::Infer(spec), .. }) => tables.infer = Some(spec),
            Job::Apply(Application { task: Task::Extract(spec), .. }) => {
                tables.extract = Some(spec);
            }
        }
        tables
    }
}
