//! What this machine has to offer, as far as it tells: processors, memory, disk, GPUs, speed.
//!
//! A probe never fails; what cannot be found out is `None` or left out. What a peer claims to be
//! able to do is decided elsewhere, by what a training engine can open: a GPU listed here is a
//! piece of hardware that was seen, with its driver or without, and no promise to use it.

mod gpu;
pub(crate) mod gpu_use;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::System;

pub use gpu::{Gpu, GpuVendor};

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hardware {
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// Cores of the machine, without hyper-threading.
    pub physical_cores: Option<usize>,
    /// Logical cores of the machine.
    pub machine_cores: Option<usize>,
    /// Logical cores that this process may use: affinity and cgroup quota counted in.
    pub usable_cores: usize,
    /// Memory that this process may use, in MiB: the machine's, or the cgroup's limit.
    pub memory_total_mib: Option<u64>,
    /// Of that, what is free for use now, in MiB.
    pub memory_available_mib: Option<u64>,
    /// Bytes free to this user on the disk of the data directory.
    pub disk_free_bytes: Option<u64>,
    /// The GPUs that the system names.
    pub gpus: Vec<Gpu>,
    /// The operating system with its version.
    pub os: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// The processor architecture that this program was built for.
    pub architecture: &'static str,
    /// Speed of one core in MFLOP/s at multiplying matrices of 32-bit floats in a plain loop. Good
    /// for comparing machines, not for predicting a training: engines are many times faster.
    pub mflops_per_core: Option<u32>,
}

/// Looks at this machine; `data_dir` is where the node keeps its files.
///
/// Blocks for about 50 ms to measure, and for up to 2 s more where a GPU driver is slow to answer.
#[must_use]
pub fn probe(data_dir: &Path) -> Hardware {
    let system = System::new().ok().map(|mut system| {
        // What cannot be found out stays zero or empty, which is told as unknown below.
        system.refresh_memory();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        system
    });
    let (total, available) = memory(system.as_ref());
    let cpus = system.as_ref().map(System::cpus).unwrap_or_default();
    let model = cpus.first().map(|cpu| cpu.brand().trim().to_owned());
    Hardware {
        cpu_model: model.filter(|model| !model.is_empty()),
        physical_cores: System::physical_core_count().ok(),
        machine_cores: Some(cpus.len()).filter(|count| *count > 0),
        // Counts the affinity mask and, on Linux, the quotas of both cgroup versions.
        usable_cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_total_mib: total.map(|bytes| bytes >> 20),
        memory_available_mib: available.map(|bytes| bytes >> 20),
        disk_free_bytes: free_disk_bytes(data_dir),
        gpus: gpu::list(),
        os: System::long_os_version().ok(),
        kernel: System::kernel_version().ok(),
        architecture: std::env::consts::ARCH,
        mflops_per_core: measure_mflops(),
    }
}

/// Bytes free to this user on the disk of `path`, where the system tells.
pub(crate) fn free_disk_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        // A directory that is yet to be made will lie on the disk of its nearest parent.
        let stat = path.ancestors().find_map(|path| match path.as_os_str().is_empty() {
            true => rustix::fs::statvfs(".").ok(),
            false => rustix::fs::statvfs(path).ok(),
        })?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Total and available memory in bytes, under the limit of the cgroup where there is one.
fn memory(system: Option<&System>) -> (Option<u64>, Option<u64>) {
    let system = system.filter(|system| system.total_memory() > 0);
    let total = system.map(System::total_memory);
    let available = system.map(System::available_memory);
    let Some((limit, used)) = cgroup_memory() else {
        return (total, available);
    };
    let total = total.map_or(limit, |total| total.min(limit));
    let left = limit.saturating_sub(used);
    (Some(total), Some(available.map_or(left, |available| available.min(left)).min(total)))
}

