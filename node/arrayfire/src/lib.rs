//! ArrayFire without ArrayFire at build time. The `arrayfire` crate links against `libaf`; this
//! crate defines the functions that it would take from there, and passes each call on to the one
//! backend library that [`load`] has opened. A program that links it starts on every machine, and
//! computes with ArrayFire where there is a library.
//!
//! Never opened: a library that is not named by an absolute path, or the unified `libaf`, which
//! looks for its backends in the current directory first. A call before [`load`] fails with
//! [`NOT_LOADED`]; what to compute is for the engine that calls the crate.
//!
//! All unsafe code of that engine is in here, and each piece says why it holds.

mod forward;
mod places;

use std::error::Error;
use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

pub use forward::last_code;
pub use places::candidates;

/// What a call gives before there is a library: `AF_ERR_NOT_CONFIGURED`.
pub const NOT_LOADED: i32 = 302;

/// A backend of ArrayFire, each a library of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Cuda,
    OpenCl,
    /// The library's own, on the host's processor.
    Cpu,
}

impl Backend {
    /// In the order in which they are preferred.
    pub const ALL: [Self; 3] = [Self::Cuda, Self::OpenCl, Self::Cpu];

    /// As people write it: `cuda`, `opencl`, `cpu`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::OpenCl => "opencl",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that is no [`Backend`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no backend of ArrayFire; there are cuda, opencl and cpu")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        let known = Self::ALL.into_iter().find(|backend| backend.name() == text);
        known.ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

/// A library that is open, until the process ends.
#[derive(Debug)]
pub struct Loaded {
    backend: Backend,
    path: PathBuf,
    library: libloading::Library,
}

/// Why there is no library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "error")]
pub enum LoadError {
    #[error("no ArrayFire library for {backend} found; looked for {}", list(tried))]
    NotFound { backend: Backend, tried: Vec<Attempt> },
    #[error("this process has ArrayFire's {loaded} library open and cannot open that for {asked}")]
    Another { loaded: Backend, asked: Backend },
}

impl LoadError {
    /// The places that were looked at, each with what was wrong there.
    #[must_use]
    pub fn tried(&self) -> &[Attempt] {
        match self {
            Self::NotFound { tried, .. } => tried,
            Self::Another { .. } => &[],
        }
    }
}

/// One place where a library could have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub path: PathBuf,
    pub why: Obstacle,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.path.display(), self.why)
    }
}

/// Why a place did not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum Obstacle {
    #[error("no such file")]
    Absent,
    #[error("AF_PATH must be absolute")]
    Relative,
    /// The system's own words.
    #[error("{0}")]
    Refused(String),
    #[error("it has no `{0}`; ArrayFire 3.8 or newer is needed")]
    Symbol(String),
}

fn list(tried: &[Attempt]) -> String {
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Opens the library of `backend`, the first of [`candidates`] that can be, and from then on sends
/// all calls there. A process has one library; asking for it again gives the same.
///
/// # Errors
/// [`LoadError`], with every place that was looked at.
pub fn load(backend: Backend) -> Result<&'static Loaded, LoadError> {
    load_first(backend, candidates(backend))
}

/// As [`load`], from this file alone.
///
/// # Errors
/// As [`load`].
pub fn load_file(backend: Backend, path: &Path) -> Result<&'static Loaded, LoadError> {
    load_first(backend, vec![path.to_owned()])
}

fn load_first(backend: Backend, files: Vec<PathBuf>) -> Result<&'static Loaded, LoadError> {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    // Held while a library is opened, so that no two are.
    static OPENING: Mutex<()> = Mutex::new(());
    let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        return match loaded.backend == backend {
            true => Ok(loaded),
            false => Err(LoadError::Another { loaded: loaded.backend, asked: backend }),
        };
    }
    let mut tried = Vec::new();
    for path in files {
        match open(backend, &path) {
            Ok(loaded) => return Ok(LOADED.get_or_init(|| loaded)),
            Err(why) => tried.push(Attempt { path, why }),
        }
    }
    Err(LoadError::NotFound { backend, tried })
}

fn open(backend: Backend, path: &Path) -> Result<Loaded, Obstacle> {
    if !path.is_absolute() {
        return Err(Obstacle::Relative);
    }
    if matches!(path.try_exists(), Ok(false)) {
        return Err(Obstacle::Absent);
    }
    // SAFETY: opening runs the initialisers of the library and of those that it needs. It is named
    // by an absolute path in a folder that the owner of this machine has chosen, or that only the
    // system's administrator can write, so they are trusted like the system's own libraries.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.map_err(|fault| Obstacle::Refused(words(&fault)))?;
    // SAFETY: the library is never closed: it is kept in a static, or leaked below.
    let filled = unsafe { forward::fill(&library) };
    match filled {
        Ok(()) => Ok(Loaded { backend, path: path.to_owned(), library }),
        Err(name) => {
            // Some of its initialisers start threads, which must not lose their code.
            std::mem::forget(library);
            Err(Obstacle::Symbol(name.to_owned()))
        }
    }
}

