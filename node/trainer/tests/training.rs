//! Ways of training from outside: what each loss learns, what clipping and schedules do to a step,
//! when a run stops and what it then leaves, and how a divergence is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use cyxwiz_trainer::frames::{FailureClass, Progress, Summary};
use cyxwiz_trainer::{
    CpuEngine, Diverged, Event, Requests, TrainError, Workload, load_model, train,
};
use serde_json::Value;
use tempfile::TempDir;

/// Rows around two circles; of the outer one there are `outer` in every ten.
fn circles(outer: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut text = "a,b,kind,far,right,p,q,radius\n".to_owned();
    for n in 0..240 {
        let far = u32::from(n % 10 < outer);
        let (angle, radius) = (f64::from(n) * 0.7, 1.0 + f64::from(far));
        let (a, b) = (radius * angle.cos(), radius * angle.sin());
        let (right, p) = (u32::from(a > 0.0), 0.1 + 0.8 * f64::from(far));
        text += &format!("{a},{b},k{far},{far},{right},{p},{},{radius}\n", 1.0 - p);
    }
    fs::write(dir.path().join("data.csv"), text).unwrap();
    dir
}

fn workload(label: &str, units: u32, training: &str) -> Workload {
    let text = format!(
        r#"{{"model": {{"layers": [
                {{"type": "dense", "units": 16, "activation": "tanh"}},
                {{"type": "dense", "units": {units}}}]}},
            "data": {{"source": "data.csv", "label": {label}, "features": ["a", "b"],
                      "test": {{"every": 4}}, "validation": 0.2}},
            "training": {{"batch_size": 16, "seed": 3, {training}}}}}"#
    );
    Workload::from_json(&text).unwrap()
}

struct Course {
    ended: Result<Summary, TrainError>,
    /// At the end of each epoch.
    epochs: Vec<Progress>,
}

fn run(workload: &Workload, dir: &Path) -> Course {
    let mut epochs = Vec::new();
    let mut observer = |event| match event {
        Event::Progress(progress) if progress.batch == progress.batches => epochs.push(progress),
        Event::Reading(_)
        | Event::Started(_)
        | Event::Progress(_)
        | Event::Checkpoint(_)
        | Event::Warning(_) => {}
    };
    let requests = Requests::default();
    let engine = &mut CpuEngine::new(1).unwrap();
    let ended = train(workload, dir, &dir.join("output"), engine, &mut observer, &requests);
    Course { ended, epochs }
}

fn metrics_file(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("output/metrics.json")).unwrap()).unwrap()
}

const RMSPROP: &str = r#""optimizer": {"type": "rmsprop", "learning_rate": 0.01}"#;

