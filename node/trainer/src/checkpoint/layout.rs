//! The outer form of a checkpoint: which tensor lies where in a safetensors file. Both the writer
//! and the reader work it out from the model, so a file can only be as expected or refused.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::{ResumeError, StateTensor};
use crate::limits;

/// Where the tensors of a state lie, one behind the other.
pub(super) struct Layout {
    entries: BTreeMap<String, Entry>,
    data_bytes: u64,
}

/// What safetensors says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    /// Begin and end behind the header.
    data_offsets: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Entry>,
}

impl Layout {
    pub(super) fn of<T>(state: &[StateTensor<'_, T>]) -> Self {
        let (mut entries, mut begin) = (BTreeMap::new(), 0);
        for StateTensor { name, shape, .. } in state {
            let end = begin + 4 * shape.iter().product::<usize>() as u64;
            let (shape, data_offsets) = (shape.clone(), [begin, end]);
            entries.insert(name.clone(), Entry { dtype: "F32".to_owned(), shape, data_offsets });
            begin = end;
        }
        assert_eq!(entries.len(), state.len(), "each tensor has a name of its own");
        Self { entries, data_bytes: begin }
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// All bytes before the first tensor.
    pub(super) fn header(&self, text: &str) -> Vec<u8> {
        let metadata = BTreeMap::from([(METADATA_KEY.to_owned(), text.to_owned())]);
        let header = Header { metadata, tensors: self.entries.clone() };
        let mut json = serde_json::to_vec(&header).expect("plain structs always serialize");
        // Aligned, as other readers map the file into memory.
        json.resize(json.len().next_multiple_of(8), b' ');
        assert!(
            json.len() as u64 <= limits::MAX_CHECKPOINT_HEADER_BYTES,
            "metrics are thinned out"
        );
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut json);
        bytes
    }

    /// Reads up to the first tensor of a file of `found` bytes; gives the text of metadata.
    pub(super) fn read_header(
        &self,
        source: &mut impl Read,
        found: u64,
    ) -> Result<String, ResumeError> {
        let mut length = [0; 8];
        if found < length.len() as u64 {
            let expected = length.len() as u64 + self.data_bytes;
            return Err(ResumeError::Length { found, expected });
        }
        source.read_exact(&mut length)?;
        let (length, limit) = (u64::from_le_bytes(length), limits::MAX_CHECKPOINT_HEADER_BYTES);
        if length > limit {
            return Err(ResumeError::LargeHeader { found: length, limit });
        }
        let mut json = Vec::new();
        source.by_ref().take(length).read_to_end(&mut json)?;
        if json.len() as u64 != length {
            let expected = 8 + length + self.data_bytes;
            return Err(ResumeError::Length { found, expected });
        }
        let mut header: Header = serde_json::from_slice(&json).map_err(ResumeError::Header)?;
        let text = header.metadata.remove(METADATA_KEY);
        let text = text.ok_or(ResumeError::Contradiction("it has no metadata of this program"))?;
        if header.tensors != self.entries || !header.metadata.is_empty() {
            return Err(ResumeError::Tensors);
        }
        let expected = 8 + length + self.data_bytes;
        if found != expected {
            return Err(ResumeError::Length { found, expected });
        }
        Ok(text)
    }
}

/// As in a finished model's file.
const METADATA_KEY: &str = "cyxwiz";
