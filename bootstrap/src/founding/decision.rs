//! The decision who begins the committee, on disk before anybody is told. Made once for each
//! generation; a file that cannot be read stops everything and is never replaced, because
//! deciding again would make two committees.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyxwiz_protocol::charter::Founding;
use cyxwiz_protocol::{Identity, Network, PeerId, StoreId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Why the decision cannot be read, made or done over.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `lock` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what this program wrote, or is another network's.
    #[error(
        "{} does not say who founded this network's committee ({reason}); it was left as it is: \
         restore it from a backup; only when no committee was ever founded, move it away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// Somebody else did it over at the same time.
    #[error("the decision in {} has changed meanwhile; look at it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// What the file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// The generation that is decided, or to be decided next.
    pub(crate) generation: u32,
    /// Absent until a coordinator asks.
    pub(crate) founding: Option<Founding>,
}

/// The decision's keeper. The file is the only memory: another process may change it between two
/// questions, under a lock that lasts for one change.
#[derive(Debug)]
pub(crate) struct Decisions {
    dir: PathBuf,
    charter: Arc<Identity>,
    network: Network,
}

impl Decisions {
    /// The keeper for the files in `dir`; fails at once where a file cannot be believed.
    pub(crate) fn open(
        dir: &Path,
        charter: Arc<Identity>,
        network: Network,
    ) -> Result<Self, DecisionError> {
        let decisions = Self { dir: dir.to_owned(), charter, network };
        decisions.read()?;
        Ok(decisions)
    }

    pub(crate) const fn network(&self) -> &Network {
        &self.network
    }

    /// Who founds: whoever it was decided for, else the replica that asks, from now on and for
    /// good. On disk when this returns.
    pub(crate) fn founder(
        &self,
        asker: (PeerId, StoreId),
        now: UnixMillis,
    ) -> Result<Founding, DecisionError> {
        let _lock = self.lock()?;
        let before = self.read()?;
        if let Some(founding) = before.founding {
            return Ok(founding);
        }
        let founding = Founding::sign(&self.charter, &self.network, asker, before.generation, now);
        self.write(&Decision { founding: Some(founding), ..before })?;
        let (founder, generation) = (asker.0, before.generation);
        tracing::info!(%founder, generation, "this coordinator begins the committee");
        Ok(founding)
    }

