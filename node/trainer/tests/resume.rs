//! Checkpoints from outside: a run that goes on from one ends with the same bits as one that was
//! never interrupted, and nothing but an unharmed checkpoint of the same work is gone on from.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cyxwiz_trainer::frames::{FailureClass, Started, Summary};
use cyxwiz_trainer::{CpuEngine, Event, Places, Requests, TrainError, Workload, train_at};
use tempfile::TempDir;

const EPOCHS: u32 = 6;
const SGD: &str = r#"{"type": "sgd", "learning_rate": 0.05}"#;
const MOMENTUM: &str = r#"{"type": "sgd", "learning_rate": 0.05, "momentum": 0.9,
    "nesterov": true, "weight_decay": 0.001}"#;
const ADAM: &str = r#"{"type": "adam", "learning_rate": 0.01, "weight_decay": 0.001}"#;
const ADAMW: &str = r#"{"type": "adamw", "learning_rate": 0.01}"#;

/// Settings that keep a state of their own from epoch to epoch, behind an optimizer.
const RMSPROP: &str = r#"{"type": "rmsprop", "learning_rate": 0.01, "centered": true,
    "momentum": 0.5}, "clip_norm": 0.5, "warmup": {"steps": 11}, "schedule": {"type": "cosine"}"#;
const CYCLE: &str = r#"{"type": "rmsprop", "learning_rate": 0.01}, "clip_value": 0.05,
    "schedule": {"type": "one_cycle"}, "on_out_of_memory": "halve_batch""#;
/// A threshold that is rarely reached, so that the rate falls between checkpoints.
const PLATEAU: &str = r#"{"type": "adam", "learning_rate": 0.2},
    "schedule": {"type": "reduce_on_plateau", "patience": 1, "threshold": 0.9, "factor": 0.3},
    "early_stopping": {"metric": "val_loss", "patience": 6, "restore_best": true}"#;

/// Two classes around two circles, or the radius itself.
fn inputs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "a,b,kind,radius,side\n".to_owned();
    for n in 0..90 {
        let (angle, radius) = (f64::from(n) * 0.7, 1.0 + f64::from(n % 2));
        let kind = if n % 2 == 0 { "inner" } else { "outer" };
        let (a, b) = (radius * angle.cos(), radius * angle.sin());
        text += &format!("{a},{b},{kind},{radius},{}\n", n % 2);
    }
    fs::write(folder.path().join("data.csv"), text).unwrap();
    folder
}

fn classification(optimizer: &str) -> Workload {
    workload(optimizer, r#""label": "kind", "features": ["a", "b"]"#, 2, "softmax_cross_entropy")
}

fn workload(optimizer: &str, columns: &str, units: u32, loss: &str) -> Workload {
    let text = format!(
        r#"{{"model": {{"layers": [
                {{"type": "dense", "units": 12, "activation": "gelu"}},
                {{"type": "dropout", "rate": 0.3}},
                {{"type": "dense", "units": {units}}}]}},
            "data": {{"source": "data.csv", {columns}, "normalize": "standard",
                      "test": {{"fraction": 0.2}}, "validation": 0.25}},
            "training": {{"epochs": {EPOCHS}, "batch_size": 8, "loss": "{loss}", "seed": 3,
                          "checkpoint_every_epochs": 1, "checkpoint_min_seconds": 0,
                          "optimizer": {optimizer}}}}}"#
    );
    Workload::from_json(&text).unwrap()
}

/// What a run said and left.
#[derive(Debug, Default)]
struct Course {
    started: Option<Started>,
    /// Metrics and rows done at the end of each epoch.
    epochs: BTreeMap<u32, (BTreeMap<String, f64>, u64)>,
    rates: BTreeMap<u32, f64>,
    /// Of whole epochs.
    checkpoints: BTreeMap<u32, Vec<u8>>,
    /// By epochs, and batches of the next.
    inside: BTreeMap<(u32, u32), Vec<u8>>,
    /// Names of the files below `checkpoints/` at the end.
    left: Vec<String>,
    warnings: Vec<String>,
}

impl Course {
    /// The checkpoint that is furthest.
    fn newest(self) -> ((u32, u32), Vec<u8>) {
        let whole = self.checkpoints.into_iter().map(|(epoch, bytes)| ((epoch, 0), bytes));
        self.inside.into_iter().chain(whole).max().unwrap()
    }
}

fn run(
    workload: &Workload,
    inputs: &Path,
    resume: Option<&[u8]>,
    threads: usize,
) -> (Result<Summary, TrainError>, Course) {
    asked_run(workload, inputs, resume, threads, |_, _| ())
}

