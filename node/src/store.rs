//! The node's durable record store: what is acknowledged here survives a kill and a power loss.
//!
//! Keys and values are bytes; what they mean is the caller's business, who also keeps the whole
//! content in memory: [`Store::open`] hands over every record once, [`Store::commit`] takes
//! changes, and [`Flushed`] says up to which commit they are on disk. There is no reading between.
//!
//! sled 0.34 alone does not keep that promise: its `flush` ends in `sync_file_range`, which is no
//! fsync, and large values go to files that it never syncs. So `engine` flushes and then syncs
//! the database file through a handle of its own, `format` keeps every stored value small and
//! checksummed, `writer` gathers commits into groups with one sync each, and `seal` remembers
//! beside the database how far it had been acknowledged, so that a database that opens with an
//! older content is noticed. A damaged store is never repaired and never overwritten.

pub(crate) mod durable;
mod engine;
mod format;
mod seal;
mod trial;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use engine::{Engine, Syncing};
use format::{Header, Loaded};
use seal::{LockFile, Seal, SealFile};

/// The longest key in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The longest value in bytes. Larger things belong among the artifacts.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// How many batches may wait for the writer before [`Store::commit`] blocks.
pub const MAX_WAITING_BATCHES: usize = 1024;

/// How many messages about flushed commits may wait for their reader. They are cumulative: when
/// the reader is slow, later ones stand for those left out.
const MAX_WAITING_FLUSHED: usize = 64;

/// Changes that reach the disk together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    /// A batch without changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`. Of several changes of one key the last counts.
    ///
    /// # Panics
    /// If the key is longer than [`MAX_KEY_BYTES`] or the value than [`MAX_VALUE_BYTES`]: callers
    /// bound what they store.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        assert!(key.len() <= MAX_KEY_BYTES, "a store key of {} bytes", key.len());
        assert!(value.len() <= MAX_VALUE_BYTES, "a store value of {} bytes", value.len());
        self.0.push((key, Some(value)));
    }

    /// Removes `key`; a key that is not there is no error.
    ///
    /// # Panics
    /// If the key is longer than [`MAX_KEY_BYTES`].
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        let key = key.into();
        assert!(key.len() <= MAX_KEY_BYTES, "a store key of {} bytes", key.len());
        self.0.push((key, None));
    }

    /// The number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// What [`Store::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The store, to commit to.
    pub store: Store,
    /// Every record, sorted by key. All of them are on disk.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// How far commits are on disk. Bounded; the writer never waits for its reader.
    pub flushed: tokio::sync::mpsc::Receiver<Flushed>,
}

/// News from the writer.
#[derive(Debug)]
pub enum Flushed {
    /// Every commit up to and including this number is on disk.
    UpTo(u64),
    /// Writing failed. The last message: nothing that was not acknowledged before ever will be,
    /// and trying again would not help, since the kernel may have dropped what it could not write.
    /// The node must stop promising things and should end.
    Failed {
        /// What failed, and what to do.
        error: StoreError,
    },
}

/// A store in use by this process alone. Dropping it writes what waits and releases the directory.
#[derive(Debug)]
pub struct Store {
    /// Numbering and queueing must happen in one step, or a later number could be written, and
    /// acknowledged together with all before it, ahead of an earlier one: hence a mutex and not
    /// an atomic number beside the channel.
    intake: Mutex<Intake>,
    writer: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    dir: PathBuf,
    store_id: [u8; 16],
}

#[derive(Debug)]
struct Intake {
    last: u64,
    queue: Option<SyncSender<(u64, Batch)>>,
}

/// The state of a store's disk.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Bytes free to this user on the store's disk, where the system tells.
    pub free_bytes: Option<u64>,
    /// Bytes that the store's files take.
    pub disk_bytes: u64,
    /// Whether the engine has put something in files that it does not sync. Never true as long as
    /// the store's own limits hold; a coordinator must not take part when it is.
    pub unsynced_files: bool,
}

