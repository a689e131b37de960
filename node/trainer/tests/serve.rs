//! The child process's body from outside: what it says on its pipe for work that ends well, badly,
//! early, or not at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc;

use cyxwiz_trainer::frames::{Failure, FailureClass, Frame, MAX_LINE_BYTES};
use cyxwiz_trainer::{ServeExit, serve};
use sha2::{Digest, Sha256};

/// A control pipe that stays open until its sender is dropped.
struct Pipe(mpsc::Receiver<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.recv().unwrap_or_default();
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// Collects lines, and does something to each as it comes.
struct Frames<F> {
    bytes: Vec<u8>,
    heard: F,
}

impl<F: FnMut(&Frame) -> io::Result<()>> Write for Frames<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            assert!(bytes.len() <= MAX_LINE_BYTES);
            (self.heard)(&serde_json::from_slice(bytes).unwrap())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves `job` on `files`; `heard` may write to the control pipe or close it.
fn served(
    job: &str,
    files: &[(&str, &str)],
    mut heard: impl FnMut(&Frame, &mut Option<mpsc::Sender<Vec<u8>>>) -> io::Result<()>,
) -> (ServeExit, Vec<Frame>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("inputs")).unwrap();
    std::fs::write(dir.path().join("job.json"), job).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join("inputs").join(name), text).unwrap();
    }
    let (sender, receiver) = mpsc::channel();
    let mut sender = Some(sender);
    let mut frames = Frames { bytes: Vec::new(), heard: |frame: &Frame| heard(frame, &mut sender) };
    let exit = serve(dir.path(), 1, Pipe(receiver), &mut frames);
    let lines = frames.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let frames = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    (exit, frames, dir)
}

/// A straight line with two targets, `y = 2a - b` and `z = a + 1`.
fn line_csv() -> String {
    let rows = (0..60).map(|n| {
        let (a, b) = (f64::from(n % 10) / 10.0, f64::from(n / 10) / 6.0);
        format!("{a},{b},{},{}\n", 2.0 * a - b, a + 1.0)
    });
    format!("a,b,y,z\n{}", rows.collect::<String>())
}

fn line_job(epochs: u32, learning_rate: f64) -> String {
    format!(
        r#"{{"model": {{"layers": [{{"type": "dense", "units": 2}}]}},
            "data": {{"source": "line.csv", "label": ["y", "z"], "normalize": "standard",
                      "test": {{"fraction": 0.2}}, "validation": 0.25}},
            "training": {{"epochs": {epochs}, "batch_size": 8, "loss": "mse", "seed": 4,
                          "optimizer": {{"type": "sgd", "learning_rate": {learning_rate},
                                         "momentum": 0.5, "nesterov": true}}}}}}"#
    )
}

fn failure(frames: &[Frame]) -> &Failure {
    let Some(Frame::Failed(failure)) = frames.last() else {
        panic!("the last frame is {:?}", frames.last());
    };
    failure
}

#[test]
fn a_regression_ends_with_all_files_and_their_hashes() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let (exit, frames, dir) = served(&line_job(60, 0.05), files, |_, _| Ok(()));
    assert_eq!(exit, ServeExit::Finished, "{:?}", frames.last());
    assert!(matches!(&frames[0], Frame::Hello { version: 2, threads: 1, .. }));
    let Frame::Started(started) = &frames[1] else { panic!("{:?}", frames[1]) };
    assert_eq!((started.train_rows, started.validation_rows, started.test_rows), (36, 12, 12));
    assert_eq!((started.parameters, started.epochs, started.batches_per_epoch), (6, 60, 5));
    let mut ends = Vec::new();
    for frame in &frames {
        let Frame::Progress(progress) = frame else { continue };
        if progress.batch == progress.batches {
            assert_eq!(progress.samples_processed, u64::from(progress.epoch) * 36);
            let names: Vec<&str> = progress.metrics.keys().map(String::as_str).collect();
            let own = ["gradient_norm", "loss", "mae", "r2", "rmse"];
            let watched = ["val_loss", "val_mae", "val_r2", "val_rmse"];
            assert_eq!(names, [&own[..], &watched].concat());
            ends.push(progress.epoch);
        }
    }
    assert_eq!(ends, (1..=60).collect::<Vec<u32>>());
    let Frame::Finished(summary) = frames.last().unwrap() else { panic!("{:?}", frames.last()) };
    assert!(summary.metrics["test_r2"] > 0.999, "{:?}", summary.metrics);
    assert!(summary.metrics["test_mae"] < 0.02, "{:?}", summary.metrics);
    let mut names = Vec::new();
    for file in &summary.outputs {
        let bytes = std::fs::read(dir.path().join("output").join(&file.name)).unwrap();
        assert_eq!(bytes.len() as u64, file.size);
        assert_eq!(hex::encode(Sha256::digest(&bytes)), file.sha256);
        names.push(file.name.as_str());
    }
    assert_eq!(names, ["model.safetensors", "model.json", "metrics.json"]);
    assert_eq!(std::fs::read_dir(dir.path().join("output")).unwrap().count(), 3);
    let metrics: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&std::fs::read(dir.path().join("output/metrics.json")).unwrap())
            .unwrap();
    assert_eq!(metrics["metrics"]["test_r2"], summary.metrics["test_r2"]);
}