/// The tightest memory limit above this process and what is used under it, in bytes. What the
/// kernel could take back (file pages long unused) does not count as used.
fn cgroup_memory() -> Option<(u64, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let (root, limit, usage, inactive) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
        } else if controllers.split(',').any(|name| name == "memory") {
            let names = ("memory.limit_in_bytes", "memory.usage_in_bytes");
            ("/sys/fs/cgroup/memory", names.0, names.1, "total_inactive_file ")
        } else {
            continue;
        };
        // A parent's limit binds as well; in a container the path may not be visible, the root is.
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let tightest = Path::new(group)
            .ancestors()
            .map(|group| Path::new(root).join(group.strip_prefix("/").unwrap_or(group)))
            .filter_map(|dir| {
                let (limit, usage) = (number(&dir.join(limit))?, number(&dir.join(usage))?);
                let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
                let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive));
                let inactive = inactive.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
                Some((limit, usage.saturating_sub(inactive)))
            })
            .min_by_key(|(limit, used)| limit.saturating_sub(*used));
        if tightest.is_some() {
            return tightest;
        }
    }
    None
}

/// The side of the matrices: three of them fit in a first-level cache.
const SIDE: usize = 48;

/// Work of one measurement; three of them and the warm-up take about 50 ms on a desktop.
const MEASUREMENT: Duration = Duration::from_millis(12);

/// The best of three, since other programs can only make it slower.
fn measure_mflops() -> Option<u32> {
    let a: Vec<f32> = (0_u16..).take(SIDE * SIDE).map(|n| f32::from(n % 7) * 0.25).collect();
    let b: Vec<f32> = (0_u16..).take(SIDE * SIDE).map(|n| f32::from(n % 5) * 0.5).collect();
    let mut c = vec![0.0_f32; SIDE * SIDE];
    let mut run = |rounds: u32| {
        let start = Instant::now();
        for _ in 0..rounds {
            multiply(std::hint::black_box(&a), std::hint::black_box(&b), &mut c);
            std::hint::black_box(&mut c);
        }
        start.elapsed().max(Duration::from_nanos(1))
    };
    // How many rounds fill one measurement; bounded, so that a coarse clock cannot stretch it.
    let once = run(8) / 8;
    let rounds = (MEASUREMENT.as_nanos() / once.as_nanos().max(1)).clamp(1, 20_000);
    let rounds = u32::try_from(rounds).ok()?;
    let best = [(); 3].map(|()| run(rounds)).into_iter().min()?;
    let operations = 2.0 * (SIDE * SIDE * SIDE) as f64 * f64::from(rounds);
    // Saturates; nothing real comes near the limit.
    Some((operations / best.as_secs_f64() / 1e6) as u32)
}

fn multiply(a: &[f32], b: &[f32], c: &mut [f32]) {
    for (row_a, row_c) in a.chunks_exact(SIDE).zip(c.chunks_exact_mut(SIDE)) {
        row_c.fill(0.0);
        for (factor, row_b) in row_a.iter().zip(b.chunks_exact(SIDE)) {
            for (sum, value) in row_c.iter_mut().zip(row_b) {
                *sum += factor * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_finds_the_least_there_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let found = probe(&dir.path().join("not/made/yet"));
        assert!(found.usable_cores >= 1);
        assert!(found.mflops_per_core.unwrap() > 10, "{found:?}");
        let (total, available) = (found.memory_total_mib, found.memory_available_mib);
        assert!(total.is_none() || available <= total, "{found:?}");
        if cfg!(target_os = "linux") {
            assert!(total > Some(0) && found.disk_free_bytes > Some(0), "{found:?}");
            assert!(found.kernel.is_some() && found.machine_cores.is_some(), "{found:?}");
        }
        let text = serde_json::to_string(&found).unwrap();
        eprintln!("{text}");
        assert!(text.contains("\"usable_cores\""), "{text}");
    }

    #[test]
    fn the_measured_loop_multiplies() {
        let identity: Vec<f32> =
            (0..SIDE * SIDE).map(|at| f32::from(u8::from(at % (SIDE + 1) == 0))).collect();
        let b: Vec<f32> = (0_u16..).take(SIDE * SIDE).map(f32::from).collect();
        let mut c = vec![9.0; SIDE * SIDE];
        multiply(&identity, &b, &mut c);
        assert_eq!(b, c);
    }
}
