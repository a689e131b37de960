//! What is refused before anything is trained, and in which words: definitions, CSV and NPY files
//! that are wrong in one place; noise of all kinds; and plans of what is right.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use cyxwiz_trainer::frames::FailureClass;
use cyxwiz_trainer::{CheckError, Workload, limits};
use proptest::prelude::*;

const CSV: &str = "a,b,kind\n1,2,red\n3,4,blue\n5,6,red\n7,8,blue\n";

fn toml_of(layers: &str, data: &str, training: &str) -> String {
    format!("[model]\nlayers = [{layers}]\n[data]\n{data}\n[training]\n{training}\n")
}

const LAYERS: &str = r#"{type="dense", units=4, activation="relu"}, {type="dense", units=2}"#;
const DATA: &str = "source = \"d.csv\"\nlabel = \"kind\"";
const TRAINING: &str = "epochs = 2\nbatch_size = 2\nloss = \"softmax_cross_entropy\"\n\
                        optimizer = {type=\"adam\", learning_rate=0.01}";
const REGRESSION: &str = "epochs = 2\nbatch_size = 2\nloss = \"mse\"\n\
                          optimizer = {type=\"sgd\", learning_rate=0.01}";

fn check(text: &str, files: &[(&str, &[u8])]) -> Result<cyxwiz_trainer::Plan, CheckError> {
    let inputs = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(inputs.path().join(name), bytes).unwrap();
    }
    let workload: Workload = toml::from_str(text).unwrap();
    workload.check(inputs.path())
}

/// Checks that a definition or its data are refused in words that contain all of `words`.
#[track_caller]
fn refused(text: &str, files: &[(&str, &[u8])], class: FailureClass, words: &[&str]) {
    let error = check(text, files).unwrap_err();
    let message = error.message();
    assert_eq!(error.class(), class, "{message}");
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

#[test]
fn a_plan_tells_shapes_and_rows() {
    let layers = r#"{type="flatten"}, {type="dense", units=4, activation="relu"},
        {type="dropout", rate=0.5}, {type="dense", units=2}"#
        .replace('\n', " ");
    let data = format!("{DATA}\ntest = {{every = 4}}\nvalidation = 0.34");
    let plan = check(&toml_of(&layers, &data, TRAINING), &[("d.csv", CSV.as_bytes())]).unwrap();
    let kinds: Vec<&str> = plan.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, ["flatten", "dense", "relu", "dropout", "dense"]);
    let shapes: Vec<u64> = plan.layers.iter().map(|layer| layer.output_shape[0]).collect();
    assert_eq!(shapes, [2, 4, 4, 4, 2]);
    assert_eq!(plan.parameters, 3 * 4 + 5 * 2);
    assert_eq!((plan.train_rows, plan.validation_rows, plan.test_rows), (2, 1, 1));
    assert_eq!((plan.features, plan.outputs, plan.batches_per_epoch), (2, 2, 1));
    assert!(plan.memory_bytes > plan.parameters * 16);
}

