//! What the numbers of node types mean, and what each is in the words of a definition. Numbers and
//! parameters are those of the editor's version 1.

use serde_json::{Value, json};

use super::{GraphError, Node};

/// What a node is to a model.
pub(super) enum Meaning {
    /// Where rows come from, or something that is done to them on the way.
    Data,
    /// In the words of a definition, with what the user should know.
    Layer(Value, Option<String>),
    Add,
    /// It changes nothing.
    Through,
    End,
    /// Said elsewhere in a job.
    Training {
        /// Whether it is a loss that contains a softmax.
        has_softmax: bool,
    },
}

/// The names in the order of their numbers.
const NAMES: [&str; 85] = [
    "Dense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2D",
    "MaxPool2D",
    "AvgPool2D",
    "GlobalMaxPool",
    "GlobalAvgPool",
    "AdaptiveAvgPool",
    "BatchNorm",
    "LayerNorm",
    "GroupNorm",
    "InstanceNorm",
    "Dropout",
    "Flatten",
    "RNN",
    "LSTM",
    "GRU",
    "Bidirectional",
    "TimeDistributed",
    "Embedding",
    "MultiHeadAttention",
    "SelfAttention",
    "CrossAttention",
    "LinearAttention",
    "TransformerEncoder",
    "TransformerDecoder",
    "PositionalEncoding",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "SELU",
    "GELU",
    "Swish",
    "Mish",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "Reshape",
    "Permute",
    "Squeeze",
    "Unsqueeze",
    "View",
    "Split",
    "Concatenate",
    "Add",
    "Multiply",
    "Average",
    "Output",
    "MSELoss",
    "CrossEntropyLoss",
    "BCELoss",
    "BCEWithLogits",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "NLLLoss",
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "Adagrad",
    "NAdam",
    "StepLR",
    "CosineAnnealing",
    "ReduceOnPlateau",
    "ExponentialLR",
    "WarmupScheduler",
    "L1Regularization",
    "L2Regularization",
    "ElasticNet",
    "Lambda",
    "Identity",
    "Constant",
    "Parameter",
    "DatasetInput",
    "DataLoader",
    "Augmentation",
    "DataSplit",
    "TensorReshape",
    "Normalize",
    "OneHotEncode",
    "Subgraph",
];

/// A type's name; its number where it has none.
pub(super) fn name(kind: u64) -> String {
    let known = usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind));
    known.map_or_else(|| kind.to_string(), |name| (*name).to_owned())
}

