//! How fast two usual models train, in samples a second and processor time a sample.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Instant;

use cyxwiz_trainer::{CpuEngine, Requests, Workload, train};

const ROWS: usize = 2560;
const EPOCHS: usize = 3;

const MLP: &str = r#"{"type": "dense", "units": 512, "activation": "relu"},
    {"type": "dense", "units": 256, "activation": "relu"}, {"type": "dense", "units": 10}"#;
const CNN: &str = r#"{"type": "reshape", "shape": [1, 28, 28]},
    {"type": "conv2d", "filters": 16, "kernel": 3, "padding": 1, "activation": "relu"},
    {"type": "max_pool2d", "kernel": 2},
    {"type": "conv2d", "filters": 32, "kernel": 3, "padding": 1, "activation": "relu"},
    {"type": "max_pool2d", "kernel": 2}, {"type": "flatten"},
    {"type": "dense", "units": 128, "activation": "relu"}, {"type": "dense", "units": 10}"#;

/// Pictures of 28 x 28 points in which each class lights up a place of its own.
fn data(folder: &Path) {
    let mut pictures = vec![0_u8; ROWS * 784];
    for ((place, point), drawn) in pictures.iter_mut().enumerate().zip(numbers(ROWS * 784)) {
        let lit = place % 784 / 78 == place / 784 % 10;
        *point = drawn / if lit { 1 } else { 2 };
    }
    let labels: Vec<u8> = (0..ROWS).map(|row| (row % 10) as u8).collect();
    std::fs::write(folder.join("x.npy"), npy(&format!("{ROWS}, 784"), &pictures)).unwrap();
    std::fs::write(folder.join("y.npy"), npy(&format!("{ROWS},"), &labels)).unwrap();
}

fn npy(shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

fn workload(layers: &str, data: &str) -> Workload {
    let text = format!(
        r#"{{"model": {{"layers": [{layers}]}},
            "data": {{{data}}},
            "training": {{"epochs": {EPOCHS}, "batch_size": 128, "seed": 1,
                          "loss": "softmax_cross_entropy",
                          "optimizer": {{"type": "adam", "learning_rate": 0.001}}}}}}"#
    );
    Workload::from_json(&text).unwrap()
}

#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_mlp() {
    measure("MLP 784-512-256-10", MLP);
}

#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_cnn() {
    measure("CNN 16-32-128-10", CNN);
}

#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_transformer() {
    let block = r#"{"type": "residual", "layers": [{"type": "layer_norm"},
            {"type": "attention", "heads": 4, "causal": true}]},
        {"type": "residual", "layers": [{"type": "layer_norm"},
            {"type": "dense", "units": 256, "activation": "gelu"},
            {"type": "dense", "units": 64}]}"#;
    let layers = format!(
        r#"{{"type": "embedding", "vocabulary": 64, "dimensions": 64}},
           {{"type": "positional_embedding"}}, {block}, {block}, {{"type": "layer_norm"}},
           {{"type": "dense", "units": 64}}"#
    );
    let folder = tempfile::tempdir().unwrap();
    let text: String = numbers(ROWS / 2 * 32 + 1).map(|it| char::from(b'0' + it % 64)).collect();
    std::fs::write(folder.path().join("text.txt"), text).unwrap();
    let data = r#""source": "text.txt", "text": {"context": 32, "stride": 32}"#;
    measure_on("transformer 2 x 64", &workload(&layers, data), ROWS / 2, folder.path());
}

fn measure(name: &str, layers: &str) {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let data = r#""source": "x.npy", "labels": "y.npy", "scale": 0.00392"#;
    measure_on(name, &workload(layers, data), ROWS, folder.path());
}

/// Drawn bytes, the same at all times.
fn numbers(count: usize) -> impl Iterator<Item = u8> {
    let mut state = 1_u32;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

fn measure_on(name: &str, work: &Workload, rows: usize, folder: &Path) {
    for threads in [1, 2] {
        let (mut wall, mut used) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            let mut engine = CpuEngine::new(threads).unwrap();
            let (output, requests) = (tempfile::tempdir().unwrap(), Requests::default());
            let (began, before) = (Instant::now(), processor_seconds());
            train(work, folder, output.path(), &mut engine, &mut |_| {}, &requests).unwrap();
            wall = wall.min(began.elapsed().as_secs_f64());
            used = used.min(processor_seconds() - before);
        }
        let samples = (rows * EPOCHS) as f64;
        println!(
            "{name}, {threads} threads: {:.0} samples/s, {:.1} µs of a processor each",
            samples / wall,
            1e6 * used / samples
        );
    }
}

/// What this process has used so far, from Linux: other programs do not count.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
