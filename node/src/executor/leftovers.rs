//! Clears what an earlier life of the node has left: processes that outlived it, and the
//! directories of its runs. A process number alone proves nothing, so a process is killed only when
//! it is provably the recorded one, or a member of the recorded one's group inside the run's
//! directory.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tracing::{info, warn};

use super::{ExecutorError, directory};

/// Tells one process from every other there ever was on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pid: u32,
    /// In clock ticks since the system came up.
    start_time: u64,
    boot: String,
}

impl Identity {
    /// Of a process that is there now; `None` where the system does not tell.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let start_time = Stat::of(pid)?.start_time;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { pid, start_time, boot })
    }

    /// What `Display` wrote, if it is that.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let start_time = words.next()?.parse().ok()?;
        Some(Self { pid, start_time, boot: words.next()?.to_owned() })
    }
}

/// One line: number, start time, boot.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.pid, self.start_time, self.boot)
    }
}

/// Kills and removes all that is left below `root`.
pub(super) fn clear(root: &Path) -> Result<(), ExecutorError> {
    let unreadable = |source| ExecutorError::Root { path: root.to_owned(), source };
    let entries = fs::read_dir(root).map_err(unreadable)?;
    let paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map_err(unreadable)?;
    // All processes first: one that still runs would fill its directory again.
    for path in &paths {
        if let Some(run) = directory::run_of_record(path) {
            kill_recorded(path, &run);
        }
    }
    for path in paths {
        info!(path = %path.display(), "remove what an earlier run left");
        directory::remove_entry(&path)
            .map_err(|source| ExecutorError::Leftover { path: path.clone(), source })?;
    }
    Ok(())
}

fn kill_recorded(record: &Path, run: &Path) {
    let Ok(line) = fs::read_to_string(record) else {
        return;
    };
    let Some(recorded) = Identity::parse(&line) else {
        return;
    };
    let Some(group) = i32::try_from(recorded.pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let is_ours = match Identity::of(recorded.pid) {
        Some(now) => now == recorded,
        None => members(recorded.pid).into_iter().any(|pid| is_inside(pid, run)),
    };
    // A group of ours never has a number that the system gave to itself or to this process.
    if !is_ours || recorded.pid <= 1 || recorded.pid == std::process::id() {
        return;
    }
    let deadline = Instant::now() + DEATH_TIMEOUT;
    while !members(recorded.pid).is_empty() {
        if Instant::now() > deadline {
            return warn!(group = recorded.pid, "processes of an earlier run do not die");
        }
        // The only error is that the last of them has just ended.
        rustix::process::kill_process_group(group, Signal::KILL).ok();
        thread::sleep(DEATH_POLL);
    }
    info!(group = recorded.pid, "killed what an earlier run left running");
}

/// The processes of a group that are not dead yet.
fn members(group: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let living = |pid: &u32| Stat::of(*pid).is_some_and(|stat| stat.group == group && stat.lives);
    pids.filter(living).collect()
}

fn is_inside(pid: u32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.starts_with(folder))
}

/// The part of `/proc/<pid>/stat` that is of interest.
struct Stat {
    lives: bool,
    group: u32,
    start_time: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name in parentheses, may itself hold blanks and parentheses.
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Some(Self {
            lives: !matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// A killed process ends within milliseconds, unless it waits for a broken disk.
const DEATH_TIMEOUT: Duration = Duration::from_secs(2);
const DEATH_POLL: Duration = Duration::from_millis(5);
