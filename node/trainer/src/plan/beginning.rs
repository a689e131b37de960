//! Training that begins with a trained model: which of its layers are taken over, which of these
//! stay as they are, and what its data have to agree with.

use std::path::Path;

use super::{CheckError, Plan, Prepared};
use crate::data::Reading;
use crate::data::encoding::Known;
use crate::definition::{
    DataSpec, FineTune, FineTuneSpec, Freeze, LayerRef, LayerSpec, ModelSpec, Normalize, StartSpec,
    Workload,
};
use crate::layers::{Chain, NamedValues, Role};
use crate::model::{Artifact, LoadError, ModelFile, Outputs};

/// What a run begins with instead of chance.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Of the first tensors of the model; those behind them begin by the seed.
    values: Vec<NamedValues>,
    /// Of each layer, whether it stays as it is.
    pub(crate) frozen: Vec<bool>,
    /// The first layer that is new.
    pub(crate) new_from: usize,
    /// Of all that is not in the workload, in hexadecimal.
    pub(crate) digest: String,
}

/// A fine-tuning that has been looked at together with its files.
#[derive(Debug)]
pub(crate) struct Continued {
    /// With the layers that result, and with what the trained model knows of data.
    pub(crate) workload: Workload,
    pub(crate) prepared: Prepared,
}

/// What is wrong with layers that a job names.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("{place}: the model has no layer {layer}; it has {known}")]
    NoLayer { place: &'static str, layer: LayerRef, known: String },
    #[error(
        "fine_tune.freeze: layer {0} is among the new ones of replace_head, which must learn; \
         freeze layers before it"
    )]
    NewFrozen(String),
    #[error("fine_tune.freeze: nothing is left that learns; freeze fewer layers")]
    AllFrozen,
    #[error(
        "fine_tune.freeze: layer {0} has running statistics and comes after a layer that learns; \
         freeze all layers before it as well"
    )]
    Statistics(String),
    #[error(
        "extract.format: {found} values a row are more than the {limit} columns of a table; use \
         \"npy\""
    )]
    ManyColumns { found: u64, limit: u64 },
    #[error("fine_tune.head_from: the head would be the whole model; that is kind = \"train\"")]
    AllNew,
}

impl FineTune {
    /// As [`crate::Job::check`].
    pub(super) fn plan(&self, inputs: &Path, process: Option<u64>) -> Result<Plan, CheckError> {
        let continued = Reading::alone(process, |reading| Continued::new(self, inputs, reading));
        continued.map(|continued| continued.prepared.plan)
    }
}

impl Continued {
    pub(crate) fn new(
        job: &FineTune,
        inputs: &Path,
        reading: &Reading<'_>,
    ) -> Result<Self, CheckError> {
        let (artifact, old) = opened(job, inputs)?;
        let names = entry_names(&old);
        let head = head(&job.changes, &old, &names)?;
        let model = joined(&old, head, job.changes.replace_head.as_deref());
        let file = artifact.file().filter(|file| features_agree(&job.data, file));
        let data = match file {
            Some(file) => file.complete(&job.data),
            None => job.data.clone(),
        };
        let workload = Workload { model, data, training: job.training.clone() };
        let said = job.start.outputs.as_ref().map(Outputs::known);
        let known = file.map(ModelFile::known).or(said).map(|known| {
            let classes = known.classes.filter(|_| job.changes.replace_head.is_none());
            Known { classes, ..known }
        });
        let mut prepared = Prepared::unscaled(&workload, inputs, known, reading)?;
        if let Some(file) = file {
            file.agrees(&prepared.data, &workload.data.source)?;
            if workload.data.scale.is_none() && workload.data.normalize == Normalize::None {
                prepared.scaling = file.scaling.clone();
            }
        }
        prepared.data.features.scale_by(prepared.scaling.clone());
        let chain = super::fitted(&workload.model, &prepared.data.shape)?;
        let frozen = frozen(&job.changes, &chain, head)?;
        let new_from = head.unwrap_or(frozen.len());
        let taken = |name: &str| layer_of(name).is_some_and(|layer| layer < new_from);
        let tensors = chain.tensors().into_iter().filter(|tensor| taken(&tensor.name)).collect();
        let values = artifact.values(tensors, |name| !taken(name))?;
        let digest = format!("{} {frozen:?} {new_from}", artifact.digest());
        let beginning = Beginning { values, frozen, new_from, digest };
        prepared.begin(&workload, beginning, reading)?;
        Ok(Self { workload, prepared })
    }
}

impl Beginning {
    /// The layers of the run.
    pub(crate) fn chain(&self, chain: Chain) -> Chain {
        chain.with_frozen(self.frozen.clone())
    }

    /// Values that it brings along.
    pub(super) fn count(&self) -> u64 {
        self.values.iter().map(|tensor| tensor.values.len() as u64).sum()
    }

    /// Puts what is taken over in the place of what chance gave.
    pub(crate) fn put_into(&self, values: &mut [NamedValues]) {
        for (value, taken) in values.iter_mut().zip(&self.values) {
            assert_eq!(value.name, taken.name, "the layers before the new ones come first");
            value.clone_from(taken);
        }
    }
}

