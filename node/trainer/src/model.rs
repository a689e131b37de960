//! A trained model on disk and back: `model.safetensors` holds the weights under the names that
//! `torch.nn.Sequential` would give them, `model.json` all that is needed to use them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::data::encoding::{Encoding, Known};
use crate::data::scaling::Scaling;
use crate::definition::{DefinitionError, Loss, ModelSpec, Workload};
use crate::engine::{Engine, EngineError};
use crate::layers::{Chain, NamedValues, Network, batched, values};
use crate::limits;
use crate::plan::{CheckError, Prepared, fitted};
use crate::train;

/// Name of the file of weights.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the file that says what the weights are.
pub(crate) const MODEL_FILE: &str = "model.json";
const FORMAT_VERSION: u32 = 2;
/// A single key: the safetensors crate writes several in an order that changes from run to run.
const METADATA_KEY: &str = "cyxwiz";

/// The content of `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    pub format_version: u32,
    /// Engine that trained it.
    pub engine: String,
    pub model: ModelSpec,
    pub loss: Loss,
    /// Of the inputs for one row, without the batch axis.
    pub input_shape: Vec<usize>,
    /// Names of the input columns in order; empty where the data had none.
    pub feature_names: Vec<String>,
    /// How inputs become numbers before they are scaled; nothing where they are numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// What is done to raw inputs before the first layer; as long as there are inputs.
    pub scaling: Scaling,
    pub outputs: Outputs,
}

/// What the numbers of the last layer stand for, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// Logits of these labels.
    Classes(Vec<String>),
    /// Values of these columns; logits of them where the loss is the binary cross-entropy.
    Targets(Vec<String>),
}

impl Outputs {
    /// The names, one for each output.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classes(names) | Self::Targets(names) => names,
        }
    }
}

/// A model that can predict, on whatever engine.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedModel {
    file: ModelFile,
    /// All parameters and buffers.
    values: Vec<NamedValues>,
}

/// Why a model cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {file}: {fault}")]
    Read { file: &'static str, fault: io::Error },
    #[error("{file} has more than the {limit} bytes allowed")]
    TooLarge { file: &'static str, limit: u64 },
    #[error("model.json does not parse: {0}")]
    Json(serde_json::Error),
    #[error("model.json: {0}")]
    Definition(DefinitionError),
    #[error("model.json has format version {0}; this program reads version {FORMAT_VERSION}")]
    Version(u32),
    #[error("model.json contradicts itself: {0}")]
    Contradiction(&'static str),
    #[error("model.safetensors is damaged: {0}")]
    Weights(SafeTensorError),
    #[error("model.safetensors: \"{0}\" is missing, or not what model.json says, in type or shape")]
    Tensor(String),
    #[error("model.safetensors: \"{0}\" holds values that are not finite")]
    NotFinite(String),
    #[error("{found} values are not a whole number of rows of {features} features")]
    Rows { found: usize, features: usize },
    #[error("the data have other {0} than the model was trained on")]
    OtherData(&'static str),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Reads a model from the directory that [`crate::train`] wrote it to.
///
/// # Errors
/// A file is missing, damaged, too large, or contradicts the other.
pub fn load_model(directory: &Path) -> Result<TrainedModel, LoadError> {
    let text = read(directory, MODEL_FILE, limits::MAX_DEFINITION_BYTES)?;
    let file: ModelFile = serde_json::from_slice(&text).map_err(LoadError::Json)?;
    if file.format_version != FORMAT_VERSION {
        return Err(LoadError::Version(file.format_version));
    }
    let chain = file.chain()?;
    let bytes = read(directory, WEIGHTS_FILE, limits::MAX_MODEL_BYTES)?;
    let weights = SafeTensors::deserialize(&bytes).map_err(LoadError::Weights)?;
    let named = chain.tensors().into_iter().map(|tensor| {
        let values = floats(&weights, &tensor.name, &tensor.shape)?;
        Ok(NamedValues { name: tensor.name, shape: tensor.shape, values })
    });
    let values = named.collect::<Result<_, LoadError>>()?;
    Ok(TrainedModel { file, values })
}

/// Metrics of a saved model on the test rows of a workload (`test_loss`, `test_accuracy`, …); on
/// all rows where the workload keeps none for testing.
///
/// # Errors
/// The model does not load, the data do not check, or the two do not fit each other.
pub fn evaluate<E: Engine>(
    directory: &Path,
    workload: &Workload,
    inputs: &Path,
    engine: &mut E,
) -> Result<BTreeMap<String, f64>, LoadError> {
    let model = load_model(directory)?;
    let mut prepared = Prepared::unscaled(workload, inputs, Some(model.file.known()))?;
    if prepared.data.columns != model.file.scaling.offset.len()
        || prepared.data.shape != model.file.input_shape
        || prepared.data.feature_names != model.file.feature_names
    {
        return Err(LoadError::OtherData("features"));
    }
    if prepared.data.targets.names() != model.file.outputs.names()
        || workload.training.loss.kind() != model.file.loss
    {
        return Err(LoadError::OtherData("labels or another loss"));
    }
    prepared.data.features.scale_by(model.file.scaling.clone());
    let network = Network::new(engine, &model.file.chain()?, &model.values)?;
    let all: Vec<u32> = (0..prepared.data.rows as u32).collect();
    let rows = if prepared.split.test.is_empty() { &all } else { &prepared.split.test };
    let output = network.chain().output();
    let criterion = train::Criterion::new(engine, workload, &prepared, output)?;
    let tally = train::score(engine, &network, &prepared.data, rows, &criterion, true)?;
    let mut metrics = BTreeMap::new();
    tally.write("test_", &mut metrics);
    Ok(metrics)
}

impl TrainedModel {
    /// What the model is and what its inputs and outputs mean.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Outputs for raw rows, row-major: logits of each class, or the values of each target.
    ///
    /// # Errors
    /// [`LoadError::Rows`] if `rows` are no whole rows, or what the engine reports.
    pub fn predict<E: Engine>(&self, engine: &mut E, rows: &[f32]) -> Result<Vec<f32>, LoadError> {
        let features = self.file.scaling.offset.len();
        if !rows.len().is_multiple_of(features) {
            return Err(LoadError::Rows { found: rows.len(), features });
        }
        let network = Network::new(engine, &self.file.chain()?, &self.values)?;
        let mut outputs = Vec::new();
        for batch in rows.chunks(network.chain().scored_at_once() * features) {
            let mut batch = batch.to_vec();
            self.file.scaling.apply(&mut batch);
            let rows = batch.len() / features;
            let x = engine.upload(&batch, &batched(rows, &self.file.input_shape))?;
            let y = network.predict(engine, x, rows)?;
            outputs.append(&mut engine.download(&y)?);
        }
        Ok(outputs)
    }

    pub(crate) fn new(
        workload: &Workload,
        prepared: &Prepared,
        engine: String,
        values: Vec<NamedValues>,
    ) -> Self {
        let names = prepared.data.targets.names().to_vec();
        let file = ModelFile {
            format_version: FORMAT_VERSION,
            engine,
            model: workload.model.clone(),
            loss: workload.training.loss.kind(),
            input_shape: prepared.data.shape.clone(),
            feature_names: prepared.data.feature_names.clone(),
            encoding: prepared.data.encoding.clone(),
            scaling: prepared.scaling.clone(),
            outputs: match workload.training.loss.kind() {
                Loss::SoftmaxCrossEntropy => Outputs::Classes(names),
                Loss::BinaryCrossEntropy | Loss::Mse | Loss::Mae | Loss::Huber => {
                    Outputs::Targets(names)
                }
            },
        };
        Self { file, values }
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.values.iter().flat_map(|tensor| &tensor.values).all(|value| value.is_finite())
    }

    /// The bytes of `model.json`.
    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.file).expect("plain structs always serialize")
    }

    /// The bytes of `model.safetensors`.
    pub(crate) fn weights(&self) -> Result<Vec<u8>, SafeTensorError> {
        let bytes = |values: &[f32]| -> Vec<u8> {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        let tensors: Vec<_> =
            self.values.iter().map(|tensor| (tensor, bytes(&tensor.values))).collect();
        let views = tensors.iter().map(|(NamedValues { name, shape, .. }, bytes)| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        });
        let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
        let text = serde_json::to_string(&self.file).expect("plain structs always serialize");
        safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), text)])))
    }
}

