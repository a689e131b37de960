//! Power cuts: what was accepted survives them, and nothing trains on without its node.

use std::{collections::BTreeSet, thread, time::Duration};

use cyxwiz_tests::{
    Chance, Held, Job, Network, Node, SOON, Stop, eventually, free_port, is_alive, trainers_of,
};
use serde_json::Value;

use crate::promises::{RECOVERED, awaits_result, nothing_trains};

#[test]
fn a_killed_coordinator_comes_back_with_every_accepted_job() {
    let (network, mut coordinator, laptop) = with_fixed_coordinator("coordinator");
    let one = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "1"];
    let worker = network.worker("worker", &one);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let running = Job::middling("running").submit(&cli);
    laptop.awaits_training(&running);
    let trainer = Held::trainers_of(&worker.data_dir);
    let queued = [1, 2, 3].map(|number| Job::short(&format!("queued-{number}")).submit(&cli));
    coordinator.stop(Stop::Kill);
    // The training goes on meanwhile: a coordinator is not in its way.
    assert_eq!(trainers_of(&worker.data_dir), trainer.pids());
    coordinator.start_again();
    drop(trainer);

    let all = [std::slice::from_ref(&running), &queued[..]].concat();
    eventually(SOON, "the jobs of before", || {
        let jobs = cli.try_json(&["job", "list"])?;
        let known: BTreeSet<&str> = ids(&jobs);
        if all.iter().all(|job| known.contains(job.as_str())) {
            Ok(())
        } else {
            Err(jobs.to_string())
        }
    });
    for job in &all {
        awaits_result(&laptop, job);
    }
    let attempts = cli.job(&running)["attempts"].as_array().map(Vec::len);
    assert_eq!(attempts, Some(1), "what ran on was counted: {:#}", cli.job(&running));
}

#[test]
fn a_job_of_a_killed_worker_is_done_by_another() {
    let (network, _coordinator, laptop) = Network::with_coordinator("worker");
    let options = ["--memory-mb", "2048", "--threads", "1"];
    let mut workers = ["one", "two"].map(|name| network.worker(name, &options));
    laptop.awaits_workers(2);
    let cli = laptop.cli();
    let job = Job::middling("moved").submit(&cli);
    let before = laptop.awaits_training(&job);
    let first = before["attempts"][0]["worker"].as_str().expect("a worker").to_owned();
    let victim = workers.iter_mut().find(|worker| worker.peer == first).expect("one of the two");
    let trainers = trainers_of(&victim.data_dir);
    assert_eq!(trainers.len(), 1, "one process trains");
    victim.stop(Stop::Kill);
    eventually(SOON, "the training to die with its node", || {
        if is_alive(trainers[0]) {
            Err(format!("process {} trains on", trainers[0]))
        } else {
            Ok(())
        }
    });

    eventually(RECOVERED, "a second attempt", || {
        let job = cli.try_json(&["job", "status", &job])?;
        let attempts = job["attempts"].as_array().map_or(0, Vec::len);
        if attempts == 2 { Ok(()) } else { Err(job.to_string()) }
    });
    let after = awaits_result(&laptop, &job);
    assert_eq!(after["attempts"].as_array().map(Vec::len), Some(2), "{after:#}");
    assert_ne!(after["result"]["worker"], first, "{after:#}");
    let why = cli.run(&["job", "why", &job]).succeeds().stdout;
    assert!(why.contains("Attempt 1") && why.contains("Attempt 2"), "{why}");
}

#[test]
fn power_cuts_at_any_moment_lose_no_accepted_job() {
    let mut chance = Chance::new("power cuts");
    let (network, coordinator, laptop) = with_fixed_coordinator("cuts");
    let options = ["--memory-mb", "4096", "--threads", "1", "--max-concurrent", "2"];
    let workers = ["one", "two"].map(|name| network.worker(name, &options));
    laptop.awaits_workers(2);
    let cli = laptop.cli();
    let submit = |number: u64| {
        Job::middling(&format!("job-{number}")).seed(number).limit("attempts = 16").submit(&cli)
    };
    let mut jobs: Vec<String> = (0..3).map(submit).collect();
    let [one, two] = workers;
    let mut victims = [coordinator, one, two];
    for cut in 0..6 {
        thread::sleep(Duration::from_millis(chance.below(700)));
        let victim = &mut victims[usize::try_from(chance.below(3)).expect("less than 3")];
        victim.stop(Stop::Kill);
        victim.start_again();
        if cut % 3 == 2 {
            // With the coordinator just back, this is retried until it is accepted.
            jobs.push(submit(3 + cut));
        }
    }
    for job in &jobs {
        awaits_result(&laptop, job);
    }
    nothing_trains(&victims);
}

/// As [`Network::with_coordinator`], with a coordinator that listens where it listened before.
fn with_fixed_coordinator(name: &str) -> (Network, Node, Node) {
    let network = Network::new(name);
    let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let coordinator = network.coordinator(&["--listen", &listen]);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_coordinator();
    (network, coordinator, laptop)
}

fn ids(jobs: &Value) -> BTreeSet<&str> {
    jobs.as_array().into_iter().flatten().filter_map(|job| job["job"].as_str()).collect()
}
