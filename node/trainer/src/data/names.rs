//! What rows are called, in order: in memory while that is little, else in a temporary file, from
//! which they come back in the order in which they were written.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use super::DataError;
use super::storage::{Scratch, ScratchFile, Storage};

/// The names of all rows, or of none.
#[derive(Debug, Default)]
pub(crate) struct Names {
    stored: Stored,
    count: usize,
}

/// Each name behind its length, as four bytes.
#[derive(Debug)]
enum Stored {
    Memory(Vec<u8>),
    Disk { name: String, file: ScratchFile },
}

impl Default for Stored {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of memory that they take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match &self.stored {
            Stored::Memory(bytes) => bytes.capacity() as u64,
            Stored::Disk { .. } => 0,
        }
    }

    /// Gives them from the first on. Of several readers only the newest goes on.
    pub(crate) fn read(&self) -> Result<NamesReader<'_>, DataError> {
        let source = match &self.stored {
            Stored::Memory(bytes) => Source::Memory(bytes),
            Stored::Disk { name, file } => {
                let mut file = &file.file;
                file.rewind().map_err(|fault| lost(name, fault))?;
                Source::Disk { name, file: BufReader::new(file) }
            }
        };
        Ok(NamesReader { source, left: self.count })
    }
}

/// Names from one on.
#[derive(Debug)]
pub(crate) struct NamesReader<'a> {
    source: Source<'a>,
    left: usize,
}

#[derive(Debug)]
enum Source<'a> {
    Memory(&'a [u8]),
    Disk { name: &'a str, file: BufReader<&'a File> },
}

impl NamesReader<'_> {
    /// The next so many; fewer where there are no more.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<String>, DataError> {
        let count = count.min(self.left);
        self.left -= count;
        (0..count).map(|_| self.source.next()).collect()
    }
}

impl Source<'_> {
    fn next(&mut self) -> Result<String, DataError> {
        match self {
            Self::Memory(bytes) => one(bytes).map_err(|fault| lost("memory", fault)),
            Self::Disk { name, file } => one(file).map_err(|fault| lost(name, fault)),
        }
    }
}

fn one(source: &mut impl Read) -> std::io::Result<String> {
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    source.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

fn lost(file: &str, fault: std::io::Error) -> DataError {
    DataError::Lost { file: file.to_owned(), fault }
}

/// Takes names in order.
pub(super) struct NamesSink<'a> {
    storage: Storage<'a>,
    /// As messages call where they come from.
    file: String,
    memory: Vec<u8>,
    scratch: Option<Scratch<'a>>,
    count: usize,
}

impl<'a> NamesSink<'a> {
    pub(super) fn new(storage: Storage<'a>, file: &str) -> Self {
        let (memory, scratch) = (Vec::new(), None);
        Self { storage, file: file.to_owned(), memory, scratch, count: 0 }
    }

    /// Notes what the next row is called.
    pub(super) fn push(&mut self, name: &str) -> Result<(), DataError> {
        let length = u32::try_from(name.len()).expect("readers bound what a name is");
        let more = size_of::<u32>() + name.len();
        if self.scratch.is_none() && (self.memory.len() + more) as u64 > self.storage.names_budget()
        {
            let mut scratch = self.storage.scratch(&self.file)?;
            scratch.write(&self.memory)?;
            self.memory = Vec::new();
            self.scratch = Some(scratch);
        }
        match &mut self.scratch {
            Some(scratch) => {
                scratch.write(&length.to_le_bytes())?;
                scratch.write(name.as_bytes())?;
            }
            None => {
                self.memory.extend(length.to_le_bytes());
                self.memory.extend(name.as_bytes());
            }
        }
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Names, DataError> {
        let stored = match self.scratch {
            None => Stored::Memory(self.memory),
            Some(scratch) => Stored::Disk { name: self.file, file: scratch.finish()? },
        };
        Ok(Names { stored, count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Reading;
    use crate::definition::Streaming;

    /// Writes so many names and reads them back in blocks; tells whether they were on disk.
    fn on_disk(streaming: Streaming, count: usize) -> bool {
        let name = |row: usize| format!("row {row} {}", "é".repeat(row % 200));
        Reading::alone(None, |reading| {
            let mut sink = NamesSink::new(Storage::new(streaming, reading), "d.csv");
            (0..count).for_each(|row| sink.push(&name(row)).unwrap());
            assert!(sink.memory.capacity() <= 64 << 20, "bounded");
            let names = sink.finish().unwrap();
            assert_eq!(names.is_empty(), count == 0);
            for _ in 0..2 {
                let (mut reader, mut row) = (names.read().unwrap(), 0);
                while row < count {
                    let block = reader.take(1000).unwrap();
                    assert_eq!(block.len(), 1000.min(count - row));
                    assert!(block.iter().zip(row..).all(|(found, row)| *found == name(row)));
                    row += block.len();
                }
                assert!(reader.take(1).unwrap().is_empty());
            }
            matches!(names.stored, Stored::Disk { .. })
        })
    }

    #[test]
    fn names_are_in_memory_while_they_are_few() {
        assert!(!on_disk(Streaming::Auto, 0));
        assert!(!on_disk(Streaming::Auto, 10_500));
        assert!(on_disk(Streaming::Always, 2_500));
        // 21 MB.
        assert!(on_disk(Streaming::Auto, 100_000));
        assert!(on_disk(Streaming::Never, 100_000));
    }
}
