//! The state of a run between two batches, on disk and back: parameters, the optimizer's tensors
//! and steps, the metrics so far, those of an epoch that is begun too, what schedule and early
//! stopping keep. There is no more to it, as all chance is keyed by the seed and the position
//! ([`crate::random`]), so that a run that goes on from here gives the same bits as one that was
//! never interrupted. When a checkpoint is due is left to [`crate::train`].
//!
//! The file is a safetensors file: `model.0.weight`, …, then `optimizer.first.0.weight`, …, and
//! one text of metadata, `cyxwiz`, with a digest over itself and all tensors. It is written and
//! read one tensor at a time; a reader accepts only the layout that it would write itself.

mod layout;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::{Engine, EngineError};
use crate::frames::CheckpointFile;
use crate::metrics::Tally;
use crate::schedule::Plateau;
use crate::train::{History, Stopping};
use crate::{limits, output};
use layout::Layout;

/// A tensor of a run's state, in the place where it lives.
pub(crate) struct StateTensor<'a, T> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) tensor: &'a mut T,
}

/// What is known of a state besides its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs that are done.
    pub(crate) epoch: u32,
    /// Batches of the next that are done.
    pub(crate) batch: u32,
    /// What those batches have shown, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tally: Option<Tally>,
    /// Digest of definition and data, in hexadecimal.
    pub(crate) work: String,
    /// Engine that computed it.
    pub(crate) engine: String,
    pub(crate) random: Random,
    pub(crate) optimizer_steps: u64,
    pub(crate) history: History,
    /// Of a schedule that listens to metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plateau: Option<Plateau>,
    /// Where there is early stopping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopping: Option<Stopping>,
    /// Rows at once, where a batch did not fit into memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) micro_batch: Option<usize>,
}

/// The state of all chance: streams are made from the seed and the epoch when they are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Random {
    pub(crate) generator: String,
    pub(crate) seed: u64,
    pub(crate) next_epoch: u32,
}

impl Random {
    pub(crate) fn after(epoch: u32, seed: u64) -> Self {
        Self { generator: GENERATOR.to_owned(), seed, next_epoch: epoch + 1 }
    }
}

