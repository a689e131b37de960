//! What runs on this machine, as the kernel tells it: the only witness that a process is dead.

use std::{fs, path::Path};

/// Whether the process is there and not merely waiting to be reaped.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether the process is held by a signal.
pub(crate) fn is_stopped(pid: u32) -> bool {
    state_of(pid) == Some('T')
}

fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Processes that train jobs for the node of `data_dir`.
#[must_use]
pub fn trainers_of(data_dir: &Path) -> Vec<u32> {
    let trains = |pid: &u32| words_of(*pid).split('\0').any(|word| word == "__train");
    processes_of(data_dir).into_iter().filter(trains).collect()
}

/// Processes that were started with `folder`, or something below it, on their command line.
#[must_use]
pub fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_string_lossy();
    let entries = fs::read_dir("/proc").expect("this system tells its processes in /proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| words_of(*pid).contains(folder.as_ref()) && is_alive(*pid)).collect()
}

/// The command line, its words separated by zeros; empty when the process is gone.
fn words_of(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).into_owned()
}
