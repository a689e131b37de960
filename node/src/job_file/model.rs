//! `model.file`: layers that lie in a file of their own beside the job file. They are read where
//! the job is handed in and put into the job, so that what travels has layers and names no file.

use std::path::Path;

use serde_json::Value;

use super::{JobFile, JobFileError};
use crate::model_file::Model;

/// A job whose layers are its own, and what the file that they come from says besides.
#[derive(Debug)]
pub struct WithLayers {
    pub job: JobFile,
    /// A sentence each, for whoever hands the job in.
    pub notes: Vec<String>,
}

impl JobFile {
    /// Reads a job file as [`Self::parse`] does; one with `model.file` gets the layers of that
    /// file, which is looked for in `folder`.
    ///
    /// # Errors
    /// As [`Self::parse`], and what is wrong with the file, which is named.
    pub fn parse_in(text: &str, folder: &Path) -> Result<WithLayers, JobFileError> {
        let Some(name) = named(text)? else {
            return Ok(WithLayers { job: Self::parse(text)?, notes: Vec::new() });
        };
        let wrong = |source| JobFileError::ModelFile { name: name.clone(), source };
        let read = Model::read(&folder.join(&name)).map_err(Box::new).map_err(wrong)?;
        let mut document = document(text)?;
        document["model"] = serde_json::to_value(read.model)
            .map_err(|error| JobFileError::Json(error.to_string()))?;
        let job: Self = serde_path_to_error::deserialize(document)
            .map_err(|error| JobFileError::Keys(error.to_string()))?;
        job.check()?;
        Ok(WithLayers { job, notes: read.notes })
    }
}

/// What `model.file` says, if a job has it.
fn named(text: &str) -> Result<Option<String>, JobFileError> {
    // What does not parse is told better by whoever reads all of it.
    let Some(model) = document(text).ok().and_then(|mut job| job.get_mut("model").map(Value::take))
    else {
        return Ok(None);
    };
    let Some(file) = model.get("file") else { return Ok(None) };
    let keys = model.as_object().map_or(0, serde_json::Map::len);
    match file.as_str() {
        Some(name) if keys == 1 => Ok(Some(name.to_owned())),
        Some(_) | None => Err(JobFileError::ModelKeys),
    }
}

/// A job file as it is written, whatever its keys.
fn document(text: &str) -> Result<Value, JobFileError> {
    if super::is_json(text) {
        serde_json::from_str(text).map_err(|error| JobFileError::Json(error.to_string()))
    } else {
        toml::from_str(text).map_err(|error| JobFileError::Toml(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"
        name = "a"
        [model]
        file = "nets/net.json"
        [data]
        source = "a.csv"
        label = "b"
        [training]
        epochs = 1
        batch_size = 1
        loss = "mse"
        optimizer = { type = "sgd", learning_rate = 0.1 }
    "#;

    const GRAPH: &str = r#"{"nodes":[{"id":1,"type":77,"name":"in","parameters":{}},
        {"id":2,"type":0,"name":"d","parameters":{"units":"10"}}],
        "links":[{"from_node":1,"to_node":2}]}"#;

    fn parsed(job: &str, model: &str) -> Result<WithLayers, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("nets")).unwrap();
        std::fs::write(folder.path().join("nets/net.json"), model).unwrap();
        JobFile::parse_in(job, folder.path()).map_err(|error| {
            let causes = std::iter::successors(std::error::Error::source(&error), |it| it.source());
            let causes: Vec<_> = causes.map(ToString::to_string).collect();
            format!("{error}: {}", causes.join(": "))
        })
    }

    #[test]
    fn layers_come_from_the_file_in_every_form() {
        let json = r#"{"layers":[{"type":"dense","units":10}]}"#;
        let toml = "layers = [{ type = \"dense\", units = 10 }]";
        let inline = parsed(&JOB.replace("file = \"nets/net.json\"", toml), "").unwrap();
        for model in [json, toml, GRAPH] {
            let read = parsed(JOB, model).unwrap();
            assert_eq!(read.job.tables(), inline.job.tables());
            assert_eq!(read.notes.is_empty(), model != GRAPH);
        }
        let as_json = toml::from_str::<Value>(JOB).unwrap().to_string();
        assert_eq!(parsed(&as_json, json).unwrap().job.tables(), inline.job.tables());
    }

    #[test]
    fn mistakes_name_the_file() {
        let layers = r#"{"layers":[{"type":"dance","units":10}]}"#;
        let wrong = parsed(JOB, layers).unwrap_err();
        assert!(wrong.contains("nets/net.json") && wrong.contains("dance"), "{wrong}");
        let missing = parsed(&JOB.replace("net.json", "other.json"), "").unwrap_err();
        assert!(missing.contains("nets/other.json"), "{missing}");
        let job = parsed(JOB, JOB).unwrap_err();
        assert!(job.contains("nets/net.json") && job.contains("job file"), "{job}");
    }

    #[test]
    fn layers_and_a_file_exclude_each_other() {
        for model in ["file = \"a.json\"\nlayers = []", "file = 3", "file = \"a\"\nother = 1"] {
            let job = JOB.replace("file = \"nets/net.json\"", model);
            let refused = parsed(&job, "").unwrap_err();
            assert!(refused.contains("either layers = [...] or file"), "{refused}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let json = r#"{"layers":[{"type":"dense","units":10}]}"#;
        let refused = parsed(&JOB.replace("epochs", "epochz"), json).unwrap_err();
        assert!(refused.contains("training") && refused.contains("epochz"), "{refused}");
    }
}
