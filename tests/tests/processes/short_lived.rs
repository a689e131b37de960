//! Commands without a node: a peer that lives as long as one of them, and output for scripts.

use std::fs;

use cyxwiz_tests::{Job, Network};

#[test]
fn one_command_can_join_submit_and_fetch_without_a_node() {
    let (network, _coordinator, laptop) = Network::with_coordinator("short");
    let _worker = network.worker("worker", &["--memory-mb", "1024"]);
    laptop.awaits_workers(1);
    let (cli, join) = (network.cli("visitor"), ["--join", &network.invite]);
    let with = |command: &[&str]| cli.run(&[command, &join[..]].concat());

    let job = Job::short("visit").submit_with(&cli, &[&join[..], &["--wait"]].concat()).succeeds();
    assert!(job.stdout.contains("completed"), "{}", job.told());
    // The command's peer is gone, the data directory and with it the identity stays.
    cli.run(&["job", "list"]).exits(3);
    assert!(with(&["job", "list"]).succeeds().stdout.contains("visit"));
    let out = network.folder().join("visited");
    with(&["job", "results", "last", "--out", &out.to_string_lossy()]).succeeds();
    assert!(out.join("model.safetensors").is_file());

    // An address alone is enough, also without waiting for the end.
    let by_address = ["--join", &network.address, "--id-only"];
    let id = Job::short("left").submit_with(&cli, &by_address).succeeds().stdout;
    let id = id.trim();
    assert_eq!(id.len(), 36, "an id and nothing else: {id:?}");
    laptop.awaits(id, "completed");
    let status = with(&["job", "status", id, "--output", "json"]).succeeds();
    assert_eq!((&status.json()["mine"], status.json()["job"].as_str()), (&true.into(), Some(id)));
    assert_eq!(laptop.cli().job(id)["mine"], false);
    laptop.cli().run(&["job", "cancel", id]).exits(1).says(&["only the peer that submitted"]);

    let outcome = Job::short("nan").needs("memory_mb = 10_000_000").submit_with(&cli, &join);
    outcome.exits(104);
}

#[test]
fn scripts_read_ids_documents_and_lines() {
    let (network, _coordinator, laptop) = Network::with_coordinator("script");
    let _worker = network.worker("worker", &["--memory-mb", "1024"]);
    laptop.awaits_workers(1);
    let cli = laptop.cli();

    let id = Job::short("quiet").submit_with(&cli, &["--id-only", "--wait", "--quiet"]).succeeds();
    assert_eq!((id.stdout.trim().len(), id.stderr.as_str()), (36, ""), "{}", id.told());
    let whole = Job::short("whole").submit_with(&cli, &["--wait", "--output", "json"]).succeeds();
    assert_eq!(whole.json()["state"], "completed");
    let options = ["--follow", "--output", "jsonl"];
    let lines = Job::short("lines").submit_with(&cli, &options).succeeds();
    let (first, last) = (&lines.json_lines()[0], lines.json_lines().pop().expect("lines"));
    assert!(first["job"].is_string(), "{}", lines.told());
    assert_eq!((&last["event"], &last["job"]["state"]), (&"state".into(), &"completed".into()));

    let jobs = cli.run(&["job", "list", "--output", "jsonl"]).succeeds().json_lines();
    let names: Vec<_> = jobs.iter().filter_map(|job| job["name"].as_str()).collect();
    assert_eq!(names, ["lines", "whole", "quiet"], "newest first");
    // The beginning of an id is enough where it is clear; `last` is the newest.
    let newest = jobs[0]["job"].as_str().expect("an id");
    assert_eq!(cli.job("last")["job"], newest);
    assert_eq!(cli.job(&newest[..30])["job"], newest);
    for command in [&["node", "status"][..], &["node", "peers"], &["node", "workers"]] {
        cli.json(command);
        assert!(!cli.run(command).succeeds().stdout.is_empty());
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.run(&["completions", shell]).succeeds().stdout;
        assert!(script.contains("cyxwiz"), "a script for {shell}");
    }
    let token = fs::read_to_string(laptop.data_dir.join("api.json")).expect("it is there");
    let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
    assert!(!laptop.log().contains(token["token"].as_str().expect("text")), "it is a secret");
}
