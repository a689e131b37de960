//! The way of a job from its file to a model that opens elsewhere.

use std::{fs, path::Path, process::Command};

use cyxwiz_tests::{Job, Network, Node, Stop, examples};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn jobs_find_the_workers_that_fit_them_and_bring_models_back() {
    let (network, _coordinator, mut laptop) = Network::with_coordinator("journey");
    let cheap = ["--memory-mb", "512", "--threads", "1", "--price", "1"];
    let cheap = network.worker("cheap", &cheap);
    let large = ["--memory-mb", "4096", "--threads", "2", "--price", "20"];
    let large = network.worker("large", &large);
    laptop.awaits_workers(2);

    let roomy = Job::short("roomy").needs("memory_mb = 2000").submit(&laptop.cli());
    let thrifty = Job::short("thrifty").needs("max_price = 5").submit(&laptop.cli());
    let roomy = laptop.awaits(&roomy, "completed");
    assert_eq!(roomy["result"]["worker"], large.peer.as_str(), "{roomy:#}");
    let refused = &roomy["decisions"][0]["refused"];
    assert!(
        refused.as_array().is_none_or(|all| all.iter().all(|it| it["worker"] == cheap.peer)),
        "{refused:#}"
    );
    let thrifty = laptop.awaits(&thrifty, "completed");
    assert_eq!(thrifty["result"]["worker"], cheap.peer.as_str(), "{thrifty:#}");
    assert_eq!(thrifty["decisions"][0]["price_paid"], 1, "{thrifty:#}");

    let digits = submit_bundled(&laptop);
    // An accepted job is the coordinator's business; its submitter may go.
    laptop.stop(Stop::Kill);
    laptop.start_again();
    let digits = laptop.awaits(&digits, "completed");
    the_best_bid_won(&digits);
    let accuracy = digits["result"]["metrics"]["test_accuracy"].as_f64();
    assert!(accuracy >= Some(0.95), "{:#}", digits["result"]["metrics"]);
    the_files_are_whole(&laptop, &digits, &network.folder().join("fetched"));
}

fn submit_bundled(laptop: &Node) -> String {
    let file = examples().join("digits.toml");
    let outcome = laptop.cli().run(&["job", "submit", &file.to_string_lossy(), "--id-only"]);
    outcome.succeeds().stdout.trim().to_owned()
}

/// Both could have it: then the scores decide, and each says what it is made of.
fn the_best_bid_won(job: &Value) {
    let decision = &job["decisions"][0];
    let bids = decision["bids"].as_array().expect("a list of bids");
    assert_eq!(bids.len(), 2, "{decision:#}");
    assert_eq!(bids[0]["worker"], job["attempts"][0]["worker"], "{decision:#}");
    assert!(bids[0]["score"].as_i64() >= bids[1]["score"].as_i64(), "{decision:#}");
    for bid in bids {
        let terms = bid["terms"].as_array().expect("a list of terms");
        let points: Option<i64> = terms.iter().map(|term| term["points"].as_i64()).sum();
        assert_eq!(points, bid["score"].as_i64(), "a score is the sum of its parts: {bid:#}");
    }
}

fn the_files_are_whole(laptop: &Node, job: &Value, folder: &Path) {
    let id = job["job"].as_str().expect("an id");
    let out = folder.to_string_lossy();
    laptop.cli().run(&["job", "results", id, "--out", &out]).succeeds();
    let files = job["result"]["files"].as_array().expect("a list of files");
    assert!(!files.is_empty(), "{job:#}");
    for file in files {
        let name = file["name"].as_str().expect("a name");
        let bytes = fs::read(folder.join(name)).expect("the file was fetched");
        assert_eq!(Some(bytes.len() as u64), file["size"].as_u64(), "{name}");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), file["sha256"], "{name}");
    }
    let model = folder.join("model.safetensors");
    let bytes = fs::read(&model).expect("there is a model");
    let tensors = SafeTensors::deserialize(&bytes).expect("the model can be read");
    let numbers: usize = tensors.iter().map(|(_, it)| it.shape().iter().product::<usize>()).sum();
    assert_eq!(Some(numbers as u64), job["result"]["parameters"].as_u64());
    opens_in_python(&model);
    // A second time, nothing is overwritten unless that is asked for.
    let again = laptop.cli().run(&["job", "results", id, "--out", &out]);
    again.exits(1).says(&["is there already", "--force"]);
    laptop.cli().run(&["job", "results", id, "--out", &out, "--force"]).succeeds();
}

/// Where Python has what it takes; elsewhere the test says that it did not look.
fn opens_in_python(model: &Path) {
    let python =
        |script: &str| Command::new("python3").args(["-c", script]).arg(model).output().ok();
    let known = python("import numpy, safetensors").is_some_and(|it| it.status.success());
    if !known {
        eprintln!("skipped: this machine's python3 has no safetensors to open the model with");
        return;
    }
    let script = "import sys; from safetensors.numpy import load_file; \
                  print(sum(v.size for v in load_file(sys.argv[1]).values()))";
    let output = python(script).expect("it ran a moment ago");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}
