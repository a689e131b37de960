//! Models of pictures from end to end: accuracy of a convolutional network on the digits, equal
//! bits on any number of threads and after an interruption, tables without data, and what is
//! refused in which words.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cyxwiz_trainer::frames::{FailureClass, OutputFile, Summary};
use cyxwiz_trainer::{
    CpuEngine, Event, LayerPlan, ModelSpec, ModelTable, Places, Requests, Workload, evaluate,
    load_model, model_table, train_at,
};

/// The network that reaches 98 % elsewhere.
const CNN: &str = r#"
    {type = "reshape", shape = [1, 8, 8]},
    {type = "conv2d", filters = 16, kernel = 3, padding = 1, activation = "relu"},
    {type = "max_pool2d", kernel = 2},
    {type = "conv2d", filters = 32, kernel = 3, padding = 1, activation = "relu"},
    {type = "max_pool2d", kernel = 2},
    {type = "flatten"},
    {type = "dense", units = 64, activation = "relu"},
    {type = "dense", units = 10},
"#;

/// Small, with buffers and layers within layers.
const NORMED: &str = r#"
    {type = "reshape", shape = [1, 8, 8]},
    {type = "conv2d", filters = 8, kernel = 3, padding = "same", bias = false},
    {type = "batch_norm"},
    {type = "activation", function = "relu"},
    {type = "residual", activation = "relu", layers = [
        {type = "conv2d", filters = 12, kernel = 3, stride = 2, padding = 1, groups = 4},
        {type = "batch_norm", momentum = 0.2},
        {type = "dropout", rate = 0.2}]},
    {type = "avg_pool2d", kernel = 3, stride = 1, padding = 1},
    {type = "global_avg_pool"},
    {type = "layer_norm"},
    {type = "dense", units = 10},
"#;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn digits(layers: &str, epochs: u32, batch: u32) -> Workload {
    let text = format!(
        "model = {{layers = [{layers}]}}\n\
         data = {{source = \"digits.csv\", label = \"label\", scale = 0.0625, test = {{every = 5}}}}\n\
         [training]\nepochs = {epochs}\nbatch_size = {batch}\nseed = 1\n\
         loss = \"softmax_cross_entropy\"\n\
         checkpoint_every_epochs = 1\ncheckpoint_min_seconds = 0\n\
         optimizer = {{type = \"adam\", learning_rate = 0.001}}",
        layers = layers.replace('\n', " ").trim().trim_end_matches(','),
    );
    toml::from_str(&text).unwrap()
}

struct Ended {
    summary: Summary,
    folder: tempfile::TempDir,
    /// Content by epoch.
    checkpoints: BTreeMap<u32, Vec<u8>>,
}

impl Ended {
    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn files(&self) -> &[OutputFile] {
        &self.summary.outputs
    }
}

fn run(workload: &Workload, threads: usize, resume: Option<&[u8]>) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("resume.safetensors");
    if let Some(bytes) = resume {
        std::fs::write(&from, bytes).unwrap();
    }
    let left = folder.path().join("checkpoints");
    let places = Places {
        inputs: &examples(),
        output: &folder.path().join("output"),
        checkpoints: Some(&left),
        resume: resume.map(|_| &*from),
        disk: None,
    };
    let mut checkpoints = BTreeMap::new();
    let mut observer = |event| {
        if let Event::Checkpoint(file) = event {
            checkpoints.insert(file.epoch, std::fs::read(left.join(&file.name)).unwrap());
        }
    };
    let mut engine = CpuEngine::new(threads).unwrap();
    let requests = Requests::default();
    let summary = train_at(&places, workload, &mut engine, &mut observer, &requests).unwrap();
    Ended { summary, folder, checkpoints }
}

#[test]
fn a_convolutional_network_learns_the_digits() {
    let mut workload = digits(CNN, 30, 32);
    workload.training.checkpoint_every_epochs = 0;
    let ended = run(&workload, 2, None);
    let accuracy = ended.summary.metrics["test_accuracy"];
    assert!(accuracy >= 0.965, "test accuracy {accuracy}");
    let mut engine = CpuEngine::new(1).unwrap();
    let again = evaluate(&ended.output(), &workload, &examples(), &mut engine).unwrap();
    assert_eq!(again["test_accuracy"], accuracy);
    assert_eq!(load_model(&ended.output()).unwrap().file().input_shape, [64]);
}

#[test]
fn one_to_seven_threads_give_the_same_files() {
    for layers in [CNN, NORMED] {
        let workload = digits(layers, 1, 200);
        let one = run(&workload, 1, None);
        for threads in [2, 3, 4, 7] {
            let more = run(&workload, threads, None);
            assert_eq!(more.files(), one.files(), "{threads} threads");
            assert!(more.checkpoints == one.checkpoints, "{threads} threads");
        }
    }
}

