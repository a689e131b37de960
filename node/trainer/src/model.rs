//! A trained model on disk and back: `model.safetensors` holds the weights under the names that
//! `torch.nn.Sequential` would give them, `model.json` all that is needed to use them, which the
//! weights carry as well.

mod artifact;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, View};
use serde::{Deserialize, Serialize};

use crate::data::encoding::{Encoding, Known};
use crate::data::scaling::Scaling;
use crate::data::{Dataset, Reading, shortened};
use crate::definition::{
    DataSpec, DefinitionError, Format, ImageSpec, Loss, LossSpec, Missing, ModelSpec, TextSpec,
    Workload,
};
use crate::engine::{Engine, EngineError};
use crate::layers::{Axes, Chain, NamedValues, Network, batched, values};
use crate::limits;
use crate::plan::{CheckError, Prepared, fitted};
use crate::train;
pub(crate) use artifact::Artifact;

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
    /// What it was trained with; class weights are those that its training rows gave.
    pub loss: LossSpec,
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
    /// What new data must agree with where nothing else is known.
    pub(crate) fn known(&self) -> Known<'_> {
        let classes = match self {
            Self::Classes(names) => Some(names.as_slice()),
            Self::Targets(_) => None,
        };
        Known { encoding: None, classes }
    }

    /// What such outputs are usually trained with.
    pub(crate) fn usual_loss(&self) -> Loss {
        match self {
            Self::Classes(_) => Loss::SoftmaxCrossEntropy,
            Self::Targets(_) => Loss::Mse,
        }
    }

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
    Read { file: String, fault: io::Error },
    #[error("{file} has more than the {limit} bytes allowed")]
    TooLarge { file: String, limit: u64 },
    #[error("the definition in {file} does not parse: {fault}")]
    Json { file: String, fault: serde_json::Error },
    #[error("the definition of the trained model: {0}")]
    Definition(DefinitionError),
    #[error(
        "the definition in {file} has format version {found}; this program reads version \
         {FORMAT_VERSION}"
    )]
    Version { file: String, found: u32 },
    #[error("the definition of the trained model contradicts itself: {0}")]
    Contradiction(&'static str),
    #[error("{file} is damaged: {fault}")]
    Weights { file: String, fault: SafeTensorError },
    #[error("{file} does not fit the layers: {faults}")]
    Tensors { file: String, faults: String },
    #[error("{file}: \"{tensor}\" holds values that are not finite")]
    NotFinite { file: String, tensor: String },
    #[error(
        "{file} does not say what its weights are; name its model.json with start.definition, or \
         give [model] layers"
    )]
    NoDefinition { file: String },
    #[error("{file} says itself what its weights are: remove [model]")]
    OwnDefinition { file: String },
    #[error("{found} values are not a whole number of rows of {features} features")]
    Rows { found: usize, features: usize },
    #[error("{file} has {found}, but the model was trained on {expected}")]
    OtherData { file: String, found: String, expected: String },
    #[error(transparent)]
    Check(Box<CheckError>),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<CheckError> for LoadError {
    fn from(fault: CheckError) -> Self {
        if let CheckError::Start(fault) = fault { fault } else { Self::Check(Box::new(fault)) }
    }
}

/// Reads a model from the directory that [`crate::train`] wrote it to.
///
/// # Errors
/// A file is missing, damaged, too large, or contradicts the other.
pub fn load_model(directory: &Path) -> Result<TrainedModel, LoadError> {
    let artifact = Artifact::open(directory, WEIGHTS_FILE, Some(MODEL_FILE))?;
    let file = artifact.file().expect("it was opened with a definition").clone();
    let values = artifact.values(file.chain()?.tensors(), |_| false)?;
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
    let known = Some(model.file.known());
    let mut prepared =
        Reading::alone(None, |reading| Prepared::unscaled(workload, inputs, known, reading))?;
    model.file.agrees(&prepared.data, &workload.data.source)?;
    model.file.agrees_on_targets(&prepared.data, workload.training.loss.kind(), &workload.data)?;
    prepared.data.features.scale_by(model.file.scaling.clone());
    let network = Network::new(engine, &model.file.chain()?, &model.values)?;
    let all: Vec<u32> = (0..prepared.data.rows as u32).collect();
    let rows = if prepared.split.test.is_empty() { &all } else { &prepared.split.test };
    let output = network.chain().output();
    let (loss, targets) = (&model.file.loss, &prepared.data.targets);
    let criterion = train::Criterion::new(engine, loss, targets, output, workload.training.top_k)?;
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
            loss: prepared.loss.clone(),
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
        let tensors = self.values.iter().map(|tensor| (&tensor.name, Stored(tensor)));
        let text = serde_json::to_string(&self.file).expect("plain structs always serialize");
        safetensors::serialize(tensors, Some(HashMap::from([(METADATA_KEY.to_owned(), text)])))
    }
}

/// A tensor as the file holds it; it becomes bytes when its turn comes.
struct Stored<'a>(&'a NamedValues);

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.0.values.len()
    }
}

