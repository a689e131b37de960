//! The program as a whole, without a network. That it is tested here also has cargo build it for
//! the tests with real processes in `tests/`.

use std::process::{Command, Output};

fn cyxwiz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyxwiz"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("CYXWIZ_") {
            command.env_remove(key);
        }
    }
    command.args(arguments).output().expect("it starts")
}

#[test]
fn it_says_what_it_is_and_what_it_can() {
    let version = cyxwiz(&["--version"]);
    assert!(version.status.success());
    let text = String::from_utf8_lossy(&version.stdout);
    assert_eq!(text.trim(), concat!("cyxwiz ", env!("CARGO_PKG_VERSION")));
    let help = cyxwiz(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    for command in ["node", "job", "demo", "bench", "doctor", "completions"] {
        assert!(text.contains(command), "{command} is missing:\n{text}");
    }
}

#[test]
fn what_it_does_not_know_is_a_usage_error() {
    for wrong in [&["nod"][..], &["job", "submit"], &["demo", "--workers", "0"]] {
        let outcome = cyxwiz(wrong);
        assert_eq!(outcome.status.code(), Some(2), "{wrong:?}");
        assert!(outcome.stdout.is_empty(), "{wrong:?}");
        assert!(!outcome.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_trainer_without_walls_reads_no_job() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.json"), "{}").unwrap();
    let dir = folder.path().to_str().unwrap();
    let refused = cyxwiz(&["__train", dir, "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty(), "not even a greeting");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("does not train") && words.contains("no wall"), "{words}");
    // Where the owner has agreed it goes on, and stumbles over the job.
    let agreed = cyxwiz(&["__train", "--allow-unsandboxed", dir, "1"]);
    let frames = String::from_utf8_lossy(&agreed.stdout);
    assert!(frames.contains("hello") && frames.contains("invalid_job"), "{frames}");
}

#[test]
fn the_doctor_tells_every_layer_and_one_next_step() {
    let outcome = cyxwiz(&["doctor", "--output", "json"]);
    assert!(outcome.status.success());
    let found: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let layers = found["sandbox"]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 7, "{found}");
    let level = found["sandbox"]["level"].as_u64().unwrap();
    assert_eq!(found["sandbox"]["runs_strangers_jobs"], level == 3, "{found}");
    assert!(found["next"].as_str().unwrap().starts_with("next: "), "{found}");
    let table = cyxwiz(&["doctor"]);
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(
        text.contains("LAYER") && text.contains(&format!("sandbox level {level} of 3")),
        "{text}"
    );
}
