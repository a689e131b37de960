//! `cyxwiz demo`: the first command that a stranger runs.

use std::{fs, path::Path, time::Duration};

use cyxwiz_tests::{Cli, SOON, TRAINED, eventually, processes_of};

#[test]
fn the_demo_ends_with_a_good_model_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    let outcome = cli.start(&["demo", "--workers", "2", "--output", "json"], "").wait(TRAINED);
    let outcome = outcome.succeeds().says(&[
        "bootstrap peer",
        "the committee has grown to 3",
        "on the disks of 2 of 3 coordinators",
        "bids are in",
        "processes ended",
    ]);
    let result = outcome.json();
    assert!(result["test_accuracy"].as_f64() >= Some(0.95), "{result:#}");
    let model = result["model"].as_str().expect("a path");
    assert!(Path::new(model).is_file(), "{}", outcome.told());
    nothing_is_left(folder.path());
}

/// Training for half a minute on an idle machine, a lease, and whatever a busy one adds.
const SURVIVED: Duration = Duration::from_secs(400);

#[test]
fn a_job_survives_its_leader_and_its_worker_before_an_audience() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    let demo = ["demo", "--chaos", "--workers", "2", "--output", "json"];
    let outcome = cli.start(&demo, "").wait(SURVIVED).succeeds();
    let outcome = outcome.says(&["is killed", "leads in term 2", "goes on from the checkpoint"]);
    let result = outcome.json();
    assert!(result["test_accuracy"].as_f64() >= Some(0.95), "{result:#}");
    let chaos = &result["chaos"];
    // The leader's death ended no attempt, the worker's ended one.
    assert_eq!(chaos["attempts"], 2, "{}", outcome.told());
    assert!(chaos["resumed_from_epoch"].as_u64() > Some(0), "{}", outcome.told());
    // A lease is waited for; how long the rest takes is for the machine to say.
    let lease = chaos["worker_loss_to_next_attempt_s"].as_f64();
    assert!(lease > Some(5.0), "{}", outcome.told());
    assert!(chaos["leader_loss_to_new_leader_s"].is_f64(), "{}", outcome.told());
    nothing_is_left(folder.path());
}

#[test]
fn chaos_needs_somebody_who_is_left() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    cli.run(&["demo", "--chaos", "--coordinators", "1"]).exits(2).says(&["3 or 5 coordinators"]);
    cli.run(&["demo", "--chaos", "--workers", "1"]).exits(2).says(&["2 workers or more"]);
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("data"));
    let demo = cli.start(&["demo", "--workers", "2"], "");
    eventually(SOON, "the demo's processes", || {
        let running = processes_of(folder.path());
        if running.len() >= 7 { Ok(()) } else { Err(format!("{running:?} of {}", demo.pid())) }
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
