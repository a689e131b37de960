//! An artifact on its way in: kept as `<hex>.part` until it is whole, then verified and named.
//!
//! What is there is hashed again when a download goes on, so a part that was damaged meanwhile,
//! or never reached the disk, is found out at the end like any other wrong content.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{ArtifactError, COPY_BYTES};
use crate::store::durable;

/// Writes one artifact in order. Dropping it keeps what was written, to go on later.
pub struct PartialWriter {
    file: File,
    hasher: Sha256,
    path: PathBuf,
    part: PathBuf,
    id: [u8; 32],
    size: u64,
    offset: u64,
}

impl std::fmt::Debug for PartialWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialWriter")
            .field("part", &self.part)
            .field("size", &self.size)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl PartialWriter {
    pub(super) fn open(
        path: PathBuf,
        part: PathBuf,
        id: [u8; 32],
        size: u64,
    ) -> Result<Self, WriteError> {
        let io_error = |source| ArtifactError::io("open", &part, source);
        let folder = part.parent().unwrap_or(Path::new("."));
        durable::create_dir(folder).map_err(io_error)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&part).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WriteError::Busy { path: part }),
            Err(TryLockError::Error(source)) => return Err(io_error(source).into()),
        }
        // Between opening and locking, another writer may have finished and named the file.
        if !still_named(&file, &part) {
            return Err(WriteError::Busy { path: part });
        }
        // Longer than the whole can only be the remains of something else.
        if file.metadata().map_err(io_error)?.len() > size {
            file.set_len(0).map_err(io_error)?;
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0_u64;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(io_error(source).into()),
            }
        }
        file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
        Ok(Self { file, hasher, path, part, id, size, offset })
    }

    /// How many bytes are here: the offset of the next one wanted.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length that the artifact is to have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the next bytes.
    ///
    /// # Errors
    /// [`WriteError`]; after a full disk what fitted is kept.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), WriteError> {
        if chunk.len() as u64 > self.size - self.offset {
            return Err(WriteError::TooLong { path: self.part.clone(), size: self.size });
        }
        let missing = self.size - self.offset;
        self.file
            .write_all(chunk)
            .map_err(|source| ArtifactError::from_write(&self.part, missing, source))?;
        self.hasher.update(chunk);
        self.offset += chunk.len() as u64;
        Ok(())
    }

    /// Verifies the whole and gives it its name.
    ///
    /// # Errors
    /// [`WriteError::Incomplete`] keeps what is there; [`WriteError::WrongHash`] discards it.
    pub fn finish(self) -> Result<u64, WriteError> {
        if self.offset != self.size {
            let (found, size) = (self.offset, self.size);
            return Err(WriteError::Incomplete { path: self.part, found, size });
        }
        let found: [u8; 32] = self.hasher.finalize().into();
        if found != self.id {
            fs::remove_file(&self.part)
                .map_err(|source| ArtifactError::io("remove", &self.part, source))?;
            return Err(WriteError::WrongHash { expected: self.id, found });
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path))
            .and_then(|()| durable::sync_dir(folder))
            .map_err(|source| ArtifactError::from_write(&self.path, self.size, source))?;
        Ok(self.size)
    }

    /// Gives up and removes what is there.
    ///
    /// # Errors
    /// [`ArtifactError`] when the file cannot be removed.
    pub fn discard(self) -> Result<(), ArtifactError> {
        fs::remove_file(&self.part)
            .map_err(|source| ArtifactError::io("remove", &self.part, source))
    }
}

/// Whether nobody is writing to the unfinished file `part`.
pub(super) fn is_idle(part: &Path) -> bool {
    File::open(part).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(unix)]
fn still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn still_named(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Why an artifact was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Two downloads of one artifact at a time.
    #[error("{} is being downloaded already: wait for that to end", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// More bytes than announced.
    #[error("more than the {size} bytes announced for {}", path.display())]
    TooLong {
        /// The unfinished file.
        path: PathBuf,
        /// The announced length.
        size: u64,
    },
    /// Fewer bytes than announced.
    #[error("{} has {found} of {size} bytes", path.display())]
    Incomplete {
        /// The unfinished file, which is kept.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The announced length.
        size: u64,
    },
    /// The content is not what was asked for. It was discarded.
    #[error(
        "the content has SHA-256 {}, not {}: it was discarded",
        hex::encode(found),
        hex::encode(expected)
    )]
    WrongHash {
        /// What was asked for.
        expected: [u8; 32],
        /// What came.
        found: [u8; 32],
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] ArtifactError),
}
