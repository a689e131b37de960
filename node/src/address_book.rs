//! Which peers were met where: a bounded cache on disk, so that a restarted node finds the others.
//!
//! Keys and addresses are plain strings here; what they mean, and whether an address may be used,
//! is for the network. The file is only a cache: a damaged one is set aside and the book starts
//! empty.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::durable;

/// The most peers that are remembered; the one not seen for longest goes first.
pub const MAX_PEERS: usize = 512;

/// The most addresses that are remembered of one peer; the one not seen for longest goes first.
pub const MAX_ADDRESSES: usize = 8;

/// The longest peer key or address that is remembered, in bytes. Longer ones are not.
pub const MAX_TEXT_BYTES: usize = 256;

const FILE_NAME: &str = "peers.json";

/// An address that is seen again so soon is not worth two syncs: peers name theirs all the time.
const NEWS_AFTER_MS: u64 = 3_600_000;

/// A full book as JSON is at most about this long; what is longer was not written here.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// How many damaged books are kept for a look.
const MAX_SET_ASIDE: u32 = 16;

/// The addresses of known peers.
#[derive(Debug)]
pub struct AddressBook {
    dir: PathBuf,
    peers: Peers,
    changed: bool,
}

/// When each address of each peer last worked, in milliseconds since 1970.
type Peers = BTreeMap<String, BTreeMap<String, u64>>;

#[derive(Deserialize, Serialize)]
struct Page {
    version: u32,
    peers: Peers,
}

const PAGE_VERSION: u32 = 1;

impl AddressBook {
    /// Reads the book of the data directory `dir`; where there is none, or a damaged one, it
    /// starts empty. A damaged one is renamed to `peers.json.corrupt-<n>` with a warning.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let mut book = Self { dir: dir.to_owned(), peers: Peers::new(), changed: false };
        let path = dir.join(FILE_NAME);
        match read(&path) {
            Ok(Some(peers)) => {
                for (peer, addresses) in peers {
                    for (address, seen) in addresses {
                        book.saw(&peer, &address, seen);
                    }
                }
                book.changed = false;
            }
            Ok(None) => {}
            Err(error) => set_aside(&path, &error),
        }
        book
    }

    /// Remembers that `peer` was met at `address` at `now` (milliseconds since 1970).
    ///
    /// Texts over [`MAX_TEXT_BYTES`] are ignored. Over the limits the oldest entry goes.
    pub fn saw(&mut self, peer: &str, address: &str, now: u64) {
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT_BYTES;
        if !fits(peer) || !fits(address) {
            return;
        }
        let addresses = self.peers.entry(peer.to_owned()).or_default();
        let known = addresses.get(address).copied();
        self.changed |= known.is_none_or(|seen| now.saturating_sub(seen) >= NEWS_AFTER_MS);
        addresses.insert(address.to_owned(), known.map_or(now, |seen| now.max(seen)));
        if addresses.len() > MAX_ADDRESSES {
            let oldest = addresses.iter().min_by_key(|(_, seen)| **seen);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                addresses.remove(&oldest);
            }
        }
        if self.peers.len() > MAX_PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, addresses)| last_seen(addresses));
            if let Some(oldest) = oldest.map(|(peer, _)| peer.clone()) {
                self.peers.remove(&oldest);
            }
        }
    }

    /// Forgets an address that does not lead to `peer`, and the peer with its last address.
    pub fn forget(&mut self, peer: &str, address: &str) {
        let Some(addresses) = self.peers.get_mut(peer) else {
            return;
        };
        self.changed |= addresses.remove(address).is_some();
        if addresses.is_empty() {
            self.peers.remove(peer);
        }
    }

    /// The addresses of `peer`, the one seen last first.
    #[must_use]
    pub fn addresses(&self, peer: &str) -> Vec<&str> {
        self.peers.get(peer).map(newest_first).unwrap_or_default()
    }

    /// All peers with their addresses, the one seen last first.
    #[must_use]
    pub fn peers(&self) -> Vec<(&str, Vec<&str>)> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|(_, addresses)| std::cmp::Reverse(last_seen(addresses)));
        peers
            .into_iter()
            .map(|(peer, addresses)| (peer.as_str(), newest_first(addresses)))
            .collect()
    }

    /// The number of peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Writes the book if it has changed. Blocks for the disk.
    ///
    /// # Errors
    /// [`SaveError`]; the earlier book is still there, and a later try may succeed.
    pub fn save(&mut self) -> Result<(), SaveError> {
        let outcome = self.take_changes().map_or(Ok(()), Changes::write);
        self.changed |= outcome.is_err();
        outcome
    }

    /// What [`Self::save`] would write, for a thread that may wait for the disk.
    #[must_use]
    pub fn take_changes(&mut self) -> Option<Changes> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let page = Page { version: PAGE_VERSION, peers: std::mem::take(&mut self.peers) };
        let text = serde_json::to_vec_pretty(&page);
        self.peers = page.peers;
        let text = text.expect("maps from text to text and number have a JSON form");
        Some(Changes { dir: self.dir.clone(), text })
    }

    /// What was taken did not reach the disk: it is taken again.
    pub fn put_back_changes(&mut self) {
        self.changed = true;
    }
}

/// A book that is to be written.
#[derive(Debug)]
pub struct Changes {
    dir: PathBuf,
    text: Vec<u8>,
}

impl Changes {
    /// Puts it in place of the earlier book. Blocks for the disk.
    ///
    /// # Errors
    /// [`SaveError`]; the earlier book is still there.
    pub fn write(self) -> Result<(), SaveError> {
        durable::create_dir(&self.dir)
            .and_then(|()| durable::replace_file(&self.dir, FILE_NAME, &self.text))
            .map_err(|source| SaveError { path: self.dir.join(FILE_NAME), source })
    }
}

