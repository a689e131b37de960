//! How records lie in the engine: header, state, values with checksums, chunks.
//!
//! Each value carries a CRC-32C over its key and itself. A value too long for the engine is cut
//! into chunks under keys of their own. The state record, written with every group, counts the
//! records and sums their hashes, so that a mixture of old and new values cannot pass as whole.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::engine::{Pairs, Writes};
use super::{MAX_VALUE_BYTES, OpenError};

/// The newest format that this program reads, and the one it writes.
pub(super) const FORMAT_VERSION: u32 = 3;
/// The oldest format that this program reads. Stores of version 1 held registers of a coordinator
/// without a committee, under specs signed without a limit for the whole time; those of version 2
/// registers that know no pause, under documents of the protocol's first version, which no peer
/// believes any more: nothing can be made of either that their submitters signed.
const OLDEST_VERSION: u32 = 3;

/// The longest value that is stored in one piece, and the length of a chunk: a leaf of 17 such
/// stays well below the size at which sled moves it to a file that it does not sync.
pub(super) const CHUNK_BYTES: usize = 3_500;

const _: () = assert!(17 * (CHUNK_BYTES + super::MAX_KEY_BYTES + 64) < 128 << 10);

const MAGIC: &[u8; 8] = b"CYXSTORE";
const HEADER_KEY: &[u8] = b"\x00header";
const STATE_KEY: &[u8] = b"\x00state";
const RECORD_SPACE: u8 = 1;
const CHUNK_SPACE: u8 = 2;
const ENVELOPE_VERSION: u8 = 1;
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// What a store is, fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) store_id: [u8; 16],
}

/// What the store holds, in three numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The number of groups written since the store was made.
    pub(super) generation: u64,
    records: u64,
    digest: u64,
}

/// What is known of a stored record without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    hash: u64,
    chunks: u32,
}

/// The records by key: to take a replaced one out of the sums and to remove its chunks.
pub(super) type Index = BTreeMap<Vec<u8>, Entry>;

#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) records: Pairs,
    pub(super) index: Index,
    pub(super) state: State,
}

/// The first writes of a new store.
pub(super) fn initial(header: &Header) -> Writes {
    let mut payload = MAGIC.to_vec();
    payload.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    payload.extend_from_slice(&header.store_id);
    vec![
        (HEADER_KEY.to_vec(), Some(wrap(HEADER_KEY, &payload))),
        (STATE_KEY.to_vec(), Some(wrap(STATE_KEY, &State::default().encode()))),
    ]
}

/// Turns the changes of one group into engine writes, and moves `state` and `index` along.
pub(super) fn group(
    changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    state: &mut State,
    index: &mut Index,
) -> Writes {
    // Of several changes of one key the last counts; earlier ones must not leave chunks behind.
    let last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = changes.into_iter().collect();
    let mut writes = Vec::with_capacity(last.len() + 1);
    for (key, value) in last {
        let kept = value.as_ref().map_or(0, |value| chunk_count(value.len()));
        let old = match &value {
            Some(value) => {
                let entry = Entry { hash: record_hash(&key, value), chunks: kept };
                state.digest = state.digest.wrapping_add(entry.hash);
                state.records += 1;
                index.insert(key.clone(), entry)
            }
            None => index.remove(&key),
        };
        if let Some(old) = old {
            state.digest = state.digest.wrapping_sub(old.hash);
            state.records -= 1;
            for number in kept..old.chunks {
                writes.push((chunk_key(&key, number), None));
            }
        }
        let stored_key = record_key(&key);
        let Some(value) = value else {
            if old.is_some() {
                writes.push((stored_key, None));
            }
            continue;
        };
        let mut payload = Vec::with_capacity(value.len().min(CHUNK_BYTES) + 16);
        if kept == 0 {
            payload.push(INLINE);
            payload.extend_from_slice(&value);
        } else {
            payload.push(CHUNKED);
            payload.extend_from_slice(&(value.len() as u64).to_le_bytes());
            for (number, chunk) in (0..).zip(value.chunks(CHUNK_BYTES)) {
                let chunk_key = chunk_key(&key, number);
                let chunk = wrap(&chunk_key, chunk);
                writes.push((chunk_key, Some(chunk)));
            }
        }
        let wrapped = wrap(&stored_key, &payload);
        writes.push((stored_key, Some(wrapped)));
    }
    state.generation += 1;
    writes.push((STATE_KEY.to_vec(), Some(wrap(STATE_KEY, &state.encode()))));
    writes
}

