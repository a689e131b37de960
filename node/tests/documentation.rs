//! What is written for users against what the program does: every example fits its data, every job
//! and table that is shown is understood, and every key and name that a job file may hold is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A whole job, whose tables are replaced one by one.
const JOB: &str = r#"
name = "a"
[requirements]
[limits]
[model]
layers = [{ type = "dense", units = 2 }]
[data]
source = "a.csv"
label = "b"
[training]
epochs = 1
batch_size = 1
loss = "mse"
optimizer = { type = "sgd", learning_rate = 0.1 }
"#;

/// Places of a job file where only certain names may stand, each with one that may not.
const QUESTIONS: &[&str] = &[
    "zzz = 1",
    "kind = 'zzz'",
    "start.zzz = 1",
    "start = { weights = 'a', outputs = { zzz = [] } }",
    "start = { weights = 'a', loss = 'zzz' }",
    "fine_tune.zzz = 1",
    "evaluate.zzz = 1",
    "infer.zzz = 1",
    "infer.format = 'zzz'",
    "extract = { layer = 1, zzz = 1 }",
    "requirements.zzz = 1",
    "limits.zzz = 1",
    "data.zzz = 1",
    "data.images = { zzz = 1 }",
    "data.text = { zzz = 1 }",
    "data.test = { zzz = 1 }",
    "data.missing = 'zzz'",
    "data.normalize = 'zzz'",
    "training.zzz = 1",
    "training.loss = 'zzz'",
    "training.loss = { type = 'softmax_cross_entropy', zzz = 1 }",
    "training.loss = { type = 'binary_cross_entropy', zzz = 1 }",
    "training.loss = { type = 'huber', zzz = 1 }",
    "training.optimizer = { type = 'zzz' }",
    "training.optimizer = { type = 'sgd', zzz = 1 }",
    "training.optimizer = { type = 'adam', zzz = 1 }",
    "training.optimizer = { type = 'adamw', zzz = 1 }",
    "training.optimizer = { type = 'rmsprop', zzz = 1 }",
    "training.schedule = { type = 'zzz' }",
    "training.schedule = { type = 'step', zzz = 1 }",
    "training.schedule = { type = 'exponential', zzz = 1 }",
    "training.schedule = { type = 'cosine', zzz = 1 }",
    "training.schedule = { type = 'one_cycle', zzz = 1 }",
    "training.schedule = { type = 'reduce_on_plateau', zzz = 1 }",
    "training.warmup = { zzz = 1 }",
    "training.early_stopping = { zzz = 1 }",
    "training.on_out_of_memory = 'zzz'",
    "model.layers = [{ type = 'activation', function = 'zzz' }]",
];

#[test]
fn every_example_fits_its_data() {
    let mut found = 0;
    for file in files(&node().join("examples"), "toml") {
        let mut checked = run(&node(), &["model", "check", file.to_str().unwrap()], "");
        // Of one whose data are made by a command that it tells, the layers are checked.
        if said(&checked).contains("is not beside it") {
            assert!(fs::read_to_string(&file).unwrap().contains("is made by"));
            let arguments = ["model", "check", file.to_str().unwrap(), "--input", "64"];
            checked = run(&node(), &arguments, "");
        }
        assert!(checked.status.success(), "{}: {}", file.display(), said(&checked));
        found += 1;
    }
    assert!(found >= 4, "{found} examples");
}

#[test]
fn every_job_that_is_shown_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let net = r#"{"layers":[{"type":"dense","units":10}]}"#;
    fs::write(folder.path().join("net.cyxgraph"), net).unwrap();
    let mut found = 0;
    for (file, block) in documents().iter().flat_map(|(file, text)| {
        text.split("```toml\n").skip(1).map(move |rest| (file, rest.split("```").next().unwrap()))
    }) {
        // What begins with trained weights gets as far as to miss them.
        let (arguments, missing) = match block.contains("[start]") {
            true => (&["job", "submit", "-"][..], "model.safetensors cannot be read"),
            false => (&["model", "check", "-", "--input", shape(block)][..], ""),
        };
        let job = if block.starts_with("name") { block.to_owned() } else { with(block) };
        let checked = run(folder.path(), arguments, &job);
        let understood = checked.status.success() == missing.is_empty();
        let said = said(&checked);
        assert!(understood && said.contains(missing), "{}: {block}{said}", file.display());
        found += 1;
    }
    assert!(found >= 8, "{found} blocks");
}

#[test]
fn every_key_and_name_is_told() {
    let told = told();
    let layers = names("model.layers = [{ type = 'zzz' }]");
    let of_layer = |layer: &String| format!("model.layers = [{{ type = '{layer}', zzz = 1 }}]");
    let questions = QUESTIONS.iter().map(|question| (*question).to_owned());
    let mut missing = BTreeSet::new();
    for question in questions.chain(layers.iter().map(of_layer)) {
        missing.extend(names(&question).difference(&told).cloned());
    }
    missing.extend(layers.difference(&told).cloned());
    assert!(missing.is_empty(), "no document tells of {missing:?}");
    assert!(layers.len() >= 17, "{layers:?}");
}

/// Of a row that the layers of a block can take.
fn shape(block: &str) -> &'static str {
    if block.contains("conv2d") { "1,8,8" } else { "64" }
}

/// What may stand where `question` has something that may not.
fn names(question: &str) -> BTreeSet<String> {
    let refused = run(&node(), &["model", "check", "-", "--input", "64"], &with(question));
    let message = said(&refused);
    assert!(!refused.status.success() && message.contains("zzz"), "{question}: {message}");
    // A layer without keys expects none.
    let Some(expected) = message.split("expected").nth(1) else { return BTreeSet::new() };
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The job, with what `text` says in place of what it says.
fn with(text: &str) -> String {
    fn put(into: &mut toml::Table, from: toml::Table) {
        for (key, value) in from {
            match (into.get_mut(&key), value) {
                (Some(toml::Value::Table(inner)), toml::Value::Table(value))
                    if !inner.contains_key("type") && key != "model" =>
                {
                    put(inner, value);
                }
                (_, value) => {
                    into.insert(key, value);
                }
            }
        }
    }
    let mut job: toml::Table = toml::from_str(JOB).unwrap();
    put(&mut job, toml::from_str(text).unwrap());
    job.to_string()
}

/// Every word that stands in code, in any document.
fn told() -> BTreeSet<String> {
    let code = |text: &str| -> Vec<String> {
        let spans = text.split('`').skip(1).step_by(2);
        let word = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
        spans.flat_map(|span| span.split(word).map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    documents().iter().flat_map(|(_, text)| code(&text.replace("```", "`"))).collect()
}

fn documents() -> Vec<(PathBuf, String)> {
    let folders = [node().join("docs"), node().join("examples")];
    let files = folders.iter().flat_map(|folder| files(folder, "md"));
    files.map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    files.sort();
    files
}

fn node() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cyxwiz"));
    program.args(arguments).current_dir(folder);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = program.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