pub(super) fn meaning(node: &Node) -> Result<Meaning, GraphError> {
    let kind = name(node.kind);
    let layer = |layer: Value| Ok(Meaning::Layer(layer, None));
    let function = |name: &str| layer(json!({ "type": "activation", "function": name }));
    let refuse =
        |instead| Err(GraphError::Unsupported { node: node.title(), kind: kind.clone(), instead });
    match kind.as_str() {
        "DatasetInput" | "DataLoader" | "DataSplit" | "Normalize" | "OneHotEncode" => {
            Ok(Meaning::Data)
        }
        "Dense" => {
            let mut dense = json!({ "type": "dense", "units": node.count("units")? });
            activated(node, &mut dense);
            layer(dense)
        }
        "Conv2D" => layer(convolution(node)?),
        "MaxPool2D" => layer(pool(node, "max_pool2d")?),
        "AvgPool2D" => layer(pool(node, "avg_pool2d")?),
        "GlobalAvgPool" => layer(json!({ "type": "global_avg_pool" })),
        "BatchNorm" => layer(norm(node, "batch_norm")?),
        "LayerNorm" => {
            let mut layer = norm(node, "layer_norm")?;
            if let Some(shape) = node.text("normalized_shape") {
                layer["axes"] = json!(shape.split(',').count());
            }
            Ok(Meaning::Layer(layer, None))
        }
        "Dropout" => {
            let rate = node.number("rate")?.or(node.number("p")?).unwrap_or(0.5);
            layer(json!({ "type": "dropout", "rate": rate }))
        }
        "Flatten" => layer(json!({ "type": "flatten" })),
        "Embedding" => {
            let vocabulary = match node.text("vocab_size") {
                Some(_) => node.count("vocab_size")?,
                None => node.count("num_embeddings")?,
            };
            let dimensions = node.count("embedding_dim")?;
            layer(
                json!({ "type": "embedding", "vocabulary": vocabulary, "dimensions": dimensions }),
            )
        }
        "MultiHeadAttention" | "SelfAttention" => {
            let dropout = node.number("dropout")?.unwrap_or(0.0);
            let heads = node.count("num_heads")?;
            layer(json!({ "type": "attention", "heads": heads, "dropout": dropout }))
        }
        "GRU" => layer(recurrent(node, "gru")?),
        "LSTM" => layer(recurrent(node, "lstm")?),
        "ReLU" => function("relu"),
        "LeakyReLU" => {
            node.fixed("negative_slope", 0.01, "0.01, the only slope there is")?;
            function("leaky_relu")
        }
        "ELU" => {
            node.fixed("alpha", 1.0, "1.0, the only alpha there is")?;
            function("elu")
        }
        "GELU" => function("gelu"),
        "Swish" => function("silu"),
        "Sigmoid" => function("sigmoid"),
        "Tanh" => function("tanh"),
        "Softmax" => function("softmax"),
        "Reshape" | "View" | "TensorReshape" => reshape(node),
        "Add" => Ok(Meaning::Add),
        "Identity" => Ok(Meaning::Through),
        "Output" => Ok(Meaning::End),
        "CrossEntropyLoss" => Ok(Meaning::Training { has_softmax: true }),
        "MSELoss" | "BCEWithLogits" | "L1Loss" | "HuberLoss" | "SGD" | "Adam" | "AdamW"
        | "RMSprop" | "StepLR" | "CosineAnnealing" | "ReduceOnPlateau" | "ExponentialLR"
        | "WarmupScheduler" => Ok(Meaning::Training { has_softmax: false }),
        "Augmentation" => refuse("data that were augmented before"),
        "BCELoss" => refuse("BCEWithLogits, without a Sigmoid before it"),
        "NLLLoss" => refuse("CrossEntropyLoss"),
        "SmoothL1Loss" => refuse("HuberLoss"),
        "Adagrad" | "NAdam" => refuse("SGD, Adam, AdamW or RMSprop"),
        "L1Regularization" | "L2Regularization" | "ElasticNet" => {
            refuse("weight_decay of the optimizer")
        }
        "PositionalEncoding" => refuse("positional_embedding in a definition; it is learned"),
        "DepthwiseConv2D" => refuse("conv2d with groups in a definition"),
        "TransformerEncoder" => refuse("LayerNorm, SelfAttention, Dense and Add by themselves"),
        "RNN" => refuse("GRU or LSTM"),
        "PReLU" | "SELU" | "Mish" => refuse("ReLU, LeakyReLU, ELU, GELU or Swish"),
        "GroupNorm" | "InstanceNorm" => refuse("BatchNorm or LayerNorm"),
        "GlobalMaxPool" | "AdaptiveAvgPool" => refuse("GlobalAvgPool"),
        "Squeeze" | "Unsqueeze" => refuse("Reshape"),
        _ => refuse("another one; `cyxwiz model check --help` lists those there are"),
    }
}

fn convolution(node: &Node) -> Result<Value, GraphError> {
    let mut layer = json!({
        "type": "conv2d",
        "filters": node.count("filters")?,
        "kernel": node.pair("kernel_size")?.unwrap_or(json!(3)),
        "stride": node.pair("stride")?.unwrap_or(json!(1)),
        "dilation": node.pair("dilation")?.unwrap_or(json!(1)),
    });
    layer["padding"] = match node.text("padding").as_deref() {
        None | Some("valid") => json!(0),
        Some("same") => json!("same"),
        Some(_) => node.pair("padding")?.unwrap_or(json!(0)),
    };
    if node.text("groups").is_some() {
        layer["groups"] = json!(node.count("groups")?);
    }
    activated(node, &mut layer);
    Ok(layer)
}

/// The function that a layer names itself; one that there is not is refused as in definitions.
fn activated(node: &Node, layer: &mut Value) {
    match node.text("activation").as_deref() {
        None | Some("none" | "linear") => {}
        Some(function) => layer["activation"] = json!(function.to_lowercase()),
    }
}

fn pool(node: &Node, kind: &str) -> Result<Value, GraphError> {
    let kernel = node.pair("pool_size")?.or(node.pair("kernel_size")?).unwrap_or(json!(2));
    let mut layer = json!({ "type": kind, "kernel": kernel });
    if let Some(stride) = node.pair("stride")? {
        layer["stride"] = stride;
    }
    match node.text("padding").as_deref() {
        None | Some("valid") => {}
        Some(_) => layer["padding"] = node.pair("padding")?.unwrap_or(json!(0)),
    }
    Ok(layer)
}

fn norm(node: &Node, kind: &str) -> Result<Value, GraphError> {
    let mut layer = json!({ "type": kind });
    if let Some(epsilon) = node.number("eps")?.or(node.number("epsilon")?) {
        layer["epsilon"] = json!(epsilon);
    }
    if kind == "batch_norm"
        && let Some(momentum) = node.number("momentum")?
    {
        layer["momentum"] = json!(momentum);
    }
    Ok(layer)
}

fn recurrent(node: &Node, kind: &str) -> Result<Value, GraphError> {
    node.fixed("num_layers", 1.0, "1, and one node for each layer")?;
    if node.text("bidirectional").is_some_and(|text| text == "true") {
        let (key, found) = ("bidirectional", "true".to_owned());
        let allowed = "false, the only way there is";
        return Err(GraphError::Parameter { node: node.title(), key, found, allowed });
    }
    let units = match node.text("units") {
        Some(_) => node.count("units")?,
        None => node.count("hidden_size")?,
    };
    let sequences = node.text("return_sequences").is_some_and(|text| text == "true");
    Ok(json!({ "type": kind, "units": units, "return_sequences": sequences }))
}