#[test]
fn an_interruption_changes_no_bit_of_buffers_or_weights() {
    let workload = digits(NORMED, 4, 32);
    let straight = run(&workload, 1, None);
    assert_eq!(straight.checkpoints.len(), 3);
    for (epoch, bytes) in &straight.checkpoints {
        let names = safetensors::SafeTensors::deserialize(bytes).unwrap();
        for name in ["model.2.running_var", "model.4.layers.1.running_mean"] {
            assert!(names.tensor(name).is_ok(), "{name}");
        }
        assert!(names.tensor("optimizer.first.2.running_var").is_err(), "it is not learned");
        let resumed = run(&workload, 2, Some(bytes));
        assert_eq!(resumed.files(), straight.files(), "from epoch {epoch}");
        assert_eq!(resumed.summary.metrics, straight.summary.metrics);
    }
}

#[test]
fn running_statistics_are_used_after_training() {
    let ended = run(&digits(NORMED, 2, 32), 1, None);
    let model = load_model(&ended.output()).unwrap();
    let rows: Vec<f32> = (0..64 * 6).map(|n| (n * 7 % 17) as f32).collect();
    let mut engine = CpuEngine::new(1).unwrap();
    let together = model.predict(&mut engine, &rows).unwrap();
    for (row, expected) in rows.chunks(64).zip(together.chunks(10)) {
        let alone = model.predict(&mut engine, row).unwrap();
        for (alone, expected) in alone.iter().zip(expected) {
            assert!((alone - expected).abs() < 1e-5, "a row depends on its batch");
        }
    }
}

fn model(layers: &str) -> ModelSpec {
    digits(layers, 1, 1).model
}

#[test]
fn a_table_tells_shapes_and_work_without_data() {
    let table = model_table(&model(CNN), &[64], 32).unwrap();
    let shapes = described(&table);
    assert_eq!(shapes[0], "0 reshape 1x8x8 0");
    assert_eq!(shapes[1], "1 conv2d 16x8x8 160");
    assert_eq!(shapes[2], "2 relu 16x8x8 0");
    assert_eq!(shapes[6], "6 max_pool2d 32x2x2 0");
    assert_eq!(shapes[7], "7 flatten 128 0");
    assert_eq!(shapes[8], format!("8 dense 64 {}", 128 * 64 + 64));
    assert_eq!(table.layers[1].flops, 2 * 9 * 16 * 64);
    assert_eq!(table.parameters, 160 + 32 * 145 + 129 * 64 + 650);
    assert_eq!(table.flops, table.layers.iter().map(|layer| layer.flops).sum::<u64>());
    assert!(table.memory_bytes > 8 * table.parameters);
    let larger = model_table(&model(CNN), &[64], 64).unwrap();
    assert!(larger.memory_bytes > table.memory_bytes);
    let plan = digits(CNN, 1, 32).check(&examples()).unwrap();
    assert_eq!(plan.layers, table.layers);
}

