//! What runs on this machine, as the kernel tells it: the only witness that a process is dead.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::waiting::{SOON, eventually};

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

/// Processes that stand still until this value goes: what they do lasts as long as a test likes.
#[derive(Debug)]
pub struct Held(Vec<u32>);

impl Held {
    /// Holds those that train jobs for the node of `data_dir`.
    ///
    /// # Panics
    ///
    /// When nothing trains there.
    #[must_use]
    pub fn trainers_of(data_dir: &Path) -> Self {
        let held = Self(trainers_of(data_dir));
        assert!(!held.0.is_empty(), "nothing trains for the node of {}", data_dir.display());
        held.send(Signal::STOP);
        for pid in &held.0 {
            eventually(SOON, &format!("process {pid} to stand still"), || {
                if is_stopped(*pid) { Ok(()) } else { Err("it runs") }
            });
        }
        held
    }

    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.0
    }

    fn send(&self, signal: Signal) {
        for pid in &self.0 {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
            // Its node may have killed it meanwhile.
            let _ = kill_process(pid.expect("ids of processes are positive"), signal);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.send(Signal::CONT);
    }
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
