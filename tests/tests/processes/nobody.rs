//! Jobs that no worker here could ever run are refused at once, with each worker's reasons.

use cyxwiz_tests::{Job, Network};

#[test]
fn a_job_that_nobody_could_run_is_refused_with_the_reasons_of_each() {
    let (network, _coordinator, laptop) = Network::with_coordinator("nobody");
    let workers = [("small", "512"), ("large", "4096")]
        .map(|(name, memory)| network.worker(name, &["--memory-mb", memory, "--price", "7"]));
    laptop.awaits_workers(2);
    let cli = laptop.cli();

    let impossible = [
        ("huge", "memory_mb = 10_000_000", "memory"),
        ("fast", "device = \"cuda\"", "cuda"),
        ("wide", "cores = 5_000", "core"),
        ("poor", "max_price = 3", "credits"),
    ];
    for (name, needs, why) in impossible {
        let outcome = Job::short(name).needs(needs).submit_with(&cli, &[]).exits(104);
        let stderr = outcome.stderr.to_lowercase();
        assert!(stderr.contains(why), "{}", outcome.told());
        for worker in &workers {
            let tail = &worker.peer[worker.peer.len() - 6..];
            assert!(
                outcome.stderr.contains(tail),
                "{} is not named; {}",
                worker.name,
                outcome.told()
            );
        }
        assert_eq!(outcome.stdout, "", "{}", outcome.told());
    }
    let script = Job::short("script").needs("memory_mb = 10_000_000");
    let outcome = script.submit_with(&cli, &["--output", "json"]).exits(104);
    let error: serde_json::Value = serde_json::from_str(outcome.stderr.trim()).expect("JSON");
    assert_eq!(error["exit_code"], 104, "{error:#}");
    assert_eq!(cli.json(&["job", "list"]), serde_json::json!([]), "nothing is left behind");

    // What fits is taken all the same.
    let fits = Job::short("fits").needs("memory_mb = 2000").submit(&cli);
    laptop.awaits(&fits, "completed");
}

#[test]
fn without_any_worker_a_job_waits_for_one_to_come() {
    let (network, _coordinator, laptop) = Network::with_coordinator("early");
    let cli = laptop.cli();
    let job = Job::short("early").submit(&cli);
    let waiting = cli.job(&job);
    assert_eq!(waiting["state"], "queued", "{waiting:#}");
    assert!(waiting["waiting"]["why"].is_string(), "{waiting:#}");
    let _worker = network.worker("late", &["--memory-mb", "1024"]);
    laptop.awaits(&job, "completed");
}
