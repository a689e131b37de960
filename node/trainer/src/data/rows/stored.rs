//! Values in memory, or in a file at fixed places. Reads of a file come in the order of their
//! places, and those that are near each other as one: a disk gives what lies in between faster
//! than it finds the next place.

use std::fs::File;
use std::io;

use tempfile::TempPath;

use super::Span;
use crate::data::DataError;
use crate::data::array::Element;
use crate::data::sum::ValuesDigest;

/// The values of all rows.
#[derive(Debug)]
pub(in crate::data) struct Stored {
    pub(in crate::data) all: Values,
    /// Of them, where it was wanted when they were read.
    pub(in crate::data) digest: Option<ValuesDigest>,
}

/// Where they are.
#[derive(Debug)]
pub(in crate::data) enum Values {
    Memory(Vec<f32>),
    Disk(OnDisk),
}

/// Values of one type in a file, without gaps.
#[derive(Debug)]
pub(in crate::data) struct OnDisk {
    /// As messages call it.
    pub(in crate::data) name: String,
    pub(in crate::data) file: File,
    /// Removed with this value, where it is a temporary file with a name.
    pub(in crate::data) _path: Option<TempPath>,
    /// Bytes before the first.
    pub(in crate::data) offset: u64,
    pub(in crate::data) values: u64,
    pub(in crate::data) element: Element,
}

impl Stored {
    pub(super) fn on_disk(&self) -> bool {
        matches!(self.all, Values::Disk(_))
    }

    /// As messages call it, where it is a file.
    pub(super) fn name(&self) -> &str {
        match &self.all {
            Values::Memory(_) => "memory",
            Values::Disk(disk) => &disk.name,
        }
    }

    pub(super) fn values(&self) -> u64 {
        match &self.all {
            Values::Memory(values) => values.len() as u64,
            Values::Disk(disk) => disk.values,
        }
    }

    /// All of them, where they are in memory.
    pub(super) fn slice(&self) -> Option<&[f32]> {
        match &self.all {
            Values::Memory(values) => Some(values),
            Values::Disk(_) => None,
        }
    }

    /// Appends the values of `spans`.
    pub(super) fn append(&self, spans: &[Span], out: &mut Vec<f32>) -> Result<(), DataError> {
        match &self.all {
            Values::Memory(values) => {
                for &Span { first, count } in spans {
                    out.extend_from_slice(&values[first as usize..][..count]);
                }
                Ok(())
            }
            Values::Disk(disk) => disk.append(spans, out),
        }
    }
}

impl OnDisk {
    fn append(&self, spans: &[Span], out: &mut Vec<f32>) -> Result<(), DataError> {
        let mut bytes = Vec::new();
        let mut rest = spans;
        while let Some((first, later)) = rest.split_first() {
            let (begin, mut end) = self.bytes(first);
            let near = later.iter().take_while(|span| {
                let (next, next_end) = self.bytes(span);
                let fits =
                    next >= begin && next <= end + GAP_BYTES && next_end <= begin + RUN_BYTES;
                end = if fits { end.max(next_end) } else { end };
                fits
            });
            let run = 1 + near.count();
            bytes.resize((end - begin) as usize, 0);
            read_exact_at(&self.file, &mut bytes, self.offset + begin)
                .map_err(|fault| DataError::Lost { file: self.name.clone(), fault })?;
            for span in &rest[..run] {
                let (from, to) = self.bytes(span);
                (self.element.append)(&bytes[(from - begin) as usize..(to - begin) as usize], out);
            }
            rest = &rest[run..];
        }
        Ok(())
    }

    /// Begin and end behind the offset.
    fn bytes(&self, span: &Span) -> (u64, u64) {
        let size = self.element.size as u64;
        (span.first * size, (span.first + span.count as u64) * size)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// What is rather read over than looked for: as long as a disk takes to find another place.
const GAP_BYTES: u64 = 64 << 10;

/// The largest single read, but for one of a single row.
const RUN_BYTES: u64 = 1 << 20;
