//! Which engine a worker's jobs compute with: what its owner asked for, held against what the
//! machine has. A job gets an engine by the device that it requires: one that asks for the
//! processor gets the embedded engine, whose results can be checked bit by bit, also where there is
//! a GPU; one that asks for CUDA or OpenCL gets ArrayFire. ArrayFire's own code for processors is
//! slower than the embedded engine and is taken only when it is asked for by name.
//!
//! Libraries and drivers are looked at by a process of their own (`probe`), never by the node; what
//! they find is offered once a job has finished on it (`trial`).

mod probe;
mod trial;

use std::path::{Path, PathBuf};

use cyxwiz_scoring::{Device, DeviceKind};
use cyxwiz_trainer::{
    ArrayFireChoice, ArrayFireFound, ArrayFireReport, Attempt, Backend, EngineChoice,
};
use serde::{Deserialize, Serialize};

pub(crate) use probe::{probe, report_text};
pub use trial::{TrialError, trial};

/// The engine that a worker's owner wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[clap(rename_all = "lowercase")]
pub enum EngineKind {
    /// ArrayFire on a GPU where there is one, besides the embedded engine
    #[default]
    Auto,
    /// The embedded engine alone
    Cpu,
    /// ArrayFire, or no worker
    ArrayFire,
}

/// What a worker's owner says of engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineSettings {
    pub engine: EngineKind,
    /// Naming one asks for ArrayFire.
    pub backend: Option<Backend>,
    /// Counted from 0, of the backend.
    pub device: Option<u16>,
}

impl EngineSettings {
    /// Whether ArrayFire was asked for, so that there is no worker without it.
    pub(crate) fn ask_for_arrayfire(self) -> bool {
        self.engine == EngineKind::ArrayFire || self.backend.is_some() || self.device.is_some()
    }
}

/// Why a worker has not the engine that it was told to have.
#[derive(Debug, thiserror::Error)]
pub enum EngineFault {
    #[error("`--engine cpu` is the embedded engine, which has no {option}")]
    Contrary { option: &'static str },
    #[error("ArrayFire was asked for and is not there: {}", told(looked))]
    Absent { looked: Vec<(Backend, String)> },
    #[error(
        "ArrayFire has {count} devices for {backend}, counted from 0, and none of number {device}"
    )]
    Device { backend: Backend, device: u16, count: usize },
    #[error("jobs cannot compute on {name}")]
    Useless {
        name: String,
        #[source]
        source: TrialError,
    },
}

fn told(looked: &[(Backend, String)]) -> String {
    looked.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ")
}

/// The engines of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engines {
    arrayfire: Option<Accelerator>,
}

/// A device that ArrayFire computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Accelerator {
    choice: ArrayFireChoice,
    name: String,
    memory_mib: Option<u64>,
}

impl Engines {
    /// Looks for what `settings` ask, with `look` for one backend.
    ///
    /// # Errors
    /// When ArrayFire was asked for and cannot be had; `auto` goes without.
    pub(crate) fn choose(
        settings: EngineSettings,
        mut look: impl FnMut(Backend) -> ArrayFireReport,
    ) -> Result<Self, EngineFault> {
        let EngineSettings { engine, backend, device } = settings;
        let backends = match (engine, backend, device) {
            (EngineKind::Cpu, Some(_), _) => {
                return Err(EngineFault::Contrary { option: "--af-backend" });
            }
            (EngineKind::Cpu, None, Some(_)) => {
                return Err(EngineFault::Contrary { option: "--device" });
            }
            (EngineKind::Cpu, None, None) => return Ok(Self::default()),
            (EngineKind::Auto | EngineKind::ArrayFire, Some(backend), _) => vec![backend],
            (EngineKind::Auto | EngineKind::ArrayFire, None, _) => {
                vec![Backend::Cuda, Backend::OpenCl]
            }
        };
        let mut looked = Vec::new();
        for one in backends {
            match look(one) {
                ArrayFireReport::Found(found) => {
                    match Accelerator::of(one, device, backend.is_some(), &found) {
                        Ok(Some(accelerator)) => return Ok(Self { arrayfire: Some(accelerator) }),
                        Ok(None) => looked.push((one, format!("{one}: no GPU among its devices"))),
                        Err(fault) => return Err(fault),
                    }
                }
                report @ (ArrayFireReport::Absent { .. } | ArrayFireReport::Broken { .. }) => {
                    looked.push((one, report_text(one, &report)));
                }
            }
        }
        if settings.ask_for_arrayfire() {
            return Err(EngineFault::Absent { looked });
        }
        for (backend, why) in looked {
            tracing::debug!(%backend, why, "no ArrayFire");
        }
        Ok(Self::default())
    }

