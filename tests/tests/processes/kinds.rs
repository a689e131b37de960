//! Every kind of job on a live network: a model is trained, and others go on with what it left.
//! What one kind says of a model is compared with what the others say of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cyxwiz_tests::{Network, Node, examples};
use safetensors::SafeTensors;
use serde_json::Value;

const HIDDEN: usize = 12;
const CLASSES: usize = 10;

#[test]
fn what_every_kind_of_job_says_of_a_model_agrees() {
    let (network, _coordinator, laptop) = Network::with_coordinator("kinds");
    let options = ["--memory-mb", "4096", "--threads", "1", "--max-concurrent", "4"];
    let _worker = network.worker("worker", &options);
    laptop.awaits_workers(1);
    let desk = Desk::new(&laptop, &network.folder().join("desk"));
    let rows = desk.lay_out_digits();

    let trained = desk.result_of(&desk.submit("trained", &training("digits.csv", "")));
    fs::copy(trained.file("model.safetensors"), desk.folder.join("model.safetensors"))
        .expect("the model was fetched");
    let jobs = [
        (
            "evaluated",
            with_model("evaluate", "data.source = \"tests.csv\"\ndata.label = \"label\""),
        ),
        ("inferred", with_model("infer", "data.source = \"unlabelled.csv\"\ndata.id = \"line\"")),
        ("extracted", with_model("extract", "data.source = \"unlabelled.csv\"\nextract.layer = 1")),
        ("tuned", fine_tuning()),
        ("streamed", training("digits.csv", "data.streaming = true")),
    ];
    // All of them at once.
    let jobs = jobs.map(|(name, text)| desk.submit(name, &text));
    let [evaluated, inferred, extracted, tuned, streamed] = jobs.map(|job| desk.result_of(&job));

    assert_eq!(streamed.sha256("model.safetensors"), trained.sha256("model.safetensors"));
    tells_what_training_told(&evaluated, &trained, rows.len());
    let predicted = predictions(&inferred, &rows);
    let right = rows.iter().zip(&predicted).filter(|(row, it)| row.label == **it).count();
    let accuracy = right as f64 / rows.len() as f64;
    assert_eq!(Some(accuracy), evaluated.metric("test_accuracy"), "{:#}", evaluated.job);
    assert_eq!(classified(&trained, &features(&extracted, rows.len())), predicted);
    keeps_what_was_frozen(&tuned, &trained);
}

/// A folder with job files and their data, and the node to which they are handed in.
struct Desk<'a> {
    laptop: &'a Node,
    folder: PathBuf,
}

/// A row that training has kept for its test.
struct Row {
    line: usize,
    label: String,
}

/// A job that has completed, and what it left.
struct Finished {
    job: Value,
    folder: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(laptop: &'a Node, folder: &Path) -> Self {
        fs::create_dir(folder).expect("the network's folder can be written to");
        Self { laptop, folder: folder.to_owned() }
    }

    /// The digits; those of them on which training tests, with and without their labels; and the
    /// larger ones. Returns the second.
    fn lay_out_digits(&self) -> Vec<Row> {
        let write = |name: &str, lines: &[String]| {
            fs::write(self.folder.join(name), lines.join("\n") + "\n").expect("it is our folder");
        };
        let digits = fs::read_to_string(examples().join("digits.csv")).expect("it is bundled");
        let (header, lines) = digits.split_once('\n').expect("the first line names columns");
        let parts = |line: &str| -> (String, String) {
            let (pixels, label) = line.rsplit_once(',').expect("the label is last");
            (pixels.to_owned(), label.trim().to_owned())
        };
        let all: Vec<_> = lines.lines().map(parts).collect();
        let (mut tests, mut unlabelled) =
            (vec![header.to_owned()], vec![parts(header).0 + ",line"]);
        let mut rows = Vec::new();
        for (line, (pixels, label)) in all.iter().enumerate().step_by(5) {
            tests.push(format!("{pixels},{label}"));
            unlabelled.push(format!("{pixels},{line}"));
            rows.push(Row { line, label: label.clone() });
        }
        let large = all.iter().filter(|(_, label)| label.as_str() >= "5");
        let large = large.map(|(pixels, label)| format!("{pixels},{label}"));
        let large: Vec<_> = [header.to_owned()].into_iter().chain(large).collect();
        write("digits.csv", &[digits.trim_end().to_owned()]);
        write("tests.csv", &tests);
        write("unlabelled.csv", &unlabelled);
        write("large.csv", &large);
        rows
    }

    #[track_caller]
    fn submit(&self, name: &str, text: &str) -> String {
        let file = self.folder.join(format!("{name}.toml"));
        fs::write(&file, format!("name = \"{name}\"\n{text}")).expect("it is our folder");
        let submitted =
            self.laptop.cli().run(&["job", "submit", &file.to_string_lossy(), "--id-only"]);
        submitted.succeeds().stdout.trim().to_owned()
    }

    #[track_caller]
    fn result_of(&self, id: &str) -> Finished {
        let job = self.laptop.awaits(id, "completed");
        let folder = self.folder.join(id);
        let out = folder.to_string_lossy();
        self.laptop.cli().run(&["job", "results", id, "--out", &out]).succeeds();
        Finished { job, folder }
    }
}

