//! Who wants a run to end is heard while data are read: of each format, a fault at the end of the
//! file shows whether it was read to its end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "data/files.rs"]
#[expect(dead_code, reason = "these tests need only some kinds of file")]
mod files;

use cyxwiz_trainer::frames::{FailureClass, Paused};
use cyxwiz_trainer::{CpuEngine, Requests, TrainError, Workload, train};
use files::*;
use parquet::basic::Compression;

/// Trains a job with these wishes, which are there before it begins.
fn ended(text: &str, files: Files<'_>, requests: &Requests) -> TrainError {
    let (inputs, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, bytes) in files {
        std::fs::write(inputs.path().join(name), bytes).unwrap();
    }
    let workload: Workload = toml::from_str(text).unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let (inputs, output) = (inputs.path(), output.path());
    train(&workload, inputs, output, engine, &mut |_| {}, requests).unwrap_err()
}

/// That a run on damaged data ends by request, not by what it would find.
#[track_caller]
fn heard(data: &str, files: Files<'_>) {
    for streaming in ["\"auto\"", "true"] {
        let text = classes(2, &format!("{data}\nstreaming = {streaming}"));
        let fault = ended(&text, files, &Requests::default());
        assert_eq!(fault.class(), FailureClass::InvalidData, "{fault}");
        let requests = Requests::default();
        requests.checkpoint();
        requests.pause();
        let paused = ended(&text, files, &requests);
        assert!(
            matches!(paused, TrainError::Paused(Paused { epoch: 0, batch: 0 })),
            "{data}: {paused}"
        );
        requests.stop();
        let stopped = ended(&text, files, &requests);
        assert!(matches!(stopped, TrainError::StoppedReading), "{data}: {stopped}");
        assert_eq!(stopped.class(), FailureClass::Stopped);
    }
}

#[test]
fn a_stop_or_pause_is_heard_in_every_format() {
    let mut table = "a,kind\n".to_owned();
    (0..50).for_each(|row| table += &format!("{row},{}\n", row % 2));
    let broken = format!("{table}nothing,1\n");
    heard("source = \"d.csv\"\nlabel = \"kind\"", &[("d.csv", broken.as_bytes())]);
    let packed = gzip(broken.as_bytes());
    heard("source = \"d.csv.gz\"\nlabel = \"kind\"", &[("d.csv.gz", &packed)]);

    let numbers = (0..3000).map(|row| Some(if row < 2999 { "1" } else { "nothing" }));
    let kinds = (0..3000).map(|row| Some(row % 2));
    let columns =
        [("a", Column::Texts(numbers.collect())), ("kind", Column::Integers(kinds.collect()))];
    let bytes = parquet(&columns, 1000, Compression::SNAPPY);
    heard("source = \"d.parquet\"\nlabel = \"kind\"", &[("d.parquet", &bytes)]);

    let mut values = vec![1.0; 10_000];
    values[9_999] = f32::NAN;
    let x = npy("<f4", "5000, 2", &floats(&values));
    let y = npy("|u1", "5000,", &[0, 1].repeat(2500));
    heard("source = \"x.npy\"\nlabels = \"y.npy\"", &[("x.npy", &x), ("y.npy", &y)]);
    let both = zipped(&[("x.npy", &x), ("y.npy", &y)]);
    heard("source = \"d.npz\"", &[("d.npz", &both)]);

    let image = png(2, 2, vec![7; 12]);
    let archive = zipped(&[("a/1.png", &image), ("b/2.png", &image), ("b/3.png", b"none")]);
    heard("source = \"d.zip\"\nimages = {size = [2, 2], channels = 1}", &[("d.zip", &archive)]);
}
