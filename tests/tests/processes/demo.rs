//! `cyxwiz demo`: the first command that a stranger runs.

use std::{fs, path::Path};

use cyxwiz_tests::{Cli, SOON, TRAINED, eventually, processes_of};

#[test]
fn the_demo_ends_with_a_good_model_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    let outcome = cli.start(&["demo", "--workers", "2", "--output", "json"], "").wait(TRAINED);
    let outcome = outcome.succeeds().says(&["bootstrap peer", "bids are in", "processes ended"]);
    let result = outcome.json();
    assert!(result["test_accuracy"].as_f64() >= Some(0.95), "{result:#}");
    let model = result["model"].as_str().expect("a path");
    assert!(Path::new(model).is_file(), "{}", outcome.told());
    nothing_is_left(folder.path());
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    let demo = cli.start(&["demo", "--workers", "2"], "");
    eventually(SOON, "the demo's processes", || {
        let running = processes_of(folder.path());
        if running.len() >= 5 { Ok(()) } else { Err(format!("{running:?} of {}", demo.pid())) }
    });
    demo.interrupt();
    demo.wait(SOON).exits(130).says(&["interrupted"]);
    nothing_is_left(folder.path());
}

/// No process, and no folder but the one that the user named.
fn nothing_is_left(folder: &Path) {
    assert_eq!(processes_of(folder), Vec::<u32>::new(), "processes are left");
    let entries = fs::read_dir(folder).expect("it can be read").flatten();
    let left: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("cyxwiz-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