/// A run of which something may be asked when it tells something.
fn asked_run(
    workload: &Workload,
    inputs: &Path,
    resume: Option<&[u8]>,
    threads: usize,
    ask: impl Fn(&Event, &Requests),
) -> (Result<Summary, TrainError>, Course) {
    let dir = tempfile::tempdir().unwrap();
    let (output, folder) = (dir.path().join("output"), dir.path().join("checkpoints"));
    let from: PathBuf = dir.path().join("resume.safetensors");
    if let Some(bytes) = resume {
        fs::write(&from, bytes).unwrap();
    }
    let places = Places {
        inputs,
        output: &output,
        checkpoints: Some(&folder),
        resume: resume.map(|_| &*from),
        disk: None,
    };
    let mut course = Course::default();
    let requests = Requests::default();
    let mut tell = |event| match event {
        Event::Started(started) => course.started = Some(started),
        Event::Progress(progress) if progress.batch == progress.batches => {
            course.rates.insert(progress.epoch, progress.learning_rate);
            course.epochs.insert(progress.epoch, (progress.metrics, progress.samples_processed));
        }
        Event::Reading(_) | Event::Progress(_) => {}
        Event::Checkpoint(file) => {
            let bytes = fs::read(folder.join(&file.name)).unwrap();
            assert_eq!(bytes.len() as u64, file.size);
            if file.batch == 0 {
                course.checkpoints.insert(file.epoch, bytes);
            } else {
                course.inside.insert((file.epoch, file.batch), bytes);
            }
        }
        Event::Warning(text) => course.warnings.push(text),
    };
    let mut observer = |event| {
        ask(&event, &requests);
        tell(event);
    };
    let mut engine = CpuEngine::new(threads).unwrap();
    let ended = train_at(&places, workload, &mut engine, &mut observer, &requests);
    if let Ok(entries) = fs::read_dir(&folder) {
        course.left =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        course.left.sort();
    }
    (ended, course)
}

#[test]
fn every_interruption_ends_with_the_same_bits() {
    let inputs = inputs();
    let radius = r#""label": "radius", "features": ["a", "b"]"#;
    let regressions = [(ADAM, "mse"), (PLATEAU, "mae"), (RMSPROP, "huber")];
    let regressions = regressions.map(|(optimizer, loss)| workload(optimizer, radius, 1, loss));
    let optimizers = [SGD, MOMENTUM, ADAM, ADAMW, RMSPROP, CYCLE, PLATEAU].map(classification);
    for workload in optimizers.into_iter().chain(regressions) {
        let (straight, course) = run(&workload, inputs.path(), None, 1);
        let straight = straight.unwrap();
        let epochs: Vec<u32> = course.checkpoints.keys().copied().collect();
        assert_eq!(epochs, [1, 2, 3, 4, 5], "the last epoch needs none");
        for (&epoch, bytes) in &course.checkpoints {
            let (resumed, rest) = run(&workload, inputs.path(), Some(bytes), 2);
            let resumed = resumed.unwrap();
            let what = format!("{:?} from epoch {epoch}", workload.training.optimizer);
            assert_eq!(resumed.outputs, straight.outputs, "{what}");
            assert_eq!(resumed.metrics, straight.metrics, "{what}");
            assert_eq!(rest.started.as_ref().unwrap().resumed_epochs, epoch);
            let later = |map: &BTreeMap<u32, _>| map.range(epoch + 1..).map(|(k, _)| *k).collect();
            let (heard, due): (Vec<u32>, Vec<u32>) =
                (rest.epochs.keys().copied().collect(), later(&course.epochs));
            assert_eq!(heard, due, "{what}");
            for (later, told) in &rest.epochs {
                assert_eq!(told, &course.epochs[later], "{what}");
                assert_eq!(rest.rates[later], course.rates[later], "{what}");
            }
            for (later, bytes) in &rest.checkpoints {
                assert!(*bytes == course.checkpoints[later], "{what}: another state at {later}");
            }
            assert!(rest.warnings.is_empty(), "{:?}", rest.warnings);
        }
        let mut other = workload.clone();
        other.training.checkpoint_every_epochs = 0;
        let (without, course) = run(&other, inputs.path(), None, 1);
        assert_eq!(without.unwrap().outputs, straight.outputs, "checkpoints change nothing");
        assert!(course.checkpoints.is_empty() && course.left.is_empty());
    }
}

/// Asks for a checkpoint between any two batches.
fn always(event: &Event, requests: &Requests) {
    if matches!(event, Event::Started(_) | Event::Checkpoint(_)) {
        requests.checkpoint();
    }
}

