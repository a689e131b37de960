//! The weights as others read them: NumPy loads `model.safetensors` by its PyTorch names and
//! predicts what this crate predicts. Needs python3 with numpy and safetensors; says so if not.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use cyxwiz_trainer::{CpuEngine, Workload, load_model, train};

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

#[test]
fn numpy_predicts_the_same() {
    let probe = Command::new("python3").args(["-c", "import numpy, safetensors"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        // Not println: the test runner keeps that to itself when a test passes.
        let why = "SKIPPED numpy_predicts_the_same: python3 does not import numpy and safetensors";
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let output = tempfile::tempdir().unwrap();
    let workload: Workload = toml::from_str(JOB).unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let stop = AtomicBool::new(false);
    train(&workload, &examples, output.path(), engine, &mut |_| {}, &stop).unwrap();

    let table = std::fs::read_to_string(examples.join("digits.csv")).unwrap();
    let rows = table.lines().skip(1).take(50);
    let rows: Vec<f32> =
        rows.flat_map(|row| row.split(',').take(64).map(|text| text.parse().unwrap())).collect();
    let ours = load_model(output.path()).unwrap().predict(engine, &rows).unwrap();

    let csv = examples.join("digits.csv").canonicalize().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(csv).current_dir(output.path());
    let ran = python.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let theirs: Vec<f64> = text.split_whitespace().map(|text| text.parse().unwrap()).collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-4, "{ours}, {theirs}");
    }
}