    /// What a job computes with that requires a device of this kind; `None` where there is none.
    pub(crate) fn for_device(&self, kind: DeviceKind) -> Option<EngineChoice> {
        let arrayfire = self.arrayfire.as_ref();
        let on = |backend| {
            let own = arrayfire.filter(|it| it.choice.backend == backend);
            own.map(|it| EngineChoice::ArrayFire(it.choice.clone()))
        };
        match kind {
            DeviceKind::Cpu => Some(on(Backend::Cpu).unwrap_or(EngineChoice::Cpu)),
            DeviceKind::Cuda => on(Backend::Cuda),
            DeviceKind::OpenCl => on(Backend::OpenCl),
            DeviceKind::OneApi | DeviceKind::Metal => None,
        }
    }

    /// What jobs compute with on ArrayFire's device, and its name.
    pub(crate) fn accelerator(&self) -> Option<(EngineChoice, &str)> {
        let it = self.arrayfire.as_ref()?;
        Some((EngineChoice::ArrayFire(it.choice.clone()), &it.name))
    }

    /// The devices to offer besides the processor. `known_mib` is the memory of the machine's
    /// largest GPU, for a library that does not tell.
    pub(crate) fn devices(&self, known_mib: Option<u64>) -> Vec<Device> {
        let offered = self.arrayfire.iter().filter_map(|it| {
            let kind = match it.choice.backend {
                Backend::Cuda => DeviceKind::Cuda,
                Backend::OpenCl => DeviceKind::OpenCl,
                Backend::Cpu => return None,
            };
            let memory = it.memory_mib.or(known_mib).unwrap_or(0);
            let memory_mb = u32::try_from(memory).unwrap_or(u32::MAX);
            Some(Device { kind, name: it.name.clone(), memory_mb })
        });
        offered.collect()
    }
}

impl Accelerator {
    /// The device of that number, else the first GPU; where the backend was `named`, the first of
    /// any kind. None where there is no GPU.
    fn of(
        backend: Backend,
        device: Option<u16>,
        named: bool,
        found: &ArrayFireFound,
    ) -> Result<Option<Self>, EngineFault> {
        let count = found.devices.len();
        let index = match device {
            Some(device) if usize::from(device) >= count => {
                return Err(EngineFault::Device { backend, device, count });
            }
            Some(device) => Some(usize::from(device)),
            None => found.devices.iter().position(|it| it.is_gpu).or(named.then_some(0)),
        };
        let Some((index, found_device)) =
            index.and_then(|index| Some((index, found.devices.get(index)?)))
        else {
            return Ok(None);
        };
        let mut name = found_device.name.clone();
        name.truncate(name.floor_char_boundary(96));
        let choice = ArrayFireChoice {
            backend,
            device: u16::try_from(index).unwrap_or(u16::MAX),
            library: Some(found.path.clone()),
        };
        Ok(Some(Self { choice, name, memory_mib: found_device.memory_mib }))
    }
}

/// The folders of the library that `choice` opens, which its process must read: where its name is,
/// and where its file is, if that is a link.
pub(crate) fn library_folders(choice: &EngineChoice) -> Vec<PathBuf> {
    let file = match choice {
        EngineChoice::Cpu => None,
        EngineChoice::ArrayFire(choice) => choice.library.as_deref(),
    };
    let real = file.and_then(|file| file.canonicalize().ok());
    let files = file.into_iter().chain(real.as_deref());
    let mut folders: Vec<_> = files.filter_map(Path::parent).map(Path::to_owned).collect();
    folders.dedup();
    folders
}

