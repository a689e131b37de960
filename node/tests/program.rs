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
    for command in ["node", "job", "demo", "bench", "completions"] {
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
