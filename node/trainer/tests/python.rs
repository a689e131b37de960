//! The weights as others read them: `node/examples/read_model.py` predicts with NumPy, from the
//! files of a job alone, what this crate predicts. Needs python3 with numpy and safetensors, or one
//! with venv and pip that may install them; says so where there is neither, and fails there if
//! `REQUIRE_PYTHON` is set.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "python/environment.rs"]
mod environment;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cyxwiz_trainer::{CpuEngine, Requests, Workload, load_model, train};

/// Every activation that does not live in a job of its own.
const DENSE: &str = r#"
    {type = "dense", units = 24, activation = "tanh"},
    {type = "dropout", rate = 0.1},
    {type = "dense", units = 16},
    {type = "activation", function = "silu"},
    {type = "dense", units = 16, activation = "gelu"},
    {type = "dense", units = 16, activation = "elu"},
    {type = "dense", units = 16, activation = "leaky_relu"},
    {type = "dense", units = 16, activation = "sigmoid"},
    {type = "dense", units = 16, activation = "softmax"},
    {type = "residual", layers = [{type = "dense", units = 12}]},
    {type = "dense", units = 10},
"#;

const PICTURES: &str = r#"
    {type = "reshape", shape = [1, 8, 8]},
    {type = "conv2d", filters = 6, kernel = [3, 2], padding = "same", bias = false},
    {type = "batch_norm"},
    {type = "activation", function = "relu"},
    {type = "residual", activation = "relu", layers = [
        {type = "conv2d", filters = 8, kernel = [3, 2], stride = 2, padding = [1, 0], groups = 2}]},
    {type = "conv2d", filters = 8, kernel = 2, dilation = 2, padding = 1},
    {type = "max_pool2d", kernel = 2, stride = 1, padding = 1},
    {type = "avg_pool2d", kernel = [2, 3], stride = 1, padding = [0, 1]},
    {type = "layer_norm", axes = 3},
    {type = "residual", layers = [{type = "batch_norm"}]},
    {type = "global_avg_pool"},
    {type = "dense", units = 10},
"#;

const SEQUENCES: &str = r#"
    {type = "reshape", shape = [8, 8]},
    {type = "gru", units = 7, return_sequences = true},
    {type = "lstm", units = 8, return_sequences = true},
    {type = "residual", layers = [
        {type = "layer_norm"}, {type = "attention", heads = 2, dropout = 0.1}]},
    {type = "residual", layers = [{type = "dense", units = 12}]},
    {type = "lstm", units = 6},
    {type = "reshape", shape = [2, 3]},
    {type = "gru", units = 5},
    {type = "dense", units = 10},
"#;

const TEXT: &str = r#"
    {type = "embedding", vocabulary = 28, dimensions = 12},
    {type = "positional_embedding"},
    {type = "residual", layers = [
        {type = "layer_norm"}, {type = "attention", heads = 3, causal = true}]},
    {type = "layer_norm"},
    {type = "dense", units = 28},
"#;

const DIGITS: &str = r#"
    source = "digits.csv"
    label = "label"
    normalize = "standard"
    test = {every = 5}"#;

#[test]
fn numpy_predicts_the_same_of_dense_layers() {
    check("dense layers", DENSE, DIGITS, "softmax_cross_entropy", &digits(50));
}

#[test]
fn numpy_predicts_the_same_of_pictures() {
    check("pictures", PICTURES, DIGITS, "softmax_cross_entropy", &digits(50));
}

#[test]
fn numpy_predicts_the_same_of_sequences() {
    check("sequences", SEQUENCES, DIGITS, "softmax_cross_entropy", &digits(50));
}

