//! Files that stay: each is written under another name, synced, and only then given its own, so
//! that a file that can be seen is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::frames::OutputFile;

/// Writes `bytes` as `name` in `directory`.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<OutputFile> {
    write_with(directory, name, |file| file.write_all(bytes))?;
    let sha256 = hex::encode(Sha256::digest(bytes));
    Ok(OutputFile { name: name.to_owned(), size: bytes.len() as u64, sha256 })
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
