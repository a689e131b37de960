//! A rehearsal of opening. sled rewrites a damaged log while it opens it, so that what was there
//! would be gone by the time the damage is told. A copy is opened first, and the files themselves
//! only when that went well: a damaged store is left as it is, byte for byte.

use std::{fs, io, path::Path};

use super::{OpenError, Syncing, check_seal, durable, engine::Engine, format, seal::Seal};

const FOLDER: &str = "trial";

/// Opens a copy of the store in `dir` and checks it against its seal.
///
/// Without room for a copy it is left out, with a warning: a full disk must not keep a node from
/// starting.
pub(super) fn rehearse(dir: &Path, sealed: &Seal) -> Result<(), OpenError> {
    let folder = dir.join(FOLDER);
    let failed = |source| OpenError::from_io("copy, for a trial,", dir, source);
    clear(&folder).map_err(failed)?;
    match copy(dir, &folder) {
        Ok(()) => {}
        Err(error) if durable::is_full(&error) => {
            tracing::warn!(dir = %dir.display(), "no room to open a copy of the store first");
            return clear(&folder).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
    }
    let outcome = examine(dir, &folder, sealed);
    clear(&folder).map_err(failed)?;
    outcome
}

fn examine(dir: &Path, folder: &Path, sealed: &Seal) -> Result<(), OpenError> {
    let engine = Engine::open(folder, Syncing::Real).map_err(|error| error.of(dir))?;
    let entries = engine.scan().map_err(|error| error.at_open(dir))?;
    let Some((header, loaded)) = format::load(entries, dir)? else {
        return Err(OpenError::corrupt(dir, "the database has lost its header"));
    };
    check_seal(dir, &header, loaded.state.generation, Some(sealed))
}

/// sled's files are regular ones at the top; its folder for large values stays empty.
fn copy(dir: &Path, folder: &Path) -> io::Result<()> {
    durable::create_dir(folder)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