#[test]
fn an_interruption_inside_an_epoch_changes_nothing() {
    let inputs = inputs();
    let radius = r#""label": "radius", "features": ["a", "b"]"#;
    // Of 90 rows 18 are for testing, 18 for validation.
    let batches = 54_u32.div_ceil(8);
    let labels =
        workload(ADAM, r#""label": "side", "features": ["a", "b"]"#, 1, "binary_cross_entropy");
    for mut workload in [workload(PLATEAU, radius, 1, "mse"), classification(CYCLE), labels] {
        workload.training.epochs = 3;
        let (straight, rests) = run(&workload, inputs.path(), None, 1);
        let straight = straight.unwrap();
        let (asked, course) = asked_run(&workload, inputs.path(), None, 2, always);
        assert_eq!(asked.unwrap().outputs, straight.outputs, "checkpoints change nothing");
        assert_eq!(course.inside.len() as u32, 3 * (batches - 1), "{:?}", course.inside.keys());
        for (&(epoch, batch), bytes) in &course.inside {
            let (resumed, rest) = asked_run(&workload, inputs.path(), Some(bytes), 1, always);
            let what = format!("epoch {epoch}, batch {batch}");
            let resumed = resumed.unwrap();
            assert_eq!(resumed.outputs, straight.outputs, "{what}");
            assert_eq!(resumed.metrics, straight.metrics, "{what}");
            let started = rest.started.unwrap();
            assert_eq!((started.resumed_epochs, started.resumed_batches), (epoch, batch));
            for (later, told) in &rest.epochs {
                assert_eq!(told, &rests.epochs[later], "{what}");
            }
            assert_eq!(
                rest.inside.keys().next(),
                course.inside.range((epoch, batch + 1)..).map(|it| it.0).next()
            );
            for (later, bytes) in &rest.inside {
                assert!(*bytes == course.inside[later], "{what}: another state at {later:?}");
            }
        }
    }
}

#[test]
fn a_paused_run_goes_on_where_it_was() {
    let inputs = inputs();
    let mut workload = classification(MOMENTUM);
    workload.training.checkpoint_every_epochs = 0;
    let (straight, _) = run(&workload, inputs.path(), None, 1);
    let straight = straight.unwrap();
    let mut state: Option<Vec<u8>> = None;
    let mut pauses = Vec::new();
    let ended = loop {
        let asked = asked_run(&workload, inputs.path(), state.as_deref(), 1, |event, requests| {
            match event {
                Event::Started(_) => requests.checkpoint(),
                // The second checkpoint is that of the pause, one batch later.
                Event::Checkpoint(_) => requests.pause(),
                Event::Reading(_) | Event::Progress(_) | Event::Warning(_) => {}
            }
        });
        let (ended, course) = asked;
        let Err(error) = ended else { break ended.unwrap() };
        let TrainError::Paused(at) = error else { panic!("{error}") };
        let (last, bytes) = course.newest();
        assert_eq!(last, (at.epoch, at.batch));
        pauses.push(last);
        state = Some(bytes);
    };
    assert_eq!(ended.outputs, straight.outputs);
    assert!(pauses.len() > 10 && pauses.is_sorted(), "{pauses:?}");
    // Nothing was done yet, so there is nothing to keep.
    let (ended, course) =
        asked_run(&workload, inputs.path(), None, 1, |_, requests| requests.pause());
    let TrainError::Paused(at) = ended.unwrap_err() else { panic!("it did not pause") };
    assert_eq!((at.epoch, at.batch), (0, 0));
    assert!(course.left.is_empty());
}

#[test]
fn a_run_that_stops_early_does_so_after_any_interruption() {
    let inputs = inputs();
    let stopping = PLATEAU.replace("\"patience\": 6", "\"patience\": 2");
    let mut workload = classification(&stopping);
    workload.training.epochs = 40;
    let (straight, course) = run(&workload, inputs.path(), None, 1);
    let straight = straight.unwrap();
    let last = straight.metrics["epochs_trained"] as u32;
    assert!(last < 40 && straight.metrics["best_epoch"] as u32 + 2 == last);
    let epochs: Vec<u32> = course.checkpoints.keys().copied().collect();
    assert_eq!(epochs, (1..last).collect::<Vec<u32>>(), "none after the epoch that ends it");
    let rates: Vec<f64> = course.rates.values().copied().collect();
    assert!(rates.windows(2).any(|pair| pair[1] < pair[0]), "{rates:?}");
    for bytes in course.checkpoints.values() {
        let (resumed, _) = run(&workload, inputs.path(), Some(bytes), 1);
        let resumed = resumed.unwrap();
        assert_eq!(resumed.outputs, straight.outputs);
        assert_eq!(resumed.metrics, straight.metrics);
    }
}

#[test]
fn the_file_is_one_of_safetensors_with_the_whole_state() {
    let inputs = inputs();
    let (_, course) = run(&classification(MOMENTUM), inputs.path(), None, 1);
    let file = &course.checkpoints[&3];
    let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    let expected: Vec<String> = ["model", "optimizer.velocity"]
        .iter()
        .flat_map(|part| {
            ["0.bias", "0.weight", "3.bias", "3.weight"].map(|name| format!("{part}.{name}"))
        })
        .collect();
    assert_eq!(names, expected);
    for name in names {
        let view = tensors.tensor(name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32);
        assert!(view.data().iter().any(|byte| *byte != 0), "{name} is empty");
    }
}

#[test]
fn they_come_when_they_are_due_and_the_newest_stay() {
    let inputs = inputs();
    for (every, seconds, due) in
        [(2, 0, &[2, 4][..]), (3, 0, &[3]), (4, 0, &[4]), (7, 0, &[]), (0, 0, &[]), (1, 2000, &[])]
    {
        let mut workload = classification(ADAM);
        workload.training.checkpoint_every_epochs = every;
        workload.training.checkpoint_min_seconds = seconds;
        let (ended, course) = run(&workload, inputs.path(), None, 1);
        ended.unwrap();
        let epochs: Vec<u32> = course.checkpoints.keys().copied().collect();
        assert_eq!(epochs, due, "every {every} epochs, {seconds} s");
    }
    for (keep, oldest) in [(1, 5), (2, 4), (3, 3), (5, 1)] {
        let mut workload = classification(ADAM);
        workload.training.checkpoint_keep = keep;
        let (_, course) = run(&workload, inputs.path(), None, 1);
        let names = (oldest..=5).map(|epoch| format!("checkpoint-000000{epoch}.safetensors"));
        assert_eq!(course.left, names.collect::<Vec<_>>());
    }
    let mut workload = classification(ADAM);
    workload.training.checkpoint_every_epochs = 0;
    workload.training.checkpoint_every_minutes = Some(1e-9);
    let (_, course) = run(&workload, inputs.path(), None, 1);
    assert!(!course.inside.is_empty(), "they come inside of epochs");
    assert_eq!(course.left.len(), 3.min(course.inside.len() + course.checkpoints.len()));
}

#[track_caller]
fn refused(workload: &Workload, inputs: &Path, bytes: &[u8], word: &str) {
    let (ended, course) = run(workload, inputs, Some(bytes), 1);
    let Err(error) = ended else { panic!("it was accepted, without: {word}") };
    assert_eq!(error.class(), FailureClass::BadCheckpoint, "{error}");
    let message = error.to_string();
    assert!(message.contains(word), "\"{word}\" is not in: {message}");
    assert_eq!(course.started, None, "nothing was begun");
}

#[test]
fn what_is_cut_off_or_altered_is_refused() {
    let inputs = inputs();
    let workload = classification(ADAM);
    let (_, course) = run(&workload, inputs.path(), None, 1);
    let whole = &course.checkpoints[&4];
    for length in [0, 7, 8, 9, 500, whole.len() / 2, whole.len() - 1] {
        refused(&workload, inputs.path(), &whole[..length], "cut off");
    }
    refused(&workload, inputs.path(), &[whole, &[0][..]].concat(), "cut off");
    refused(&workload, inputs.path(), &[b'x'; 5000], "more than the 16777216 allowed");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let positions = (0..header).step_by(11).chain((header..whole.len()).step_by(37));
    for position in positions {
        let mut altered = whole.clone();
        altered[position] ^= 1;
        refused(&workload, inputs.path(), &altered, "");
    }
    let mut altered = whole.clone();
    altered[header + 2] ^= 1;
    refused(&workload, inputs.path(), &altered, "altered");
    altered[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&workload, inputs.path(), &altered, "\"model.0.weight\" in the checkpoint");
    let text = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        let mut altered = whole.clone();
        altered[at..at + to.len()].copy_from_slice(to);
        altered
    };
    let version = text(br#"\"format_version\":4"#, br#"\"format_version\":3"#);
    refused(&workload, inputs.path(), &version, "version 3; this program reads version 4");
    refused(&workload, inputs.path(), &text(br#"\"epoch\":4"#, br#"\"epoch\":3"#), "altered");
}

#[test]
fn that_of_other_work_is_refused() {
    let inputs = inputs();
    let workload = classification(ADAM);
    let (_, course) = run(&workload, inputs.path(), None, 1);
    let bytes = &course.checkpoints[&4];
    let mut seed = workload.clone();
    seed.training.seed += 1;
    refused(&seed, inputs.path(), bytes, "another job");
    refused(&classification(MOMENTUM), inputs.path(), bytes, "other tensors");
    refused(&classification(ADAMW), inputs.path(), bytes, "another job");
    let mut shorter = workload.clone();
    shorter.training.epochs = 3;
    refused(&shorter, inputs.path(), bytes, "another job");
    let other = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(inputs.path().join("data.csv")).unwrap();
    let (line, changed) = ("1,0,inner", "1.5,0,inner");
    assert!(text.contains(line));
    fs::write(other.path().join("data.csv"), text.replacen(line, changed, 1)).unwrap();
    refused(&workload, other.path(), bytes, "data set");
}