/// The book could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the address book {}: check the disk and the file's owner", path.display())]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    source: io::Error,
}

fn read(path: &Path) -> io::Result<Option<Peers>> {
    match fs::metadata(path) {
        Ok(data) if data.len() > MAX_FILE_BYTES => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let page: Page = serde_json::from_slice(&fs::read(path)?)?;
    if page.version == PAGE_VERSION {
        return Ok(Some(page.peers));
    }
    let words = format!("version {}, this program knows {PAGE_VERSION}", page.version);
    Err(io::Error::new(io::ErrorKind::InvalidData, words))
}

fn set_aside(path: &Path, error: &io::Error) {
    let names =
        (1..=MAX_SET_ASIDE).map(|n| path.with_file_name(format!("{FILE_NAME}.corrupt-{n}")));
    // With all numbers taken, the last is used again: the book is not worth filling a disk.
    let mut aside = path.to_owned();
    for name in names {
        aside = name;
        if !aside.exists() {
            break;
        }
    }
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            path = %path.display(), aside = %aside.display(), %error,
            "the address book is damaged; it was set aside, known peers are found anew"
        ),
        Err(rename) => tracing::warn!(
            path = %path.display(), %error, %rename,
            "the address book cannot be read or set aside; known peers are found anew"
        ),
    }
}

fn last_seen(addresses: &BTreeMap<String, u64>) -> u64 {
    addresses.values().copied().max().unwrap_or(0)
}

fn newest_first(addresses: &BTreeMap<String, u64>) -> Vec<&str> {
    let mut sorted: Vec<_> = addresses.iter().collect();
    sorted.sort_by_key(|(_, seen)| std::cmp::Reverse(**seen));
    sorted.into_iter().map(|(address, _)| address.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = AddressBook::open(dir.path());
        book.saw("peer-a", "/ip4/10.0.0.1/tcp/1", 10);
        book.saw("peer-a", "/ip4/10.0.0.1/tcp/2", 30);
        book.saw("peer-b", "/ip4/10.0.0.2/tcp/1", 20);
        book.saw("peer-a", "/ip4/10.0.0.1/tcp/2", 5);
        book.save().unwrap();
        let mut book = AddressBook::open(dir.path());
        let expected = vec!["/ip4/10.0.0.1/tcp/2", "/ip4/10.0.0.1/tcp/1"];
        assert_eq!(book.addresses("peer-a"), expected);
        assert_eq!(book.peers()[0], ("peer-a", expected));
        assert_eq!(book.peers()[1], ("peer-b", vec!["/ip4/10.0.0.2/tcp/1"]));
        book.forget("peer-b", "/ip4/10.0.0.2/tcp/1");
        book.save().unwrap();
        assert_eq!(AddressBook::open(dir.path()).len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left behind");
    }

    #[test]
    fn what_was_not_written_is_written_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = AddressBook::open(dir.path());
        book.saw("peer", "/dns/x", 10);
        assert!(book.take_changes().is_some());
        assert!(book.take_changes().is_none());
        book.saw("peer", "/dns/x", 10 + NEWS_AFTER_MS - 1);
        assert!(book.take_changes().is_none(), "seen again a moment later");
        book.saw("peer", "/dns/x", 9 + 2 * NEWS_AFTER_MS);
        assert!(book.take_changes().is_some());
        book.put_back_changes();
        book.save().unwrap();
        assert_eq!(AddressBook::open(dir.path()).addresses("peer"), ["/dns/x"]);
    }

    #[test]
    fn the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = AddressBook::open(dir.path());
        for number in 0..2_000_u64 {
            // The oldest is not the first by name.
            book.saw(&format!("peer-{}", number * 7_919 % 2_000), "/dns/x", number);
        }
        assert_eq!(book.len(), MAX_PEERS);
        assert_eq!(book.peers()[0].0, format!("peer-{}", 1_999 * 7_919 % 2_000));
        for number in 0..100_u64 {
            book.saw("peer-x", &format!("/tcp/{}", number * 37 % 100), 9_000 + number);
        }
        assert_eq!(book.addresses("peer-x").len(), MAX_ADDRESSES);
        assert_eq!(book.addresses("peer-x")[0], format!("/tcp/{}", 99 * 37 % 100));
        book.saw(&"x".repeat(MAX_TEXT_BYTES + 1), "/dns/x", 99_999);
        book.saw("peer-y", &"x".repeat(MAX_TEXT_BYTES + 1), 99_999);
        assert!(book.len() == MAX_PEERS && book.addresses("peer-y").is_empty());
        book.save().unwrap();
        assert!(fs::metadata(dir.path().join(FILE_NAME)).unwrap().len() < MAX_FILE_BYTES);
    }

    #[test]
    fn a_damaged_book_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for (round, damaged) in ["", "{", "[]", r#"{"version":2,"peers":{}}"#].iter().enumerate() {
            fs::write(&path, damaged).unwrap();
            assert!(AddressBook::open(dir.path()).is_empty());
            let aside = dir.path().join(format!("{FILE_NAME}.corrupt-{}", round + 1));
            assert_eq!(fs::read_to_string(aside).unwrap(), *damaged);
            assert!(!path.exists());
        }
        let mut book = AddressBook::open(dir.path());
        book.saw("peer", "/dns/x", 1);
        book.save().unwrap();
        assert_eq!(AddressBook::open(dir.path()).len(), 1);
    }
}
