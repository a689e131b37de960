//! A run's private directory with `job.json` and `inputs/` to read, `output/`, `checkpoints/` and
//! `scratch/` to write, and beside it, where the process has no business, `<run>.pid` while it
//! runs and `<run>.log` after a bad end. Makes and removes them; what is found in `output/`
//! afterwards is judged by `outputs`.

use std::ffi::CStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cyxwiz_trainer::{CHECKPOINT_FOLDER, RESUME_FILE};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
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
    for name in [INPUTS, OUTPUT, CHECKPOINT_FOLDER, SCRATCH] {
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

/// Removes a file or a folder, whatever a process has made of it. Meant for folders whose processes
/// are dead.
pub(super) fn remove_entry(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !about.is_dir() {
        return fs::remove_file(path);
    }
    empty(&open_folder(rustix::fs::CWD, path)?)?;
    fs::remove_dir(path)
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

/// Removes all that is in a folder, at any depth, with two folders open at a time and no path: a
/// folder's own folders are moved up before it goes. Walking down instead would need a descriptor,
/// and stack, for each of as many levels as a process cared to make.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        let mut folders = Vec::new();
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") && !remove_file_at(top, name)? {
                folders.push(name.to_owned());
            }
        }
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let folder = open_folder(top, &name)?;
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let inner = entry.file_name();
                if matches!(inner.to_bytes(), b"." | b"..") || remove_file_at(&folder, inner)? {
                    continue;
                }
                // Moving a folder changes it, which needs its permissions.
                drop(open_folder(&folder, inner)?);
                moved = move_up(&folder, inner, top, moved)?;
            }
            match rustix::fs::unlinkat(top, &name, AtFlags::REMOVEDIR) {
                // A listing may miss a name while others go; the next round meets it.
                Ok(()) | Err(Errno::NOTEMPTY) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Moves a folder to a name that nothing has, counted from the last such one.
fn move_up(from: &OwnedFd, name: &CStr, to: &OwnedFd, last: u64) -> io::Result<u64> {
    let mut number = last;
    loop {
        number += 1;
        let free = format!("moved.{number}");
        match rustix::fs::renameat(from, name, to, &free) {
            // An empty folder of that name would have been replaced, which is as well.
            Ok(()) => return Ok(number),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it was a file, or anything else but a folder, which is gone then. Follows no links.
fn remove_file_at(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        // What Linux says of a folder, and what others do.
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder that its process may have locked; gives the owner all permissions back.
fn open_folder<F: AsFd, P: rustix::path::Arg + Copy>(at: F, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let owner = Mode::from_raw_mode(OWNER_ONLY);
    let folder = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Nobody replaces it by a link meanwhile: the processes are dead.
            rustix::fs::chmodat(&at, name, owner, AtFlags::empty())?;
            rustix::fs::openat(&at, name, flags, Mode::empty())?
        }
        folder => folder?,
    };
    rustix::fs::fchmod(&folder, owner)?;
    Ok(folder)
}

pub(super) const OUTPUT: &str = "output";
/// For temporary files and an engine's caches.
pub(super) const SCRATCH: &str = "scratch";

const JOB: &str = "job.json";
const INPUTS: &str = "inputs";
const RECORD: &str = ".pid";
const LOG: &str = ".log";

const OWNER_ONLY: u32 = 0o700;
const READ_ONLY: u32 = 0o400;
const NAME_BYTES_MAX: usize = 128;

/// One piece of a copied input: large enough to be cheap, small enough to stop soon.
const COPY_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_deeper_than_any_path_are_removed() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("run");
        fs::create_dir(&path).unwrap();
        let mut here = open_folder(rustix::fs::CWD, &path).unwrap();
        for level in 0..5_000 {
            let name = if level % 2 == 0 { "d" } else { "moved.1" };
            rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(OWNER_ONLY)).unwrap();
            rustix::fs::symlinkat("/", &here, "link").unwrap();
            here = open_folder(&here, name).unwrap();
        }
        drop(here);
        fs::set_permissions(path.join("d"), Permissions::from_mode(0o0)).unwrap();
        remove_entry(&path).unwrap();
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
        remove_entry(&path).unwrap();
    }
}
