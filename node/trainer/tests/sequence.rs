//! Models for sequences from outside: a small causal transformer and recurrent models learn what
//! needs all positions, end with the same bits on any number of threads and after an interruption,
//! and say what is wrong with ids.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use cyxwiz_trainer::{
    CheckError, CpuEngine, Event, Places, Requests, Sampling, Workload, load_model, sample, train,
    train_at,
};
use tempfile::TempDir;

const POSITIONS: usize = 9;
const WEIGHTS: &str = "model.safetensors";

const TRANSFORMER: &str = r#"
    {"type": "embedding", "vocabulary": 3, "dimensions": 16},
    {"type": "positional_embedding"},
    {"type": "residual", "layers": [
        {"type": "layer_norm"},
        {"type": "attention", "heads": 4, "causal": true, "dropout": 0.05}]},
    {"type": "residual", "layers": [
        {"type": "layer_norm"},
        {"type": "dense", "units": 32, "activation": "gelu"},
        {"type": "dense", "units": 16}]},
    {"type": "residual", "layers": [
        {"type": "layer_norm"},
        {"type": "attention", "heads": 2, "causal": true}]},
    {"type": "residual", "layers": [
        {"type": "layer_norm"},
        {"type": "dense", "units": 32, "activation": "gelu"},
        {"type": "dense", "units": 16}]},
    {"type": "layer_norm"},
    {"type": "flatten"},
    {"type": "dense", "units": 2}"#;

fn recurrent(kind: &str) -> String {
    format!(
        r#"{{"type": "embedding", "vocabulary": 3, "dimensions": 8}},
           {{"type": "{kind}", "units": 12, "return_sequences": true}},
           {{"type": "{kind}", "units": 12}},
           {{"type": "dense", "units": 2}}"#
    )
}

/// Rows of ones and twos, by their majority.
fn inputs(rows: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..POSITIONS).map(|position| format!("t{position}")).collect();
    let mut text = format!("{},majority\n", names.join(","));
    for row in 0..rows {
        // The high bits of a multiplicative hash: as good as drawn.
        let bits = row.wrapping_add(1).wrapping_mul(2_654_435_769) >> 12;
        let ids: Vec<u32> = (0..POSITIONS).map(|position| 1 + (bits >> position & 1)).collect();
        let twos = ids.iter().filter(|id| **id == 2).count();
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let kind = if 2 * twos > POSITIONS { "twos" } else { "ones" };
        text += &format!("{},{kind}\n", ids.join(","));
    }
    fs::write(folder.path().join("data.csv"), text).unwrap();
    folder
}

fn workload(layers: &str, epochs: u32, data: &str) -> String {
    format!(
        r#"{{"model": {{"layers": [{layers}]}},
            "data": {{"source": "data.csv", "label": "majority", "test": {{"fraction": 0.25}}{data}}},
            "training": {{"epochs": {epochs}, "batch_size": 32, "seed": 4,
                          "loss": "softmax_cross_entropy",
                          "checkpoint_every_epochs": 1, "checkpoint_min_seconds": 0,
                          "optimizer": {{"type": "adamw", "learning_rate": 0.005}}}}}}"#
    )
}

fn accuracy(layers: &str, epochs: u32) -> f64 {
    let inputs = inputs(600);
    let output = tempfile::tempdir().unwrap();
    let workload = Workload::from_json(&workload(layers, epochs, "")).unwrap();
    let mut engine = CpuEngine::new(2).unwrap();
    let requests = Requests::default();
    let summary =
        train(&workload, inputs.path(), output.path(), &mut engine, &mut |_| (), &requests)
            .unwrap();
    load_model(output.path()).unwrap();
    summary.metrics["test_accuracy"]
}

#[test]
fn a_small_transformer_learns_the_majority_of_a_sequence() {
    let accuracy = accuracy(TRANSFORMER, 12);
    assert!(accuracy > 0.95, "{accuracy}");
}

#[test]
fn recurrent_models_learn_the_majority_of_a_sequence() {
    for kind in ["gru", "lstm"] {
        let accuracy = accuracy(&recurrent(kind), 12);
        assert!(accuracy > 0.95, "{kind}: {accuracy}");
    }
}