impl Store {
    /// Opens the store in `dir`, or makes a new one where there is none.
    ///
    /// Reads and checks every record. Everything returned is on disk when this returns. Nothing is
    /// repaired, except that sled, as after any crash, drops at the end of its log what an
    /// interrupted write left there; that this was nothing acknowledged is then checked.
    ///
    /// # Errors
    /// [`OpenError`]; in each case the files are left for a person to look at.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        Self::open_with(dir, Syncing::Real)
    }

    fn open_with(dir: &Path, syncing: Syncing) -> Result<Opened, OpenError> {
        durable::create_dir(dir).map_err(|source| OpenError::from_io("create", dir, source))?;
        let lock = LockFile::take(dir)?;
        let sealed = SealFile::read(dir)?;
        if sealed.is_some() && !engine::exists(dir) {
            return Err(OpenError::corrupt(dir, "the database file is missing"));
        }

        if let Some(sealed) = &sealed {
            trial::rehearse(dir, sealed)?;
        }

        let engine = Engine::open(dir, syncing)?;
        let loaded = format::load(engine.scan().map_err(|error| error.at_open(dir))?, dir)?;
        let (header, loaded) = match (loaded, &sealed) {
            (Some((header, loaded)), _) => (header, loaded),
            (None, None) => (initialize(&engine, dir)?, Loaded::default()),
            (None, Some(_)) => {
                return Err(OpenError::corrupt(dir, "the database has lost its header"));
            }
        };
        check_seal(dir, &header, loaded.state.generation, sealed.as_ref())?;

        // After a kill, records may have been read from memory that the kernel has not written.
        engine.sync().map_err(|error| error.at_open(dir))?;
        let seal = Seal { store_id: header.store_id, generation: loaded.state.generation };
        let seal = SealFile::write_new(dir, &seal)?;
        durable::sync_dir(dir).map_err(|source| OpenError::from_io("sync", dir, source))?;

        let (queue, batches) = std::sync::mpsc::sync_channel(MAX_WAITING_BATCHES);
        let (news, flushed) = tokio::sync::mpsc::channel(MAX_WAITING_FLUSHED);
        let closing = Arc::new(AtomicBool::new(false));
        let writer = writer::Writer {
            engine,
            seal,
            lock,
            store_id: header.store_id,
            state: loaded.state,
            index: loaded.index,
            closing: Arc::clone(&closing),
            news,
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&batches))
            .map_err(|source| OpenError::from_io("start the writer of", dir, source))?;

        let store = Self {
            intake: Mutex::new(Intake { last: 0, queue: Some(queue) }),
            writer: Some(writer),
            closing,
            dir: dir.to_owned(),
            store_id: header.store_id,
        };
        Ok(Opened { store, records: loaded.records, flushed })
    }

    /// Queues `batch` and returns its number: 1 for the first commit after opening, then
    /// increasing by one.
    ///
    /// The batch is on disk when [`Flushed::UpTo`] names this number or a higher one, not before.
    /// Blocks the calling thread while [`MAX_WAITING_BATCHES`] batches wait for the writer.
    /// After [`Flushed::Failed`] batches are dropped and never acknowledged.
    pub fn commit(&self, batch: Batch) -> u64 {
        let mut intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        intake.last += 1;
        let number = intake.last;
        if let Some(queue) = &intake.queue
            && queue.send((number, batch)).is_err()
        {
            intake.queue = None;
        }
        number
    }

    /// The identity of this very store, drawn when it was made. A peer whose store was lost and
    /// made anew is another replica.
    #[must_use]
    pub fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// Looks at the disk.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            free_bytes: crate::hardware::free_disk_bytes(&self.dir),
            disk_bytes: engine::disk_bytes(&self.dir),
            unsynced_files: engine::has_blobs(&self.dir),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        self.intake.lock().unwrap_or_else(PoisonError::into_inner).queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(dir = %self.dir.display(), "the store's writer ended in a panic");
        }
    }
}

fn initialize(engine: &Engine, dir: &Path) -> Result<Header, OpenError> {
    let mut store_id = [0; 16];
    getrandom::fill(&mut store_id).map_err(|source| {
        OpenError::from_io("draw an id for", dir, io::Error::other(source.to_string()))
    })?;
    let header = Header { store_id };
    engine
        .apply(format::initial(&header))
        .and_then(|()| engine.sync())
        .map_err(|error| error.at_open(dir))?;
    tracing::info!(dir = %dir.display(), store_id = hex::encode(store_id), "made a new store");
    Ok(header)
}

