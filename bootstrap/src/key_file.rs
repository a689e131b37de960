//! Secrets on disk: 32 bytes in a file that only its owner can read, made once. Never
//! overwritten and never repaired: whoever loses one is another peer, or another network.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why a secret could not be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `make`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no key.
    #[error(
        "{} is damaged: it holds {bytes} bytes and a key has 32; restore it from a backup, or \
         move it away to start with a new key (which makes this a new peer or network)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its length, counted up to one more than a key's.
        bytes: usize,
    },
    /// No randomness for a new key.
    #[error("the system gives no random numbers for the new key {}", path.display())]
    NoRandomness {
        /// The file that was to be made.
        path: PathBuf,
    },
}

/// Loads the secret in `path`, or makes one where there is none.
pub(crate) fn load_or_make(path: &Path) -> Result<[u8; 32], KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    match make(path) {
        // Another process was faster; its key counts.
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            load(path)
        }
        outcome => outcome,
    }
}

fn load(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let io = |source| KeyFileError::Io { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(33).read_to_end(&mut bytes)).map_err(io)?;
    let damaged =
        |bytes: Vec<u8>| KeyFileError::Damaged { path: path.to_owned(), bytes: bytes.len() };
    bytes.try_into().map_err(damaged)
}

/// Written beside and linked into place: at any moment there is the whole key or none.
fn make(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let io = |source| KeyFileError::Io { action: "make", path: path.to_owned(), source };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|_no_source| KeyFileError::NoRandomness { path: path.to_owned() })?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(io)?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    write_private(&draft, &secret).map_err(io)?;
    let linked = fs::hard_link(&draft, path);
    // A draft left behind holds a key that is nobody's.
    let _ = fs::remove_file(&draft);
    linked.map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(secret)
}

/// Writes a file that only its owner can read, replacing one of the same name.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_damaged_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for damaged in [&b"short"[..], &[7; 33], &[]] {
            fs::write(&path, damaged).unwrap();
            let error = load_or_make(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