    /// The decision as it stands.
    pub(crate) fn read(&self) -> Result<Decision, DecisionError> {
        let path = self.path();
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Decision::default());
            }
            Err(source) => return Err(DecisionError::Io { action: "read", path, source }),
        };
        self.parse(&text).map_err(|reason| DecisionError::Damaged { path, reason })
    }

    fn parse(&self, text: &[u8]) -> Result<Decision, String> {
        let decision: Decision = serde_json::from_slice(text).map_err(|it| it.to_string())?;
        if let Some(founding) = decision.founding {
            founding.verify(&self.network).map_err(|error| error.to_string())?;
            if founding.generation != decision.generation {
                return Err("it is the founding of another generation".to_owned());
            }
        }
        Ok(decision)
    }

    /// Sets `seen` aside: the next coordinator that asks founds the next generation.
    pub(crate) fn renew(&self, seen: &Decision) -> Result<Decision, DecisionError> {
        let _lock = self.lock()?;
        if self.read()? != *seen {
            return Err(DecisionError::Changed { path: self.path() });
        }
        let next = Decision { generation: seen.generation.saturating_add(1), founding: None };
        self.write(&next)?;
        Ok(next)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }

    /// Keeps other processes and tasks from changing the decision until dropped.
    fn lock(&self) -> Result<File, DecisionError> {
        let path = self.dir.join(LOCK_NAME);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let locked = lock.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| DecisionError::Io { action: "lock", path, source })
    }

    /// In one step: a reader, and a crash, sees the old decision or the new one.
    fn write(&self, decision: &Decision) -> Result<(), DecisionError> {
        let path = self.path();
        let replace = || {
            let text = serde_json::to_vec_pretty(decision)?;
            let mut draft = tempfile::Builder::new()
                .prefix(FILE_NAME)
                .suffix(".draft")
                .tempfile_in(&self.dir)?;
            draft.write_all(&text)?;
            draft.as_file().sync_all()?;
            draft.persist(&path).map_err(|error| error.error)?;
            // Other systems cannot open a directory, and order this by themselves.
            if cfg!(unix) { File::open(&self.dir)?.sync_all() } else { Ok(()) }
        };
        replace().map_err(|source| DecisionError::Io {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

const FILE_NAME: &str = "founding.json";
const LOCK_NAME: &str = "founding.lock";

/// Many times what the file holds; more is not read.
const MAX_FILE_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);
    const LATER: UnixMillis = UnixMillis(2_000);

    fn keeper(dir: &Path) -> Result<Decisions, DecisionError> {
        let charter = Arc::new(Identity::from_seed([1; 32]));
        let network = Network::new("lab", charter.id()).unwrap();
        Decisions::open(dir, charter, network)
    }

    fn replica(number: u8) -> (PeerId, StoreId) {
        (PeerId([number; 32]), StoreId([number; 16]))
    }

    #[test]
    fn the_first_who_asks_founds_also_after_a_restart_and_a_lost_disk() {
        let dir = tempfile::tempdir().unwrap();
        let first = keeper(dir.path()).unwrap().founder(replica(7), NOW).unwrap();
        assert_eq!((first.founder, first.store), replica(7));
        assert_eq!((first.generation, first.at), (0, NOW));
        let again = keeper(dir.path()).unwrap();
        first.verify(again.network()).unwrap();
        let new_disk = (replica(7).0, StoreId([9; 16]));
        for asker in [replica(8), replica(7), new_disk] {
            assert_eq!(again.founder(asker, LATER).unwrap(), first);
        }
    }

    #[test]
    fn many_who_ask_at_once_hear_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let keepers = [keeper(dir.path()).unwrap(), keeper(dir.path()).unwrap()];
        let told: Vec<_> = std::thread::scope(|scope| {
            let ask = |number: u8| {
                let keeper = &keepers[usize::from(number % 2)];
                scope.spawn(move || keeper.founder(replica(number), NOW).unwrap())
            };
            let asking: Vec<_> = (0..16).map(ask).collect();
            asking.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(told.iter().all(|founding| *founding == told[0]), "{told:?}");
    }

    #[test]
    fn done_over_the_next_who_asks_founds_the_next_generation() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = keeper(dir.path()).unwrap();
        keeper.founder(replica(7), NOW).unwrap();
        let seen = keeper.read().unwrap();
        let next = keeper.renew(&seen).unwrap();
        assert_eq!(next, Decision { generation: 1, founding: None });
        assert!(matches!(keeper.renew(&seen), Err(DecisionError::Changed { .. })));
        let second = keeper.founder(replica(8), LATER).unwrap();
        assert_eq!((second.founder, second.generation), (replica(8).0, 1));
        assert_eq!(keeper.founder(replica(7), LATER).unwrap(), second);
    }

    #[test]
    fn a_file_that_cannot_be_believed_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let decided = keeper(dir.path()).unwrap();
        decided.founder(replica(7), NOW).unwrap();
        let sound = fs::read_to_string(&path).unwrap();
        let later = sound.replacen("\"generation\": 0", "\"generation\": 1", 1);
        let other = {
            let elsewhere = tempfile::tempdir().unwrap();
            let charter = Arc::new(Identity::from_seed([2; 32]));
            let network = Network::new("lab", charter.id()).unwrap();
            let keeper = Decisions::open(elsewhere.path(), charter, network).unwrap();
            keeper.founder(replica(7), NOW).unwrap();
            fs::read_to_string(elsewhere.path().join(FILE_NAME)).unwrap()
        };
        assert_ne!(later, sound);
        for damaged in ["", "{}", "nonsense", &sound[..sound.len() / 2], &later, &other] {
            fs::write(&path, damaged).unwrap();
            let error = keeper(dir.path()).unwrap_err();
            assert!(matches!(error, DecisionError::Damaged { .. }), "{damaged}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert!(decided.founder(replica(8), LATER).is_err());
            assert!(decided.renew(&Decision::default()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
