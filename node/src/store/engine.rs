//! sled behind five verbs: open, scan, apply, sync, close. No other file knows it.
//!
//! sled panics on databases that it cannot make sense of, so every call runs inside
//! `catch_unwind`, and after a failure nothing is asked of it again. What the bytes mean is for
//! `format`; when to call is for `writer`.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{OpenError, StoreError, durable};

/// The engine's page cache. The node keeps its state in memory itself; this only serves writes.
const CACHE_BYTES: u64 = 32 << 20;

/// Keys with their values.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Changes for the engine: `None` deletes.
pub(super) type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Whether to sync at all. Left out only by the test that shows why it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncing {
    Real,
    #[cfg(test)]
    LeftOut,
}

#[derive(Debug)]
pub(super) struct Engine {
    /// `None` only while it is being dropped.
    db: Option<sled::Db>,
    /// Our own handle of the database file, open from before the first write, so that the kernel
    /// reports through it every write that fails.
    file: File,
    dir: PathBuf,
    syncing: Syncing,
}

impl Engine {
    pub(super) fn open(dir: &Path, syncing: Syncing) -> Result<Self, OpenError> {
        // Keys are never spread over several trees: a batch is atomic within one only.
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        let db = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(open_error(dir, error)),
            Err(panic) => return Err(OpenError::corrupt(dir, panic_text(panic.as_ref()))),
        };
        if has_blobs(dir) {
            return Err(OpenError::corrupt(dir, "blobs/ holds files, which are never synced"));
        }
        let path = dir.join(FILE_NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| OpenError::from_io("open", &path, source))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        durable::sync_dir(dir)
            .and_then(|()| parent.map_or(Ok(()), durable::sync_dir))
            .map_err(|source| OpenError::from_io("sync", dir, source))?;
        Ok(Self { db: Some(db), file, dir: dir.to_owned(), syncing })
    }

    /// Everything, sorted by key.
    pub(super) fn scan(&self) -> Result<Pairs, StoreError> {
        self.guarded(|db| {
            db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    /// Applies all of `writes` or nothing. Not on disk before [`Engine::sync`].
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.guarded(|db| db.apply_batch(batch))
    }

    /// Puts everything applied so far on disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.guarded(|db| db.flush().map(drop))?;
        match self.syncing {
            Syncing::Real => {
                self.file.sync_data().map_err(|source| StoreError::from_io(&self.dir, source))
            }
            #[cfg(test)]
            Syncing::LeftOut => Ok(()),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn guarded<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let db = self.db.as_ref().expect("the engine is whole until it is dropped");
        match catch_unwind(AssertUnwindSafe(|| call(db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(source))) => Err(StoreError::from_io(&self.dir, source)),
            Ok(Err(error)) => Err(self.engine_error(error.to_string())),
            Err(panic) => Err(self.engine_error(panic_text(panic.as_ref()))),
        }
    }

    fn engine_error(&self, detail: String) -> StoreError {
        StoreError::Engine { path: self.dir.clone(), detail }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Closing a database whose disk has failed may panic as well; it has been reported.
        let db = self.db.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(db))) {
            tracing::warn!(
                dir = %self.dir.display(),
                detail = panic_text(panic.as_ref()),
                "the store's engine failed while closing"
            );
        }
    }
}

const FILE_NAME: &str = "db";
const BLOBS_NAME: &str = "blobs";

/// Whether there is a database in `dir`.
pub(super) fn exists(dir: &Path) -> bool {
    dir.join(FILE_NAME).exists()
}

/// Whether sled has moved values to files of their own, which it never syncs.
pub(super) fn has_blobs(dir: &Path) -> bool {
    fs::read_dir(dir.join(BLOBS_NAME)).is_ok_and(|mut entries| entries.next().is_some())
}

/// The size of the files of `dir` in bytes.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

fn open_error(dir: &Path, error: sled::Error) -> OpenError {
    match error {
        // sled says so when it reads less than it had written, or something else.
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ) =>
        {
            OpenError::corrupt(dir, source.to_string())
        }
        sled::Error::Io(source) => OpenError::from_io("open", dir, source),
        sled::Error::Corruption { .. }
        | sled::Error::CollectionNotFound(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Unsupported(_) => OpenError::corrupt(dir, error.to_string()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no words");
    let line = text.lines().next().unwrap_or_default();
    format!("the engine stopped: {}", line.chars().take(200).collect::<String>())
}
