//! ArrayFire from outside: what a process says whose library is not there, and what a run does
//! whose memory is too small.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use cyxwiz_trainer::frames::{FailureClass, Frame};
use cyxwiz_trainer::{
    ArrayFireChoice, ArrayFireEngine, ArrayFireReport, Backend, EngineChoice, Event, Means,
    Requests, ServeExit, Workload, arrayfire_report, serve_on, train,
};

#[test]
fn a_process_without_its_library_says_where_it_looked() {
    let library = Some("/no/such/folder/libafcpu.so.3".into());
    let choice = ArrayFireChoice { backend: Backend::Cpu, device: 0, library };
    let choice = EngineChoice::ArrayFire(choice);
    let mut frames = Vec::new();
    let exit = serve_on(
        &choice,
        Path::new("nowhere"),
        Means { threads: 1, disk: None },
        std::io::empty(),
        &mut frames,
    );
    assert_eq!(exit, ServeExit::Failed(FailureClass::Internal));
    let text = String::from_utf8(frames).unwrap();
    let frames: Vec<Frame> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Frame::Hello { engine, .. }, Frame::Failed(failure)] = &frames[..] else {
        panic!("{text}");
    };
    assert_eq!(engine, "arrayfire-cpu");
    assert!(failure.message.contains("/no/such/folder/libafcpu.so.3 (no such file)"), "{text}");
}

const ROWS: usize = 4096;

/// Private memory of the process in which [`with_little_memory`] is run: half of its only batch
/// fits, the whole does not.
const LIMIT_KIB: usize = 320 * 1024;

#[test]
#[cfg(target_os = "linux")]
fn a_batch_that_does_not_fit_goes_through_in_parts() {
    let script = format!(
        "ulimit -d {LIMIT_KIB} && exec \"$0\" --exact --ignored --nocapture with_little_memory"
    );
    let this = std::env::current_exe().unwrap();
    let output = Command::new("/bin/sh").arg("-c").arg(script).arg(this).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    if let Some(absent) = text.lines().find(|line| line.contains("ABSENT")) {
        let required = std::env::var("REQUIRE_ARRAYFIRE").is_ok_and(|value| value == "1");
        assert!(!required, "no ArrayFire library found: {absent}");
        let note = format!("SKIPPED: no ArrayFire library found: {absent}\n");
        return std::io::stderr().write_all(note.as_bytes()).unwrap();
    }
    assert!(output.status.success(), "{text}\n{words}");
    assert!(text.contains("WARNING not enough memory"), "{text}\n{words}");
    assert!(text.contains("MICRO BATCH Some("), "{text}\n{words}");
    assert!(!words.contains("panicked"), "a failed call prints nothing: {words}");
}

#[test]
#[ignore = "run by a_batch_that_does_not_fit_goes_through_in_parts in a process of its own"]
fn with_little_memory() {
    if let ArrayFireReport::Absent { tried } = arrayfire_report(Backend::Cpu) {
        let places: Vec<_> = tried.iter().map(ToString::to_string).collect();
        return println!("ABSENT {}", places.join(", "));
    }
    let folder = tempfile::tempdir().unwrap();
    let values = (0..ROWS * 64).flat_map(|n| ((n % 97) as f32 / 97.0).to_le_bytes());
    array(&folder.path().join("x.npy"), "<f4", &format!("{ROWS}, 64"), values);
    let labels = (0..ROWS).map(|row| (row % 10) as u8);
    array(&folder.path().join("y.npy"), "|u1", &format!("{ROWS},"), labels);
    let text = format!(
        r#"{{"model": {{"layers": [{{"type": "dense", "units": 4096, "activation": "gelu"}},
                                   {{"type": "dense", "units": 10}}]}},
            "data": {{"source": "x.npy", "labels": "y.npy"}},
            "training": {{"epochs": 1, "batch_size": {ROWS}, "on_out_of_memory": "halve_batch",
                          "loss": "softmax_cross_entropy",
                          "optimizer": {{"type": "sgd", "learning_rate": 0.1}}}}}}"#
    );
    let work = Workload::from_json(&text).unwrap();
    let choice = ArrayFireChoice { backend: Backend::Cpu, device: 0, library: None };
    let mut engine = ArrayFireEngine::new(&choice, 1).unwrap();
    let mut observer = |event| {
        if let Event::Warning(words) = event {
            println!("WARNING {words}");
        }
    };
    let output = folder.path().join("output");
    let requests = Requests::default();
    let ended = train(&work, folder.path(), &output, &mut engine, &mut observer, &requests);
    println!("MICRO BATCH {:?}", ended.unwrap().metrics.get("micro_batch"));
}

fn array(path: &Path, kind: &str, shape: &str, values: impl Iterator<Item = u8>) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    let head = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
    std::fs::write(path, head.into_iter().chain(values).collect::<Vec<u8>>()).unwrap();
}