impl ModelFile {
    /// Of weights that say nothing of themselves, by the rows that they are used on.
    pub(crate) fn foreign(
        model: ModelSpec,
        loss: LossSpec,
        outputs: Outputs,
        data: &Dataset,
        scaling: Scaling,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            engine: String::new(),
            model,
            loss,
            input_shape: data.shape.clone(),
            feature_names: data.feature_names.clone(),
            encoding: data.encoding.clone(),
            scaling,
            outputs,
        }
    }

    /// The columns of a table that its features come from, where it was trained on one.
    pub(crate) fn columns(&self) -> Option<Vec<String>> {
        match &self.encoding {
            Some(Encoding::Columns { columns }) => {
                Some(columns.iter().map(|column| column.name().to_owned()).collect())
            }
            Some(
                Encoding::Numbers { .. } | Encoding::Images { .. } | Encoding::Characters { .. },
            ) => None,
            None => Some(self.feature_names.clone()).filter(|names| !names.is_empty()),
        }
    }

    /// What a job says of its data, and where it says nothing, what the model knows.
    pub(crate) fn complete(&self, spec: &DataSpec) -> DataSpec {
        let mut spec = spec.clone();
        let fills = self.encoding.as_ref().is_some_and(|it| !it.numbers().is_empty());
        match Format::of(&spec.source) {
            Some(Format::Csv | Format::Parquet) => {
                spec.features = spec.features.or_else(|| self.columns());
                let one_hot = self.encoding.as_ref().map(Encoding::one_hot).unwrap_or_default();
                spec.one_hot = spec.one_hot.or(Some(one_hot)).filter(|names| !names.is_empty());
            }
            Some(Format::Images) => {
                if let (None, Some(Encoding::Images { channels, height, width })) =
                    (spec.images, &self.encoding)
                {
                    let size = [*height, *width];
                    spec.images = Some(ImageSpec { size, channels: *channels });
                }
                return spec;
            }
            Some(Format::Text) => {
                if let (None, Some(Encoding::Characters { context, .. })) =
                    (spec.text, &self.encoding)
                {
                    spec.text = Some(TextSpec { context: *context, stride: None });
                }
                return spec;
            }
            Some(Format::Npy | Format::Npz | Format::Idx) | None => {}
        }
        // By the model's own numbers, whatever the word.
        spec.missing = spec.missing.or(fills.then_some(Missing::Mean));
        spec
    }

    /// What new data must agree with.
    pub(crate) fn known(&self) -> Known<'_> {
        Known { encoding: self.encoding.as_ref(), ..self.outputs.known() }
    }

    /// That these rows are such as the model was trained on.
    pub(crate) fn agrees(&self, data: &Dataset, source: &str) -> Result<(), LoadError> {
        let other = |found: String, expected: String| {
            let file = source.to_owned();
            Err(LoadError::OtherData { file, found, expected })
        };
        if data.shape != self.input_shape {
            let shown = |shape: &[usize]| format!("rows of shape {}", Axes(shape.to_vec()));
            return other(shown(&data.shape), shown(&self.input_shape));
        }
        // Arrays have no names; their order is all there is.
        let named = !data.feature_names.is_empty() && !self.feature_names.is_empty();
        let mut pairs = data.feature_names.iter().zip(&self.feature_names);
        match pairs.find(|(found, expected)| named && found != expected) {
            Some((found, expected)) => {
                let shown = |name: &str| format!("the feature \"{}\"", shortened(name));
                other(shown(found), format!("{} in its place", shown(expected)))
            }
            None => Ok(()),
        }
    }

    /// That these targets are what the model's outputs stand for.
    pub(crate) fn agrees_on_targets(
        &self,
        data: &Dataset,
        loss: Loss,
        spec: &DataSpec,
    ) -> Result<(), LoadError> {
        let other = |found: String, expected: String| {
            let file = spec.labels.as_ref().unwrap_or(&spec.source).clone();
            Err(LoadError::OtherData { file, found, expected })
        };
        let names = |names: &[String]| {
            let shown: Vec<String> = names.iter().take(8).map(|name| shortened(name)).collect();
            format!("{} targets ({})", names.len(), shown.join(", "))
        };
        let (found, expected) = (data.targets.names(), self.outputs.names());
        if found != expected {
            return other(names(found), names(expected));
        }
        if loss != self.loss.kind() {
            let expected = self.loss.kind().name().to_owned();
            return other(format!("the loss {}", loss.name()), expected);
        }
        Ok(())
    }

    /// The layers, after a check that all parts of the file agree.
    pub(crate) fn chain(&self) -> Result<Chain, LoadError> {
        self.model.validate(self.loss.kind()).map_err(LoadError::Definition)?;
        self.loss.validate_settled("loss").map_err(LoadError::Definition)?;
        if self.loss.listed().is_some_and(|listed| listed != self.outputs.names().len()) {
            return Err(LoadError::Contradiction("the weights of the loss and the outputs"));
        }
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
