//! The weights as others read them: NumPy loads `model.safetensors` by its PyTorch names and
//! predicts what this crate predicts. Needs python3 with numpy and safetensors; says so if not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use cyxwiz_trainer::{CpuEngine, Requests, Workload, load_model, train};

const JOB: &str = r#"
[model]
layers = [
    {type = "dense", units = 24, activation = "tanh"},
    {type = "dropout", rate = 0.1},
    {type = "dense", units = 16},
    {type = "activation", function = "silu"},
    {type = "dense", units = 10},
]
[data]
source = "digits.csv"
label = "label"
normalize = "standard"
test = {every = 5}
[training]
epochs = 2
batch_size = 64
loss = "softmax_cross_entropy"
optimizer = {type = "adamw", learning_rate = 0.003}
"#;

/// Prints one row of logits a line.
const SCRIPT: &str = r#"
import json, sys
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

weights = load_file("model.safetensors")
with safe_open("model.safetensors", framework="np") as opened:
    model = json.loads(opened.metadata()["cyxwiz"])
assert model == json.load(open("model.json"))
assert sorted(weights) == ["0.bias", "0.weight", "3.bias", "3.weight", "5.bias", "5.weight"]
assert weights["0.weight"].shape == (24, 64) and weights["5.weight"].shape == (10, 16)
rows = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, max_rows=50)[:, :64]
scaling = model["scaling"]
x = (rows - np.array(scaling["offset"])) * np.array(scaling["factor"])
linear = lambda x, n: x @ weights[n + ".weight"].T.astype(float) + weights[n + ".bias"]
x = linear(np.tanh(linear(x, "0")), "3")
for row in linear(x / (1 + np.exp(-x)), "5"):
    print(*row)
"#;

const CNN_JOB: &str = r#"
[model]
layers = [
    {type = "reshape", shape = [1, 8, 8]},
    {type = "conv2d", filters = 6, kernel = 3, padding = "same"},
    {type = "batch_norm"},
    {type = "activation", function = "relu"},
    {type = "residual", layers = [
        {type = "conv2d", filters = 8, kernel = [3, 2], stride = 2, padding = [1, 0], groups = 2}]},
    {type = "max_pool2d", kernel = 2},
    {type = "layer_norm", axes = 3},
    {type = "flatten"},
    {type = "dense", units = 10},
]
[data]
source = "digits.csv"
label = "label"
normalize = "standard"
test = {every = 5}
[training]
epochs = 2
batch_size = 64
loss = "softmax_cross_entropy"
optimizer = {type = "adamw", learning_rate = 0.003}
"#;

/// The same network by the definitions of its layers.
const CNN_SCRIPT: &str = r#"
import json, sys
import numpy as np
from safetensors.numpy import load_file

weights = {name: value.astype(float) for name, value in load_file("model.safetensors").items()}
model = json.load(open("model.json"))
assert weights["4.layers.0.weight"].shape == (8, 3, 3, 2), weights["4.layers.0.weight"].shape
assert weights["4.projection.weight"].shape == (8, 6, 1, 1)
rows = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, max_rows=50)[:, :64]
scaling = model["scaling"]
x = (rows - np.array(scaling["offset"])) * np.array(scaling["factor"])

def windows(x, kernel, stride, padding):
    padding = [(0, 0), (0, 0)] + [(p, p) for p in padding]
    views = np.lib.stride_tricks.sliding_window_view(np.pad(x, padding), kernel, axis=(2, 3))
    return views[:, :, ::stride, ::stride]

def conv(x, name, stride=1, padding=(0, 0), groups=1):
    w = weights[name + ".weight"]
    parts = zip(np.split(x, groups, axis=1), np.split(w, groups))
    y = [np.einsum("nchwij,ocij->nohw", windows(x, w.shape[2:], stride, padding), w)
         for x, w in parts]
    return np.concatenate(y, axis=1) + weights[name + ".bias"][None, :, None, None]

x = conv(x.reshape(-1, 1, 8, 8), "1", padding=(1, 1))
per_channel = lambda name: weights["2." + name][None, :, None, None]
x = (x - per_channel("running_mean")) / np.sqrt(per_channel("running_var") + 1e-5)
x = np.maximum(x * per_channel("weight") + per_channel("bias"), 0)
through = conv(x, "4.layers.0", 2, (1, 0), 2)
x = through + conv(x, "4.projection", 2)
x = windows(x, (2, 2), 2, (0, 0)).max(axis=(4, 5))
mean, variance = x.mean(axis=(1, 2, 3), keepdims=True), x.var(axis=(1, 2, 3), keepdims=True)
x = (x - mean) / np.sqrt(variance + 1e-5) * weights["6.weight"] + weights["6.bias"]
for row in x.reshape(len(x), -1) @ weights["8.weight"].T + weights["8.bias"]:
    print(*row)
"#;

#[test]
fn numpy_predicts_the_same() {
    predicts_the_same("numpy_predicts_the_same", JOB, SCRIPT);
}

#[test]
fn numpy_predicts_the_same_of_pictures() {
    predicts_the_same("numpy_predicts_the_same_of_pictures", CNN_JOB, CNN_SCRIPT);
}

#[expect(clippy::explicit_write, reason = "the test runner keeps what eprintln says")]
fn predicts_the_same(test: &str, job: &str, script: &str) {
    let probe = Command::new("python3").args(["-c", "import numpy, safetensors"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        // Not println: the test runner keeps that to itself when a test passes.
        let why = format!("SKIPPED {test}: python3 does not import numpy and safetensors");
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let output = tempfile::tempdir().unwrap();
    let workload: Workload = toml::from_str(job).unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let requests = Requests::default();
    train(&workload, &examples, output.path(), engine, &mut |_| {}, &requests).unwrap();

    let table = std::fs::read_to_string(examples.join("digits.csv")).unwrap();
    let rows = table.lines().skip(1).take(50);
    let rows: Vec<f32> =
        rows.flat_map(|row| row.split(',').take(64).map(|text| text.parse().unwrap())).collect();
    let ours = load_model(output.path()).unwrap().predict(engine, &rows).unwrap();

    let csv = examples.join("digits.csv").canonicalize().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(csv).current_dir(output.path());
    let ran = python.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let theirs: Vec<f64> = text.split_whitespace().map(|text| text.parse().unwrap()).collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-4, "{ours}, {theirs}");
    }
}
