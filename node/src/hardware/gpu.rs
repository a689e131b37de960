//! The GPUs that the system names: NVIDIA by its driver, others by the kernel's device tree.
//!
//! AMD and Intel devices are listed with what the kernel says of them. Whether an engine can use a
//! device is found out by loading that engine, not here.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

/// How long `nvidia-smi` may take; it hangs when a driver is in trouble.
const SMI_PATIENCE: Duration = Duration::from_secs(2);

/// More devices than a machine has; what is beyond is not listed.
const MAX_GPUS: usize = 64;

/// How much of the output of `nvidia-smi` is read.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// Who made a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuVendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Who made it.
    pub vendor: GpuVendor,
    /// Its name, or its PCI ids where the system knows no name.
    pub name: String,
    /// Its own memory in MiB, where the driver tells.
    pub memory_total_mib: Option<u64>,
}

pub(super) fn list() -> Vec<Gpu> {
    let mut gpus = nvidia(Path::new("/proc/driver/nvidia/gpus"));
    gpus.extend(from_drm(Path::new("/sys/class/drm"), gpus.is_empty()));
    gpus.truncate(MAX_GPUS);
    gpus
}

/// The driver's own list, with memory where `nvidia-smi` is there and answers. It is only asked
/// where there may be something to know, since asking can wake or hang a driver.
fn nvidia(driver: &Path) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(driver) else {
        // Under Windows and WSL there is no such directory, but maybe the program.
        return if cfg!(windows) || Path::new("/dev/dxg").exists() { from_smi() } else { vec![] };
    };
    let asked = from_smi();
    if !asked.is_empty() {
        return asked;
    }
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read_to_string(path.join("information")).ok())
        .filter_map(|text| model_line(&text))
        .map(|name| Gpu { vendor: GpuVendor::Nvidia, name, memory_total_mib: None })
        .collect()
}

fn model_line(information: &str) -> Option<String> {
    let line = information.lines().find_map(|line| line.strip_prefix("Model:"))?;
    Some(line.trim().to_owned()).filter(|name| !name.is_empty())
}

fn from_smi() -> Vec<Gpu> {
    ask_smi("--query-gpu=name,memory.total").map(|text| parse_smi(&text)).unwrap_or_default()
}

/// What `nvidia-smi` answers to a query, as lines of values; none where there is no such program, or
/// it does not answer.
pub(super) fn ask_smi(query: &str) -> Option<String> {
    let child = Command::new("nvidia-smi")
        .args([query, "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    // Ends with the program's output, at the latest when the program is killed below.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_OUTPUT_BYTES).read_to_string(&mut text);
        let _nobody_waits_any_more = sender.send(read.map(|_| text));
    });
    let answer = receiver.recv_timeout(SMI_PATIENCE);
    // A program stuck in the driver does not even die of this; then it is left behind.
    let killed = child.kill();
    match answer {
        Ok(Ok(text)) => {
            drop((child.wait(), reader.join()));
            Some(text)
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(?killed, "nvidia-smi did not answer");
            drop(child.try_wait());
            None
        }
    }
}

fn parse_smi(text: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let (name, memory) = line.rsplit_once(',')?;
        let name = name.trim().to_owned();
        let memory_total_mib = memory.trim().parse().ok();
        (!name.is_empty()).then_some(Gpu { vendor: GpuVendor::Nvidia, name, memory_total_mib })
    };
    text.lines().filter_map(gpu).collect()
}

fn from_drm(drm: &Path, with_nvidia: bool) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(drm) else {
        return vec![];
    };
    let mut cards: Vec<_> = entries
        .flatten()
        .filter(|entry| is_card(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path().join("device"))
        .collect();
    cards.sort();
    cards.iter().filter_map(|device| drm_device(device, with_nvidia)).collect()
}

/// `card0`, and neither its outputs (`card0-DP-1`) nor render nodes.
fn is_card(name: &str) -> bool {
    let number = name.strip_prefix("card").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn drm_device(device: &Path, with_nvidia: bool) -> Option<Gpu> {
    let read = |name: &str| {
        let text = fs::read_to_string(device.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (vendor_id, device_id) = (read("vendor")?, read("device").unwrap_or_default());
    let (vendor, vendor_name) = match vendor_id.as_str() {
        "0x10de" if with_nvidia => (GpuVendor::Nvidia, "NVIDIA"),
        "0x1002" => (GpuVendor::Amd, "AMD"),
        "0x8086" => (GpuVendor::Intel, "Intel"),
        _ => return None,
    };
    let ids = || format!("{vendor_name} GPU {vendor_id}:{device_id}");
    let name = read("product_name").or_else(|| read("label")).unwrap_or_else(ids);
    let memory = read("mem_info_vram_total").and_then(|text| text.parse::<u64>().ok());
    Some(Gpu { vendor, name, memory_total_mib: memory.map(|bytes| bytes >> 20) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_words_are_understood() {
        let gpus = parse_smi("NVIDIA H200, 143771\nOdd, Name, [N/A]\n\nnonsense\n");
        let names: Vec<_> =
            gpus.iter().map(|gpu| (gpu.name.as_str(), gpu.memory_total_mib)).collect();
        assert_eq!(names, [("NVIDIA H200", Some(143_771)), ("Odd, Name", None)]);
        let text = "Model: \t\t NVIDIA GeForce RTX 3090\nIRQ:   \t\t 42\n";
        assert_eq!(model_line(text).as_deref(), Some("NVIDIA GeForce RTX 3090"));
        assert_eq!(model_line("IRQ: 1"), None);
    }

    #[test]
    fn the_device_tree_is_understood() {
        let drm = tempfile::tempdir().unwrap();
        let write = |card: &str, name: &str, text: &str| {
            let device = drm.path().join(card).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join(name), text).unwrap();
        };
        write("card0", "vendor", "0x1002\n");
        write("card0", "device", "0x744c\n");
        write("card0", "mem_info_vram_total", "25753026560\n");
        write("card1", "vendor", "0x10de\n");
        write("card2", "vendor", "0x8086\n");
        write("card2", "label", "Arc\n");
        write("card3", "vendor", "0x1a03\n");
        write("card0-DP-1", "vendor", "0x1002\n");
        write("renderD128", "vendor", "0x1002\n");
        let gpus = from_drm(drm.path(), false);
        let amd = "AMD GPU 0x1002:0x744c".to_owned();
        let expected = [
            Gpu { vendor: GpuVendor::Amd, name: amd, memory_total_mib: Some(24_560) },
            Gpu { vendor: GpuVendor::Intel, name: "Arc".to_owned(), memory_total_mib: None },
        ];
        assert_eq!(gpus, expected);
        assert_eq!(from_drm(drm.path(), true).len(), 3);
        assert!(from_drm(&drm.path().join("absent"), true).is_empty());
    }
}
