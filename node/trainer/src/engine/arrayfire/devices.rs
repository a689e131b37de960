//! What a library of ArrayFire offers on this machine, in words that can be passed on.

use std::path::PathBuf;

use cyxwiz_arrayfire::{Attempt, Backend, LoadError, Loaded};
use serde::{Deserialize, Serialize};

use super::guard::{self, guarded};
use crate::engine::EngineError;

/// More devices than a machine has.
const DEVICES_MAX: i32 = 64;

/// What was found of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ArrayFireReport {
    Found(ArrayFireFound),
    /// No library could be opened at any of these places.
    Absent {
        tried: Vec<Attempt>,
    },
    /// There is one, and it does not work.
    Broken {
        why: String,
    },
}

/// A library that works, and its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayFireFound {
    /// The library's file.
    pub path: PathBuf,
    pub version: String,
    pub devices: Vec<ArrayFireDevice>,
}

/// A device as its library describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayFireDevice {
    pub name: String,
    /// The platform with its toolkit or driver, and their version.
    pub toolkit: String,
    /// The version of the device's abilities.
    pub compute: String,
    /// In MiB, where the library tells.
    pub memory_mib: Option<u64>,
    /// Whether it is no processor.
    pub is_gpu: bool,
}

/// Opens the library of `backend` and lists its devices. To be called in a process that may die: a
/// driver in trouble takes its process down.
#[must_use]
pub fn arrayfire_report(backend: Backend) -> ArrayFireReport {
    let loaded = match cyxwiz_arrayfire::load(backend) {
        Ok(loaded) => loaded,
        Err(LoadError::NotFound { tried, .. }) => return ArrayFireReport::Absent { tried },
        Err(error @ LoadError::Another { .. }) => {
            return ArrayFireReport::Broken { why: error.to_string() };
        }
    };
    match listed(loaded) {
        Ok(found) => ArrayFireReport::Found(found),
        Err(error) => ArrayFireReport::Broken { why: error.to_string() },
    }
}

/// Starts the library's driver; the last device is the one in use then.
pub(super) fn listed(loaded: &Loaded) -> Result<ArrayFireFound, EngineError> {
    guard::install();
    let (major, minor, patch) = guarded(0, arrayfire::get_version)?;
    let (count, lines) = guarded(0, || {
        arrayfire::init();
        (arrayfire::device_count(), arrayfire::info_string(true))
    })?;
    let device = |index| described(loaded, index, &lines);
    let devices = (0..count.min(DEVICES_MAX)).map(device).collect::<Result<_, _>>()?;
    let version = format!("{major}.{minor}.{patch}");
    Ok(ArrayFireFound { path: loaded.path().to_owned(), version, devices })
}

/// Makes it the device in use, as only that tells of itself. Of memory the library speaks in its
/// `lines` for people alone.
fn described(loaded: &Loaded, index: i32, lines: &str) -> Result<ArrayFireDevice, EngineError> {
    let (name, platform, toolkit, compute) = guarded(0, || {
        arrayfire::set_device(index);
        arrayfire::device_info()
    })?;
    let word = |text: &str| text.trim().replace('_', " ");
    let marks = [format!("[{index}]"), format!("-{index}-")];
    let own = |line: &&str| marks.iter().any(|mark| line.trim_start().starts_with(mark));
    let line = lines.lines().find(own).unwrap_or_default();
    // Of processors it tells the maker alone, and more in its lines.
    let line_name = line.split_once("] ").and_then(|(_, words)| words.split(", ").next());
    let name = match loaded.backend() {
        Backend::Cpu => line_name.unwrap_or(&name).to_owned(),
        Backend::Cuda | Backend::OpenCl => name,
    };
    Ok(ArrayFireDevice {
        name: word(&name),
        toolkit: format!("{} {}", word(&platform), word(&toolkit)).trim().to_owned(),
        compute: word(&compute),
        memory_mib: memory_mib(line),
        is_gpu: loaded.computes_on_gpu(),
    })
}

/// From `.., 24268 MB, ..` or `.., 24 GB, ..`.
fn memory_mib(line: &str) -> Option<u64> {
    let sizes = line.split(", ").filter_map(|part| {
        let (number, unit) = part.trim().split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match unit {
            "MB" => Some(number),
            "GB" => number.checked_mul(1024),
            _ => None,
        }
    });
    sizes.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_librarys_words() {
        assert_eq!(memory_mib("[0] NVIDIA H200, 143156 MB, CUDA Compute 9.0"), Some(143_156));
        assert_eq!(memory_mib("[0] AMD: Radeon, 24 GB"), Some(24 * 1024));
        assert_eq!(memory_mib("[0] Intel: Xeon, Max threads(2)"), None);
    }
}
