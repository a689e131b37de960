//! Where the features of a data set are put: into memory while they fit into their part of it,
//! else into a file without a name in the folder of temporary files, which the system removes with
//! the process. What a job says about that comes first.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::OnceLock;

use super::array::element;
use super::rows::{OnDisk, Stored};
use super::{DataError, Reading};
use crate::definition::Streaming;
use crate::limits;

/// What a job wants, and who watches.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    streaming: Streaming,
    reading: &'a Reading<'a>,
}

impl<'a> Storage<'a> {
    pub(super) fn new(streaming: Streaming, reading: &'a Reading<'a>) -> Self {
        Self { streaming, reading }
    }

    /// As [`Reading::passed`].
    pub(super) fn passed(self, values: usize) -> Result<(), DataError> {
        self.reading.passed(values)
    }

    /// Whether so many values are better read from where they are.
    pub(super) fn wants_disk(self, values: u64) -> bool {
        match self.streaming {
            Streaming::Always => true,
            Streaming::Never => false,
            Streaming::Auto => values.saturating_mul(4) > memory_budget(),
        }
    }

    /// A place for values of `file`, of which nobody knows how many there will be.
    pub(super) fn sink(self, file: &str) -> Sink<'a> {
        Sink { storage: self, file: file.to_owned(), memory: Vec::new(), scratch: None }
    }

    /// A temporary file for what comes from `file`.
    pub(super) fn scratch(self, file: &str) -> Result<Scratch, DataError> {
        Scratch::new(file)
    }

    /// Bytes that what rows are called may take in memory.
    pub(super) fn names_budget(self) -> u64 {
        match self.streaming {
            Streaming::Always => 0,
            Streaming::Auto => memory_budget().min(NAMES_BYTES),
            Streaming::Never => NAMES_BYTES,
        }
    }
}

/// Takes values in order.
pub(super) struct Sink<'a> {
    storage: Storage<'a>,
    /// As messages call where they come from.
    file: String,
    memory: Vec<f32>,
    scratch: Option<Scratch>,
}

impl Sink<'_> {
    pub(super) fn push(&mut self, values: &[f32]) -> Result<(), DataError> {
        self.storage.passed(values.len())?;
        if self.scratch.is_none() && !self.make_room(values.len())? {
            let mut scratch = self.storage.scratch(&self.file)?;
            write(&mut scratch, &self.memory)?;
            self.memory = Vec::new();
            self.scratch = Some(scratch);
        }
        match &mut self.scratch {
            Some(scratch) => write(scratch, values),
            None => {
                self.memory.extend_from_slice(values);
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> Result<Stored, DataError> {
        let Some(scratch) = self.scratch else {
            return Ok(Stored::Memory(self.memory));
        };
        let (values, element) = (scratch.bytes / 4, element!(f32, from_le_bytes));
        let (name, file) = (self.file, scratch.finish()?);
        Ok(Stored::Disk(OnDisk { name, file, offset: 0, values, element }))
    }

    /// Whether there is room in memory for so many more values.
    fn make_room(&mut self, more: usize) -> Result<bool, DataError> {
        let needed = self.memory.len().saturating_add(more);
        if self.storage.wants_disk(needed as u64) {
            return Ok(false);
        }
        if needed <= self.memory.capacity() {
            return Ok(true);
        }
        let (bytes, limit) = (4 * needed as u64, limits::MAX_DATA_BYTES);
        if bytes > limit {
            return match self.storage.streaming {
                Streaming::Auto | Streaming::Always => Ok(false),
                Streaming::Never => Err(DataError::TooLarge { file: self.file.clone(), limit }),
            };
        }
        // Not far beyond what may be used, however much there is already.
        let most = (limit.min(memory_budget()) / 4) as usize;
        let capacity = (2 * needed).min(most).max(needed);
        // The error carries nothing but the fact.
        match (self.memory.try_reserve_exact(capacity - self.memory.len()), self.storage.streaming)
        {
            (Ok(()), _) => Ok(true),
            (Err(_), Streaming::Auto | Streaming::Always) => Ok(false),
            (Err(_), Streaming::Never) => {
                Err(DataError::NoMemory { file: self.file.clone(), bytes })
            }
        }
    }
}

/// Values as a file holds them.
fn write(scratch: &mut Scratch, values: &[f32]) -> Result<(), DataError> {
    for values in values.chunks(VALUES_AT_ONCE) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        scratch.write(&bytes)?;
    }
    Ok(())
}

/// Bytes on their way to a temporary file.
#[derive(Debug)]
pub(super) struct Scratch {
    /// As messages call where they come from.
    name: String,
    writer: BufWriter<File>,
    bytes: u64,
    /// Bytes that the file may have.
    limit: u64,
}

impl Scratch {
    fn new(name: &str) -> Result<Self, DataError> {
        let file = tempfile::tempfile();
        let file = file.map_err(|fault| no_disk(name, 0, fault))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let limit = file_limit().unwrap_or(u64::MAX).min(limits::MAX_STREAMED_BYTES);
        Ok(Self { name: name.to_owned(), writer, bytes: 0, limit })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        let Self { name, writer, bytes: before, limit } = self;
        if *before + bytes.len() as u64 > *limit {
            return Err(DataError::TooLargeForDisk { file: name.clone(), limit: *limit });
        }
        writer.write_all(bytes).map_err(|fault| no_disk(name, *before, fault))?;
        *before += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<File, DataError> {
        let Self { name, writer, bytes, .. } = self;
        let file = writer.into_inner();
        file.map_err(|fault| no_disk(&name, bytes, fault.into_error()))
    }
}

fn no_disk(file: &str, bytes: u64, fault: std::io::Error) -> DataError {
    let folder = std::env::temp_dir();
    DataError::NoDisk { file: file.to_owned(), bytes, folder, fault }
}

/// Bytes that the features of a data set may take in memory: half of what the process may have, or
/// of what is free where that is less, so that the model finds room beside them.
pub(crate) fn memory_budget() -> u64 {
    static BUDGET: OnceLock<u64> = OnceLock::new();
    *BUDGET.get_or_init(|| {
        let all = [data_limit(), free_memory()].into_iter().flatten().min();
        all.map_or(limits::MAX_DATA_BYTES, |all| (all / 2).min(limits::MAX_DATA_BYTES))
    })
}

/// The private memory that the process may have, where the system bounds it.
#[cfg(unix)]
fn data_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Data).current
}

/// The size of a file that the process may write, where the system bounds it.
#[cfg(unix)]
fn file_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

#[cfg(not(unix))]
fn data_limit() -> Option<u64> {
    None
}

#[cfg(not(unix))]
fn file_limit() -> Option<u64> {
    None
}

/// What Linux says that programs can still have without others losing theirs.
fn free_memory() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// One write: large beside a system call.
const BUFFER_BYTES: usize = 1 << 20;

/// Values that become bytes together: 64 KiB.
const VALUES_AT_ONCE: usize = 1 << 14;

/// The names of a million rows. Where rows stay in memory, whatever they take, so do so many of
/// these.
const NAMES_BYTES: u64 = 16 << 20;
