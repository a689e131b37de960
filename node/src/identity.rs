//! The peer's secret: 32 bytes in the file `key` of the data directory, made once.
//!
//! The bytes are the seed of an ed25519 key; what is derived from it is for `cyxwiz_protocol` and
//! the network. A key file is never overwritten and never repaired: whoever loses it is another
//! peer to the network, so that is for a person to decide.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::store::durable;

const FILE_NAME: &str = "key";
const KEY_BYTES: usize = 32;

/// The peer's key as it was found or made.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The seed of the ed25519 key.
    pub seed: [u8; 32],
    /// Whether it was made just now: the peer is new to the network.
    pub created: bool,
    /// The file that holds it.
    pub path: PathBuf,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the seed, which must not reach a log.
        f.debug_struct("Identity")
            .field("path", &self.path)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// Loads the key of the data directory `dir`, or makes one (and `dir`) where there is none.
///
/// # Errors
/// [`IdentityError`]; an existing file is left as it is in every case.
pub fn load_or_create(dir: &Path) -> Result<Identity, IdentityError> {
    let path = dir.join(FILE_NAME);
    match load(&path) {
        Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => {
            return outcome.map(|seed| Identity { seed, created: false, path });
        }
    }
    match create(dir, &path) {
        Ok(seed) => Ok(Identity { seed, created: true, path }),
        // Another process was faster; its key counts.
        Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            load(&path).map(|seed| Identity { seed, created: false, path })
        }
        Err(error) => Err(error),
    }
}

fn load(path: &Path) -> Result<[u8; 32], IdentityError> {
    let io_error = |source| IdentityError::Io { what: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    let data = file.metadata().map_err(io_error)?;
    if !data.is_file() {
        return Err(IdentityError::NotAFile { path: path.to_owned() });
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.to_owned(), mode });
        }
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error)?;
    let corrupt = |found| IdentityError::Corrupt { path: path.to_owned(), found };
    let seed: [u8; KEY_BYTES] =
        bytes.try_into().map_err(|_: Vec<u8>| corrupt(format!("{} bytes", data.len())))?;
    if seed == [0; KEY_BYTES] {
        return Err(corrupt("nothing but zeros".to_owned()));
    }
    Ok(seed)
}

/// The key takes its name only when it is whole and synced, so that no crash leaves half of one.
fn create(dir: &Path, path: &Path) -> Result<[u8; 32], IdentityError> {
    let io_error =
        |what, path: &Path, source| IdentityError::Io { what, path: path.to_owned(), source };
    durable::create_dir(dir).map_err(|source| io_error("create the directory of", path, source))?;
    let mut seed = [0; KEY_BYTES];
    getrandom::fill(&mut seed).map_err(|source| {
        io_error("draw random bytes for", path, io::Error::other(source.to_string()))
    })?;
    // A temporary file is exclusively new and its owner's alone (mode 600) from the first byte.
    let write = || {
        let mut draft =
            tempfile::Builder::new().prefix(FILE_NAME).suffix(".tmp").tempfile_in(dir)?;
        draft.write_all(&seed)?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(path).map_err(|error| error.error)?;
        durable::sync_dir(dir)
    };
    write().map_err(|source| io_error("write", path, source))?;
    tracing::info!(path = %path.display(), "made a new key for this peer");
    Ok(seed)
}

/// Why there is no key to work with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others than its owner may read or write the file.
    #[error(
        "the key file {} can be read or changed by others (mode {mode:o}): run `chmod 600 {}`, and \
         if others use this machine, move it away so that this peer gets a new key",
        path.display(), path.display()
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is no key.
    #[error(
        "the key file {} holds {found} where a key has 32 bytes: put back a copy of it, or move it \
         away and start again, which makes this peer a new one to the network", path.display()
    )]
    Corrupt {
        /// The key file.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// There is something else of that name.
    #[error("{} is not a file: move it away, the peer's key goes there", path.display())]
    NotAFile {
        /// Where the key goes.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} the key file {}: check the directory's owner and space", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("data");
        let made = load_or_create(&dir).unwrap();
        assert!(made.created && made.seed != [0; 32]);
        assert_eq!(fs::read(&made.path).unwrap(), made.seed);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a draft was left behind");
        let found = load_or_create(&dir).unwrap();
        assert!(!found.created && found.seed == made.seed);
        let other = load_or_create(&dir.join("other")).unwrap();
        assert_ne!(other.seed, made.seed);
        assert!(!format!("{found:?}").contains("seed"));
    }

    #[test]
    fn many_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let starts = [(); 8].map(|()| scope.spawn(|| load_or_create(dir.path())));
            let found = starts.map(|start| start.join().unwrap().unwrap());
            assert!(found.iter().all(|identity| identity.seed == found[0].seed));
            assert_eq!(found.iter().filter(|identity| identity.created).count(), 1);
        });
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_kept() {
        for content in [&[][..], &[1; 31], &[1; 33], &[0; 32]] {
            let dir = tempfile::tempdir().unwrap();
            let path = load_or_create(dir.path()).unwrap().path;
            fs::write(&path, content).unwrap();
            let error = load_or_create(dir.path()).unwrap_err();
            assert!(matches!(error, IdentityError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("key")).unwrap();
        let error = load_or_create(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::NotAFile { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = load_or_create(dir.path()).unwrap().path;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let words = load_or_create(dir.path()).unwrap_err().to_string();
            assert!(words.contains(&format!("chmod 600 {}", path.display())), "{words}");
        }
    }
}