/// Why a run cannot go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error("cannot read the checkpoint: {0}")]
    Read(#[from] io::Error),
    #[error("the checkpoint is cut off, or no checkpoint: it has {found} bytes, not {expected}")]
    Length { found: u64, expected: u64 },
    #[error("the header of the checkpoint has {found} bytes, more than the {limit} allowed")]
    LargeHeader { found: u64, limit: u64 },
    #[error("the header of the checkpoint is damaged: {0}")]
    Header(serde_json::Error),
    #[error("the checkpoint has format version {0}; this program reads version {FORMAT_VERSION}")]
    Version(u32),
    #[error("the checkpoint is one of another job, definition or data set")]
    OtherWork,
    #[error("the checkpoint contradicts itself: {0}")]
    Contradiction(&'static str),
    #[error("the checkpoint holds other tensors than the model and its optimizer have")]
    Tensors,
    #[error("\"{0}\" in the checkpoint holds values that are not finite")]
    NotFinite(String),
    #[error("the checkpoint was altered: its content does not have the digest it names")]
    Altered,
    #[error(transparent)]
    Engine(EngineError),
}

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The text under [`METADATA_KEY`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format_version: u32,
    /// Of this text with nothing here, and of all tensors in order.
    sha256: String,
    position: Position,
}

/// Read before the rest, which another version may have changed.
#[derive(Deserialize)]
struct AnyVersion {
    format_version: u32,
}

/// Writes a state into `folder`, which is made if it is not there.
pub(crate) fn write<E: Engine>(
    folder: &Path,
    position: Position,
    state: &[StateTensor<'_, E::Tensor>],
    engine: &mut E,
) -> Result<CheckpointFile, WriteError> {
    std::fs::create_dir_all(folder)?;
    let (epoch, batch) = (position.epoch, position.batch);
    let name = file_name(epoch, batch);
    let layout = Layout::of(state);
    let mut metadata = Metadata { format_version: FORMAT_VERSION, sha256: String::new(), position };
    let size = output::write_with(folder, &name, |file| {
        let mut sum = Sha256::new();
        sum.update(metadata.text());
        // The digest is known at the end only; its place is as long as itself.
        metadata.sha256 = "0".repeat(2 * 32);
        let header = layout.header(&metadata.text());
        let mut sink = BufWriter::with_capacity(BUFFER_BYTES, &mut *file);
        sink.write_all(&header)?;
        let mut bytes = Vec::with_capacity(BUFFER_BYTES);
        for StateTensor { tensor, .. } in state {
            for values in engine.download(tensor)?.chunks(BUFFER_BYTES / 4) {
                bytes.clear();
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                sum.update(&bytes);
                sink.write_all(&bytes)?;
            }
        }
        sink.flush()?;
        drop(sink);
        metadata.sha256 = hex::encode(sum.finalize());
        let signed = layout.header(&metadata.text());
        assert_eq!(header.len(), signed.len(), "all digests are equally long");
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&signed)?;
        Ok::<u64, WriteError>(header.len() as u64 + layout.data_bytes())
    })?;
    Ok(CheckpointFile { epoch, batch, name, size })
}

/// Reads a state of `work`, which has so many `epochs`, into `state`. After an error the tensors
/// are of no use.
pub(crate) fn read<E: Engine>(
    path: &Path,
    work: &str,
    epochs: u32,
    state: &mut [StateTensor<'_, E::Tensor>],
    engine: &mut E,
) -> Result<Position, ResumeError> {
    let layout = Layout::of(state);
    let file = File::open(path)?;
    let found = file.metadata()?.len();
    let mut source = BufReader::with_capacity(BUFFER_BYTES, file);
    let text = layout.read_header(&mut source, found)?;
    let version: AnyVersion = serde_json::from_str(&text).map_err(ResumeError::Header)?;
    if version.format_version != FORMAT_VERSION {
        return Err(ResumeError::Version(version.format_version));
    }
    let Metadata { sha256: said, position, .. } =
        serde_json::from_str(&text).map_err(ResumeError::Header)?;
    if position.work != work {
        return Err(ResumeError::OtherWork);
    }
    let mut sum = Sha256::new();
    // As it was written: a number has more than one spelling.
    sum.update(text.replacen(&said, "", 1));
    for StateTensor { name, shape, tensor } in state {
        let values = floats(&mut source, shape.iter().product(), &mut sum)?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(ResumeError::NotFinite(name.clone()));
        }
        **tensor = engine.upload(&values, shape).map_err(ResumeError::Engine)?;
    }
    if hex::encode(sum.finalize()) != said {
        return Err(ResumeError::Altered);
    }
    if position.epoch >= epochs {
        return Err(ResumeError::Contradiction("its epoch is none of the job"));
    }
    if position.random != Random::after(position.epoch, position.random.seed) {
        return Err(ResumeError::Contradiction("its chance is of another epoch or generator"));
    }
    if !position.history.is_of(position.epoch, epochs) {
        return Err(ResumeError::Contradiction("its metrics are not those of its epochs"));
    }
    Ok(position)
}

impl Metadata {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("plain structs with string keys always serialize")
    }
}

/// The next `count` values.
fn floats(source: &mut impl Read, count: usize, sum: &mut Sha256) -> Result<Vec<f32>, ResumeError> {
    let mut values = Vec::new();
    if values.try_reserve_exact(count).is_err() {
        let bytes = 4 * count as u64;
        return Err(ResumeError::Engine(EngineError::OutOfMemory { bytes }));
    }
    let mut bytes = vec![0; BUFFER_BYTES];
    while values.len() < count {
        let part = &mut bytes[..BUFFER_BYTES.min(4 * (count - values.len()))];
        source.read_exact(part)?;
        sum.update(&*part);
        let (chunks, _) = part.as_chunks::<4>();
        values.extend(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok(values)
}

/// Sorts by epoch and batch.
fn file_name(epoch: u32, batch: u32) -> String {
    match batch {
        0 => format!("checkpoint-{epoch:07}.safetensors"),
        batch => format!("checkpoint-{epoch:07}_{batch:010}.safetensors"),
    }
}

const FORMAT_VERSION: u32 = 4;

/// The streams of [`crate::random`]; changes whenever they do.
const GENERATOR: &str = "chacha8-keyed/1";

/// One piece of a tensor on its way: a multiple of four, and large beside a system call.
const BUFFER_BYTES: usize = 256 * 1024;

const _: () = assert!(limits::MAX_EPOCHS < 10_000_000, "file names of one length");
