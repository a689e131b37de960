//! Checks the files a finished run names against the disk: each a regular file of its own in the
//! run's `output/`, of the size and sum that were said, together within the limit. To be called
//! when the run's processes are dead, so that nobody changes a file after it was read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use cyxwiz_trainer::frames::OutputFile;
use rustix::fs::{FileType, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::directory;

/// What is wrong with an output.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("the outputs have {total} bytes, more than the {limit} allowed")]
    TooLarge { total: u64, limit: u64 },
    #[error("cannot open the folder of outputs")]
    Folder(#[source] io::Error),
    #[error("cannot open the output {name}")]
    Open {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("the output {name} is not a regular file with one name")]
    Kind { name: String },
    #[error("the output {name} has {found} bytes, but {said} were said")]
    Size { name: String, said: u64, found: u64 },
    #[error("cannot read the output {name}")]
    Read {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("the output {name} does not have the SHA-256 that was said")]
    Sum { name: String },
}

/// Reads every file once. `run_directory` itself is trusted, nothing below it is.
pub(super) fn verify(
    run_directory: &Path,
    files: &[OutputFile],
    limit: u64,
) -> Result<(), OutputError> {
    let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    if total > limit {
        return Err(OutputError::TooLarge { total, limit });
    }
    let path = run_directory.join(directory::OUTPUT);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| OutputError::Folder(error.into()))?;
    files.iter().try_for_each(|file| verify_file(&folder, file))
}

fn verify_file(folder: &OwnedFd, said: &OutputFile) -> Result<(), OutputError> {
    let name = || said.name.clone();
    // Without `NONBLOCK` opening a named pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &said.name, flags, Mode::empty())
        .map_err(|error| OutputError::Open { name: name(), source: error.into() })?;
    let about = rustix::fs::fstat(&file)
        .map_err(|error| OutputError::Open { name: name(), source: error.into() })?;
    // A second name would be somewhere else: another's file made out to be the run's own.
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile || about.st_nlink != 1 {
        return Err(OutputError::Kind { name: name() });
    }
    let found = u64::try_from(about.st_size).unwrap_or(0);
    if found != said.size {
        return Err(OutputError::Size { name: name(), said: said.size, found });
    }
    let sum = sum_of(File::from(file), found)
        .map_err(|source| OutputError::Read { name: name(), source })?;
    if sum != said.sha256 {
        return Err(OutputError::Sum { name: name() });
    }
    Ok(())
}

fn sum_of(file: File, size: u64) -> io::Result<String> {
    let mut source = file.take(size);
    let mut sum = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(sum.finalize())),
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Large enough that system calls do not count beside hashing.
const READ_BYTES: usize = 256 * 1024;