/// A column of texts becomes features as it did in training.
#[test]
fn numpy_predicts_the_same_of_a_table_with_texts() {
    let data = r#"
        source = "cars.csv"
        label = "mpg"
        one_hot = ["origin"]
        normalize = "standard""#;
    let layers =
        r#"{type = "dense", units = 8, activation = "relu"}, {type = "dense", units = 1},"#;
    let table = fs::read_to_string(examples().join("cars.csv")).unwrap();
    let mut rows = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        rows.extend(fields[..6].iter().map(|field| field.parse::<f32>().unwrap()));
        rows.extend(["europe", "japan", "usa"].map(|name| f32::from(u8::from(fields[6] == name))));
    }
    check("a table with texts", layers, data, "huber", &Rows { file: "cars.csv", values: rows });
}

#[test]
fn numpy_predicts_the_same_of_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let text = "the quick brown fox jumps over a lazy dog.\n".repeat(12);
    let characters: BTreeSet<char> = text.chars().collect();
    let id = |character: char| characters.iter().position(|known| *known == character).unwrap();
    let ids: Vec<f32> = text.chars().map(|character| id(character) as f32).collect();
    fs::write(folder.path().join("fox.txt"), &text).unwrap();
    let data = r#"
        source = "fox.txt"
        text = {context = 10}"#;
    let values = ids[..ids.len() / 10 * 10].to_vec();
    let layers = TEXT.replace("28", &characters.len().to_string());
    let rows = Rows { file: "fox.txt", values };
    check_in(folder.path(), "a text", &layers, data, "softmax_cross_entropy", &rows);
}

/// What is predicted: a file, and what its rows are as raw features.
struct Rows {
    file: &'static str,
    values: Vec<f32>,
}

fn digits(count: usize) -> Rows {
    let table = fs::read_to_string(examples().join("digits.csv")).unwrap();
    let rows = table.lines().skip(1).take(count);
    let values = rows.flat_map(|row| row.split(',').take(64).map(|text| text.parse().unwrap()));
    Rows { file: "digits.csv", values: values.collect() }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

fn check(what: &str, layers: &str, data: &str, loss: &str, rows: &Rows) {
    check_in(&examples(), what, layers, data, loss, rows);
}

/// Trains, predicts here, predicts there, compares.
fn check_in(inputs: &Path, what: &str, layers: &str, data: &str, loss: &str, rows: &Rows) {
    let packages = ["numpy", "safetensors"];
    let Some(python) = environment::python(what, "numpy, safetensors", &packages) else { return };
    let job = format!(
        "[model]\nlayers = [{layers}]\n[data]\n{data}\n[training]\nepochs = 2\nbatch_size = 64\n\
         loss = \"{loss}\"\noptimizer = {{type = \"adamw\", learning_rate = 0.003}}\n"
    );
    let workload: Workload = toml::from_str(&job).unwrap();
    let output = tempfile::tempdir().unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let requests = Requests::default();
    train(&workload, inputs, output.path(), engine, &mut |_| {}, &requests).unwrap();
    let ours = load_model(output.path()).unwrap().predict(engine, &rows.values).unwrap();

    let theirs = read_model(&python, output.path(), &inputs.join(rows.file));
    assert!(ours.len() <= theirs.len(), "{what}: {} and {}", ours.len(), theirs.len());
    let size = ours.iter().fold(1.0_f64, |size, value| size.max(f64::from(value.abs())));
    for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let error = (f64::from(*ours) - theirs).abs() / size;
        assert!(error < 1e-5, "{what}, output {place}: {ours}, {theirs}");
    }
    assert!(ours.iter().any(|value| *value != ours[0]), "{what}: all alike: {}", ours[0]);
}

/// What the example prints: names of the outputs, then a line of outputs for each row.
fn read_model(python: &Path, model: &Path, data: &Path) -> Vec<f64> {
    let script = examples().join("read_model.py");
    let ran = Command::new(python).arg(script).arg(model).arg(data).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut table = csv::Reader::from_reader(&ran.stdout[..]);
    let rows = table.records().map(Result::unwrap);
    rows.flat_map(|row| row.iter().map(|word| word.parse().unwrap()).collect::<Vec<f64>>())
        .collect()
}