fn check_seal(
    dir: &Path,
    header: &Header,
    generation: u64,
    sealed: Option<&Seal>,
) -> Result<(), OpenError> {
    let Some(sealed) = sealed else {
        // A store is sealed before its first commit, so only an interrupted birth has no seal.
        if generation == 0 {
            return Ok(());
        }
        return Err(OpenError::corrupt(dir, "the seal file is missing"));
    };
    if sealed.store_id != header.store_id {
        return Err(OpenError::corrupt(dir, "the database and its seal are of different stores"));
    }
    if generation < sealed.generation {
        let detail = format!(
            "acknowledged records are missing: the database ends at write {generation}, \
             write {} was acknowledged",
            sealed.generation
        );
        return Err(OpenError::corrupt(dir, detail));
    }
    Ok(())
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "another node{} uses this data directory (lock file {}): stop that node first, or give \
         this one a directory of its own", holder.map(|pid| format!(" (process {pid})"))
            .unwrap_or_default(), file.display()
    )]
    Locked {
        /// The file that is locked.
        file: PathBuf,
        /// The process id that the holder wrote into it.
        holder: Option<u32>,
    },
    /// The content is not what was acknowledged.
    #[error(
        "the store in {} is damaged ({detail}); its files are kept and nothing was repaired: move \
         that directory away and start again with an empty one, which makes this peer a new \
         replica that fetches what it needs from the others", path.display()
    )]
    Corrupt {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A later version of the program has written it.
    #[error(
        "the store in {} has format version {found}, this program knows up to {known}: run the \
         newer program, or use another directory", path.display()
    )]
    Newer {
        /// The store's directory.
        path: PathBuf,
        /// The version in the header.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// An earlier version of the program has written it, and its records cannot be carried over.
    #[error(
        "the store in {} has format version {found}, this program reads {oldest} and later: let \
         its jobs end with the program that wrote it, then move the directory away", path.display()
    )]
    Older {
        /// The store's directory.
        path: PathBuf,
        /// The version in the header.
        found: u32,
        /// The oldest version that this program reads.
        oldest: u32,
    },
    /// The directory or a file in it may not be written.
    #[error("cannot write to the store in {}: check its owner and permissions", path.display())]
    NotWritable {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {what} the store at {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    fn corrupt(dir: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: dir.to_owned(), detail: detail.into() }
    }

    /// The same fault, told of the store in `dir` rather than of a copy of it.
    fn of(self, dir: &Path) -> Self {
        let path = dir.to_owned();
        match self {
            Self::Corrupt { detail, .. } => Self::Corrupt { path, detail },
            Self::Newer { found, known, .. } => Self::Newer { path, found, known },
            Self::Older { found, oldest, .. } => Self::Older { path, found, oldest },
            Self::NotWritable { source, .. } => Self::NotWritable { path, source },
            Self::Io { what, source, .. } => Self::Io { what, path, source },
            locked @ Self::Locked { .. } => locked,
        }
    }

    fn from_io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        if refused.contains(&source.kind()) {
            return Self::NotWritable { path, source };
        }
        Self::Io { what, path, source }
    }
}

/// Why a store stopped writing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, the quota or the permitted file size is used up.
    #[error(
        "the disk of {} is full ({} bytes free): free some space and start the node again; \
         what was acknowledged is safe", path.display(),
        free_bytes.map_or_else(|| "unknown".to_owned(), |free| free.to_string())
    )]
    DiskFull {
        /// The store's directory.
        path: PathBuf,
        /// Bytes free when it happened, where the system tells.
        free_bytes: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// The disk failed. What was acknowledged before is on it, what came after may not be.
    #[error("writing to the store in {} failed: check the disk and its logs", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine found itself in a state that it does not know how to go on from.
    #[error(
        "the engine of the store in {} failed ({detail}): start the node again", path.display()
    )]
    Engine {
        /// The store's directory.
        path: PathBuf,
        /// What the engine said.
        detail: String,
    },
}

impl StoreError {
    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if durable::is_full(&source) {
            let free_bytes = crate::hardware::free_disk_bytes(&path);
            return Self::DiskFull { path, free_bytes, source };
        }
        Self::Io { path, source }
    }

    fn at_open(self, dir: &Path) -> OpenError {
        match self {
            Self::DiskFull { path, source, .. } | Self::Io { path, source } => {
                OpenError::from_io("write", &path, source)
            }
            Self::Engine { detail, .. } => OpenError::corrupt(dir, detail),
        }
    }
}