#[test]
fn every_loss_learns() {
    let dir = circles(5);
    for (label, units, loss, metric, least) in [
        (r#""kind""#, 2, r#""softmax_cross_entropy""#, "test_accuracy", 0.95),
        (
            r#""kind""#,
            2,
            r#"{"type": "softmax_cross_entropy", "label_smoothing": 0.1}"#,
            "test_f1",
            0.95,
        ),
        (r#"["p", "q"]"#, 2, r#""softmax_cross_entropy""#, "test_accuracy", 0.95),
        (r#""far""#, 1, r#""binary_cross_entropy""#, "test_accuracy", 0.95),
        (
            r#"["far", "right"]"#,
            2,
            r#"{"type": "binary_cross_entropy", "positive_weight": [2, 1]}"#,
            "test_accuracy",
            0.95,
        ),
        (r#""radius""#, 1, r#""mse""#, "test_r2", 0.9),
        (r#""radius""#, 1, r#""mae""#, "test_r2", 0.9),
        (r#""radius""#, 1, r#"{"type": "huber", "delta": 0.2}"#, "test_r2", 0.9),
    ] {
        let training = format!(r#""epochs": 80, "loss": {loss}, {RMSPROP}"#);
        let course = run(&workload(label, units, &training), dir.path());
        let metrics = course.ended.unwrap().metrics;
        assert!(metrics[metric] > least, "{label} {loss}: {metrics:?}");
        assert!(metrics["gradient_norm"] > 0.0);
        assert!(metrics.len() <= 64, "as many as a node takes");
    }
    // Shares of 0.9 and 0.1 leave an entropy that no model can go below.
    let training = format!(r#""epochs": 80, "loss": "softmax_cross_entropy", {RMSPROP}"#);
    let shares = run(&workload(r#"["p", "q"]"#, 2, &training), dir.path());
    let loss = shares.ended.unwrap().metrics["test_loss"];
    assert!((0.325..0.40).contains(&loss), "{loss}");
}

#[test]
fn weights_make_a_rare_class_be_found() {
    let dir = circles(1);
    let recall = |weights: &str| {
        let loss = format!(r#"{{"type": "softmax_cross_entropy"{weights}}}"#);
        let training = format!(r#""epochs": 6, "loss": {loss}, {RMSPROP}"#);
        run(&workload(r#""kind""#, 2, &training), dir.path()).ended.unwrap();
        let file = metrics_file(dir.path());
        let rare = &file["classes"][1];
        assert_eq!(rare["name"], "k1");
        assert_eq!(file["confusion"]["classes"], serde_json::json!(["k0", "k1"]));
        rare["recall"].as_f64().unwrap()
    };
    let (plain, balanced) = (recall(""), recall(r#", "class_weights": "balanced""#));
    assert!(balanced > plain + 0.3, "{balanced}, {plain}");
    // Of 144 training rows `balanced` is about 144 / (2 * 130) and 144 / (2 * 14).
    assert!((recall(r#", "class_weights": [0.55, 5]"#) - balanced).abs() < 0.2);
}

/// Weights before and after a single step of the whole table.
fn one_step(training: &str) -> (Vec<f32>, Vec<f32>, f64) {
    let dir = circles(5);
    let mut values = Vec::new();
    let mut norm = 0.0;
    // At the smallest rate nothing moves in 32 bits.
    for rate in ["1e-30", "0.5"] {
        let training = format!(
            r#""epochs": 1, "loss": "mse", {training}
               "optimizer": {{"type": "sgd", "learning_rate": {rate}}}"#
        );
        let mut workload = workload(r#""radius""#, 1, &training);
        workload.training.batch_size = 1000;
        let course = run(&workload, dir.path());
        norm = course.ended.unwrap().metrics["gradient_norm"];
        let file = fs::read(dir.path().join("output/model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let mut names = tensors.names();
        names.sort_unstable();
        let bytes = names.iter().flat_map(|name| tensors.tensor(name).unwrap().data().to_vec());
        let bytes: Vec<u8> = bytes.collect();
        let (chunks, _) = bytes.as_chunks::<4>();
        values.push(chunks.iter().map(|it| f32::from_le_bytes(*it)).collect::<Vec<f32>>());
    }
    (values.remove(0), values.remove(0), norm)
}

#[test]
fn clipping_bounds_a_step() {
    let moved = |training: &str| {
        let (before, after, norm) = one_step(training);
        let steps: Vec<f64> =
            before.iter().zip(&after).map(|(a, b)| f64::from((b - a).abs()) / 0.5).collect();
        let length = steps.iter().map(|step| step * step).sum::<f64>().sqrt();
        (length, steps.iter().copied().fold(0.0, f64::max), norm)
    };
    let (length, largest, norm) = moved("");
    assert!((length - norm).abs() < 1e-5 * norm, "{length}, {norm}");
    assert!(norm > 0.5 && largest > 0.1);
    let (length, _, unclipped) = moved(r#""clip_norm": 0.25,"#);
    assert!((length - 0.25).abs() < 1e-5, "{length}");
    assert_eq!(unclipped, norm, "the norm that is told is that before clipping");
    let (length, largest, _) = moved(r#""clip_value": 0.05,"#);
    assert!((largest - 0.05).abs() < 1e-5 && length > 0.1, "{largest} {length}");
    let (length, _, _) = moved(r#""clip_norm": 100,"#);
    assert!((length - norm).abs() < 1e-5 * norm, "what is below the limit stays as it is");
}

#[test]
fn the_rate_that_is_told_is_the_one_of_the_last_batch() {
    let dir = circles(5);
    // 144 rows are nine batches an epoch.
    let training = r#""epochs": 4, "loss": "mse",
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "warmup": {"epochs": 1, "start_factor": 0.1},
        "schedule": {"type": "exponential", "factor": 0.5}"#;
    let course = run(&workload(r#""radius""#, 1, training), dir.path());
    course.ended.unwrap();
    let rates: Vec<f64> = course.epochs.iter().map(|epoch| epoch.learning_rate).collect();
    for (rate, expected) in rates.iter().zip([0.1 * (0.1 + 0.9 * 8.0 / 9.0), 0.1, 0.05, 0.025]) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
}

#[test]
fn a_run_stops_early_and_leaves_its_best_epoch() {
    let dir = circles(5);
    let training = |epochs: u32, more: &str| {
        format!(
            r#""epochs": {epochs}, "loss": "mse", {more}
               "optimizer": {{"type": "sgd", "learning_rate": 0.3, "momentum": 0.9}}"#
        )
    };
    let stopping = r#""early_stopping": {"patience": 4, "restore_best": true},"#;
    let course = run(&workload(r#""radius""#, 1, &training(300, stopping)), dir.path());
    let summary = course.ended.unwrap();
    let (best, trained) = (summary.metrics["best_epoch"], summary.metrics["epochs_trained"]);
    assert_eq!(best + 4.0, trained);
    assert_eq!(course.epochs.len() as f64, trained);
    let watched: Vec<f64> = course.epochs.iter().map(|epoch| epoch.metrics["val_loss"]).collect();
    let least = watched.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(watched[best as usize - 1], least);
    assert_eq!(summary.metrics["val_loss"], least, "metrics are those of the result");
    let file = metrics_file(dir.path());
    assert_eq!(
        file["early_stopping"],
        serde_json::json!({
            "metric": "val_loss", "best_epoch": best as u64, "stopped": true, "restored": true
        })
    );
    assert_eq!(file["history"].as_array().unwrap().len() as f64, trained);
    // The model is the one that so many epochs alone would have left.
    let engine = &mut CpuEngine::new(1).unwrap();
    let probe = [0.5, 0.5, -1.0, 2.0];
    let mut outputs = || {
        let model = load_model(&dir.path().join("output")).unwrap();
        model.predict(engine, &probe).unwrap()
    };
    let restored = outputs();
    run(&workload(r#""radius""#, 1, &training(best as u32, "")), dir.path()).ended.unwrap();
    assert_eq!(outputs(), restored);
    // Without `restore_best` it is that of the last.
    let last = stopping.replace("true", "false");
    run(&workload(r#""radius""#, 1, &training(300, &last)), dir.path()).ended.unwrap();
    let stopped = outputs();
    run(&workload(r#""radius""#, 1, &training(trained as u32, "")), dir.path()).ended.unwrap();
    assert_eq!(outputs(), stopped);
    assert_ne!(stopped, restored);
}

#[test]
fn a_divergence_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let diverged = |feature: &str, rate: &str, clip: &str| {
        let rows = (0..40).map(|n| format!("{n}{feature},{n}\n")).collect::<String>();
        fs::write(dir.path().join("data.csv"), format!("a,y\n{rows}")).unwrap();
        let text = format!(
            r#"{{"model": {{"layers": [{{"type": "dense", "units": 1}}]}},
                "data": {{"source": "data.csv", "label": "y"}},
                "training": {{"epochs": 50, "batch_size": 8, "loss": "mse", {clip}
                    "optimizer": {{"type": "sgd", "learning_rate": {rate}}}}}}}"#
        );
        let course = run(&Workload::from_json(&text).unwrap(), dir.path());
        let error = course.ended.unwrap_err();
        assert_eq!(error.class(), FailureClass::Diverged, "{error}");
        assert!(!dir.path().join("output/model.safetensors").exists());
        (error, course.epochs.len())
    };
    let (error, epochs) = diverged("", "10", "");
    let TrainError::Diverged { what: Diverged::Loss | Diverged::Gradient, epoch, batch, .. } =
        error
    else {
        panic!("{error}")
    };
    assert!(epoch as usize == epochs + 1 && (1..=5).contains(&batch));
    // Squares of these are beyond 32 bits, the loss in 64 is not.
    let (error, _) = diverged("e25", "1e-20", "");
    let found =
        matches!(error, TrainError::Diverged { what: Diverged::Gradient, epoch: 1, batch: 1, .. });
    assert!(found, "{error}");
    assert!(
        error.to_string().contains("gradient has no finite number any more in epoch 1, batch 1")
    );
}

#[test]
fn top_k_is_told_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let rows = (0..80).map(|n| format!("{},{}\n", f64::from(n % 8) / 8.0, n % 8));
    fs::write(dir.path().join("data.csv"), format!("a,y\n{}", rows.collect::<String>())).unwrap();
    let text = r#"{"model": {"layers": [{"type": "dense", "units": 8}]},
        "data": {"source": "data.csv", "label": "y", "test": {"every": 5}, "validation": 0.2},
        "training": {"epochs": 3, "batch_size": 8, "loss": "softmax_cross_entropy", "top_k": 3,
            "early_stopping": {"metric": "val_top_3_accuracy", "patience": 9},
            "optimizer": {"type": "adam", "learning_rate": 0.05}}}"#;
    let metrics = run(&Workload::from_json(text).unwrap(), dir.path()).ended.unwrap().metrics;
    for part in ["", "val_", "test_"] {
        let (one, three) =
            (metrics[&format!("{part}accuracy")], metrics[&format!("{part}top_3_accuracy")]);
        assert!(one <= three && three <= 1.0, "{metrics:?}");
    }
    assert!(metrics["test_top_3_accuracy"] > metrics["test_accuracy"]);
}
