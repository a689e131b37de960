//! Where the features of a data set are put: into memory while they fit into their part of it,
//! else into a file in the folder of temporary files. What a job says about that comes first. The
//! file has no name, so that the system removes it with the process; where somebody counts what is
//! in that folder, it has one, and goes with its owner or with the folder.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::OnceLock;

use tempfile::TempPath;

use super::array::element;
use super::rows::{OnDisk, Stored, Values};
use super::sum::Sum;
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
        is_streamed(self.streaming, values, memory_budget())
    }

    /// A place for values of `file`, of which there will be about so many, where that is known: too
    /// many for memory never are there.
    pub(super) fn sink(self, file: &str, expected: Option<u64>) -> Result<Sink<'a>, DataError> {
        let on_disk = expected.is_some_and(|values| self.wants_disk(values));
        let scratch = if on_disk { Some(self.scratch(file)?) } else { None };
        let (file, sum) = (file.to_owned(), self.sum());
        Ok(Sink { storage: self, file, sum, memory: Vec::new(), scratch })
    }

    /// A digest of what is going to be read.
    pub(super) fn sum(self) -> Sum {
        Sum::new(self.reading.is_summed())
    }

    /// A temporary file for what comes from `file`.
    pub(super) fn scratch(self, file: &str) -> Result<Scratch<'a>, DataError> {
        Scratch::new(file, self.reading)
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
    sum: Sum,
    memory: Vec<f32>,
    scratch: Option<Scratch<'a>>,
}

impl Sink<'_> {
    pub(super) fn push(&mut self, values: &[f32]) -> Result<(), DataError> {
        self.storage.passed(values.len())?;
        self.sum.add(values);
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
        let digest = self.sum.finish();
        let Some(scratch) = self.scratch else {
            let mut values = self.memory;
            values.shrink_to_fit();
            return Ok(Stored { all: Values::Memory(values), digest });
        };
        let (values, element) = (scratch.bytes / 4, element!(f32, from_le_bytes));
        let (name, ScratchFile { file, _path }) = (self.file, scratch.finish()?);
        let on_disk = OnDisk { name, file, _path, offset: 0, values, element };
        Ok(Stored { all: Values::Disk(on_disk), digest })
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
fn write(scratch: &mut Scratch<'_>, values: &[f32]) -> Result<(), DataError> {
    for values in values.chunks(VALUES_AT_ONCE) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        scratch.write(&bytes)?;
    }
    Ok(())
}

/// Bytes on their way to a temporary file.
pub(super) struct Scratch<'a> {
    reading: &'a Reading<'a>,
    /// As messages call where they come from.
    name: String,
    writer: BufWriter<File>,
    /// Its own name, where it has one.
    path: Option<TempPath>,
    bytes: u64,
    /// Bytes that the file may have.
    limit: u64,
}

impl<'a> Scratch<'a> {
    fn new(name: &str, reading: &'a Reading<'a>) -> Result<Self, DataError> {
        let made = if reading.is_counted() {
            let made = tempfile::Builder::new().prefix("rows-").tempfile();
            made.map(tempfile::NamedTempFile::into_parts).map(|(file, path)| (file, Some(path)))
        } else {
            tempfile::tempfile().map(|file| (file, None))
        };
        let (file, path) = made.map_err(|fault| no_disk(name, 0, fault))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let limit = file_limit().unwrap_or(u64::MAX).min(limits::MAX_STREAMED_BYTES);
        Ok(Self { reading, name: name.to_owned(), writer, path, bytes: 0, limit })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        let Self { name, writer, bytes: before, limit, .. } = self;
        self.reading.takes_disk(name, bytes.len() as u64)?;
        if *before + bytes.len() as u64 > *limit {
            return Err(DataError::TooLargeForDisk { file: name.clone(), limit: *limit });
        }
        writer.write_all(bytes).map_err(|fault| no_disk(name, *before, fault))?;
        *before += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<ScratchFile, DataError> {
        let Self { name, writer, path, bytes, .. } = self;
        let file = writer.into_inner();
        let file = file.map_err(|fault| no_disk(&name, bytes, fault.into_error()))?;
        Ok(ScratchFile { file, _path: path })
    }
}

/// A temporary file that is complete; it is removed with this value.
#[derive(Debug)]
pub(super) struct ScratchFile {
    pub(super) file: File,
    _path: Option<TempPath>,
}

fn no_disk(file: &str, bytes: u64, fault: std::io::Error) -> DataError {
    let folder = std::env::temp_dir();
    DataError::NoDisk { file: file.to_owned(), bytes, folder, fault }
}

/// Whether so many values are not kept in memory, of which they may have `budget` bytes.
pub(super) fn is_streamed(streaming: Streaming, values: u64, budget: u64) -> bool {
    match streaming {
        Streaming::Always => true,
        Streaming::Never => false,
        Streaming::Auto => values.saturating_mul(4) > budget,
    }
}

/// Bytes that the features of a data set may take in memory: as [`budget_of`] what this process
/// may have, or of what is free where that is less.
pub(super) fn memory_budget() -> u64 {
    static BUDGET: OnceLock<u64> = OnceLock::new();
    *BUDGET.get_or_init(|| {
        let all = [data_limit(), free_memory()].into_iter().flatten().min();
        budget_of(all.unwrap_or(u64::MAX))
    })
}

/// Bytes for the features of a data set in a process that may have so many: half, so that the
/// model finds room beside them.
pub(super) fn budget_of(process: u64) -> u64 {
    (process / 2).min(limits::MAX_DATA_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Requests;

    #[test]
    fn what_is_counted_has_a_name_and_a_limit_over_all_files() {
        let requests = Requests::default();
        let reading = Reading::new(&requests, &|_| {}).with_disk(Some(2_000_000));
        let storage = Storage::new(Streaming::Always, &reading);
        let mut sink = storage.sink("d.csv", None).unwrap();
        sink.push(&[0.5; 250_000]).unwrap();
        let path = sink.scratch.as_ref().unwrap().path.as_ref().unwrap().to_path_buf();
        let stored = sink.finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1_000_000);
        let mut names = storage.scratch("d.csv").unwrap();
        names.write(&[1; 999_999]).unwrap();
        names.write(&[1]).unwrap();
        let told = names.write(&[1]).unwrap_err().to_string();
        assert!(told.contains("the 2 MB of disk") && told.contains("disk_mb"), "{told}");
        drop(stored);
        assert!(!path.exists(), "it goes with its rows");
        let free = Reading::new(&requests, &|_| {});
        let mut sink = Storage::new(Streaming::Always, &free).sink("d.csv", None).unwrap();
        sink.push(&[0.5]).unwrap();
        assert!(sink.scratch.as_ref().unwrap().path.is_none());
    }
}
