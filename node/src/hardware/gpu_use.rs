//! What a process has of the machine's GPUs: NVIDIA's driver tells by process. The kernel's device
//! tree, which knows AMD's, tells of whole devices only, and so nothing of one process.

use std::collections::BTreeSet;

use super::gpu;

/// What a process has of the GPUs on which it has memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GpuUse {
    /// How busy the busiest of them is, with whatever it does.
    pub(crate) percent: u8,
    pub(crate) memory_mb: u32,
}

/// None where no driver knows the process. Blocks for seconds at most.
pub(crate) fn of_process(pid: u32) -> Option<GpuUse> {
    let processes = gpu::ask_smi("--query-compute-apps=gpu_uuid,pid,used_memory")?;
    let devices = gpu::ask_smi("--query-gpu=uuid,utilization.gpu")?;
    of(pid, &processes, &devices)
}

fn of(pid: u32, processes: &str, devices: &str) -> Option<GpuUse> {
    let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut found = GpuUse::default();
    let mut own = BTreeSet::new();
    for line in processes.lines().map(cells) {
        if let [device, of, memory] = &line[..]
            && *of == pid.to_string()
        {
            found.memory_mb = found.memory_mb.saturating_add(memory.parse().unwrap_or(0));
            own.insert(device.clone());
        }
    }
    for line in devices.lines().map(cells) {
        if let [device, busy] = &line[..]
            && own.contains(device)
        {
            found.percent = found.percent.max(busy.parse::<u8>().unwrap_or(0).min(100));
        }
    }
    (!own.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "GPU-a, 97\nGPU-b, 12\nGPU-c, [N/A]\n";

    #[test]
    fn a_process_has_its_own_part_and_no_other() {
        let processes = "GPU-a, 41, 500\nGPU-b, 42, 1200\nGPU-c, 42, 300\n";
        let used = |pid| of(pid, processes, DEVICES);
        assert_eq!(used(41), Some(GpuUse { percent: 97, memory_mb: 500 }));
        assert_eq!(used(42), Some(GpuUse { percent: 12, memory_mb: 1_500 }));
        assert_eq!(used(43), None);
    }

    #[test]
    fn words_without_sense_are_nothing() {
        assert_eq!(of(42, "no running processes found\n,,\n", DEVICES), None);
        let vague = of(42, "GPU-z, 42, [N/A]", "garbage");
        assert_eq!(vague, Some(GpuUse { percent: 0, memory_mb: 0 }));
    }
}
