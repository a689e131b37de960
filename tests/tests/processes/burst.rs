//! Many jobs at once: they spread over the workers, and no worker gets more than it offers.

use std::collections::BTreeMap;

use cyxwiz_tests::{Job, Network, SOON, eventually, trainers_of};
use serde_json::Value;

use crate::promises::nothing_trains;

const MAX_CONCURRENT: usize = 4;

#[test]
fn ten_jobs_spread_over_three_equal_workers_and_overload_none() {
    let (network, _coordinator, laptop) = Network::with_coordinator("burst");
    let equal = ["--memory-mb", "4096", "--threads", "1", "--max-concurrent", "4"];
    let workers = ["a", "b", "c"].map(|name| network.worker(name, &equal));
    laptop.awaits_workers(workers.len());
    let cli = laptop.cli();

    // They outlive the look at them, however slow this machine is.
    let jobs: Vec<String> =
        (0..10).map(|number| Job::endless(&format!("burst-{number}")).submit(&cli)).collect();
    let peak = eventually(SOON, "all ten to run", || {
        let lines = cli.try_json(&["job", "list"])?;
        let running = running_by_worker(&lines);
        assert!(running.values().all(|count| *count <= MAX_CONCURRENT), "{lines:#}");
        if running.values().sum::<usize>() == 10 { Ok(running) } else { Err(lines.to_string()) }
    });
    let mut spread: Vec<usize> = peak.into_values().collect();
    spread.sort_unstable();
    assert_eq!(spread, [3, 3, 4]);
    for job in &jobs {
        laptop.awaits_training(job);
    }
    for worker in &workers {
        let count = trainers_of(&worker.data_dir).len();
        assert!((3..=MAX_CONCURRENT).contains(&count), "{} trains {count}", worker.name);
    }

    // Three more fill every place but one free; the rest wait, and say for whom.
    let waiting: Vec<String> =
        (10..14).map(|number| Job::short(&format!("burst-{number}")).submit(&cli)).collect();
    for job in &jobs {
        cli.run(&["job", "cancel", job]).succeeds();
    }
    for job in &jobs {
        laptop.awaits(job, "cancelled");
    }
    for job in &waiting {
        laptop.awaits(job, "completed");
    }
    nothing_trains(&workers);
    let known = cli.json(&["node", "workers"]);
    for worker in known.as_array().expect("a list of workers") {
        assert_eq!((&worker["running"], &worker["failed"]), (&0.into(), &0.into()), "{worker:#}");
    }
}

#[test]
fn what_a_full_worker_cannot_take_waits_and_says_so() {
    let (network, _coordinator, laptop) = Network::with_coordinator("full");
    let one = ["--memory-mb", "1024", "--threads", "1", "--max-concurrent", "1"];
    let _worker = network.worker("only", &one);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let first = Job::endless("first").submit(&cli);
    laptop.awaits_training(&first);
    let second = Job::short("second").submit(&cli);
    let third = Job::endless("third").limit("queue = \"1s\"").submit(&cli);

    eventually(SOON, "the reasons of the worker", || {
        let waiting = cli.try_json(&["job", "status", &second])?;
        assert_eq!(waiting["state"], "queued", "{waiting:#}");
        // None while bids are taken.
        let reasons = waiting["waiting"]["workers"][0]["reasons"].as_array();
        if reasons.is_some_and(|all| !all.is_empty()) { Ok(()) } else { Err(waiting.to_string()) }
    });
    // One that may not wait for long is given up, and tells what kept it.
    let third = laptop.awaits(&third, "failed");
    assert_eq!(third["failure"]["kind"], "nobody_could", "{third:#}");
    let id = third["job"].as_str().expect("an id");
    cli.run(&["job", "wait", id]).exits(104);

    cli.run(&["job", "cancel", &first, "--wait"]).succeeds();
    laptop.awaits(&second, "completed");
}

fn running_by_worker(lines: &Value) -> BTreeMap<String, usize> {
    let mut running = BTreeMap::new();
    for line in lines.as_array().expect("a list of jobs") {
        if let (Some("running"), Some(worker)) = (line["state"].as_str(), line["worker"].as_str()) {
            *running.entry(worker.to_owned()).or_default() += 1;
        }
    }
    running
}