/// What the system says is behind what the crate says. One line: its words may have several.
fn words(fault: &libloading::Error) -> String {
    let told = std::iter::successors(Some(fault as &dyn Error), |&error| error.source());
    let told: Vec<String> = told.map(ToString::to_string).collect();
    told.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Loaded {
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Where it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the library of matrix products behind a backend for processors how many threads it
    /// may have; it starts with as many as there are cores. Gives whether there was one to tell.
    pub fn set_threads(&self, threads: u16) -> bool {
        let count = c_int::from(threads.max(1));
        let setters: [&[u8]; 2] = [b"openblas_set_num_threads\0", b"MKL_Set_Num_Threads\0"];
        let mut told = false;
        for name in setters {
            // SAFETY: both functions take an `int` and give nothing, as their headers say. A name
            // is looked up in this library and in those that it was linked against.
            unsafe {
                if let Ok(set) = self.library.get::<unsafe extern "C" fn(c_int)>(name) {
                    set(count);
                    told = true;
                }
            }
        }
        told
    }

    /// Whether the device in use is no processor, as OpenCL also offers. One that does not tell
    /// counts as a processor.
    #[must_use]
    pub fn computes_on_gpu(&self) -> bool {
        match self.backend {
            Backend::Cuda => true,
            Backend::OpenCl => self.opencl_kind().is_some_and(is_no_processor),
            Backend::Cpu => false,
        }
    }

    /// OpenCL's `cl_device_type`.
    fn opencl_kind(&self) -> Option<c_int> {
        let mut kind = UNKNOWN_KIND;
        // SAFETY: the function takes a pointer to an `int`, as its header says, and writes there
        // before it returns.
        let code = unsafe {
            let tell = self
                .library
                .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"afcl_get_device_type\0");
            tell.ok()?(&raw mut kind)
        };
        (code == 0).then_some(kind)
    }
}

/// `AFCL_DEVICE_TYPE_UNKNOWN`.
const UNKNOWN_KIND: c_int = -1;

fn is_no_processor(kind: c_int) -> bool {
    /// One bit of several: a device may also be its platform's default.
    const CL_DEVICE_TYPE_CPU: c_int = 1 << 1;
    kind != UNKNOWN_KIND && kind & CL_DEVICE_TYPE_CPU == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_read_as_they_are_written() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        let unknown = "metal".parse::<Backend>().unwrap_err();
        assert!(unknown.to_string().contains("cuda, opencl and cpu"), "{unknown}");
    }

    #[test]
    fn what_is_no_library_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libafcpu.so.3");
        assert_eq!(open(Backend::Cpu, &file).unwrap_err(), Obstacle::Absent);
        std::fs::write(&file, b"no library").unwrap();
        let refused = open(Backend::Cpu, &file).unwrap_err();
        // The system names the file in its own words.
        let words = matches!(&refused, Obstacle::Refused(words) if words.contains("libafcpu.so.3"));
        assert!(words, "{refused}");
        let relative = open(Backend::Cpu, Path::new("lib/libafcpu.so.3")).unwrap_err();
        assert_eq!(relative, Obstacle::Relative);
    }

    /// Any library of the system will do that is not ArrayFire's.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_without_a_function_is_refused_by_its_name() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps.split_whitespace().find(|word| word.contains("/libc.so")).unwrap();
        let refused = open(Backend::Cpu, Path::new(libc)).unwrap_err();
        assert!(matches!(&refused, Obstacle::Symbol(name) if name.starts_with("af_")), "{refused}");
    }

    #[test]
    fn kinds_of_opencl_are_told_apart() {
        let (default, processor, gpu, accelerator) = (1, 1 << 1, 1 << 2, 1 << 3);
        assert!(is_no_processor(gpu) && is_no_processor(gpu | default));
        assert!(is_no_processor(accelerator));
        assert!(!is_no_processor(processor) && !is_no_processor(processor | default));
        assert!(!is_no_processor(UNKNOWN_KIND));
    }

    #[test]
    fn an_error_names_every_place() {
        let tried = ["/a/libafcuda.so.3", "/b/libafcuda.so.3"]
            .map(|path| Attempt { path: PathBuf::from(path), why: Obstacle::Absent });
        let error = LoadError::NotFound { backend: Backend::Cuda, tried: tried.to_vec() };
        let expected = "no ArrayFire library for cuda found; looked for /a/libafcuda.so.3 (no such \
                        file), /b/libafcuda.so.3 (no such file)";
        assert_eq!(error.to_string(), expected);
    }
}
