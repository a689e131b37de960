//! A model in a file by itself: a definition in TOML or JSON, or a graph of the node editor. A job
//! file holds a model too; which of these a text is, its own keys say.

use cyxwiz_trainer::{DefinitionError, GraphError, ModelSpec};

use crate::job_file::{JobFile, JobFileError};

/// What a file turned out to be.
#[derive(Debug)]
pub enum ModelFile {
    /// A model with its data and its training.
    Job(Box<JobFile>),
    /// Layers alone.
    Model(ModelSpec),
    /// Layers of a graph, and what it says besides.
    Graph(ModelSpec, Vec<String>),
}

/// A file that holds no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
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
    /// Reads a text; JSON when its first character is `{`, else TOML.
    ///
    /// # Errors
    /// What does not parse, with its place, and the first layer that could never be.
    pub fn parse(text: &str) -> Result<Self, ModelFileError> {
        let json = text.trim_start().starts_with('{');
        if json && ModelSpec::is_graph(text) {
            let found = ModelSpec::from_graph(text)?;
            found.model.validate_layers()?;
            return Ok(Self::Graph(found.model, found.notes));
        }
        if !has_layers(text, json) {
            return Ok(Self::Job(Box::new(JobFile::parse(text)?)));
        }
        let model: ModelSpec =
            if json { serde_json::from_str(text)? } else { toml::from_str(text)? };
        model.validate_layers()?;
        Ok(Self::Model(model))
    }

    /// The layers; none of a job that takes them from a file of weights.
    #[must_use]
    pub fn model(&self) -> Option<&ModelSpec> {
        match self {
            Self::Job(job) => job.model.as_ref(),
            Self::Model(model) | Self::Graph(model, _) => Some(model),
        }
    }
}

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

    #[test]
    fn a_file_says_what_it_is() {
        assert!(matches!(ModelFile::parse(JOB), Ok(ModelFile::Job(_))));
        let toml = "layers = [{ type = \"dense\", units = 2 }]";
        assert!(matches!(ModelFile::parse(toml), Ok(ModelFile::Model(_))));
        let json = r#"{"layers":[{"type":"dense","units":10}]}"#;
        assert!(matches!(ModelFile::parse(json), Ok(ModelFile::Model(_))));
        let graph = r#"{"nodes":[{"id":1,"type":77,"name":"in","parameters":{}},
            {"id":2,"type":0,"name":"d","parameters":{"units":"10"}}],
            "links":[{"from_node":1,"to_node":2}]}"#;
        assert!(
            matches!(ModelFile::parse(graph), Ok(ModelFile::Graph(_, notes)) if notes.len() == 1)
        );
    }

    #[test]
    fn mistakes_have_places() {
        let unknown = ModelFile::parse(r#"{"layers":[{"type":"dance","units":10}]}"#).unwrap_err();
        assert!(unknown.to_string().contains("dance"), "{unknown}");
        let nothing = ModelFile::parse("layers = []").unwrap_err();
        assert!(nothing.to_string().contains("no layers"), "{nothing}");
        assert!(ModelFile::parse("").is_err());
        assert!(ModelFile::parse("{").is_err());
    }
}
