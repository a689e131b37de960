//! Making files and their names survive a power loss.
//!
//! A new or renamed file is only safe when its content *and* the directory that names it are
//! synced. What the files hold is their owners' business.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Syncs a directory, so that the names in it survive.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Other systems cannot open a directory as a file, and their file systems order this anyway.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Makes `dir` with its parents, each readable by its owner only where the system knows that,
/// and syncs the names of those it made.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    create_dir(parent)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        Ok(()) => sync_dir(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts `content` in the file `name` of `dir` in one step: a reader, and a crash, sees the old or
/// the new content, never a part.
pub(crate) fn replace_file(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut draft = tempfile::Builder::new().prefix(name).suffix(".tmp").tempfile_in(dir)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    draft.persist(dir.join(name)).map_err(|error| error.error)?;
    sync_dir(dir)
}

/// Whether the system refused for want of space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::WriteZero
    )
}
