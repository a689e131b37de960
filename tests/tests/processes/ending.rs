//! How jobs end that do not complete, and what scripts learn from exit codes.

use std::{fs, path::Path};

use cyxwiz_tests::{Job, Network, SOON, is_alive, trainers_of};

use crate::promises::nothing_trains;

#[test]
fn a_cancelled_job_is_dead_and_an_unfinished_one_says_so() {
    let (network, _coordinator, laptop) = Network::with_coordinator("cancel");
    let worker = network.worker("worker", &["--memory-mb", "2048", "--threads", "1"]);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let job = Job::endless("endless").submit(&cli);
    laptop.awaits_training(&job);
    let trainers = trainers_of(&worker.data_dir);
    assert_eq!(trainers.len(), 1, "one process trains");

    cli.run(&["job", "results", &job]).exits(101).says(&["still running", "job watch"]);
    // Detaching leaves the job alone.
    let watching = cli.start(&["job", "watch", &job, "--output", "jsonl"], "");
    // Its state, then reports: it has been listening for a while.
    watching.awaits_lines(3);
    watching.interrupt();
    let watched = watching.wait(SOON).exits(130).says(&["goes on", "job cancel"]);
    let events = watched.json_lines();
    assert_eq!(events[0]["event"], "state", "{}", watched.told());
    assert_eq!(cli.job(&job)["state"], "running");

    let cancelled = cli.run(&["job", "cancel", &job, "--wait", "--output", "json"]).succeeds();
    // The receipt says that it is over when its process is dead, not before.
    assert!(!is_alive(trainers[0]), "process {} still trains", trainers[0]);
    assert_eq!(cancelled.json()["state"], "cancelled");
    assert_eq!(entries(&worker.data_dir.join("runs")), Vec::<String>::new());
    cli.run(&["job", "wait", &job]).exits(103).says(&["cancelled"]);
    cli.run(&["job", "results", &job]).exits(103);
    cli.run(&["job", "cancel", &job]).succeeds();
    assert!(cli.run(&["job", "why", &job]).succeeds().stdout.contains("cancelled"));

    // One that waits is cancelled without ever having run.
    let waiting: Vec<_> =
        (0..5).map(|number| Job::endless(&format!("n-{number}")).submit(&cli)).collect();
    for job in &waiting {
        cli.run(&["job", "cancel", job, "--wait"]).succeeds();
    }
    nothing_trains([&worker]);
}

#[test]
fn failed_and_unknown_jobs_have_exit_codes_of_their_own() {
    let (network, _coordinator, laptop) = Network::with_coordinator("codes");
    let _worker = network.worker("worker", &["--memory-mb", "1024", "--threads", "1"]);
    laptop.awaits_workers(1);
    let cli = laptop.cli();

    let diverging = diverging_job(cli.folder());
    let outcome = cli.run(&["job", "submit", &diverging, "--wait"]).exits(100);
    let failed = cli.run(&["job", "wait", "last"]).exits(100).says(&["failed", "job why"]);
    assert!(outcome.stderr.contains("diverged"), "{}", failed.told());
    cli.run(&["job", "results", "last"]).exits(100);
    let why = cli.run(&["job", "why", "last"]).succeeds().stdout;
    assert!(why.contains("diverged"), "{why}");
    assert_eq!(
        cli.job("last")["attempts"].as_array().map(Vec::len),
        Some(1),
        "it is not tried again"
    );

    let unknown = "01900000-0000-7000-8000-000000000000";
    for command in ["status", "watch", "wait", "cancel", "results", "why"] {
        cli.run(&["job", command, unknown]).exits(102);
        cli.run(&["job", command, "abcdef"]).exits(102);
        cli.run(&["job", command, "no job"]).exits(2).says(&["job list"]);
    }
    let endless = Job::endless("timed").limit("attempt = \"2s\"").limit("attempts = 1");
    endless.submit_with(&cli, &["--wait"]).exits(100).says(&["failed"]);
}

/// Its loss stops being a number within a step or two.
fn diverging_job(folder: &Path) -> String {
    fs::write(folder.join("far.csv"), "x,y\n1e30,1e30\n-1e30,1e30\n2e30,-1e30\n").expect("written");
    let text = r#"
name = "diverging"
[model]
layers = [{ type = "dense", units = 1 }]
[data]
source = "far.csv"
label = "y"
[training]
epochs = 5
batch_size = 3
loss = "mse"
optimizer = { type = "sgd", learning_rate = 100.0 }
"#;
    let path = folder.join("diverging.toml");
    fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
