//! Takes hold of a checkpoint that a training process tells of: a regular file of its own in the
//! run's `checkpoints/`, of the size that was said, within the limit. It is held open, so that its
//! bytes stay when the process, or the end of the run, removes the name. The process lives and may
//! still write to it: what the bytes are is settled when the caller has copied them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyxwiz_trainer::CHECKPOINT_FOLDER;
use cyxwiz_trainer::frames::CheckpointFile;
use rustix::fs::{FileType, Mode, OFlags};

use super::RunLimits;

/// A checkpoint on disk, held open.
#[derive(Clone, Debug)]
pub struct WrittenCheckpoint {
    /// Epochs that are done in it, as the process says.
    pub epoch: u32,
    /// Batches of the epoch after those that are done in it too.
    pub batch: u32,
    /// In bytes.
    pub size: u64,
    file: Arc<File>,
}

impl WrittenCheckpoint {
    /// At the first byte until somebody reads from it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl PartialEq for WrittenCheckpoint {
    fn eq(&self, other: &Self) -> bool {
        let Self { epoch, batch, size, file } = self;
        let same = Arc::ptr_eq(file, &other.file);
        (*epoch, *batch, *size) == (other.epoch, other.batch, other.size) && same
    }
}

/// What is wrong with a checkpoint. Each of them costs the process its life.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error("a checkpoint of {size} bytes is larger than the {limit} allowed")]
    TooLarge { size: u64, limit: u64 },
    #[error("cannot open the folder of checkpoints")]
    Folder(#[source] io::Error),
    #[error("cannot open the checkpoint {name}")]
    Open {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("the checkpoint {name} is not a regular file with one name")]
    Kind { name: String },
    #[error("the checkpoint {name} has {found} bytes, but {said} were said")]
    Size { name: String, said: u64, found: u64 },
}

/// Where a run's checkpoints are.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    limit: u64,
}

impl Folder {
    pub(super) fn new(run_directory: &Path, limits: &RunLimits) -> Self {
        Self { path: run_directory.join(CHECKPOINT_FOLDER), limit: limits.checkpoint_bytes() }
    }

    /// Opens a file whose name is a plain one; `None` when it has gone already, as it does when a
    /// newer one is there. A few system calls on a local folder, none of which waits for anyone.
    pub(super) fn open(
        &self,
        said: &CheckpointFile,
    ) -> Result<Option<WrittenCheckpoint>, CheckpointError> {
        let &CheckpointFile { epoch, batch, ref name, size } = said;
        if size > self.limit {
            return Err(CheckpointError::TooLarge { size, limit: self.limit });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|error| CheckpointError::Folder(error.into()))?;
        // Without `NONBLOCK` opening a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => {
                let (name, source) = (name.clone(), error.into());
                return Err(CheckpointError::Open { name, source });
            }
        };
        let about = rustix::fs::fstat(&file).map_err(|error| {
            let (name, source) = (name.clone(), error.into());
            CheckpointError::Open { name, source }
        })?;
        // A second name would be somewhere else: another's file made out to be the run's own.
        // None at all is the mark of one that was removed a moment ago.
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile || about.st_nlink > 1 {
            return Err(CheckpointError::Kind { name: name.clone() });
        }
        let found = u64::try_from(about.st_size).unwrap_or(0);
        if found != size {
            return Err(CheckpointError::Size { name: name.clone(), said: size, found });
        }
        Ok(Some(WrittenCheckpoint { epoch, batch, size, file: Arc::new(File::from(file)) }))
    }
}