/// One class at each position: the next character, which is known from those before.
#[test]
fn a_small_transformer_learns_a_text_by_heart() {
    let inputs = tempfile::tempdir().unwrap();
    let text = "the quick brown fox jumps over a lazy dog. ".repeat(60);
    fs::write(inputs.path().join("text.txt"), &text).unwrap();
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    let vocabulary = characters.len();
    let block = r#"{"type": "residual", "layers": [
            {"type": "layer_norm"}, {"type": "attention", "heads": 2, "causal": true}]},
        {"type": "residual", "layers": [{"type": "layer_norm"},
            {"type": "dense", "units": 32, "activation": "gelu"},
            {"type": "dense", "units": 16}]}"#;
    let workload = format!(
        r#"{{"model": {{"layers": [
                {{"type": "embedding", "vocabulary": {vocabulary}, "dimensions": 16}},
                {{"type": "positional_embedding"}}, {block}, {block},
                {{"type": "layer_norm"}}, {{"type": "dense", "units": {vocabulary}}}]}},
            "data": {{"source": "text.txt", "text": {{"context": 12, "stride": 1}},
                      "test": {{"fraction": 0.2}}}},
            "training": {{"epochs": 6, "batch_size": 32, "seed": 4,
                          "loss": "softmax_cross_entropy",
                          "optimizer": {{"type": "adamw", "learning_rate": 0.005}}}}}}"#
    );
    let workload = Workload::from_json(&workload).unwrap();
    let plan = workload.check(inputs.path()).unwrap();
    assert_eq!(plan.layers.last().unwrap().output_shape, [12, vocabulary as u64]);
    // Windows overlap; characters are kept once.
    assert_eq!(plan.rows_bytes, 4 * text.len() as u64);
    let output = tempfile::tempdir().unwrap();
    let mut engine = CpuEngine::new(2).unwrap();
    let requests = Requests::default();
    let summary =
        train(&workload, inputs.path(), output.path(), &mut engine, &mut |_| (), &requests)
            .unwrap();
    // From the first characters of a window alone the next is not known.
    let accuracy = summary.metrics["test_accuracy"];
    assert!(accuracy > 0.85, "{accuracy}");
    writes(output.path(), &mut engine);
}

/// What was learnt by heart is written by heart; other seeds and temperatures write other texts.
fn writes(model: &Path, engine: &mut CpuEngine) {
    let model = load_model(model).unwrap();
    let mut write = |prompt: &str, temperature: f64, seed: u64| {
        let sampling = Sampling { prompt: prompt.to_owned(), characters: 27, temperature, seed };
        let mut text = String::new();
        let ended = sample(&model, engine, &sampling, &mut |character| text.push(character));
        ended.map(|()| text).map_err(|refused| refused.to_string())
    };
    let by_heart = write("the quick brown ", 0.1, 1).unwrap();
    assert_eq!(by_heart, "fox jumps over a lazy dog. ");
    let wild = write("t", 50.0, 1).unwrap();
    assert_eq!(wild, write("t", 50.0, 1).unwrap());
    assert_ne!(wild, write("t", 50.0, 2).unwrap());
    assert!(write("", 1.0, 1).unwrap_err().contains("prompt is empty"));
    assert!(write("The", 1.0, 1).unwrap_err().contains("has no 'T'"));
    assert!(write("t", 0.0, 1).unwrap_err().contains("temperature"));
}

/// The final weights, and the checkpoints on the way.
fn run(
    workload: &Workload,
    inputs: &Path,
    resume: Option<&Path>,
    threads: usize,
) -> (Vec<u8>, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let (output, folder) = (dir.path().join("output"), dir.path().join("checkpoints"));
    let places = Places { inputs, output: &output, checkpoints: Some(&folder), resume, disk: None };
    let mut checkpoints = Vec::new();
    let mut observer = |event| {
        if let Event::Checkpoint(file) = event {
            checkpoints.push(fs::read(folder.join(&file.name)).unwrap());
        }
    };
    let mut engine = CpuEngine::new(threads).unwrap();
    let requests = Requests::default();
    train_at(&places, workload, &mut engine, &mut observer, &requests).unwrap();
    (fs::read(output.join(WEIGHTS)).unwrap(), checkpoints)
}

