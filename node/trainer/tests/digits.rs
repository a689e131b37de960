//! The example job from end to end: accuracy, equal bits on any number of threads, stopping, and
//! the result read back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use cyxwiz_trainer::frames::Summary;
use cyxwiz_trainer::{
    CpuEngine, Event, Places, Requests, TrainError, Workload, evaluate, load_model, train, train_at,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The example without what is the node's.
fn digits() -> Workload {
    let text = std::fs::read_to_string(examples().join("digits.toml")).unwrap();
    let mut table: toml::Table = toml::from_str(&text).unwrap();
    table.remove("name").unwrap();
    table.remove("requirements").unwrap();
    table.try_into().unwrap()
}

fn run(workload: &Workload, output: &Path, threads: usize) -> Summary {
    let mut engine = CpuEngine::new(threads).unwrap();
    let requests = Requests::default();
    train(workload, &examples(), output, &mut engine, &mut |_| {}, &requests).unwrap()
}

#[test]
fn the_example_reaches_its_accuracy_and_reads_back() {
    let output = tempfile::tempdir().unwrap();
    let summary = run(&digits(), output.path(), 1);
    let accuracy = summary.metrics["test_accuracy"];
    assert!(accuracy >= 0.97, "test accuracy {accuracy}");
    assert_eq!(summary.outputs.len(), 3);
    for file in &summary.outputs {
        let length = std::fs::metadata(output.path().join(&file.name)).unwrap().len();
        assert_eq!(length, file.size, "{}", file.name);
    }
    let mut engine = CpuEngine::new(1).unwrap();
    let again = evaluate(output.path(), &digits(), &examples(), &mut engine).unwrap();
    assert_eq!(again["test_accuracy"], accuracy);
    assert_eq!(again["test_loss"], summary.metrics["test_loss"]);
    let model = load_model(output.path()).unwrap();
    assert_eq!(model.file().outputs.names(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let confusion: serde_json::Value =
        serde_json::from_slice(&std::fs::read(output.path().join("metrics.json")).unwrap())
            .unwrap();
    let rows = confusion["confusion"]["counts"].as_array().unwrap();
    let all: u64 =
        rows.iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(all, 360);
    assert_eq!(confusion["history"].as_array().unwrap().len(), digits().training.epochs as usize);
}

#[test]
fn one_two_and_three_threads_give_the_same_files() {
    let mut workload = digits();
    workload.training.epochs = 2;
    // Wide and large enough that every kind of operation is divided over threads.
    workload.training.batch_size = 200;
    let mut files = Vec::new();
    for threads in [1, 2, 3] {
        let output = tempfile::tempdir().unwrap();
        files.push(run(&workload, output.path(), threads).outputs);
    }
    assert_eq!(files[0], files[1]);
    assert_eq!(files[0], files[2]);
    workload.training.seed += 1;
    let output = tempfile::tempdir().unwrap();
    assert_ne!(files[0], run(&workload, output.path(), 1).outputs, "the seed must matter");
}

#[test]
fn a_raised_flag_stops_the_run_and_leaves_no_file() {
    let output = tempfile::tempdir().unwrap();
    let requests = Requests::default();
    let mut epochs = 0;
    let mut observer = |event| {
        if let Event::Progress(progress) = event {
            epochs = progress.epoch;
            if progress.epoch == 2 {
                requests.stop();
            }
        }
    };
    let mut engine = CpuEngine::new(1).unwrap();
    let ended = train(&digits(), &examples(), output.path(), &mut engine, &mut observer, &requests);
    assert!(matches!(ended, Err(TrainError::Stopped { epoch: 2 | 3 })), "{ended:?}");
    assert_eq!(epochs, 2);
    assert_eq!(std::fs::read_dir(output.path()).unwrap().count(), 0);
}

#[test]
fn damaged_models_are_refused() {
    let mut workload = digits();
    workload.training.epochs = 1;
    let output = tempfile::tempdir().unwrap();
    run(&workload, output.path(), 1);
    let weights_path = output.path().join("model.safetensors");
    let model_path = output.path().join("model.json");
    let weights = std::fs::read(&weights_path).unwrap();
    let model = std::fs::read_to_string(&model_path).unwrap();
    let refused = |weights: &[u8], model: &str, word: &str| {
        std::fs::write(&weights_path, weights).unwrap();
        std::fs::write(&model_path, model).unwrap();
        let message = load_model(output.path()).unwrap_err().to_string();
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    };
    refused(&weights[..weights.len() - 1], &model, "damaged");
    refused(&[], &model, "damaged");
    refused(&weights, &model.replace("512", "511"), "0.weight");
    refused(&weights, &model.replace("256", "255"), "3.weight");
    refused(&weights, &model.replace("\"units\": 10", "\"units\": 9"), "contradicts");
    refused(&weights, &model.replace("_version\": 2", "_version\": 1"), "version 1");
    refused(&weights, "{}", "missing field");
    let mut infinite = weights.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    refused(&infinite, &model, "not finite");
}

/// Prints accuracy over ten seeds and time on one and two threads.
#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_ten_seeds() {
    let mut workload = digits();
    let plan = workload.check(&examples()).unwrap();
    println!("{} parameters, {} bytes planned", plan.parameters, plan.memory_bytes);
    let samples = plan.train_rows as f64 * f64::from(workload.training.epochs);
    let mut worst = 1.0_f64;
    for seed in 1..=10 {
        workload.training.seed = seed;
        let mut seconds = Vec::new();
        for threads in [1, 2] {
            let output = tempfile::tempdir().unwrap();
            let began = Instant::now();
            let summary = run(&workload, output.path(), threads);
            seconds.push(began.elapsed().as_secs_f64());
            let accuracy = summary.metrics["test_accuracy"];
            worst = worst.min(accuracy);
            println!(
                "seed {seed}, {threads} threads: accuracy {accuracy:.4}, {:.2} s, {:.0} rows/s",
                seconds[threads - 1],
                samples / seconds[threads - 1],
            );
        }
    }
    assert!(worst >= 0.955, "{worst}");
}

/// Prints what checkpoints cost: none, as often as by default, and after every fifth epoch however
/// short it is.
#[test]
#[ignore = "a measurement: cargo test -p cyxwiz-trainer --release -- --ignored --nocapture"]
fn measure_checkpoints() {
    let mut best = [(f64::MAX, f64::MAX); 3];
    let mut told = [(0, 0); 3];
    for _ in 0..5 {
        for (kind, (every, seconds)) in [(0, 2), (5, 2), (5, 0)].into_iter().enumerate() {
            let mut workload = digits();
            workload.training.checkpoint_every_epochs = every;
            workload.training.checkpoint_min_seconds = seconds;
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = folder.path().join("checkpoints");
            let places = Places {
                inputs: &examples(),
                output: &folder.path().join("output"),
                checkpoints: Some(&checkpoints),
                resume: None,
                disk: None,
            };
            let mut files = (0, 0);
            let mut observer = |event| {
                if let Event::Checkpoint(file) = event {
                    files = (files.0 + 1, file.size);
                }
            };
            let mut engine = CpuEngine::new(1).unwrap();
            let requests = Requests::default();
            let (began, used) = (Instant::now(), processor_seconds());
            train_at(&places, &workload, &mut engine, &mut observer, &requests).unwrap();
            let (wall, used) = (began.elapsed().as_secs_f64(), processor_seconds() - used);
            best[kind] = (best[kind].0.min(wall), best[kind].1.min(used));
            told[kind] = files;
        }
    }
    for (kind, name) in ["none", "default", "every fifth epoch"].into_iter().enumerate() {
        let (count, bytes) = told[kind];
        let (wall, used) = best[kind];
        let more = |this: f64, none: f64| (this / none - 1.0) * 100.0;
        println!(
            "{name}: {count} of {bytes} bytes; {wall:.2} s ({:+.1} %), of a processor {used:.2} s \
             ({:+.1} %)",
            more(wall, best[0].0),
            more(used, best[0].1),
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
