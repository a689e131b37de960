//! Where the programs are and in what surroundings they run: those of a machine on which nobody
//! has set anything up.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// A command that runs the program called `name` of this workspace, in clean surroundings, by way
/// of `prefix`: a command that becomes the one that is given to it.
///
/// # Panics
///
/// When the program has not been built.
pub(crate) fn program(name: &str, config: &Path, prefix: &[String]) -> Command {
    let path = built(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo test --workspace` or `cargo build` first",
        path.display()
    );
    let mut command = match prefix {
        [] => Command::new(path),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(path);
            command
        }
    };
    clean(&mut command, config);
    command
}

/// Test programs lie in `target/PROFILE/deps`, programs in `target/PROFILE`.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a file");
    let profile = test.parent().and_then(Path::parent).expect("the file lies in PROFILE/deps");
    profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Nothing that the developer's shell says reaches the program. Its process group is its own, so
/// that a Ctrl-C at the tests reaches them alone, and it ends with the thread that starts it.
fn clean(command: &mut Command, config: &Path) {
    for (key, _) in std::env::vars_os() {
        if is_ours(&key) {
            command.env_remove(key);
        }
    }
    command.env("CYXWIZ_CONFIG", config).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
    leave_group(command);
}

fn is_ours(key: &OsStr) -> bool {
    let key = key.to_string_lossy();
    key.starts_with("CYXWIZ_") || key == "RUST_LOG"
}

#[cfg(target_os = "linux")]
fn leave_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    let tie = || {
        let signal = rustix::process::Signal::KILL;
        Ok(rustix::process::set_parent_process_death_signal(Some(signal))?)
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(tie) };
}

#[cfg(all(unix, not(target_os = "linux")))]
fn leave_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn leave_group(_command: &mut Command) {}
