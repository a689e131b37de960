//! What a run's process uses, for people who look on: processor time, memory, its part of a GPU. No
//! limit rests on it; those are for `consumption`, which looks more often.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::MIB;
use super::consumption::Use;
use crate::hardware::gpu_use;

/// How a process did when it was looked at last; what the machine does not tell is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is the process's alone, in MB.
    pub memory_mb: Option<u32>,
    /// Processor time of all threads against one core's.
    pub cpu_percent: Option<u32>,
    /// Of the busiest GPU that it has memory on.
    pub gpu_percent: Option<u8>,
    pub gpu_memory_mb: Option<u32>,
}

/// Looks at one process now and then. A mutex, because whoever looks is a thread of its own and
/// whoever reads must not wait for it; held for a copy alone.
#[derive(Debug, Default)]
pub(super) struct Meter {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    usage: Usage,
    /// Processor time so far, and when that was so.
    computed: Option<(Instant, Duration)>,
    gpu_at: Option<Instant>,
}

impl Meter {
    pub(super) fn usage(&self) -> Usage {
        self.lock().usage
    }

    /// Looks at the process `pid`. Blocks for as long as the system takes to tell; a GPU's driver is
    /// asked only for a run that may use one, and not by two at once.
    pub(super) fn look(&self, pid: u32, gpu: bool) {
        let (now, computed) = (Instant::now(), processor_time(pid));
        let memory = Use::of(pid).memory;
        let asks = gpu && self.is_gpu_due(now);
        let of_gpu = asks.then(|| gpu_use::of_process(pid));
        let mut known = self.lock();
        if memory > 0 {
            known.usage.memory_mb = Some(u32::try_from(memory / MIB).unwrap_or(u32::MAX));
        }
        if let (Some((before, then)), Some(computed)) = (known.computed, computed) {
            let past = now.saturating_duration_since(before);
            let percent = percent(computed.saturating_sub(then), past);
            known.usage.cpu_percent = percent.or(known.usage.cpu_percent);
        }
        known.computed = computed.map(|computed| (now, computed)).or(known.computed);
        if let Some(of_gpu) = of_gpu {
            known.usage.gpu_percent = of_gpu.map(|it| it.percent);
            known.usage.gpu_memory_mb = of_gpu.map(|it| it.memory_mb);
        }
    }

    fn is_gpu_due(&self, now: Instant) -> bool {
        let mut known = self.lock();
        let due = known.gpu_at.is_none_or(|at| now.saturating_duration_since(at) >= GPU_EVERY);
        if due {
            known.gpu_at = Some(now);
        }
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Every change under the lock is made of whole fields, right even after a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing of no time.
fn percent(computed: Duration, past: Duration) -> Option<u32> {
    let past = past.as_millis();
    (past > 0).then(|| u32::try_from(computed.as_millis() * 100 / past).unwrap_or(u32::MAX))
}

/// Of all its threads, in its own code and in the system's.
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may hold spaces and parentheses; the numbers follow the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let ticks = next()?.saturating_add(next()?);
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1_000) / a_second))
}

/// Asking a GPU's driver costs more than reading a file.
const GPU_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_computes_is_seen_to() {
        let (meter, own) = (Meter::default(), std::process::id());
        meter.look(own, false);
        assert!(meter.usage().memory_mb.is_some());
        assert_eq!(meter.usage().cpu_percent, None, "of no time");
        let before = processor_time(own).unwrap();
        while processor_time(own).unwrap() < before + Duration::from_millis(200) {
            std::hint::black_box((0..10_000_u64).sum::<u64>());
        }
        meter.look(own, false);
        assert!(meter.usage().cpu_percent.unwrap() > 0, "{:?}", meter.usage());
    }

    #[test]
    fn a_process_that_is_gone_uses_what_it_did() {
        let meter = Meter::default();
        meter.look(u32::MAX, false);
        assert_eq!(meter.usage(), Usage::default());
        assert_eq!(percent(Duration::from_secs(5), Duration::from_secs(2)), Some(250));
        assert_eq!(percent(Duration::from_secs(5), Duration::ZERO), None);
    }
}