/// The editor's pictures are `[height, width, channels]`; with one channel, that is the same order
/// of values as ours.
fn reshape(node: &Node) -> Result<Meaning, GraphError> {
    let allowed = "whole numbers with commas between, as in -1,28,28,1";
    let wrong = |key, found| GraphError::Parameter { node: node.title(), key, found, allowed };
    let key = if node.text("shape").is_some() { "shape" } else { "target_shape" };
    let text = node.text(key);
    let text = text.ok_or(GraphError::Missing { node: node.title(), key, allowed })?;
    let parts = text.trim_matches(['[', ']', '(', ')']).split(',');
    let lengths = parts.map(|part| part.trim().parse::<i64>());
    let mut lengths: Vec<i64> =
        lengths.collect::<Result<_, _>>().map_err(|_not_numbers| wrong(key, text.clone()))?;
    if lengths.first() == Some(&-1) {
        lengths.remove(0);
    }
    if lengths.is_empty() || lengths.iter().any(|length| *length <= 0) {
        return Err(wrong(key, text));
    }
    let mut note = None;
    if lengths.len() == 3 {
        if lengths[2] != 1 && lengths[0] != 1 {
            let allowed = "channels first, as in -1,3,32,32, and data in that order";
            return Err(GraphError::Parameter { node: node.title(), key, found: text, allowed });
        }
        if lengths[2] == 1 {
            lengths.rotate_right(1);
            note = Some(format!("{}: pictures are channels first here: {lengths:?}", node.title()));
        }
    }
    Ok(Meaning::Layer(json!({ "type": "reshape", "shape": lengths }), note))
}

/// What the shapes of the data say here.
const IMPLIED: [&str; 8] = [
    "in_features",
    "in_channels",
    "input_shape",
    "input_size",
    "num_features",
    "num_channels",
    "embed_dim",
    "d_model",
];

/// Parameters, which the editor writes as texts.
impl Node {
    /// What a layer says beside what it was asked for.
    pub(super) fn unheard(&self) -> Option<String> {
        let asked = self.asked.borrow();
        let heard = |key: &&String| asked.contains(key.as_str()) || IMPLIED.contains(&key.as_str());
        let unheard: Vec<_> =
            self.parameters.keys().filter(|key| !heard(key)).map(String::as_str).collect();
        let words =
            || format!("{}: nothing here corresponds to {}", self.title(), unheard.join(", "));
        (!unheard.is_empty()).then(words)
    }

    fn text(&self, key: &'static str) -> Option<String> {
        self.asked.borrow_mut().insert(key);
        match self.parameters.get(key)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Null => None,
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(other.to_string())
            }
        }
    }

    fn number(&self, key: &'static str) -> Result<Option<f64>, GraphError> {
        let Some(found) = self.text(key) else {
            return Ok(None);
        };
        match found.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            Ok(_) | Err(_) => {
                let allowed = "a number";
                Err(GraphError::Parameter { node: self.title(), key, found, allowed })
            }
        }
    }

    fn count(&self, key: &'static str) -> Result<u32, GraphError> {
        let allowed = "a whole number above 0";
        let Some(found) = self.text(key) else {
            return Err(GraphError::Missing { node: self.title(), key, allowed });
        };
        match found.parse() {
            Ok(0) | Err(_) => {
                Err(GraphError::Parameter { node: self.title(), key, found, allowed })
            }
            Ok(count) => Ok(count),
        }
    }

    /// One whole number, or two with a comma between.
    fn pair(&self, key: &'static str) -> Result<Option<Value>, GraphError> {
        let Some(found) = self.text(key) else {
            return Ok(None);
        };
        let parts = found.trim_matches(['[', ']', '(', ')']).split([',', 'x']);
        let lengths: Option<Vec<u32>> = parts.map(|part| part.trim().parse().ok()).collect();
        match lengths.as_deref() {
            Some([both]) => Ok(Some(json!(both))),
            Some([height, width]) => Ok(Some(json!([height, width]))),
            Some(_) | None => {
                let allowed = "a whole number, or height and width with a comma between";
                Err(GraphError::Parameter { node: self.title(), key, found, allowed })
            }
        }
    }

    /// A parameter of which there is one value only.
    fn fixed(
        &self,
        key: &'static str,
        value: f64,
        allowed: &'static str,
    ) -> Result<(), GraphError> {
        match self.number(key)? {
            Some(found) if found != value => {
                let found = found.to_string();
                Err(GraphError::Parameter { node: self.title(), key, found, allowed })
            }
            Some(_) | None => Ok(()),
        }
    }
}