#[test]
fn a_stop_and_the_end_of_control_both_end_the_run() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    for stop in [Some(b"{\"control\":\"stop\"}\n".to_vec()), None] {
        let job = line_job(1_000_000, 0.001);
        let (exit, frames, dir) = served(&job, files, |frame, control| {
            let begun = matches!(frame, Frame::Progress(progress) if progress.epoch == 3);
            match (&stop, begun) {
                (Some(line), true) => control.as_ref().unwrap().send(line.clone()).unwrap(),
                (None, true) => *control = None,
                (Some(_) | None, false) => {}
            }
            Ok(())
        });
        assert_eq!(exit, ServeExit::Failed(FailureClass::Stopped));
        assert_eq!(failure(&frames).class, FailureClass::Stopped);
        assert!(!dir.path().join("output").exists());
    }
}

#[test]
fn a_reader_that_is_gone_ends_the_run() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let (exit, frames, _) = served(&line_job(1_000_000, 0.001), files, |frame, _| {
        let begun = matches!(frame, Frame::Progress(_));
        if begun { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    });
    assert_eq!(exit, ServeExit::Unheard);
    assert!(matches!(frames.last(), Some(Frame::Progress(_))), "nothing is said after an error");
}

#[test]
fn a_panic_becomes_an_internal_failure() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let (exit, frames, _) = served(&line_job(10, 0.001), files, |frame, _| {
        assert!(!matches!(frame, Frame::Progress(_)), "on purpose");
        Ok(())
    });
    assert_eq!(exit, ServeExit::Failed(FailureClass::Internal));
    assert!(failure(&frames).message.contains("on purpose"), "{frames:?}");
}

#[test]
fn divergence_says_what_to_try() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let (exit, frames, dir) = served(&line_job(2000, 500.0), files, |_, _| Ok(()));
    assert_eq!(exit, ServeExit::Failed(FailureClass::Diverged));
    let message = &failure(&frames).message;
    assert!(message.contains("learning_rate below 500"), "{message}");
    assert!(!dir.path().join("output").exists());
}

#[test]
fn faults_of_job_and_data_have_their_classes() {
    let good = line_job(1, 0.1);
    let long = format!("{{\"{}\": 1}}", "\u{e4}\\u0001".repeat(50_000));
    for (job, csv, class, word) in [
        ("{", "", FailureClass::InvalidJob, "line 1"),
        (good.as_str(), "a,b,y\n1,2,3\n", FailureClass::InvalidData, "\"z\""),
        (long.as_str(), "", FailureClass::InvalidJob, "unknown field"),
    ] {
        let (exit, frames, _) = served(job, &[("line.csv", csv)], |_, _| Ok(()));
        assert_eq!(exit, ServeExit::Failed(class));
        assert_eq!((exit.code(), frames.len()), (1, 2), "hello, then the failure");
        assert!(failure(&frames).message.contains(word), "{:?}", failure(&frames));
    }
    let mut frames = Vec::new();
    let exit = serve(Path::new("nowhere"), 1, Pipe(mpsc::channel().1), &mut frames);
    assert_eq!(exit, ServeExit::Failed(FailureClass::Internal));
}

