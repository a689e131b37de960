//! What is promised of every job, as it is checked after each fault.

use std::time::Duration;

use cyxwiz_tests::{Node, SOON, eventually, trainers_of};
use serde_json::Value;

/// Long enough for leases to run out and everything to be trained once more.
pub(crate) const RECOVERED: Duration = Duration::from_secs(240);

/// Epochs that last about as long as an election takes.
pub(crate) const LASTING: u32 = 3_000;

/// Waits until the job has completed, which must have been counted once.
#[track_caller]
pub(crate) fn awaits_result(node: &Node, job: &str) -> Value {
    let job = eventually(RECOVERED, &format!("the end of job {job}"), || {
        let job = node.cli().try_json(&["job", "status", job])?;
        if job["ended_at"].is_u64() { Ok(job) } else { Err(job.to_string()) }
    });
    assert_eq!(job["state"], "completed", "{job:#}");
    let attempts = job["attempts"].as_array().expect("a list of attempts");
    let completed: Vec<_> = attempts.iter().filter(|it| it["end"] == "completed").collect();
    let [counted] = completed[..] else { panic!("counted {} times: {job:#}", completed.len()) };
    assert_eq!(counted["attempt"], job["result"]["attempt"], "{job:#}");
    assert_eq!(counted["worker"], job["result"]["worker"], "{job:#}");
    assert!(attempts.iter().all(|it| it["ended_at"].is_u64()), "nothing is left open: {job:#}");
    job
}

/// What must never change again once a job has ended.
pub(crate) fn outcome(job: &Value) -> Value {
    serde_json::json!([job["state"], job["attempts"], job["result"], job["ended_at"]])
}

/// How often the job was awarded.
pub(crate) fn attempts(job: &Value) -> usize {
    job["attempts"].as_array().map_or(0, Vec::len)
}

/// The same is said of the job wherever one asks.
#[track_caller]
pub(crate) fn says_the_same(node: &Node, job: &Value) {
    let id = job["job"].as_str().expect("an id");
    let said = eventually(SOON, &format!("{} to tell of {id}", node.name), || {
        node.cli().try_json(&["job", "status", id])
    });
    assert_eq!(outcome(&said), outcome(job), "as {} says", node.name);
}

/// Everything that the node's submitter handed in has come to its end, and the results are here.
#[track_caller]
pub(crate) fn has_everything_home(node: &Node) {
    eventually(SOON, &format!("every result to come home to {}", node.name), || {
        let status = node.cli().try_json(&["node", "status"])?;
        let own = &status["submitter"];
        let none = own["unaccepted"] == 0 && own["unfinished"] == 0;
        if none { Ok(()) } else { Err(own.to_string()) }
    });
}

/// No process trains for anyone.
#[track_caller]
pub(crate) fn nothing_trains<'a>(workers: impl IntoIterator<Item = &'a Node>) {
    for worker in workers {
        eventually(SOON, "every process to end", || {
            let left = trainers_of(&worker.data_dir);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} of {}", worker.name)) }
        });
    }
}