/// Places in words; most are merely absent, which is said once.
pub(crate) fn places(tried: &[Attempt]) -> String {
    let is_absent = |attempt: &&Attempt| attempt.why == cyxwiz_trainer::Obstacle::Absent;
    let mut parts: Vec<String> =
        tried.iter().filter(|it| !is_absent(it)).map(ToString::to_string).collect();
    let absent = || tried.iter().filter(is_absent);
    if let Some(name) = absent().find_map(|it| it.path.file_name()) {
        let folders = absent().filter_map(|it| it.path.parent());
        let folders: Vec<_> = folders.map(|folder| folder.display().to_string()).collect();
        parts.push(format!("there is no {} in {}", name.display(), folders.join(", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyxwiz_trainer::{ArrayFireDevice, Obstacle};

    fn device(name: &str, is_gpu: bool) -> ArrayFireDevice {
        let words = String::new;
        let memory_mib = is_gpu.then_some(8_000);
        let (name, toolkit, compute) = (name.to_owned(), words(), words());
        ArrayFireDevice { name, toolkit, compute, memory_mib, is_gpu }
    }

    fn found(devices: &[ArrayFireDevice]) -> ArrayFireReport {
        ArrayFireReport::Found(ArrayFireFound {
            path: "/opt/arrayfire/lib64/libaf.so.3".into(),
            version: "3.10.0".to_owned(),
            devices: devices.to_vec(),
        })
    }

    fn absent() -> ArrayFireReport {
        let path = "/opt/arrayfire/lib64/libafcuda.so.3".into();
        ArrayFireReport::Absent { tried: vec![Attempt { path, why: Obstacle::Absent }] }
    }

    fn settings(
        engine: EngineKind,
        backend: Option<Backend>,
        device: Option<u16>,
    ) -> EngineSettings {
        EngineSettings { engine, backend, device }
    }

    fn backend_of(engines: &Engines) -> Option<(Backend, u16)> {
        engines.arrayfire.as_ref().map(|it| (it.choice.backend, it.choice.device))
    }

    #[test]
    fn auto_takes_a_gpu_and_never_a_processor() {
        let auto = EngineSettings::default();
        let cuda = Engines::choose(auto, |backend| match backend {
            Backend::Cuda => found(&[device("RTX", true)]),
            Backend::OpenCl | Backend::Cpu => panic!("{backend} is not looked for"),
        });
        assert_eq!(backend_of(&cuda.unwrap()), Some((Backend::Cuda, 0)));
        let opencl = Engines::choose(auto, |backend| match backend {
            Backend::Cuda => absent(),
            Backend::OpenCl => found(&[device("pthread", false), device("Radeon", true)]),
            Backend::Cpu => panic!("ArrayFire for processors is not looked for"),
        });
        assert_eq!(backend_of(&opencl.unwrap()), Some((Backend::OpenCl, 1)));
        let none = Engines::choose(auto, |_| absent()).unwrap();
        assert_eq!(none, Engines::default());
        let processor = Engines::choose(auto, |_| found(&[device("pthread", false)])).unwrap();
        assert_eq!(processor, Engines::default());
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_an_error_that_says_where_it_was_looked_for() {
        for asked in [
            settings(EngineKind::ArrayFire, None, None),
            settings(EngineKind::Auto, Some(Backend::Cuda), None),
            settings(EngineKind::Auto, None, Some(1)),
        ] {
            let error = Engines::choose(asked, |_| absent()).unwrap_err().to_string();
            assert!(error.contains("no libafcuda.so.3 in /opt/arrayfire/lib64"), "{error}");
        }
        let beyond = settings(EngineKind::Auto, Some(Backend::Cuda), Some(2));
        let error = Engines::choose(beyond, |_| found(&[device("RTX", true)])).unwrap_err();
        assert!(error.to_string().contains("none of number 2"), "{error}");
        let broken = ArrayFireReport::Broken { why: "the driver is too old".to_owned() };
        let cuda = settings(EngineKind::Auto, Some(Backend::Cuda), None);
        let error = Engines::choose(cuda, |_| broken.clone()).unwrap_err().to_string();
        assert!(error.contains("the driver is too old"), "{error}");
        for contrary in [
            settings(EngineKind::Cpu, Some(Backend::Cuda), None),
            settings(EngineKind::Cpu, None, Some(0)),
        ] {
            let error = Engines::choose(contrary, |_| absent()).unwrap_err();
            assert!(matches!(error, EngineFault::Contrary { .. }), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_library_that_is_a_link_is_read_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (linked, real) = (root.join("linked"), root.join("real"));
        for folder in [&linked, &real] {
            std::fs::create_dir(folder).unwrap();
        }
        let (name, file) = (linked.join("libafcpu.so.3"), real.join("libafcpu.so.3.10.0"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &name).unwrap();
        let choice = ArrayFireChoice { backend: Backend::Cpu, device: 0, library: Some(name) };
        assert_eq!(library_folders(&EngineChoice::ArrayFire(choice)), [linked, real]);
        assert!(library_folders(&EngineChoice::Cpu).is_empty());
    }

    #[test]
    fn a_job_gets_the_engine_of_the_device_that_it_requires() {
        let gpu = |_| found(&[device("RTX", true)]);
        let with_gpu = Engines::choose(EngineSettings::default(), gpu).unwrap();
        assert_eq!(with_gpu.for_device(DeviceKind::Cpu), Some(EngineChoice::Cpu));
        let cuda = with_gpu.for_device(DeviceKind::Cuda).unwrap();
        assert!(cuda.uses_driver());
        assert_eq!(library_folders(&cuda), [PathBuf::from("/opt/arrayfire/lib64")]);
        assert_eq!(with_gpu.for_device(DeviceKind::OpenCl), None);
        let offered = with_gpu.devices(None);
        assert_eq!((offered[0].kind, offered[0].memory_mb), (DeviceKind::Cuda, 8_000));

        let asked = settings(EngineKind::ArrayFire, Some(Backend::Cpu), None);
        let processor = |_| found(&[device("AMD", false)]);
        let processor = Engines::choose(asked, processor).unwrap();
        assert!(processor.devices(None).is_empty());
        let choice = processor.for_device(DeviceKind::Cpu).unwrap();
        assert!(matches!(&choice, EngineChoice::ArrayFire(it) if it.backend == Backend::Cpu));
        assert!(!choice.uses_driver());
    }
}