/// [`line_job`] that leaves a checkpoint after every second epoch.
fn checkpointed_job(epochs: u32) -> String {
    let keys = r#""seed": 4, "checkpoint_every_epochs": 2, "checkpoint_min_seconds": 0,"#;
    line_job(epochs, 0.05).replace(r#""seed": 4,"#, keys)
}

#[test]
fn a_process_tells_of_checkpoints_and_goes_on_from_one() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let (exit, frames, dir) = served(&checkpointed_job(9), files, |_, _| Ok(()));
    assert_eq!(exit, ServeExit::Finished, "{:?}", frames.last());
    let told = frames.iter().filter_map(|frame| {
        let Frame::Checkpoint(file) = frame else {
            return None;
        };
        Some(file)
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.iter().map(|file| file.epoch).collect::<Vec<_>>(), [2, 4, 6, 8]);
    let path = dir.path().join("checkpoints").join(&told[2].name);
    let checkpoint = std::fs::read(path).unwrap();
    assert_eq!(checkpoint.len() as u64, told[2].size);

    let resume = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inputs")).unwrap();
        std::fs::write(dir.path().join("job.json"), checkpointed_job(9)).unwrap();
        std::fs::write(dir.path().join("inputs/line.csv"), line_csv()).unwrap();
        std::fs::write(dir.path().join("resume.safetensors"), bytes).unwrap();
        let (_control, receiver) = mpsc::channel();
        let mut frames = Frames { bytes: Vec::new(), heard: |_: &Frame| Ok(()) };
        let exit = serve(dir.path(), 1, Pipe(receiver), &mut frames);
        let lines = frames.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        (exit, lines.map(|line| serde_json::from_slice(line).unwrap()).collect::<Vec<Frame>>())
    };
    let (exit, rest) = resume(&checkpoint);
    assert_eq!(exit, ServeExit::Finished);
    let Frame::Started(started) = &rest[1] else { panic!("{:?}", rest[1]) };
    assert_eq!(started.resumed_epochs, 6);
    let Frame::Progress(first) = &rest[2] else { panic!("{:?}", rest[2]) };
    assert_eq!((first.epoch, first.samples_processed), (7, 7 * 36));
    let (Some(Frame::Finished(resumed)), Some(Frame::Finished(straight))) =
        (rest.last(), frames.last())
    else {
        panic!("{:?}", rest.last())
    };
    assert_eq!((&resumed.outputs, &resumed.metrics), (&straight.outputs, &straight.metrics));

    let (exit, frames) = resume(&checkpoint[1..]);
    assert_eq!(exit, ServeExit::Failed(FailureClass::BadCheckpoint));
    assert_eq!(frames.len(), 2, "hello, then the failure");
}

#[test]
fn a_pause_leaves_a_checkpoint_and_ends_the_process() {
    let files: &[(&str, &str)] = &[("line.csv", &line_csv())];
    let say = |control: &Option<mpsc::Sender<Vec<u8>>>, what: &str| {
        let line = format!("{{\"control\":\"{what}\"}}\n").into_bytes();
        control.as_ref().unwrap().send(line).unwrap();
    };
    let (exit, frames, dir) = served(&line_job(1_000_000, 0.001), files, |frame, control| {
        match frame {
            Frame::Started(_) => say(control, "checkpoint"),
            Frame::Checkpoint(_) => say(control, "pause"),
            Frame::Hello { .. }
            | Frame::Reading(_)
            | Frame::Progress(_)
            | Frame::Warning { .. }
            | Frame::Finished(_)
            | Frame::Paused(_)
            | Frame::Failed(_) => {}
        }
        Ok(())
    });
    assert_eq!((exit, exit.code()), (ServeExit::Paused, 0));
    let Some(Frame::Paused(paused)) = frames.last() else { panic!("{:?}", frames.last()) };
    let newest = frames.iter().rev().find_map(|frame| {
        let Frame::Checkpoint(file) = frame else {
            return None;
        };
        Some(file)
    });
    let newest = newest.unwrap();
    assert_eq!((paused.epoch, paused.batch), (newest.epoch, newest.batch));
    let size = std::fs::metadata(dir.path().join("checkpoints").join(&newest.name)).unwrap().len();
    assert_eq!(size, newest.size);
    assert!(!dir.path().join("output").exists());
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_no_failure() {
    // A file is in the way of the folder.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("inputs")).unwrap();
    std::fs::write(dir.path().join("job.json"), checkpointed_job(5)).unwrap();
    std::fs::write(dir.path().join("inputs/line.csv"), line_csv()).unwrap();
    std::fs::write(dir.path().join("checkpoints"), "").unwrap();
    let (_control, receiver) = mpsc::channel();
    let mut bytes = Vec::new();
    assert_eq!(serve(dir.path(), 1, Pipe(receiver), &mut bytes), ServeExit::Finished);
    let text = String::from_utf8(bytes).unwrap();
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("warning")).collect();
    assert_eq!(warnings.len(), 2, "{text}");
    assert!(warnings[1].contains("epoch 4"), "{text}");
}