impl ModelFile {
    /// What new data must agree with.
    fn known(&self) -> Known<'_> {
        let classes = match &self.outputs {
            Outputs::Classes(names) => names.as_slice(),
            Outputs::Targets(_) => &[],
        };
        Known { encoding: self.encoding.as_ref(), classes }
    }

    /// The layers, after a check that all parts of the file agree.
    fn chain(&self) -> Result<Chain, LoadError> {
        self.model.validate(self.loss).map_err(LoadError::Definition)?;
        let features = self.scaling.offset.len();
        if features == 0 || features > limits::MAX_FEATURES || self.scaling.factor.len() != features
        {
            return Err(LoadError::Contradiction("offsets and factors of the scaling"));
        }
        if !self.feature_names.is_empty() && self.feature_names.len() != features {
            return Err(LoadError::Contradiction("feature names and scaling"));
        }
        if self.encoding.as_ref().is_some_and(|encoding| encoding.width() != features) {
            return Err(LoadError::Contradiction("encoding and scaling"));
        }
        let axes = self.input_shape.len();
        if !(1..=limits::MAX_AXES).contains(&axes) || values(&self.input_shape) != features as u64 {
            return Err(LoadError::Contradiction("input shape and scaling"));
        }
        let chain = fitted(&self.model, &self.input_shape)?;
        let output: usize = chain.output().iter().product();
        let positions = self.encoding.as_ref().map_or(1, Encoding::positions);
        if output != self.outputs.names().len().saturating_mul(positions) {
            return Err(LoadError::Contradiction("the last layer and the names of its outputs"));
        }
        Ok(chain)
    }
}

fn floats(weights: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
    let Ok(view) = weights.tensor(name) else {
        return Err(LoadError::Tensor(name.to_owned()));
    };
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(LoadError::Tensor(name.to_owned()));
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(LoadError::NotFinite(name.to_owned()))
    }
}

fn read(directory: &Path, file: &'static str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let fault = |fault| LoadError::Read { file, fault };
    let opened = std::fs::File::open(directory.join(file)).map_err(fault)?;
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { file, limit });
    }
    Ok(bytes)
}
