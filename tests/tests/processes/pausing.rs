//! A job rests when its owner wants it to, whoever falls meanwhile, and ends as if it never had.

use cyxwiz_tests::{Job, Network, Node, eventually};
use serde_json::Value;

use crate::promises::{RECOVERED, attempts, awaits_result, has_everything_home, nothing_trains};

/// One job at a time: while it has one, others wait.
const ONE_AT_A_TIME: [&str; 6] = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "1"];
/// Far from the end, and far from the beginning.
const ENOUGH: u64 = 300;

/// The same work under any name.
fn work(name: &str) -> Job {
    Job::short(name).epochs(4_000)
}

#[track_caller]
fn awaits_epochs(node: &Node, job: &str) {
    eventually(RECOVERED, "the job to be on its way", || {
        let job = node.cli().try_json(&["job", "status", job])?;
        let epoch = job["progress"]["epoch"].as_u64();
        if epoch >= Some(ENOUGH) { Ok(()) } else { Err(job.to_string()) }
    });
}

fn model(job: &Value) -> &Value {
    let files = job["result"]["files"].as_array().expect("a list of files");
    let model = files.iter().find(|file| file["name"] == "model.safetensors");
    &model.expect("there is a model")["sha256"]
}

#[test]
fn a_paused_job_frees_its_worker_outlives_every_coordinator_and_ends_with_the_same_bytes() {
    let (network, mut committee, laptop) = Network::with_committee("pausing", 3);
    let worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let job = work("nightly").submit(&cli);
    awaits_epochs(&laptop, &job);

    let stranger = worker.cli().run(&["job", "pause", &job]);
    stranger.exits(1).says(&["only the peer that submitted the job may do this"]);
    let order = cli.json(&["job", "pause", "nightly", "--wait"]);
    assert_eq!((&order["changed"], &order["job"]["state"]), (&true.into(), &"paused".into()));
    assert!(order["job"]["checkpoint"]["epoch"].as_u64() >= Some(ENOUGH), "{order:#}");
    nothing_trains([&worker]);
    let again = cli.json(&["job", "pause", "nightly"]);
    assert_eq!((&again["changed"], &again["job"]["state"]), (&false.into(), &"paused".into()));
    let listed = cli.json(&["job", "list"]);
    assert_eq!(listed[0]["state"], "paused", "{listed:#}");
    assert!(listed[0]["paused_at"].is_u64(), "{listed:#}");
    let why = cli.run(&["job", "why", "nightly"]).succeeds();
    assert!(why.stdout.contains("when it is resumed it goes on after epoch"), "{}", why.told());

    // Its place is another's.
    let other = Job::short("other").submit(&cli);
    awaits_result(&laptop, &other);

    let leader = committee.leader();
    committee.kill(leader.index);
    committee.leader_after(leader);
    assert_eq!(cli.job(&job)["state"], "paused");
    for index in (0..3).filter(|index| *index != leader.index) {
        committee.kill(index);
    }
    for index in 0..3 {
        committee.start_again(index);
    }
    committee.leader();
    laptop.awaits_workers(1);
    assert_eq!(cli.job(&job)["state"], "paused");

    let order = cli.json(&["job", "resume", "nightly"]);
    assert_eq!(order["changed"], true, "{order:#}");
    let resumed = awaits_result(&laptop, &job);
    assert_eq!(attempts(&resumed), 2, "{resumed:#}");
    assert_eq!(resumed["attempts"][0]["end"], "paused", "{resumed:#}");
    let late = cli.run(&["job", "pause", &job]);
    late.exits(1).says(&["the job has ended already: it completed"]);

    let straight = work("straight").submit(&cli);
    let order = cli.run(&["job", "resume", &straight]).succeeds();
    assert!(order.stdout.contains("was not paused"), "{}", order.told());
    let straight = awaits_result(&laptop, &straight);
    assert_eq!(attempts(&straight), 1, "{straight:#}");
    assert_eq!(model(&resumed), model(&straight), "{resumed:#}");
    has_everything_home(&laptop);
    nothing_trains([&worker]);
}
