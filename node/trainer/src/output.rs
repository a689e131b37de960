//! Files that stay: each is written under another name, synced, and only then given its own, so
//! that a file that can be seen is whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::frames::OutputFile;
use crate::limits;

/// Writes `bytes` as `name` in `directory`.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<OutputFile> {
    write_with(directory, name, |file| file.write_all(bytes))?;
    let sha256 = hex::encode(Sha256::digest(bytes));
    Ok(OutputFile { name: name.to_owned(), size: bytes.len() as u64, sha256 })
}

/// Writes what `fill` writes as `name` in `directory`, in pieces of any size. After an error
/// nothing is left of it.
pub(crate) fn write_stream<E: From<io::Error>>(
    directory: &Path,
    name: &str,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<(), E>,
) -> Result<OutputFile, E> {
    write_with(directory, name, |file| {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let mut sink = Sink { file, sum: Sha256::new(), size: 0 };
        fill(&mut sink)?;
        sink.flush()?;
        let (size, sha256) = (sink.size, hex::encode(sink.sum.finalize()));
        Ok(OutputFile { name: name.to_owned(), size, sha256 })
    })
}

/// A file in the making, measured and hashed as it grows.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    file: BufWriter<&'a mut File>,
    sum: Sha256,
    size: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size.saturating_add(bytes.len() as u64) > limits::MAX_RESULT_BYTES {
            let limit = limits::MAX_RESULT_BYTES;
            let fault = format!("it would have more than the {limit} bytes allowed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
        }
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes what `fill` writes as `name` in `directory`. After an error nothing is left of it.
pub(crate) fn write_with<T, E: From<io::Error>>(
    directory: &Path,
    name: &str,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let unfinished = directory.join(format!(".{name}.unfinished"));
    let written = File::create(&unfinished).map_err(E::from).and_then(|mut file| {
        let filled = fill(&mut file)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&unfinished, directory.join(name))?;
        sync_directory(directory)?;
        Ok(filled)
    });
    if written.is_err() {
        // The first error is the one to tell of.
        std::fs::remove_file(&unfinished).ok();
    }
    written
}

/// The new name itself must survive a power cut; only Unix lets a directory be synced.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// One piece on its way to the disk: large beside a system call.
const BUFFER_BYTES: usize = 256 * 1024;
