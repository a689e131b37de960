//! A digest of the features as they are stored, taken while they are read, so that nobody has to
//! read them again to know later whether others are the same. What else belongs to a piece of work
//! is added by [`crate::train`].

use sha2::{Digest, Sha256};

/// SHA-256 of all values in order, as little-endian 32-bit floats.
pub(crate) type ValuesDigest = [u8; 32];

/// The digest of what has been read so far, where somebody wants it.
#[derive(Debug)]
pub(super) struct Sum {
    hash: Option<Sha256>,
    /// Values on their way, kept to be filled again.
    bytes: Vec<u8>,
}

impl Sum {
    pub(super) fn new(wanted: bool) -> Self {
        Self { hash: wanted.then(Sha256::new), bytes: Vec::new() }
    }

    pub(super) fn add(&mut self, values: &[f32]) {
        let Some(hash) = &mut self.hash else { return };
        for values in values.chunks(VALUES_AT_ONCE) {
            self.bytes.clear();
            self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&self.bytes);
        }
    }

    pub(super) fn finish(self) -> Option<ValuesDigest> {
        self.hash.map(|hash| hash.finalize().into())
    }
}

/// 64 KiB.
const VALUES_AT_ONCE: usize = 1 << 14;