#[test]
fn threads_and_interruptions_change_no_bit() {
    let inputs = inputs(120);
    for layers in [TRANSFORMER.to_owned(), recurrent("gru"), recurrent("lstm")] {
        let workload = Workload::from_json(&workload(&layers, 3, "")).unwrap();
        let (straight, checkpoints) = run(&workload, inputs.path(), None, 1);
        for threads in [2, 3, 4, 7] {
            assert!(run(&workload, inputs.path(), None, threads).0 == straight, "{threads}");
        }
        assert_eq!(checkpoints.len(), 2);
        for (epoch, bytes) in checkpoints.iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let from = dir.path().join("resume.safetensors");
            fs::write(&from, bytes).unwrap();
            let resumed = run(&workload, inputs.path(), Some(&from), 1 + epoch).0;
            assert!(resumed == straight, "after epoch {}", epoch + 1);
        }
    }
}

#[test]
fn weights_have_the_names_and_shapes_that_pytorch_gives_them() {
    let inputs = inputs(40);
    let shapes = |layers: &str| {
        let workload = Workload::from_json(&workload(layers, 1, "")).unwrap();
        let (bytes, _) = run(&workload, inputs.path(), None, 1);
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names: Vec<String> = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| format!("{name} {:?}", view.shape()))
            .collect();
        names.sort();
        names
    };
    let transformer = shapes(TRANSFORMER);
    for expected in [
        "0.weight [3, 16]",
        "1.weight [9, 16]",
        "2.layers.1.in_proj_bias [48]",
        "2.layers.1.in_proj_weight [48, 16]",
        "2.layers.1.out_proj.bias [16]",
        "2.layers.1.out_proj.weight [16, 16]",
    ] {
        assert!(transformer.iter().any(|name| name == expected), "{expected}: {transformer:?}");
    }
    let gru = shapes(&recurrent("gru"));
    let expected = [
        "0.weight [3, 8]",
        "1.bias_hh_l0 [36]",
        "1.bias_ih_l0 [36]",
        "1.weight_hh_l0 [36, 12]",
        "1.weight_ih_l0 [36, 8]",
        "2.bias_hh_l0 [36]",
        "2.bias_ih_l0 [36]",
        "2.weight_hh_l0 [36, 12]",
        "2.weight_ih_l0 [36, 12]",
        "3.bias [2]",
        "3.weight [2, 12]",
    ];
    assert_eq!(gru, expected);
    let lstm = shapes(&recurrent("lstm"));
    assert!(lstm.contains(&"1.weight_ih_l0 [48, 8]".to_owned()), "{lstm:?}");
}

