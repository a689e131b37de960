//! Two small files beside the database: who uses it, and how far it had been acknowledged.
//!
//! The seal is written after the database was synced and is itself synced only at open and close,
//! so it never claims more than the disk holds, and after a power loss at worst claims less.
//! A database that opens with fewer writes than sealed has lost acknowledged records.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{OpenError, durable};

const SEAL_NAME: &str = "seal";
const LOCK_NAME: &str = "lock";
const MAGIC: &[u8; 8] = b"CYXSEAL1";
const SEAL_BYTES: usize = 8 + 16 + 8 + 4;

/// The content of the seal file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) store_id: [u8; 16],
    /// The number of the last acknowledged group of writes since the store was made.
    pub(super) generation: u64,
}

impl Seal {
    fn encode(&self) -> [u8; SEAL_BYTES] {
        let mut bytes = [0; SEAL_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.store_id);
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..32]);
        bytes[32..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (store_id, generation) = rest.split_first_chunk::<16>()?;
        let generation = u64::from_le_bytes(generation.try_into().ok()?);
        Some(Self { store_id: *store_id, generation })
    }
}

/// The open seal file.
#[derive(Debug)]
pub(super) struct SealFile(File);

impl SealFile {
    pub(super) fn read(dir: &Path) -> Result<Option<Seal>, OpenError> {
        let path = dir.join(SEAL_NAME);
        let mut bytes = Vec::new();
        // One byte more than a seal has, to notice a longer file without reading all of it.
        let limit = SEAL_BYTES as u64 + 1;
        match File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => match Seal::decode(&bytes) {
                Some(seal) => Ok(Some(seal)),
                None => Err(OpenError::corrupt(dir, "the seal file is not readable")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenError::from_io("read", &path, source)),
        }
    }

    /// Puts a synced seal in place and keeps it open.
    pub(super) fn write_new(dir: &Path, seal: &Seal) -> Result<Self, OpenError> {
        let path = dir.join(SEAL_NAME);
        durable::replace_file(dir, SEAL_NAME, &seal.encode())
            .and_then(|()| OpenOptions::new().write(true).open(&path))
            .map(Self)
            .map_err(|source| OpenError::from_io("seal", &path, source))
    }

    /// Overwrites the seal in place; less than a sector, so never half of it is on disk.
    pub(super) fn update(&mut self, seal: &Seal) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(&seal.encode())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Keeps other processes out as long as it lives; the system lets go of it at the end of a process
/// however that ends.
#[derive(Debug)]
pub(super) struct LockFile {
    _file: File,
}

impl LockFile {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_NAME);
        let io_error = |source| OpenError::from_io("lock", &path, source);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = match file.take(20).read_to_string(&mut text) {
                    Ok(_) => text.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(OpenError::Locked { file: path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        file.set_len(0).map_err(io_error)?;
        writeln!(file, "{}", std::process::id()).map_err(io_error)?;
        Ok(Self { _file: file })
    }
}