#[test]
fn definitions_that_nobody_can_run_are_refused_with_their_place() {
    let files: &[(&str, &[u8])] = &[("d.csv", CSV.as_bytes())];
    let layers = |text: &str| toml_of(text, DATA, TRAINING);
    let job = FailureClass::InvalidJob;
    refused(&layers(""), files, job, &["model.layers", "no layers"]);
    refused(
        &layers(r#"{type="dropout", rate=0.1}"#),
        files,
        job,
        &["no layer has weights", "dense"],
    );
    refused(&layers(r#"{type="dense", units=0}"#), files, job, &["layer 0 (dense), units"]);
    refused(&layers(r#"{type="dense", units=70000}"#), files, job, &["70000", "65536"]);
    let dropped = format!(r#"{LAYERS}, {{type="dropout", rate=1.0}}"#);
    refused(&layers(&dropped), files, job, &["layer 2 (dropout), rate", "not including, 1"]);
    let soft = format!(r#"{LAYERS}, {{type="activation", function="softmax"}}"#);
    refused(&layers(&soft), files, job, &["layer 2", "twice", "remove"]);
    let deep = vec![r#"{type="flatten"}"#; limits::MAX_LAYERS + 1].join(",");
    refused(&layers(&deep), files, job, &["257", "256"]);
    let wide = [r#"{type="dense", units=60000}"#; 2].join(",");
    refused(&layers(&wide), files, job, &["parameters", "fewer units"]);

    let data = |text: &str| toml_of(LAYERS, text, TRAINING);
    refused(&data("source = \"../d.csv\"\nlabel=\"kind\""), files, job, &["data.source", "plain"]);
    refused(&data("source = \"d.doc\"\nlabel=\"kind\""), files, job, &["d.doc", "no known format"]);
    refused(&data("source = \"d.csv\""), files, job, &["data.label"]);
    refused(&data("source = \"d.npy\""), files, job, &["data.labels"]);
    refused(&data(&format!("{DATA}\nlabels = \"y.npy\"")), files, job, &["only for .npy"]);
    refused(&data(&format!("{DATA}\nfeatures = [\"a\", \"a\"]")), files, job, &["named twice"]);
    refused(&data(&format!("{DATA}\nfeatures = [\"kind\"]")), files, job, &["both feature"]);
    refused(&data(&format!("{DATA}\nscale = nan")), files, job, &["data.scale"]);
    let both = format!("{DATA}\nscale = 2.0\nnormalize = \"standard\"");
    refused(&data(&both), files, job, &["exclude each other"]);
    refused(&data(&format!("{DATA}\ntest = {{every = 1}}")), files, job, &["data.test, every"]);
    refused(&data(&format!("{DATA}\nvalidation = 1.0")), files, job, &["data.validation"]);

    let training = |from: &str, to: &str| toml_of(LAYERS, DATA, &TRAINING.replace(from, to));
    refused(&training("epochs = 2", "epochs = 0"), files, job, &["training.epochs"]);
    refused(&training("size = 2", "size = 70000"), files, job, &["batch_size", "65536"]);
    for (key, words) in [
        ("checkpoint_every_epochs = 1000001", ["checkpoint_every_epochs", "1000000"]),
        ("checkpoint_min_seconds = 604801", ["checkpoint_min_seconds", "604800"]),
        ("checkpoint_every_minutes = 0", ["checkpoint_every_minutes", "above 0"]),
        ("checkpoint_every_minutes = 10081", ["checkpoint_every_minutes", "10080"]),
        ("checkpoint_keep = 0", ["checkpoint_keep", "1 or more"]),
        ("checkpoint_keep = 6", ["checkpoint_keep", "5"]),
    ] {
        let to = format!("epochs = 2\n{key}");
        refused(&training("epochs = 2", &to), files, job, &words);
    }
    refused(&training("=0.01", "=-1.0"), files, job, &["learning_rate"]);
    refused(&training("0.01", "0.01, beta2=1.0"), files, job, &["beta2"]);
}

#[test]
fn ways_of_training_that_cannot_be_are_refused_with_their_place() {
    let files: &[(&str, &[u8])] = &[("d.csv", CSV.as_bytes())];
    let with = |more: &str, words: &[&str]| {
        let data = format!("{DATA}\nvalidation = 0.25");
        let job = toml_of(LAYERS, &data, &format!("{TRAINING}\n{more}"));
        refused(&job, files, FailureClass::InvalidJob, words);
    };
    with("clip_norm = 0.0", &["training.clip_norm", "1e-30"]);
    with("clip_norm = 1.0\nclip_value = 1.0", &["exclude each other", "keep one"]);
    with("top_k = 1", &["training.top_k", "2 or more"]);
    with("schedule = {type=\"step\", every_epochs=0}", &["schedule, every_epochs", "1 or more"]);
    with("schedule = {type=\"exponential\", factor=1.5}", &["schedule, factor", "at most 1"]);
    with("schedule = {type=\"cosine\", final=1.0}", &["schedule, final", "learning_rate"]);
    with("schedule = {type=\"one_cycle\", pct_start=1.0}", &["pct_start", "between 0 and 1"]);
    with("schedule = {type=\"one_cycle\", div_factor=0.5}", &["div_factor", "from 1"]);
    with("schedule = {type=\"reduce_on_plateau\", metric=\"r2\"}", &["\"r2\"", "f1"]);
    with("warmup = {}", &["training.warmup", "steps", "epochs"]);
    with("warmup = {steps=3, epochs=1}", &["exactly one"]);
    with("warmup = {epochs=2}", &["training.warmup, epochs", "fewer than"]);
    with("warmup = {steps=2, start_factor=0.0}", &["start_factor", "above 0"]);
    with("early_stopping = {patience=0}", &["early_stopping, patience", "1 or more"]);
    with("early_stopping = {metric=\"val_lost\"}", &["\"val_lost\"", "accuracy", "val_"]);
    with("early_stopping = {min_delta=-1.0}", &["min_delta"]);

    let training = |from: &str, to: &str, words: &[&str]| {
        let job = toml_of(LAYERS, DATA, &TRAINING.replace(from, to));
        refused(&job, files, FailureClass::InvalidJob, words);
    };
    let loss = |table: &str, words: &[&str]| training("\"softmax_cross_entropy\"", table, words);
    let entropy = "type=\"softmax_cross_entropy\"";
    loss(&format!("{{{entropy}, label_smoothing=1.0}}"), &["label_smoothing", "not including, 1"]);
    loss(&format!("{{{entropy}, class_weights=[]}}"), &["class_weights", "empty"]);
    loss(&format!("{{{entropy}, class_weights=[1, 0]}}"), &["class_weights", "0.000001"]);
    loss("{type=\"huber\", delta=0}", &["training.loss, delta", "above 0"]);
    loss("{type=\"binary_cross_entropy\", positive_weight=-1}", &["positive_weight", "-1"]);
    loss("\"mae\"\ntop_k = 2", &["top_k", "mae"]);
    let rmsprop = |keys: &str| format!("type=\"rmsprop\", {keys}");
    training("type=\"adam\"", &rmsprop("alpha=1.0"), &["optimizer, alpha"]);
    training("type=\"adam\"", &rmsprop("epsilon=0.0"), &["optimizer, epsilon", "1e-30"]);
    let early = "epochs = 2\nearly_stopping = {}";
    training("epochs = 2", early, &["val_loss", "data.validation", "\"loss\""]);
    let sigmoid = format!(r#"{LAYERS}, {{type="activation", function="sigmoid"}}"#);
    let binary = TRAINING.replace("softmax", "binary");
    let job = toml_of(&sigmoid, DATA, &binary);
    refused(&job, files, FailureClass::InvalidJob, &["layer 2", "sigmoid", "twice"]);
}

#[test]
fn targets_must_be_such_as_the_loss_takes() {
    let data = FailureClass::InvalidData;
    let table = |loss: &str, csv: &str, label: &str, words: &[&str]| {
        let training = TRAINING.replace("\"softmax_cross_entropy\"", loss);
        let job = toml_of(LAYERS, &format!("source = \"d.csv\"\nlabel = {label}"), &training);
        refused(&job, &[("d.csv", csv.as_bytes())], data, words);
    };
    let binary = "\"binary_cross_entropy\"";
    table(binary, CSV, "\"kind\"", &["line 2", "\"kind\"", "no number"]);
    table(
        binary,
        "a,y,z\n1,0,1\n2,1,1.5\n",
        "[\"y\", \"z\"]",
        &["row 2", "\"z\"", "1.5", "0 to 1"],
    );
    let entropy = "\"softmax_cross_entropy\"";
    table(entropy, "a,y,z\n1,0,1\n2,0.5,0.6\n", "[\"y\", \"z\"]", &["row 2", "1.1", "not to 1"]);
    table(entropy, "a,y,z\n1,-1,2\n2,0,1\n", "[\"y\", \"z\"]", &["row 1", "\"y\"", "-1"]);
    let weights = "{type=\"softmax_cross_entropy\", class_weights=[1, 2, 3]}";
    table(weights, CSV, "\"kind\"", &["class_weights", "3 numbers", "2 classes"]);
    let weights = "{type=\"binary_cross_entropy\", positive_weight=[1]}";
    table(weights, "a,y,z\n1,0,1\n2,0,1\n", "[\"y\", \"z\"]", &["positive_weight", "2 outputs"]);
    table("\"softmax_cross_entropy\"\ntop_k = 2", CSV, "\"kind\"", &["top_k", "2 classes"]);
}

#[test]
fn settings_of_training_are_written_out_in_one_way() {
    let text = |training: &str| {
        let workload: Workload = toml::from_str(&toml_of(LAYERS, DATA, training)).unwrap();
        let json = workload.to_json();
        assert_eq!(Workload::from_json(&json).unwrap(), workload);
        json
    };
    let plain = text(TRAINING);
    let table = TRAINING.replace("\"softmax", "{type=\"softmax").replace("entropy\"", "entropy\"}");
    assert_eq!(text(&format!("{table}\nschedule = {{type=\"constant\"}}")), plain);
    let full = format!(
        "{}\nclip_norm = 1.0\nwarmup = {{steps = 5}}\non_out_of_memory = \"halve_batch\"\n\
         schedule = {{type = \"cosine\", final = 0.001}}\n\
         early_stopping = {{metric = \"loss\", min_delta = 0.1}}\n",
        TRAINING.replace("\"softmax_cross_entropy\"", "{type=\"huber\", delta=2}")
    );
    let json = text(&full);
    for part in [
        "\"loss\":{\"type\":\"huber\",\"delta\":2.0}",
        "\"clip_norm\":1.0,\"on_out_of_memory\":\"halve_batch\"",
        "\"schedule\":{\"type\":\"cosine\",\"final\":0.001}",
        "\"warmup\":{\"steps\":5,\"start_factor\":0.3333333333333333}",
        "\"early_stopping\":{\"metric\":\"loss\",\"patience\":3,\"min_delta\":0.1,\
         \"restore_best\":false}",
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
}

#[test]
fn unknown_names_are_refused_with_the_known_ones_and_the_line() {
    for (text, words) in [
        (
            toml_of(r#"{type="conv9"}"#, DATA, TRAINING),
            &["conv9", "dense", "dropout", "line 2"][..],
        ),
        (toml_of(r#"{type="dense", unit=3}"#, DATA, TRAINING), &["unit", "units"]),
        (toml_of(LAYERS, &format!("{DATA}\nshuffle = true"), TRAINING), &["shuffle", "line 6"]),
        (toml_of(LAYERS, DATA, &TRAINING.replace("adam", "lion")), &["lion", "adamw", "sgd"]),
        (
            toml_of(LAYERS, DATA, &TRAINING.replace("softmax_cross_entropy", "hinge")),
            &["hinge", "mse", "huber", "line"],
        ),
        (
            toml_of(
                LAYERS,
                DATA,
                &TRAINING.replace("\"softmax_cross_entropy\"", "{type=\"mse\", delta=2}"),
            ),
            &["delta"],
        ),
        (
            toml_of(LAYERS, DATA, &TRAINING.replace("\"softmax_cross_entropy\"", "3")),
            &["name of a loss"],
        ),
        (
            toml_of(LAYERS, DATA, &format!("{TRAINING}\nschedule = {{type=\"sine\"}}")),
            &["sine", "cosine"],
        ),
        (toml_of(LAYERS, &format!("{DATA}\ntest = {{}}"), TRAINING), &["every", "fraction"]),
        (toml_of(LAYERS, "source = \"d.csv\"\nlabel = 3", TRAINING), &["list of column names"]),
    ] {
        let message = toml::from_str::<Workload>(&text).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "\"{word}\" is not in: {message}");
        }
    }
    let message = Workload::from_json("{\n\"model\": {\"layers\": 3}}").unwrap_err().to_string();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn malformed_csv_is_named_by_line_and_column() {
    let job = toml_of(LAYERS, DATA, TRAINING);
    let data = FailureClass::InvalidData;
    let csv =
        |text: &str, words: &[&str]| refused(&job, &[("d.csv", text.as_bytes())], data, words);
    refused(&job, &[], data, &["cannot read d.csv"]);
    csv("", &["d.csv has no rows"]);
    csv("a,b,kind\n", &["d.csv has no rows"]);
    csv(&CSV.replace("5,6", "5,x6"), &["d.csv line 4", "column \"b\"", "x6"]);
    csv(&CSV.replace("5,6", "5,"), &["d.csv line 4", "column \"b\"", "empty"]);
    csv(&CSV.replace("5,6", "5,NaN"), &["line 4", "\"NaN\", no value"]);
    csv(&CSV.replace("5,6", "5,1e39"), &["line 4", "finite"]);
    csv(&CSV.replace("5,6", "5"), &["line 4", "2 fields", "3"]);
    csv(&CSV.replace("a,b", "a,a"), &["\"a\" appears twice"]);
    csv(&CSV.replace("a,b", "a,"), &["column 2 has no name"]);
    csv(&CSV.replace("kind", "sort"), &["no column \"kind\"", "a, b, sort"]);
    let quoted = CSV.replace("1,2", "\"1\n\",2").replace("5,6", "5,six");
    csv(&quoted, &["line 5", "six"]);
}

#[test]
fn labels_must_fit_the_outputs() {
    let data = FailureClass::InvalidData;
    let job = toml_of(LAYERS, DATA, TRAINING);
    let three = CSV.replacen("red", "green", 1);
    let words = &["layer 1", "2 outputs", "3 classes", "units = 3"];
    refused(&job, &[("d.csv", three.as_bytes())], data, words);
    let one = CSV.replace("red", "blue");
    refused(&job, &[("d.csv", one.as_bytes())], data, &["one value only", "blue"]);
    let job = toml_of(LAYERS, "source = \"d.csv\"\nlabel = [\"a\", \"b\"]", REGRESSION);
    refused(&job, &[("d.csv", CSV.as_bytes())], data, &["line 2", "\"kind\"", "no number"]);
    let numbers = "a,b,c\n1,2,3\n2,3,4\n";
    let plan = check(&job, &[("d.csv", numbers.as_bytes())]).unwrap();
    assert_eq!((plan.features, plan.outputs), (1, 2));
    let few = toml_of(LAYERS, &format!("{DATA}\nvalidation = 0.01"), TRAINING);
    refused(&few, &[("d.csv", CSV.as_bytes())], data, &["4 rows", "validation"]);
}

/// An array of version 1 with whatever header and data.
fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn bytes_of<const N: usize>(values: &[f64], to: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| to(*value)).collect()
}

#[test]
fn npy_of_every_type_is_read() {
    let job = toml_of(LAYERS, "source = \"x.npy\"\nlabels = \"y.npy\"", TRAINING);
    let labels =
        npy("<i8", "False", "3,", &bytes_of(&[7.0, -1.0, 7.0], |v| (v as i64).to_le_bytes()));
    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 250.0];
    for (descr, data) in [
        ("<f4", bytes_of(&values, |v| (v as f32).to_le_bytes())),
        ("<f8", bytes_of(&values, f64::to_le_bytes)),
        ("<i4", bytes_of(&values, |v| (v as i32).to_le_bytes())),
        ("<i8", bytes_of(&values, |v| (v as i64).to_le_bytes())),
        ("|u1", bytes_of(&values, |v| [v as u8])),
    ] {
        // The axes of a row stay; a dense layer sees the last alone.
        let flattened = job.replace("layers = [", "layers = [{ type = \"flatten\" }, ");
        assert_ne!(flattened, job);
        for (job, shape) in [(&job, "3, 2"), (&flattened, "3, 1, 2")] {
            let files = [("x.npy", npy(descr, "False", shape, &data)), ("y.npy", labels.clone())];
            let files = files.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()));
            let plan = check(job, &files).unwrap();
            assert_eq!((plan.train_rows, plan.features, plan.outputs), (3, 2, 2), "{descr}");
        }
    }
}

#[test]
fn malformed_npy_is_refused_before_memory_is_taken() {
    let job = toml_of(LAYERS, "source = \"x.npy\"\nlabels = \"y.npy\"", TRAINING);
    let data = FailureClass::InvalidData;
    let labels = npy("|u1", "False", "2,", &[0, 1]);
    let with = |x: Vec<u8>, words: &[&str]| {
        refused(&job, &[("x.npy", &x), ("y.npy", &labels)], data, words);
    };
    with(vec![], &["x.npy", "header"]);
    with(b"PK\x03\x04 something".to_vec(), &["signature"]);
    with(npy(">f4", "False", "2, 2", &[0; 16]), &[">f4", "<f4"]);
    with(npy("<c8", "False", "2, 2", &[0; 32]), &["<c8"]);
    with(npy("<f4", "True", "2, 2", &[0; 16]), &["Fortran"]);
    with(npy("<f4", "False", "", &[0; 4]), &["first axis"]);
    with(npy("<f4", "False", "2, 2", &[0; 15]), &["16 bytes", "15"]);
    with(npy("<f4", "False", "400000, 400000", &[]), &["holds 0"]);
    with(npy("<f4", "False", "4000000000, 4000000000, 9", &[]), &["more than any file"]);
    with(npy("<f4", "False", "99999999999999999999", &[]), &["header"]);
    with(npy("<f4", "False", "3, 1", &[0; 12]), &["x.npy has 3", "y.npy has 2"]);
    let nan = bytes_of(&[1.0, 2.0, f64::NAN, 4.0], f64::to_le_bytes);
    with(npy("<f8", "False", "2, 2", &nan), &["row 1, value 0", "NaN"]);
    let halves = npy("<f8", "False", "2,", &bytes_of(&[0.5, 1.0], f64::to_le_bytes));
    let x = npy("|u1", "False", "2, 2", &[0; 4]);
    refused(&job, &[("x.npy", &x), ("y.npy", &halves)], data, &["y.npy", "whole numbers"]);
}

#[test]
fn json_is_canonical_and_inputs_are_named() {
    let text = toml_of(LAYERS, &format!("{DATA}\ntest={{fraction=0.2}}"), TRAINING);
    let workload: Workload = toml::from_str(&text).unwrap();
    let json = workload.to_json();
    assert_eq!(
        json,
        "{\"kind\":\"train\",\"model\":{\"layers\":[{\"type\":\"dense\",\"units\":4,\
         \"activation\":\"relu\"},{\"type\":\"dense\",\"units\":2}]},\"data\":\
         {\"source\":\"d.csv\",\"label\":\"kind\",\"normalize\":\"none\",\"test\":{\
         \"fraction\":0.2},\"validation\":0.0},\"training\":{\"epochs\":2,\"batch_size\":2,\
         \"loss\":\"softmax_cross_entropy\",\"seed\":0,\
         \"checkpoint_every_epochs\":5,\"checkpoint_min_seconds\":2,\"checkpoint_keep\":3,\
         \"optimizer\":{\"type\":\"adam\",\"learning_rate\":0.01,\"beta1\":0.9,\"beta2\":0.999,\
         \"epsilon\":1e-8,\"weight_decay\":0.0}}}"
    );
    assert_eq!(Workload::from_json(&json).unwrap(), workload);
    assert_eq!(workload.input_names(), ["d.csv"]);
}

/// JSON values of any shape, with the words of real definitions among the keys.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let word = prop::sample::select(vec![
        "model",
        "layers",
        "type",
        "dense",
        "units",
        "data",
        "source",
        "d.csv",
        "label",
        "kind",
        "training",
        "epochs",
        "batch_size",
        "loss",
        "mse",
        "optimizer",
        "sgd",
        "rate",
        "test",
        "every",
        "fraction",
        "learning_rate",
        "train",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|value| serde_json::json!(value)),
        word.clone().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((word.clone(), inner), 0..8).prop_map(|pairs| {
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

/// Replaces one of the values of a valid definition.
fn mutate(value: &mut serde_json::Value, mut place: usize, by: &serde_json::Value) -> usize {
    if place == 0 {
        *value = by.clone();
        return usize::MAX;
    }
    place -= 1;
    let mut visit = |child: &mut serde_json::Value| {
        if place != usize::MAX {
            place = mutate(child, place, by);
        }
    };
    if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(&mut visit);
    } else if let Some(table) = value.as_object_mut() {
        table.values_mut().for_each(&mut visit);
    }
    place
}

proptest! {
    #[test]
    fn json_noise_never_panics(value in json(), text in ".{0,64}") {
        let _ = Workload::from_json(&value.to_string());
        prop_assert!(Workload::from_json(&text).is_err());
    }

    #[test]
    fn mutated_definitions_never_panic(place in 1_usize..30, by in json()) {
        let workload: Workload = toml::from_str(&toml_of(LAYERS, DATA, TRAINING)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&workload.to_json()).unwrap();
        mutate(&mut value, place, &by);
        if let Ok(workload) = Workload::from_json(&value.to_string()) {
            prop_assert_eq!(&Workload::from_json(&workload.to_json()).unwrap(), &workload);
            let _ = workload.check(Path::new("nowhere"));
        }
    }

    #[test]
    fn csv_noise_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0_usize..60,
    ) {
        let mut text = CSV.as_bytes()[..cut.min(CSV.len())].to_vec();
        text.extend(bytes);
        let _ = check(&toml_of(LAYERS, DATA, TRAINING), &[("d.csv", &text)]);
    }

    #[test]
    fn npy_noise_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        at in 0_usize..90,
    ) {
        let mut x = npy("<f4", "False", "2, 2", &[0; 16]);
        let at = at.min(x.len());
        let end = (at + bytes.len()).min(x.len());
        x[at..end].copy_from_slice(&bytes[..end - at]);
        let job = toml_of(LAYERS, "source = \"x.npy\"\nlabels = \"y.npy\"", TRAINING);
        let _ = check(&job, &[("x.npy", &x), ("y.npy", &x)]);
    }
}