#[test]
fn ids_outside_the_vocabulary_are_named_before_anything_runs() {
    let inputs = inputs(30);
    let layers = TRANSFORMER.replace(r#""vocabulary": 3"#, r#""vocabulary": 2"#);
    let refused = Workload::from_json(&workload(&layers, 1, "")).unwrap().check(inputs.path());
    let fault = refused.unwrap_err();
    assert!(matches!(fault, CheckError::Id { id: 2.0, vocabulary: 2, .. }), "{fault:?}");
    let text = fault.to_string();
    assert!(text.starts_with("data.csv, row 1, column \"t"), "{text}");
    assert!(text.contains("2 is no id of a vocabulary of 2"), "{text}");
}

#[test]
fn definitions_that_cannot_work_say_why() {
    let refused = |layers: &str, data: &str| {
        Workload::from_json(&workload(layers, 1, data)).unwrap_err().to_string()
    };
    let late = r#"{"type": "dense", "units": 4},
        {"type": "embedding", "vocabulary": 3, "dimensions": 4}, {"type": "dense", "units": 2}"#;
    assert_eq!(
        refused(late, ""),
        "model.layers, layer 1 (embedding): an embedding takes ids from the data; make it the \
         first layer"
    );
    let within = r#"{"type": "residual", "layers": [
        {"type": "embedding", "vocabulary": 3, "dimensions": 4}]}, {"type": "dense", "units": 2}"#;
    assert!(refused(within, "").contains("make it the first layer"));
    assert_eq!(
        refused(TRANSFORMER, r#", "normalize": "standard""#),
        "data.normalize: the model begins with an embedding, which takes ids as they are; remove \
         it"
    );
    assert!(refused(TRANSFORMER, r#", "scale": 0.5"#).starts_with("data.scale: "));
    for (wrong, told) in [
        (r#"{"type": "embedding", "vocabulary": 0, "dimensions": 4}"#, "vocabulary: 0 is out of"),
        (r#"{"type": "embedding", "vocabulary": 99999999, "dimensions": 4}"#, "16777216 allowed"),
        (r#"{"type": "embedding", "vocabulary": 3, "dimensions": 0}"#, "dimensions: 0 is out of"),
        (r#"{"type": "attention", "heads": 0}"#, "heads: 0 is out of"),
        (r#"{"type": "attention", "heads": 1, "dropout": 1.0}"#, "dropout: 1 is out of"),
        (r#"{"type": "gru", "units": 0}"#, "(gru), units: 0 is out of"),
        (r#"{"type": "lstm", "units": 70000}"#, "(lstm), units: 70000 is more than"),
    ] {
        let text = refused(wrong, "");
        assert!(text.contains(told), "{text}");
    }
}

/// Rows of 64 of 96 characters through two blocks 128 wide, in batches of 128.
#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_a_transformer_and_recurrent_models() {
    const ROWS: usize = 512;
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<u8> = (0..ROWS * 64).map(|place| (place * 7919 / 13 % 96) as u8).collect();
    let labels: Vec<u8> = (0..ROWS).map(|row| (row % 2) as u8).collect();
    fs::write(folder.path().join("x.npy"), npy(&format!("{ROWS}, 64"), &ids)).unwrap();
    fs::write(folder.path().join("y.npy"), npy(&format!("{ROWS},"), &labels)).unwrap();
    let block = r#"{"type": "residual", "layers": [{"type": "layer_norm"},
            {"type": "attention", "heads": 4, "causal": true}]},
        {"type": "residual", "layers": [{"type": "layer_norm"},
            {"type": "dense", "units": 512, "activation": "gelu"},
            {"type": "dense", "units": 128}]},"#;
    let transformer = format!(r#"{{"type": "positional_embedding"}}, {block} {block}"#);
    let gru = r#"{"type": "gru", "units": 128, "return_sequences": true},"#;
    let lstm = r#"{"type": "lstm", "units": 128, "return_sequences": true},"#;
    for (name, layers) in [("transformer", &*transformer), ("gru", gru), ("lstm", lstm)] {
        let text = format!(
            r#"{{"model": {{"layers": [
                    {{"type": "embedding", "vocabulary": 96, "dimensions": 128}}, {layers}
                    {{"type": "layer_norm"}}, {{"type": "flatten"}},
                    {{"type": "dense", "units": 2}}]}},
                "data": {{"source": "x.npy", "labels": "y.npy"}},
                "training": {{"epochs": 2, "batch_size": 128, "loss": "softmax_cross_entropy",
                              "optimizer": {{"type": "adam", "learning_rate": 0.001}}}}}}"#
        );
        let workload = Workload::from_json(&text).unwrap();
        for threads in [1, 2] {
            let mut engine = CpuEngine::new(threads).unwrap();
            let (output, requests) = (tempfile::tempdir().unwrap(), Requests::default());
            let began = Instant::now();
            train(&workload, folder.path(), output.path(), &mut engine, &mut |_| (), &requests)
                .unwrap();
            let rate = (2 * ROWS) as f64 / began.elapsed().as_secs_f64();
            println!("{name}, {threads} threads: {rate:.0} rows/s");
        }
    }
}

fn npy(shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}
