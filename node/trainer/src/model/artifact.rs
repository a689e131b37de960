//! Weights from a file, which is a stranger's: nothing in it is believed before it is compared
//! with a limit and with the layers that it is for. What they are, they say themselves, a
//! `model.json` beside them does, or a job.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{FORMAT_VERSION, LoadError, METADATA_KEY, ModelFile};
use crate::layers::{Axes, NamedValues, TensorSpec};
use crate::limits;

/// A file of weights, and what is known of them.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// As messages call it.
    weights: String,
    bytes: Vec<u8>,
    file: Option<ModelFile>,
}

impl Artifact {
    /// Reads `weights` and, where they do not say what they are, `definition`.
    pub(crate) fn open(
        directory: &Path,
        weights: &str,
        definition: Option<&str>,
    ) -> Result<Self, LoadError> {
        let bytes = read(directory, weights, limits::MAX_MODEL_BYTES)?;
        let damaged = |fault| LoadError::Weights { file: weights.to_owned(), fault };
        // All offsets and shapes are compared with the file here.
        SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let own = header.metadata().as_ref().and_then(|texts| texts.get(METADATA_KEY));
        let file = match (definition, own) {
            (Some(name), _) => {
                let text = read(directory, name, limits::MAX_DEFINITION_BYTES)?;
                Some(parse(&text, name)?)
            }
            (None, Some(text)) => Some(parse(text.as_bytes(), weights)?),
            (None, None) => None,
        };
        Ok(Self { weights: weights.to_owned(), bytes, file })
    }

    /// What the weights are said to be.
    pub(crate) fn file(&self) -> Option<&ModelFile> {
        self.file.as_ref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.weights
    }

    /// In hexadecimal; equal for equal weights under equal definitions.
    pub(crate) fn digest(&self) -> String {
        let mut sum = Sha256::new();
        sum.update((self.bytes.len() as u64).to_le_bytes());
        sum.update(&self.bytes);
        sum.update(serde_json::to_vec(&self.file).expect("plain structs always serialize"));
        hex::encode(sum.finalize())
    }

    /// The values of `tensors`. Every other tensor but those that `unused` knows is a fault, as is
    /// every one that is missing or of another shape; all of them are told.
    pub(crate) fn values(
        &self,
        tensors: Vec<TensorSpec>,
        unused: impl Fn(&str) -> bool,
    ) -> Result<Vec<NamedValues>, LoadError> {
        let damaged = |fault| LoadError::Weights { file: self.weights.clone(), fault };
        let found = SafeTensors::deserialize(&self.bytes).map_err(damaged)?;
        let mut faults = Vec::new();
        for TensorSpec { name, shape, .. } in &tensors {
            match found.tensor(name) {
                Err(_) => faults.push(format!("\"{name}\" is missing")),
                Ok(view) if view.shape() != shape => faults.push(format!(
                    "\"{name}\" has the shape {}, the layer needs {}",
                    Axes(view.shape().to_vec()),
                    Axes(shape.clone())
                )),
                Ok(view) if view.dtype() != Dtype::F32 => {
                    faults.push(format!("\"{name}\" is of type {:?}; save it as F32", view.dtype()))
                }
                Ok(_) => {}
            }
        }
        let known: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut names = found.names();
        names.sort_unstable();
        for name in names {
            // PyTorch counts batches beside its running statistics; nothing here depends on it.
            let counter = name.ends_with(".num_batches_tracked");
            if !known.contains(name) && !counter && !unused(name) {
                faults.push(format!("\"{}\" is of no layer", crate::data::shortened(name)));
            }
        }
        if !faults.is_empty() {
            return Err(LoadError::Tensors { file: self.weights.clone(), faults: listed(&faults) });
        }
        let values = tensors.into_iter().map(|TensorSpec { name, shape, .. }| {
            let view = found.tensor(&name).map_err(damaged)?;
            let (chunks, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if values.iter().all(|value| value.is_finite()) {
                Ok(NamedValues { name, shape, values })
            } else {
                Err(LoadError::NotFinite { file: self.weights.clone(), tensor: name })
            }
        });
        values.collect()
    }
}

/// Reads a definition of any version as far as its version.
fn parse(text: &[u8], file: &str) -> Result<ModelFile, LoadError> {
    #[derive(Deserialize)]
    struct AnyVersion {
        format_version: u32,
    }
    let json = |fault| LoadError::Json { file: file.to_owned(), fault };
    if text.len() as u64 > limits::MAX_DEFINITION_BYTES {
        let limit = limits::MAX_DEFINITION_BYTES;
        return Err(LoadError::TooLarge { file: format!("the definition in {file}"), limit });
    }
    let AnyVersion { format_version } = serde_json::from_slice(text).map_err(json)?;
    if format_version != FORMAT_VERSION {
        return Err(LoadError::Version { file: file.to_owned(), found: format_version });
    }
    serde_json::from_slice(text).map_err(json)
}

fn read(directory: &Path, file: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let fault = |fault| LoadError::Read { file: file.to_owned(), fault };
    let opened = std::fs::File::open(directory.join(file)).map_err(fault)?;
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { file: file.to_owned(), limit });
    }
    Ok(bytes)
}

/// As many faults as a person reads.
fn listed(faults: &[String]) -> String {
    const SHOWN: usize = 12;
    let rest = faults.len().saturating_sub(SHOWN);
    let tail = if rest == 0 { String::new() } else { format!("; and {rest} more") };
    let shown = &faults[..faults.len().min(SHOWN)];
    format!("{}{tail}", shown.join("; "))
}
