//! What runs on this machine, as the kernel tells it: the only witness that a process is dead.

use std::{fs, path::Path};

/// Whether the process is there and not merely waiting to be reaped.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// Processes that train jobs for the node of `data_dir`.
#[must_use]
pub fn trainers_of(data_dir: &Path) -> Vec<u32> {
    let folder = data_dir.to_string_lossy();
    let trains = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.split('\0').any(|word| word == "__train") && line.contains(folder.as_ref())
    };
    processes().filter(trains).filter(|pid| is_alive(*pid)).collect()
}

/// The living processes that `pid` has started.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let is_child = |child: &u32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent.and_then(|parent| parent.parse().ok()) == Some(pid)
    };
    processes().filter(is_child).filter(|child| is_alive(*child)).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("this system tells its processes in /proc");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