/// The trained model, and its layers.
fn opened(job: &FineTune, inputs: &Path) -> Result<(Artifact, ModelSpec), CheckError> {
    let artifact = Artifact::of(&job.start, job.model.is_some(), inputs)?;
    let model = match (artifact.file(), &job.model) {
        (Some(file), _) => {
            file.chain()?;
            file.model.clone()
        }
        (None, Some(model)) => model.clone(),
        (None, None) => {
            let file = artifact.name().to_owned();
            return Err(LoadError::NoDefinition { file }.into());
        }
    };
    Ok((artifact, model))
}

/// Whether the job means the features that the model was trained on.
fn features_agree(data: &DataSpec, file: &ModelFile) -> bool {
    match (&data.features, file.columns()) {
        (Some(features), Some(columns)) => *features == columns,
        (None, _) | (_, None) => true,
    }
}

/// The names of a layer table, before shapes are known.
fn entry_names(model: &ModelSpec) -> Vec<String> {
    let kinds = model.layers.iter().flat_map(LayerSpec::entries).enumerate();
    kinds.map(|(index, kind)| format!("{index} {kind}")).collect()
}

/// Where the layers begin that are replaced, if any are.
fn head(
    changes: &FineTuneSpec,
    model: &ModelSpec,
    names: &[String],
) -> Result<Option<usize>, CheckError> {
    if changes.replace_head.is_none() {
        return Ok(None);
    }
    let from = match &changes.head_from {
        Some(layer) => found(layer, names, "fine_tune.head_from")?,
        None => {
            let (mut last, mut module) = (0, 0);
            for layer in &model.layers {
                if layer.learns() {
                    last = module;
                }
                module += layer.entries().len();
            }
            last
        }
    };
    if from == 0 {
        return Err(CheckError::Part(PartError::AllNew));
    }
    Ok(Some(from))
}

/// The old layers before module `head`, and the new ones.
fn joined(old: &ModelSpec, head: Option<usize>, new: Option<&[LayerSpec]>) -> ModelSpec {
    let Some(head) = head else {
        return old.clone();
    };
    let (mut layers, mut module) = (Vec::new(), 0);
    for layer in &old.layers {
        if module >= head {
            break;
        }
        let behind = module + layer.entries().len();
        // The head may begin with the activation that is written within a layer.
        layers.push(if behind > head { layer.without_activation() } else { layer.clone() });
        module = behind;
    }
    layers.extend(new.unwrap_or_default().iter().cloned());
    ModelSpec { layers }
}

/// Of each layer, whether it stays as it is.
fn frozen(
    changes: &FineTuneSpec,
    chain: &Chain,
    head: Option<usize>,
) -> Result<Vec<bool>, CheckError> {
    const PLACE: &str = "fine_tune.freeze";
    let names = chain.names();
    let mut frozen = vec![false; names.len()];
    match &changes.freeze {
        None => {}
        Some(Freeze::First(count)) => {
            let count = *count as usize;
            if count > names.len() {
                let layer = LayerRef::Number((count - 1) as u32);
                return Err(no_layer(&layer, &names, PLACE));
            }
            frozen[..count].fill(true);
        }
        Some(Freeze::Each(layers)) => {
            for layer in layers {
                frozen[found(layer, &names, PLACE)?] = true;
            }
        }
    }
    let new_from = head.unwrap_or(names.len());
    if let Some(new) = (new_from..names.len()).find(|&layer| frozen[layer]) {
        return Err(CheckError::Part(PartError::NewFrozen(names[new].clone())));
    }
    let chain = chain.clone().with_frozen(frozen.clone());
    if chain.trainable() == 0 {
        return Err(CheckError::Part(PartError::AllFrozen));
    }
    let fixed = chain.fixed();
    let plain = chain.clone().with_frozen(vec![false; frozen.len()]);
    for tensor in plain.tensors().into_iter().filter(|tensor| tensor.role == Role::Buffer) {
        let layer = layer_of(&tensor.name).unwrap_or(0);
        if frozen[layer] && layer >= fixed {
            return Err(CheckError::Part(PartError::Statistics(names[layer].clone())));
        }
    }
    Ok(frozen)
}

/// The place of a layer among `names`.
pub(super) fn found(
    layer: &LayerRef,
    names: &[String],
    place: &'static str,
) -> Result<usize, CheckError> {
    let index = match layer {
        LayerRef::Number(number) => Some(*number as usize).filter(|index| *index < names.len()),
        LayerRef::Name(name) => names.iter().position(|known| known == name),
    };
    index.ok_or_else(|| no_layer(layer, names, place))
}

fn no_layer(layer: &LayerRef, names: &[String], place: &'static str) -> CheckError {
    let known = crate::data::listed(names);
    CheckError::Part(PartError::NoLayer { place, layer: layer.clone(), known })
}

/// The layer that a tensor is of.
fn layer_of(tensor: &str) -> Option<usize> {
    tensor.split('.').next().and_then(|number| number.parse().ok())
}

impl Artifact {
    /// The artifact that a job starts with; `model_given` where the job says what it is.
    pub(super) fn of(
        start: &StartSpec,
        model_given: bool,
        inputs: &Path,
    ) -> Result<Self, CheckError> {
        let artifact = Self::open(inputs, &start.weights, start.definition.as_deref())?;
        if model_given && artifact.file().is_some() {
            let file = artifact.name().to_owned();
            return Err(LoadError::OwnDefinition { file }.into());
        }
        Ok(artifact)
    }
}

impl From<LoadError> for CheckError {
    fn from(fault: LoadError) -> Self {
        if let LoadError::Check(fault) = fault { *fault } else { Self::Start(fault) }
    }
}
