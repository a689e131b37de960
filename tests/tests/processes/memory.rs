//! A job that needs more memory than it asks for: no worker could do better.

use cyxwiz_tests::{Job, Network, examples};

#[test]
fn a_job_that_outgrows_the_memory_it_asks_for_is_tried_once_and_told_what_to_raise() {
    let (network, _coordinator, laptop) = Network::with_coordinator("memory");
    let options = ["--memory-mb", "2048", "--threads", "2"];
    let _workers = ["one", "two"].map(|name| network.worker(name, &options));
    laptop.awaits_workers(2);
    let cli = laptop.cli();
    let text = Job::short("small").epochs(1).needs("memory_mb = 64").text();
    // 30 million parameters.
    let wide = "layers = [{ type = \"dense\", units = 10_000 }, \
                { type = \"dense\", units = 3_000 }, ";
    let file = cli.folder().join("small.toml");
    std::fs::write(&file, text.replace("layers = [", wide)).expect("the folder is ours");
    let (file, data) = (file.to_string_lossy(), examples());
    let options = ["job", "submit", &file, "--files", &data.to_string_lossy(), "--id-only"];
    let submitted = cli.run(&options).succeeds().says(&["note", "memory_mb is 64", "raise"]);

    let job = laptop.awaits(submitted.stdout.trim(), "failed");
    assert_eq!(job["failure"]["kind"], "fatal", "{job:#}");
    let message = job["failure"]["message"].to_string();
    for words in ["its limit is 64 MiB", "made its model", "raise requirements.memory_mb"] {
        assert!(message.contains(words), "{words:?} is not said: {job:#}");
    }
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job:#}");
}
