//! `job results`: the files that come are the files that were signed, and nothing is overwritten.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::samples::{self, JOB};
use super::stub::{Running, Stub, here};
use crate::api::view::{FileView, JobPhase};
use crate::cli::error::{CommandError, Kind};
use crate::cli::job::fetch::snippet;
use crate::cli::job::{JobArgs, JobCommand, ResultsArgs, run};
use crate::cli::output::Format;

const MODEL: &[u8] = b"weights";

fn file(name: &str, bytes: &[u8]) -> FileView {
    let sha256 = hex::encode(Sha256::digest(bytes));
    FileView { name: name.to_owned(), size: bytes.len() as u64, sha256 }
}

/// A node whose job left `file`, and that sends `bytes` for it.
fn node(file: &FileView, bytes: &[u8]) -> Running {
    Stub::default()
        .json(&format!("GET /v1/jobs/{JOB}"), &samples::completed(vec![file.clone()]))
        .json(&format!("POST /v1/jobs/{JOB}/collect"), &samples::result(vec![file.clone()]))
        .answer(&format!("GET /v1/artifacts/{}", file.sha256), 200, bytes)
        .start()
}

fn fetch(node: &Running, out: &Path, force: bool) -> Result<(), CommandError> {
    let job = JobArgs { job: JOB.to_owned(), reach: here() };
    let args = ResultsArgs { job, out: Some(out.to_owned()), force };
    run(&node.context(Format::Table), JobCommand::Results(args))
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into()).collect()
}

#[test]
fn files_arrive_whole_and_alone() {
    let node = node(&file("model.safetensors", MODEL), MODEL);
    let out = node.dir.path().join("deep/out");
    fetch(&node, &out, false).unwrap();
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), MODEL);
    assert_eq!(names(&out).len(), 1);
}

#[test]
fn existing_files_are_replaced_only_by_force() {
    let node = node(&file("model.safetensors", MODEL), MODEL);
    let out = node.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("model.safetensors"), "precious").unwrap();
    let error = fetch(&node, &out, false).unwrap_err();
    let expected = format!(
        "error: {} is there already\n\
         hint: name another folder with --out DIR, or replace the file with --force",
        out.join("model.safetensors").display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), b"precious");
    // Nothing was collected for nothing.
    assert!(node.asked().iter().all(|(request, _)| !request.starts_with("POST")));
    fetch(&node, &out, true).unwrap();
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), MODEL);
}

#[test]
fn other_bytes_than_the_signed_ones_leave_nothing() {
    for wrong in [&b"weightx"[..], b"weight", b"weights and more"] {
        let node = node(&file("model.safetensors", MODEL), wrong);
        let out = node.dir.path().join("out");
        let error = fetch(&node, &out, false).unwrap_err();
        assert!(error.message.contains("not the file that its worker signed"), "{error}");
        assert_eq!(names(&out).len(), 0);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../escape", "/etc/escape", "a/b", "", ".", "..", "a/", "x\ny"] {
        let node = node(&file(name, MODEL), MODEL);
        let out = node.dir.path().join("out");
        let error = fetch(&node, &out, true).unwrap_err();
        assert!(error.message.contains("unsafe name"), "{name:?}: {error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_job_without_result_says_why() {
    for (job, expected) in [
        (samples::job(JobPhase::Running), Kind::NotFinished),
        (samples::job(JobPhase::Queued), Kind::NotFinished),
        (samples::job(JobPhase::Cancelled), Kind::Cancelled),
        (samples::failed("fatal", "broken"), Kind::JobFailed),
        (samples::failed("nobody_could", "broken"), Kind::NobodyCould),
    ] {
        let node = Stub::default().json(&format!("GET /v1/jobs/{JOB}"), &job).start();
        let error = fetch(&node, &node.dir.path().join("out"), false).unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
    }
    let node = Stub::default().start();
    let error = fetch(&node, &node.dir.path().join("out"), false).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[test]
fn the_snippet_survives_strange_paths() {
    let plain = snippet(Path::new("results-digits/model.safetensors"));
    let expected = "python3 -c \"from safetensors.numpy import load_file; \
        print({k: v.shape for k, v in load_file('results-digits/model.safetensors').items()})\"";
    assert_eq!(plain, expected);
    let strange = snippet(Path::new("it's $HOME/m.safetensors"));
    assert!(strange.ends_with(r"'it'\''s $HOME/m.safetensors'"), "{strange}");
    assert!(strange.contains("load_file(sys.argv[1])"));
}
