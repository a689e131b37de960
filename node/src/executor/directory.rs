//! A run's private directory with `job.json`, `inputs/`, `output/` and
//! `checkpoints/`, and beside it, where the
//! process has no business, `<run>.pid` while it runs and `<run>.log` after a bad end. Makes and
//! removes them; what is found in `output/` afterwards is judged by `outputs`.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cyxwiz_trainer::{CHECKPOINT_FOLDER, RESUME_FILE};
use tokio::sync::watch;

use super::{Run, StopReason};

/// Why a run's directory could not be filled.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error("cannot make {name} in the run's directory")]
    Make {
        name: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot place the input {name}")]
    Input {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("stopped before the process was started")]
    Stopped,
}

/// The folder of all runs, made where missing, for the owner alone; absolute, links resolved.
pub(super) fn make_root(path: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY))?;
    path.canonicalize()
}

/// Makes `path` and fills it. Gives up between two pieces of work when the run is to stop.
pub(super) fn prepare(
    path: &Path,
    run: &Run,
    stop: &watch::Receiver<Option<StopReason>>,
) -> Result<(), PrepareError> {
    make_folder(path).map_err(|source| PrepareError::Make { name: "the folder", source })?;
    for name in [INPUTS, OUTPUT, CHECKPOINT_FOLDER] {
        make_folder(&path.join(name)).map_err(|source| PrepareError::Make { name, source })?;
    }
    write_new(&path.join(JOB), run.workload_json.as_bytes())
        .map_err(|source| PrepareError::Make { name: JOB, source })?;
    let inputs = path.join(INPUTS);
    let inputs = run.inputs.iter().map(|(name, origin)| (name.as_str(), origin, inputs.join(name)));
    let resume = run.resume.iter().map(|origin| (RESUME_FILE, origin, path.join(RESUME_FILE)));
    for (name, origin, target) in inputs.chain(resume) {
        place(origin, &target, stop).map_err(|source| {
            if source.kind() == io::ErrorKind::Interrupted {
                return PrepareError::Stopped;
            }
            PrepareError::Input { name: name.to_owned(), source }
        })?;
    }
    Ok(())
}

/// Writes a file that must not be there yet, for the owner alone.
pub(super) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Removes all that a run has left; that something is not there is fine.
pub(super) fn remove(run: &Path) -> io::Result<()> {
    remove_entry(run)?;
    remove_entry(&record_of(run))?;
    remove_entry(&log_of(run))
}

/// Removes a file or a folder, whatever a process has made of it.
pub(super) fn remove_entry(path: &Path) -> io::Result<()> {
    match remove_once(path) {
        // A process may take the permissions off its own folders, which keeps others from
        // emptying them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path)?;
            remove_once(path)
        }
        result => result,
    }
}

/// Where it is written which process a run has.
pub(super) fn record_of(run: &Path) -> PathBuf {
    beside(run, RECORD)
}

/// The inverse of [`record_of`].
pub(super) fn run_of_record(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(path.file_name()?.to_str()?.strip_suffix(RECORD)?))
}

/// The last that the process of a run said on its standard error.
pub(super) fn log_of(run: &Path) -> PathBuf {
    beside(run, LOG)
}

/// Whether this can be the name of a file in one folder, on any system and in any message.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(plain)
}

fn beside(run: &Path, ending: &str) -> PathBuf {
    let mut path = run.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(OWNER_ONLY).create(path)
}

/// Links `origin` in, or copies it where that is impossible. Never a symbolic link: the trainer
/// could not follow it out of its directory. Interrupted when the run is to stop.
fn place(
    origin: &Path,
    target: &Path,
    stop: &watch::Receiver<Option<StopReason>>,
) -> io::Result<()> {
    let told_to_stop = || stop.borrow().is_some();
    if told_to_stop() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let about = fs::symlink_metadata(origin)?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if fs::hard_link(origin, target).is_ok() {
        if about.permissions().mode() & 0o222 != 0 {
            fs::set_permissions(target, Permissions::from_mode(READ_ONLY))?;
        }
        return Ok(());
    }
    let mut from = File::open(origin)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).open(target)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..count])?;
        if told_to_stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
}

fn remove_once(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // `remove_dir_all` walks by descriptors and follows no links.
    if about.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Gives the owner back the permission to empty `path` and the folders in it. Meant for folders
/// whose processes are dead.
fn unlock(path: &Path) -> io::Result<()> {
    let mut pending = vec![path.to_path_buf()];
    while let Some(folder) = pending.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(OWNER_ONLY))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

pub(super) const OUTPUT: &str = "output";

const JOB: &str = "job.json";
const INPUTS: &str = "inputs";
const RECORD: &str = ".pid";
const LOG: &str = ".log";

const OWNER_ONLY: u32 = 0o700;
const READ_ONLY: u32 = 0o400;
const NAME_BYTES_MAX: usize = 128;

/// One piece of a copied input: large enough to be cheap, small enough to stop soon.
const COPY_BYTES: usize = 1024 * 1024;
