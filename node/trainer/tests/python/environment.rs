//! A Python with the packages that a test asks for: the machine's own if it has them, else one
//! that is made in the target folder and kept there for the next run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A Python that imports `modules`, which pip knows as `packages`; nothing where there is none,
/// which is said. With `REQUIRE_PYTHON` in the environment that is a failure.
pub(crate) fn python(test: &str, modules: &str, packages: &[&str]) -> Option<PathBuf> {
    // One for each test binary; tests that run beside each other wait for whoever makes it.
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| find(modules, packages)) {
        Ok(python) => Some(python.clone()),
        Err(why) => {
            let why = format!("SKIPPED {test}: no python3 imports {modules}: {why}");
            assert!(std::env::var_os("REQUIRE_PYTHON").is_none(), "{why}");
            say(&why);
            None
        }
    }
}

fn find(modules: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let scripts = if cfg!(windows) { "Scripts" } else { "bin" };
    let own = folder.join(scripts).join("python");
    for python in [Path::new("python3"), &own] {
        if done(Command::new(python).args(["-c", &format!("import {modules}")])).is_ok() {
            return Ok(python.to_owned());
        }
    }
    say(&format!("making a Python with {} in {}", packages.join(", "), folder.display()));
    done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"];
    done(Command::new(&own).args(["-m", "pip", "install"]).args(options).args(packages))?;
    Ok(own)
}

/// The last that a program that failed has said.
fn done(command: &mut Command) -> Result<(), String> {
    let Output { status, stdout, stderr } = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if status.success() {
        return Ok(());
    }
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(said.lines().last().unwrap_or("it says nothing").to_owned())
}

/// Not println: the test runner keeps that to itself when a test passes.
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").expect("standard error is open");
}