/// Layers within a block stand below it; what the block adds itself are sums alone.
#[test]
fn a_table_shows_what_a_residual_block_is_made_of() {
    let table = model_table(&model(NORMED), &[64], 32).unwrap();
    let block: Vec<_> =
        table.layers.iter().filter(|layer| layer.path.split('.').next() == Some("4")).collect();
    let lines: Vec<_> =
        described(&table).into_iter().filter(|line| line.starts_with('4')).collect();
    assert_eq!(
        lines,
        [
            "4 residual 12x4x4 0".to_owned(),
            format!("4.layers.0 conv2d 12x4x4 {}", 12 * 2 * 9 + 12),
            "4.layers.1 batch_norm 12x4x4 24".to_owned(),
            "4.layers.2 dropout 12x4x4 0".to_owned(),
            format!("4.projection conv2d 12x4x4 {}", 12 * 8 + 12),
        ]
    );
    assert_eq!(block.iter().map(|layer| layer.depth).collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
    assert_eq!(block[0].flops, 12 * 4 * 4);
    assert_eq!(block[0].memory_bytes, 4 * 2 * 32 * 12 * 4 * 4);
    assert_eq!(block[4].flops, 2 * 8 * 12 * 4 * 4);
    let sum = |of: fn(&LayerPlan) -> u64| table.layers.iter().map(of).sum::<u64>();
    assert_eq!(table.parameters, sum(|layer| layer.parameters));
    assert_eq!(table.memory_bytes, sum(|layer| layer.memory_bytes));
    assert_eq!(table.flops, sum(|layer| layer.flops));
}

/// Path, kind, shape and parameters of each layer.
fn described(table: &ModelTable) -> Vec<String> {
    let line = |layer: &LayerPlan| {
        let shape: Vec<_> = layer.output_shape.iter().map(u64::to_string).collect();
        format!("{} {} {} {}", layer.path, layer.kind, shape.join("x"), layer.parameters)
    };
    table.layers.iter().map(line).collect()
}

#[track_caller]
fn refused(layers: &str, input: &[usize], words: &[&str]) {
    let error = model_table(&model(layers), input, 32).unwrap_err();
    let message = error.message();
    assert_eq!(error.class(), FailureClass::InvalidJob, "{message}");
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

#[test]
fn layers_that_do_not_fit_are_refused_with_their_place() {
    let picture: &[usize] = &[3, 8, 8];
    let conv = |keys: &str| format!(r#"{{type = "conv2d", filters = 4, {keys}}}"#);
    refused(&conv("kernel = 3"), &[64], &["layer 0 (conv2d)", "[64]", "reshape"]);
    refused(&conv("kernel = 9"), picture, &["layer 0 (conv2d)", "9 x 9", "[3, 8, 8]"]);
    refused(&conv("kernel = [3, 5], dilation = 3"), picture, &["7 x 13"]);
    refused(&conv("kernel = 3, groups = 2"), picture, &["3 channels", "2 groups"]);
    refused(&conv("kernel = 3, groups = 3"), picture, &["groups", "divisor of filters"]);
    refused(&conv("kernel = 0"), picture, &["layer 0 (conv2d), kernel", "1 or more"]);
    refused(&conv("kernel = 3, stride = [1, 0]"), picture, &["stride", "1 or more"]);
    refused(&conv("kernel = 3, padding = 2000"), picture, &["padding", "1024"]);
    refused(&conv("kernel = 3, stride = 2, padding = \"same\""), picture, &["same", "stride"]);
    let one = conv("kernel = 1");
    let after = |layer: &str| format!("{one}, {layer}");
    let pool = r#"{type = "max_pool2d", kernel = 2, padding = 2}"#;
    refused(&after(pool), picture, &["layer 1 (max_pool2d), padding", "half"]);
    let pool = r#"{type = "avg_pool2d", kernel = 9}"#;
    refused(&after(pool), picture, &["layer 1 (avg_pool2d)", "9 x 9", "[4, 8, 8]"]);
    let shape = r#"{type = "reshape", shape = [3, 8]}"#;
    refused(&after(shape), picture, &["[4, 8, 8]", "256", "[3, 8]", "24"]);
    let huge = r#"{type = "reshape", shape = [4000000000, 4000000000, 4000000000]}"#;
    refused(&after(huge), picture, &["layer 1 (reshape)", "256"]);
    refused(&after(r#"{type = "reshape", shape = [0]}"#), picture, &["1 or more"]);
    refused(&after(r#"{type = "layer_norm", axes = 4}"#), picture, &["4 axes"]);
    refused(&after(r#"{type = "batch_norm", momentum = 2.0}"#), picture, &["momentum", "0 to 1"]);
    refused(&after(r#"{type = "layer_norm", epsilon = 0.0}"#), picture, &["epsilon"]);
    let flat = r#"{type = "residual", layers = [{type = "flatten"}]}"#;
    refused(&after(flat), picture, &["layer 1 (residual)", "projection", "[4, 8, 8]", "[256]"]);
    refused(&after(r#"{type = "residual", layers = []}"#), picture, &["layers", "no layers"]);
    let inner = format!(r#"{{type = "residual", layers = [{}]}}"#, conv("kernel = 12"));
    refused(&after(&inner), picture, &["layer 1 (residual), layer 0 (conv2d)", "12 x 12"]);
    let mut deep = one.clone();
    for _ in 0..9 {
        deep = format!(r#"{{type = "residual", layers = [{deep}]}}"#);
    }
    refused(&deep, picture, &["depth", "8"]);
    let wide = r#"{type = "conv2d", filters = 65536, kernel = 1}"#;
    refused(&format!("{wide}, {wide}"), &[3, 1, 1], &["parameters", "filters"]);
    refused(wide, &[1, 64, 64], &["layer 0 (conv2d)", "values a row"]);
    refused(&one, &[], &["input shape []"]);
    refused(&one, &[3, 0, 8], &["input shape [3, 0, 8]"]);
    let plan = digits(&one, 1, 1).check(&examples()).unwrap_err();
    assert!(plan.message().contains("[64]"), "{}", plan.message());
    let open = format!(r#"{{type = "reshape", shape = [1, 8, 8]}}, {one}"#);
    let plan = digits(&open, 1, 1).check(&examples()).unwrap_err();
    assert_eq!(plan.class(), FailureClass::InvalidData);
    assert!(plan.message().contains("[4, 8, 8]"), "{}", plan.message());
}
