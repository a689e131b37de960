//! ZIP archives as strangers make them: the table of contents, the number of files and what each
//! unpacks to are bounded before anything is read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::{DataError, open, too_many};
use crate::limits;

/// An archive whose table of contents has been read.
pub(super) struct Archive {
    file: String,
    inner: ZipArchive<Meter>,
}

impl Archive {
    pub(super) fn open(inputs: &Path, file: &str) -> Result<Self, DataError> {
        let (opened, _) = open(inputs, file)?;
        let left = Rc::new(Cell::new(limits::MAX_ARCHIVE_CONTENTS_BYTES));
        let meter = Meter { inner: opened, left: Rc::clone(&left) };
        let inner = ZipArchive::new(meter).map_err(|fault| damaged(file, fault))?;
        left.set(u64::MAX);
        if inner.len() > limits::MAX_ARCHIVE_ENTRIES {
            return Err(too_many(file, "files", inner.len(), limits::MAX_ARCHIVE_ENTRIES));
        }
        Ok(Self { file: file.to_owned(), inner })
    }

    /// Names and numbers of the files in it, by name.
    pub(super) fn names(&mut self) -> Result<Vec<(String, usize)>, DataError> {
        let mut names = Vec::new();
        for index in 0..self.inner.len() {
            let entry =
                self.inner.by_index_data(index).map_err(|fault| damaged(&self.file, fault))?;
            if !entry.is_dir() {
                let name = entry.name().map_err(|fault| damaged(&self.file, fault))?;
                names.push((name.into_owned(), index));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A file, and the bytes that it takes in the archive; whoever reads it must bound it.
    pub(super) fn entry(
        &mut self,
        index: usize,
    ) -> Result<(ZipFile<'_, impl Read + 'static>, u64), DataError> {
        let entry = self.inner.by_index(index).map_err(|fault| damaged(&self.file, fault))?;
        let packed = entry.compressed_size();
        Ok((entry, packed))
    }
}

fn damaged(file: &str, fault: ZipError) -> DataError {
    if let ZipError::Io(fault) = fault {
        if fault.kind() == io::ErrorKind::FileTooLarge {
            let limit = limits::MAX_ARCHIVE_CONTENTS_BYTES;
            let fault = format!("its table of contents has more than {limit} bytes");
            return DataError::Damaged { file: file.to_owned(), format: "ZIP", fault };
        }
        return DataError::Read { file: file.to_owned(), fault };
    }
    let fault = fault.to_string();
    DataError::Damaged { file: file.to_owned(), format: "ZIP", fault }
}

/// Fails where more is read than may be: a table of contents can claim to be the whole file.
struct Meter {
    inner: File,
    left: Rc<Cell<u64>>,
}

impl Read for Meter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(count as u64));
        Ok(count)
    }
}

impl Seek for Meter {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