/// Reads everything that the engine holds; `None` when it holds nothing at all.
pub(super) fn load(pairs: Pairs, dir: &Path) -> Result<Option<(Header, Loaded)>, OpenError> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let find = |wanted: &[u8]| pairs.iter().find(|(key, _)| key == wanted);
    let header = match find(HEADER_KEY).and_then(|(key, value)| unwrap(key, value)) {
        Some(payload) => decode_header(payload, dir)?,
        None => return Err(OpenError::corrupt(dir, "its header is missing or damaged")),
    };
    let state = match find(STATE_KEY).and_then(|(key, value)| unwrap(key, value)) {
        Some(payload) => State::decode(payload),
        None => None,
    };
    let Some(state) = state else {
        return Err(OpenError::corrupt(dir, "its state record is missing or damaged"));
    };
    let values = assemble(pairs).map_err(|detail| OpenError::corrupt(dir, detail))?;

    let mut loaded = Loaded { state, ..Loaded::default() };
    let mut digest = 0_u64;
    for (key, value) in values {
        let hash = record_hash(&key, &value);
        digest = digest.wrapping_add(hash);
        loaded.index.insert(key.clone(), Entry { hash, chunks: chunk_count(value.len()) });
        loaded.records.push((key, value));
    }
    if loaded.records.len() as u64 != loaded.state.records || digest != loaded.state.digest {
        let detail = format!(
            "its {} records are not the {} that were written last",
            loaded.records.len(),
            loaded.state.records
        );
        return Err(OpenError::corrupt(dir, detail));
    }
    Ok(Some((header, loaded)))
}

/// Checks every value and puts the chunks together.
fn assemble(pairs: Pairs) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let mut values = BTreeMap::new();
    let mut parts: BTreeMap<Vec<u8>, Part> = BTreeMap::new();
    // Keys are sorted, so each record comes before its chunks, and those come in order.
    for (stored_key, value) in pairs {
        let damaged = || format!("a value is damaged, key {}", hex::encode(&stored_key));
        let payload = unwrap(&stored_key, &value).ok_or_else(damaged)?;
        match stored_key.split_first().ok_or_else(damaged)? {
            (&RECORD_SPACE, key) => match payload.split_first().ok_or_else(damaged)? {
                (&INLINE, value) => {
                    values.insert(key.to_vec(), value.to_vec());
                }
                (&CHUNKED, len) => {
                    let len = u64::from_le_bytes(len.try_into().map_err(|_| damaged())?);
                    let len = usize::try_from(len).map_err(|_| damaged())?;
                    if len > MAX_VALUE_BYTES {
                        return Err(damaged());
                    }
                    parts.insert(key.to_vec(), Part { len, next: 0, value: Vec::new() });
                }
                _ => return Err(damaged()),
            },
            (&CHUNK_SPACE, rest) => {
                let (key, number) = rest.split_last_chunk::<4>().ok_or_else(damaged)?;
                let part = parts.get_mut(key).ok_or_else(damaged)?;
                if part.next != u32::from_be_bytes(*number) {
                    return Err(damaged());
                }
                part.next += 1;
                part.value.extend_from_slice(payload);
            }
            _ if stored_key == HEADER_KEY || stored_key == STATE_KEY => {}
            _ => return Err(damaged()),
        }
    }
    for (key, part) in parts {
        if part.value.len() != part.len || part.next != chunk_count(part.len) {
            return Err(format!("a long value is incomplete, key {}", hex::encode(&key)));
        }
        values.insert(key, part.value);
    }
    Ok(values)
}

struct Part {
    len: usize,
    next: u32,
    value: Vec<u8>,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        [self.generation, self.records, self.digest].map(u64::to_le_bytes).concat()
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (numbers, rest) = payload.as_chunks::<8>();
        let [generation, records, digest] = *<&[[u8; 8]; 3]>::try_from(numbers).ok()?;
        rest.is_empty().then(|| Self {
            generation: u64::from_le_bytes(generation),
            records: u64::from_le_bytes(records),
            digest: u64::from_le_bytes(digest),
        })
    }
}

fn decode_header(payload: &[u8], dir: &Path) -> Result<Header, OpenError> {
    let damaged = || OpenError::corrupt(dir, "its header is not that of a store");
    let rest = payload.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let found = u32::from_le_bytes(*version);
    if found > FORMAT_VERSION {
        return Err(OpenError::Newer { path: dir.to_owned(), found, known: FORMAT_VERSION });
    }
    if found < OLDEST_VERSION {
        return Err(OpenError::Older { path: dir.to_owned(), found, oldest: OLDEST_VERSION });
    }
    Ok(Header { store_id: rest.try_into().map_err(|_| damaged())? })
}

fn wrap(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(payload.len() + 5);
    value.push(ENVELOPE_VERSION);
    value.extend_from_slice(&checksum(key, payload).to_le_bytes());
    value.extend_from_slice(payload);
    value
}

fn unwrap<'v>(key: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    let (version, rest) = value.split_first()?;
    let (sum, payload) = rest.split_first_chunk::<4>()?;
    let whole = *version == ENVELOPE_VERSION && u32::from_le_bytes(*sum) == checksum(key, payload);
    whole.then_some(payload)
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), payload)
}

fn record_hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update((key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let hash = hasher.finalize();
    u64::from_le_bytes(*hash.first_chunk().expect("a SHA-256 has 32 bytes"))
}

fn chunk_count(len: usize) -> u32 {
    if len <= CHUNK_BYTES {
        return 0;
    }
    u32::try_from(len.div_ceil(CHUNK_BYTES)).expect("values are bounded")
}

fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORD_SPACE], key].concat()
}

fn chunk_key(key: &[u8], number: u32) -> Vec<u8> {
    [&[CHUNK_SPACE], key, &number.to_be_bytes()].concat()
}
