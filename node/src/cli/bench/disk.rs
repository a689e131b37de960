//! The bounds that a measurement is held against, and what the system says of a process.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use crate::cli::error::CommandError;

/// How long the disk is measured.
const SPAN: Duration = Duration::from_secs(1);

/// Appends of 256 bytes that are on disk one after the other: what a store can do for one client.
pub(super) fn syncs_per_second(folder: &Path) -> Result<f64, CommandError> {
    let path = folder.join("sync.bench");
    let failed = |source: std::io::Error| {
        CommandError::failure(format!("cannot write {}", path.display())).because(&source)
    };
    let mut file = File::create(&path).map_err(failed)?;
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < SPAN {
        file.write_all(&[0; 256]).and_then(|()| file.sync_data()).map_err(failed)?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Processor time that a process has used; not a number where the system does not tell.
pub(super) fn process_cpu_seconds(pid: u32) -> f64 {
    ticks(pid, 2) / TICKS_A_SECOND
}

/// Likewise with that of its children that have ended, and of theirs.
pub(super) fn family_cpu_seconds(pid: u32) -> f64 {
    ticks(pid, 4) / TICKS_A_SECOND
}

/// What Linux counts in, whatever the kernel is built with.
const TICKS_A_SECOND: f64 = 100.0;

/// The sum of `count` fields of stat from the 14th on: user and system time, and those of children
/// (proc(5)); the name before them may hold spaces and ends with the last parenthesis.
fn ticks(pid: u32, count: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let fields: Vec<f64> = fields.take(count).filter_map(|field| field.parse().ok()).collect();
    if fields.len() == count { fields.iter().sum() } else { f64::NAN }
}

/// Resident memory of a process, in MB; not a number where the system does not tell.
pub(super) fn process_memory_mb(pid: u32) -> f64 {
    status_mb(pid, "VmRSS:")
}

/// The most that a process has had resident so far, likewise.
pub(super) fn process_peak_memory_mb(pid: u32) -> f64 {
    status_mb(pid, "VmHWM:")
}

fn status_mb(pid: u32, key: &str) -> f64 {
    let kib = std::fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    });
    kib.map_or(f64::NAN, |kib| kib * 1_024.0 / 1_000_000.0)
}

/// Processes that ran or would have over the last minute, in the mean; not a number where the
/// system does not tell. On a machine that others use, too, figures mean little without it.
pub(super) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").ok();
    let first = text.as_deref().and_then(|text| text.split_whitespace().next());
    first.and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