impl Finished {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.job["result"]["metrics"][name].as_f64()
    }

    fn sha256(&self, name: &str) -> &str {
        let files = self.job["result"]["files"].as_array().expect("a list of files");
        let file = files.iter().find(|file| file["name"] == name);
        file.and_then(|file| file["sha256"].as_str()).expect("the file is listed")
    }

    /// The weights by their names.
    fn weights(&self) -> BTreeMap<String, Vec<f32>> {
        let bytes = fs::read(self.file("model.safetensors")).expect("the model was fetched");
        let tensors = SafeTensors::deserialize(&bytes).expect("the model can be read");
        tensors.iter().map(|(name, it)| (name.to_owned(), floats(it.data()))).collect()
    }
}

fn training(source: &str, more: &str) -> String {
    format!(
        r#"
model.layers = [
    {{ type = "dense", units = {HIDDEN}, activation = "relu" }},
    {{ type = "dense", units = {CLASSES} }},
]
data.source = "{source}"
data.label = "label"
data.scale = 0.0625
data.test = {{ every = 5 }}
{more}
[training]
epochs = 12
batch_size = 32
loss = "softmax_cross_entropy"
seed = 7
optimizer = {{ type = "adam", learning_rate = 0.01 }}
"#
    )
}

fn with_model(kind: &str, rest: &str) -> String {
    format!("kind = \"{kind}\"\nstart.weights = \"model.safetensors\"\n{rest}\n")
}

fn fine_tuning() -> String {
    let rest = r#"
fine_tune.freeze = 2
fine_tune.replace_head = [{ type = "dense", units = 5 }]
data.source = "large.csv"
data.label = "label"
data.test = { every = 5 }
[training]
epochs = 12
batch_size = 32
loss = "softmax_cross_entropy"
seed = 7
optimizer = { type = "adam", learning_rate = 0.01 }
"#;
    with_model("fine_tune", rest)
}

/// The same rows by the same model: the same numbers.
fn tells_what_training_told(evaluated: &Finished, trained: &Finished, rows: usize) {
    let metrics = evaluated.job["result"]["metrics"].as_object().expect("metrics by their names");
    for name in ["test_accuracy", "test_loss"] {
        assert!(metrics.contains_key(name), "{metrics:?}");
    }
    for (name, value) in metrics {
        let told = match name.as_str() {
            "test_rows" => Some(rows as f64),
            name => trained.metric(name),
        };
        assert_eq!(value.as_f64(), told, "{name} of {:#}", trained.job["result"]["metrics"]);
    }
    assert!(evaluated.metric("test_accuracy") > Some(0.8), "it has learnt: {metrics:?}");
}

/// What was predicted for each row.
fn predictions(inferred: &Finished, rows: &[Row]) -> Vec<String> {
    let text = fs::read_to_string(inferred.file("predictions.csv")).expect("it was fetched");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a first line");
    assert_eq!(header[..3], ["row", "id", "predicted"], "{header:?}");
    assert_eq!(header.len(), 3 + CLASSES, "{header:?}");
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), rows.len());
    for ((number, line), row) in lines.iter().enumerate().zip(rows) {
        assert_eq!((line[0], line[1]), (&*number.to_string(), &*row.line.to_string()));
        let shares = line[3..].iter().map(|share| share.parse::<f64>().expect("a number"));
        let sum: f64 = shares.sum();
        assert!((sum - 1.0).abs() < 1e-5, "the shares of {line:?} come to {sum}");
    }
    lines.iter().map(|line| line[2].to_owned()).collect()
}

/// What the hidden layer makes of each row: the numbers of an `.npy` file of version 1.
fn features(extracted: &Finished, rows: usize) -> Vec<f32> {
    let bytes = fs::read(extracted.file("features.npy")).expect("it was fetched");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..10 + length]);
    assert!(header.contains("'<f4'"), "{header}");
    assert!(header.contains(&format!("({rows}, {HIDDEN}")), "{header}");
    floats(&bytes[10 + length..])
}

/// The last layer of the model, once more and by hand.
fn classified(trained: &Finished, features: &[f32]) -> Vec<String> {
    let weights = trained.weights();
    let (weight, bias) = (&weights["2.weight"], &weights["2.bias"]);
    let best = |row: &[f32]| {
        let dot = |unit: &[f32]| -> f64 {
            unit.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let outputs =
            weight.chunks(HIDDEN).zip(bias).map(|(unit, bias)| dot(unit) + f64::from(*bias));
        let best = outputs.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.expect("there are classes").0.to_string()
    };
    features.chunks(HIDDEN).map(best).collect()
}

fn keeps_what_was_frozen(tuned: &Finished, trained: &Finished) {
    let (before, after) = (trained.weights(), tuned.weights());
    for name in ["0.weight", "0.bias"] {
        let bits = |it: &[f32]| it.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&after[name]), bits(&before[name]), "{name}");
    }
    assert_eq!(after["2.weight"].len(), 5 * HIDDEN, "the head is another");
    let model = fs::read_to_string(tuned.file("model.json")).expect("it was fetched");
    let model: Value = serde_json::from_str(&model).expect("it is JSON");
    let classes = serde_json::json!(["5", "6", "7", "8", "9"]);
    assert_eq!(model["outputs"]["classes"], classes, "{model:#}");
    assert!(tuned.metric("test_accuracy") > Some(0.6), "{:#}", tuned.job);
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |it: &[u8]| f32::from_le_bytes(it.try_into().expect("four bytes"));
    bytes.chunks(4).map(number).collect()
}
