//! Files by content: models, checkpoints and data sets, each under the SHA-256 of its bytes.
//!
//! A file takes its name only when it is whole, verified and synced, so what has a name can be
//! trusted without reading it again. The store keeps itself under a byte limit by dropping what
//! was used least recently and is not pinned; what is pinned is the caller's to say. `transfer`
//! moves artifacts between peers. All functions block for the disk, except those of `transfer`.

mod partial;
pub mod transfer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

pub use partial::{PartialWriter, WriteError};

use crate::store::durable;

/// How much is read, hashed and written at a time.
const COPY_BYTES: usize = 1 << 20;

const DRAFT_SUFFIX: &str = ".tmp";
const PART_SUFFIX: &str = ".part";

/// How much an [`ArtifactStore`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of all whole artifacts together. Enforced by [`ArtifactStore::evict`].
    pub max_bytes: u64,
}

/// The artifacts of one node.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    dir: PathBuf,
    limits: Limits,
}

/// What an import made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The SHA-256 of the content.
    pub id: [u8; 32],
    /// The length in bytes.
    pub size: u64,
}

/// One artifact on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The SHA-256 of the content.
    pub id: [u8; 32],
    /// The length in bytes.
    pub size: u64,
    /// When it was last imported, fetched or asked for.
    pub last_used: SystemTime,
}

