//! Files of a result: each is written under another name, synced, and only then given its own, so
//! that a file that can be seen is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::frames::OutputFile;

/// Writes `bytes` as `name` in `directory`.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<OutputFile> {
    let unfinished = directory.join(format!(".{name}.unfinished"));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)?;
    let sha256 = hex::encode(Sha256::digest(bytes));
    Ok(OutputFile { name: name.to_owned(), size: bytes.len() as u64, sha256 })
}

/// The new name itself must survive a power cut; only Unix lets a directory be synced.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
