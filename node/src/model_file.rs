//! A model in a file by itself: a definition in TOML or JSON, or a graph of the node editor. A job
//! file holds a model too; which of these a text is, its own keys say.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cyxwiz_trainer::{DefinitionError, GraphError, ModelSpec};

use crate::job_file::{JobFile, JobFileError, WithLayers, is_json};

/// What a file turned out to be.
#[derive(Debug)]
pub enum ModelFile {
    /// A model with its data and its training.
    Job(Box<WithLayers>),
    /// Layers alone.
    Model(Model),
}

/// Layers, and what the graph that they come from says besides: a sentence each.
#[derive(Debug)]
pub struct Model {
    pub model: ModelSpec,
    pub notes: Vec<String>,
}

/// A file that holds no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it has more than {limit} KiB")]
    TooLarge { limit: u64 },
    #[error("it has no layers, nor nodes of a graph; a job file cannot stand here")]
    NoModel,
    #[error(transparent)]
    Job(#[from] JobFileError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl ModelFile {
    /// Reads a text; JSON when its first character is `{`, else TOML. Files that it names lie in
    /// `folder`.
    ///
    /// # Errors
    /// What does not parse, with its place, and the first layer that could never be.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ModelFileError> {
        match Model::parse(text)? {
            Some(model) => Ok(Self::Model(model)),
            None => Ok(Self::Job(Box::new(JobFile::parse_in(text, folder)?))),
        }
    }

    /// The layers; none of a job that takes them from a file of weights.
    #[must_use]
    pub fn model(&self) -> Option<&ModelSpec> {
        match self {
            Self::Job(read) => read.job.model.as_ref(),
            Self::Model(read) => Some(&read.model),
        }
    }

    /// What a graph says besides its layers.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Job(read) => &read.notes,
            Self::Model(read) => &read.notes,
        }
    }
}

impl Model {
    /// Reads a file that holds a model by itself.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelFileError> {
        let mut text = String::new();
        let size = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if size as u64 > MAX_BYTES {
            return Err(ModelFileError::TooLarge { limit: MAX_BYTES / 1_024 });
        }
        Self::parse(&text)?.ok_or(ModelFileError::NoModel)
    }

    /// Nothing where the text is not a model by itself.
    fn parse(text: &str) -> Result<Option<Self>, ModelFileError> {
        let json = is_json(text);
        let read = if json && ModelSpec::is_graph(text) {
            let found = ModelSpec::from_graph(text)?;
            Self { model: found.model, notes: found.notes }
        } else if !has_layers(text, json) {
            return Ok(None);
        } else {
            let model = if json { serde_json::from_str(text)? } else { toml::from_str(text)? };
            Self { model, notes: Vec::new() }
        };
        read.model.validate_layers()?;
        Ok(Some(read))
    }
}

/// Some thousand layers fit.
pub(crate) const MAX_BYTES: u64 = 1_024 * 1_024;

/// Whether `layers` is a key of the whole.
fn has_layers(text: &str, json: bool) -> bool {
    #[derive(serde::Deserialize)]
    struct Has {
        #[expect(dead_code, reason = "only whether it is there is of interest")]
        layers: Vec<serde::de::IgnoredAny>,
    }
    if json {
        serde_json::from_str::<Has>(text).is_ok()
    } else {
        toml::from_str::<Has>(text).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"
        name = "a"
        [model]
        layers = [{ type = "dense", units = 2 }]
        [data]
        source = "a.csv"
        label = "b"
        [training]
        epochs = 1
        batch_size = 1
        loss = "mse"
        optimizer = { type = "sgd", learning_rate = 0.1 }
    "#;

    fn parse(text: &str) -> Result<ModelFile, ModelFileError> {
        ModelFile::parse(text, Path::new("."))
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert!(matches!(parse(JOB), Ok(ModelFile::Job(_))));
        let toml = "layers = [{ type = \"dense\", units = 2 }]";
        assert!(matches!(parse(toml), Ok(ModelFile::Model(_))));
        let json = r#"{"layers":[{"type":"dense","units":10}]}"#;
        assert!(matches!(parse(json), Ok(ModelFile::Model(_))));
        let graph = r#"{"nodes":[{"id":1,"type":77,"name":"in","parameters":{}},
            {"id":2,"type":0,"name":"d","parameters":{"units":"10"}}],
            "links":[{"from_node":1,"to_node":2}]}"#;
        assert!(matches!(parse(graph), Ok(ModelFile::Model(read)) if read.notes.len() == 1));
    }

    #[test]
    fn mistakes_have_places() {
        let unknown = parse(r#"{"layers":[{"type":"dance","units":10}]}"#).unwrap_err();
        assert!(unknown.to_string().contains("dance"), "{unknown}");
        let nothing = parse("layers = []").unwrap_err();
        assert!(nothing.to_string().contains("no layers"), "{nothing}");
        assert!(parse("").is_err());
        assert!(parse("{").is_err());
    }
}