impl ArtifactStore {
    /// Opens the store in `dir`, making the directory where needed, and removes drafts that an
    /// earlier run left behind. Unfinished downloads are kept; [`ArtifactStore::writer`] goes on
    /// with them.
    ///
    /// # Errors
    /// [`ArtifactError`] when the directory cannot be made or read.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, ArtifactError> {
        let store = Self { dir: dir.to_owned(), limits };
        durable::create_dir(dir).map_err(|source| ArtifactError::io("create", dir, source))?;
        for path in store.files()? {
            if path.to_string_lossy().ends_with(DRAFT_SUFFIX) {
                remove_file(&path)?;
            }
        }
        Ok(store)
    }

    /// Copies the file at `path` into the store.
    ///
    /// # Errors
    /// [`ArtifactError`]; the store is then as it was.
    pub fn import_file(&self, path: &Path) -> Result<Imported, ArtifactError> {
        let file = File::open(path).map_err(|source| ArtifactError::io("read", path, source))?;
        let data = file.metadata().map_err(|source| ArtifactError::io("read", path, source))?;
        if !data.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(ArtifactError::io("import", path, source));
        }
        self.import(file, path, data.len())
    }

    /// Copies what is left of an open file, up to `size` bytes of it, into the store. The name of
    /// the file no longer matters, nor does what is done to the file afterwards.
    ///
    /// # Errors
    /// [`ArtifactError`]; the store is then as it was.
    pub fn import_open(&self, file: &File, size: u64) -> Result<Imported, ArtifactError> {
        self.import(file.take(size), &self.dir, size)
    }

    /// Puts `bytes` into the store.
    ///
    /// # Errors
    /// [`ArtifactError`]; the store is then as it was.
    pub fn import_bytes(&self, bytes: &[u8]) -> Result<Imported, ArtifactError> {
        self.import(bytes, &self.dir, bytes.len() as u64)
    }

    /// The file of an artifact, if it is here. Counts as use. Read it, never write to it.
    #[must_use]
    pub fn path_of(&self, id: [u8; 32]) -> Option<PathBuf> {
        let path = self.final_path(id);
        if !path.is_file() {
            return None;
        }
        // The time of use decides only what is dropped first; a failure to note it costs little.
        if let Err(error) = touch(&path) {
            tracing::debug!(path = %path.display(), %error, "cannot note the use of an artifact");
        }
        Some(path)
    }

    /// The length in bytes of an artifact, if it is here.
    #[must_use]
    pub fn size_of(&self, id: [u8; 32]) -> Option<u64> {
        let data = fs::metadata(self.final_path(id)).ok()?;
        data.is_file().then_some(data.len())
    }

    /// Whether an artifact is here, whole.
    #[must_use]
    pub fn contains(&self, id: [u8; 32]) -> bool {
        self.size_of(id).is_some()
    }

    /// Starts, or goes on with, the writing of artifact `id`, which must have `size` bytes.
    ///
    /// # Errors
    /// [`WriteError`], also when another writer is at this artifact.
    pub fn writer(&self, id: [u8; 32], size: u64) -> Result<PartialWriter, WriteError> {
        PartialWriter::open(self.final_path(id), self.part_path(id), id, size)
    }

    /// How many bytes of an unfinished download of `id` are here.
    #[must_use]
    pub fn partial_size(&self, id: [u8; 32]) -> u64 {
        fs::metadata(self.part_path(id)).map_or(0, |data| data.len())
    }

    /// Removes an artifact and an unfinished download of it; says whether there was one.
    ///
    /// # Errors
    /// [`ArtifactError`] when the system refuses.
    pub fn remove(&self, id: [u8; 32]) -> Result<bool, ArtifactError> {
        let whole = remove_file(&self.final_path(id))?;
        let part = self.discard_part(id)?;
        Ok(whole || part)
    }

    /// Every whole artifact, the least recently used first.
    ///
    /// # Errors
    /// [`ArtifactError`] when the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>, ArtifactError> {
        let mut stored = Vec::new();
        for path in self.files()? {
            let Some(id) = id_of(&path) else { continue };
            // It may be removed while we look.
            let Ok(data) = fs::metadata(&path) else {
                continue;
            };
            let last_used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            stored.push(Stored { id, size: data.len(), last_used });
        }
        stored.sort_by_key(|artifact| (artifact.last_used, artifact.id));
        Ok(stored)
    }

    /// The bytes that whole artifacts and unfinished downloads take together.
    ///
    /// # Errors
    /// [`ArtifactError`] when the directory cannot be read.
    pub fn total_size(&self) -> Result<u64, ArtifactError> {
        let files = self.files()?;
        Ok(files.iter().filter_map(|path| fs::metadata(path).ok()).map(|data| data.len()).sum())
    }

    /// Whether the artifacts take more than they may; not when that cannot be told.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.total_size().is_ok_and(|size| size > self.limits.max_bytes)
    }

    /// Drops artifacts and unfinished downloads that nobody is at, the least recently used first,
    /// until `room` more bytes fit under the limit. Never drops one of `pinned`, so it may end over
    /// the limit. Returns what it dropped.
    ///
    /// # Errors
    /// [`ArtifactError`] when the directory cannot be read or a file not removed.
    pub fn evict(
        &self,
        room: u64,
        pinned: &BTreeSet<[u8; 32]>,
    ) -> Result<Vec<[u8; 32]>, ArtifactError> {
        let mut total = room;
        let mut candidates = Vec::new();
        for path in self.files()? {
            let Ok(data) = fs::metadata(&path) else {
                continue;
            };
            total = total.saturating_add(data.len());
            let part = path.to_str().and_then(|path| path.strip_suffix(PART_SUFFIX));
            let Some(id) = id_of(part.map_or(path.as_path(), Path::new)) else {
                continue;
            };
            let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if !pinned.contains(&id) && (part.is_none() || partial::is_idle(&path)) {
                candidates.push((used, path, id, data.len()));
            }
        }
        candidates.sort();
        let mut dropped = Vec::new();
        for (_, path, id, size) in candidates {
            if total <= self.limits.max_bytes {
                break;
            }
            remove_file(&path)?;
            total = total.saturating_sub(size);
            dropped.push(id);
        }
        Ok(dropped)
    }

    /// Removes an unfinished download; says whether there was one.
    fn discard_part(&self, id: [u8; 32]) -> Result<bool, ArtifactError> {
        remove_file(&self.part_path(id))
    }

    fn import(
        &self,
        mut from: impl Read,
        from_path: &Path,
        expected: u64,
    ) -> Result<Imported, ArtifactError> {
        let write_error = |path: &Path, source| ArtifactError::from_write(path, expected, source);
        let mut draft = tempfile::Builder::new()
            .suffix(DRAFT_SUFFIX)
            .tempfile_in(&self.dir)
            .map_err(|source| write_error(&self.dir, source))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut size = 0_u64;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ArtifactError::io("read", from_path, source)),
            };
            let chunk = &buffer[..count];
            hasher.update(chunk);
            draft.write_all(chunk).map_err(|source| write_error(&self.dir, source))?;
            size += count as u64;
        }
        let id: [u8; 32] = hasher.finalize().into();
        let path = self.final_path(id);
        if self.size_of(id) == Some(size) {
            let _counts_as_use = self.path_of(id);
            return Ok(Imported { id, size });
        }
        let folder = path.parent().unwrap_or(&self.dir);
        draft
            .as_file()
            .sync_all()
            .and_then(|()| durable::create_dir(folder))
            .and_then(|()| draft.persist(&path).map(drop).map_err(|error| error.error))
            .and_then(|()| durable::sync_dir(folder))
            .map_err(|source| write_error(&path, source))?;
        Ok(Imported { id, size })
    }

    fn final_path(&self, id: [u8; 32]) -> PathBuf {
        let name = hex::encode(id);
        self.dir.join(&name[..2]).join(name)
    }

    fn part_path(&self, id: [u8; 32]) -> PathBuf {
        let mut path = self.final_path(id).into_os_string();
        path.push(PART_SUFFIX);
        path.into()
    }

    /// Every file of the store: in the directory itself and in its folders.
    fn files(&self) -> Result<Vec<PathBuf>, ArtifactError> {
        let mut files = Vec::new();
        for path in entries(&self.dir)? {
            if path.is_dir() {
                files.extend(entries(&path)?.into_iter().filter(|path| path.is_file()));
            } else {
                files.push(path);
            }
        }
        Ok(files)
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|source| ArtifactError::io("list", dir, source))
}

fn id_of(path: &Path) -> Option<[u8; 32]> {
    let mut id = [0; 32];
    hex::decode_to_slice(path.file_name()?.to_str()?, &mut id).ok()?;
    Some(id)
}

fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

fn remove_file(path: &Path) -> Result<bool, ArtifactError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ArtifactError::io("remove", path, source)),
    }
}

/// Why an artifact could not be stored, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The disk, the quota or the permitted file size is used up.
    #[error("no space for {needed} bytes at {}: free some space on that disk", path.display())]
    DiskFull {
        /// Where it was to go.
        path: PathBuf,
        /// The size of the artifact in bytes.
        needed: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ArtifactError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    fn from_write(path: &Path, needed: u64, source: io::Error) -> Self {
        if durable::is_full(&source) {
            return Self::DiskFull { path: path.to_owned(), needed, source };
        }
        Self::io("write", path, source)
    }
}
