//! The job file: what a user writes to say what shall be done and what it needs. TOML, or the same
//! keys as JSON. Unknown keys are errors that name the line; nothing is skipped.

mod model;

use std::{collections::BTreeMap, path::Path};

use cyxwiz_scoring::{DeviceKind, Permille, Requirements};
use cyxwiz_trainer::{
    DataSpec, DefinitionError, EvaluateSpec, ExtractSpec, FineTuneSpec, InferSpec, Job, JobKind,
    JobTables, ModelSpec, StartSpec, Streaming, TrainingSpec,
};
use serde::{Deserialize, Serialize};

use crate::model_file::ModelFileError;
pub use model::WithLayers;

/// A job file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobFileError {
    #[error("{0}")]
    Toml(String),
    #[error("{0}")]
    Json(String),
    #[error("{0}")]
    Keys(String),
    #[error("[model] needs either layers = [...] or file = \"net.json\", and nothing else")]
    ModelKeys,
    #[error("model.file: {name} gives no layers")]
    ModelFile { name: String, source: Box<ModelFileError> },
    #[error(
        "requirements.device: '{0}' is not a device; known are cpu, cuda, opencl, oneapi, metal"
    )]
    Device(String),
    #[error("the name '{0}' of the job must be letters, digits, '.', '_' and '-'")]
    Name(String),
    #[error("limits.{key}: '{text}' is not a time; write 90s, 30m, 12h or 7d")]
    Time { key: &'static str, text: String },
    #[error(
        "data names '{0}': write a plain file name; the file is looked for beside the job file"
    )]
    FileName(String),
    /// A table that the kind lacks or does not have.
    #[error(transparent)]
    Tables(DefinitionError),
}

/// A job as its user describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// What people call it.
    pub name: String,
    /// Which of the tables below it has.
    #[serde(default)]
    pub kind: JobKind,
    /// 1 (least) to 10 (most urgent).
    #[serde(default = "middle")]
    pub priority: u8,
    #[serde(default)]
    pub requirements: RequirementsTable,
    #[serde(default)]
    pub limits: LimitsTable,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<FineTuneSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer: Option<InferSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<ExtractSpec>,
    pub data: DataSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSpec>,
}

/// Disk space of a job that does not say what it needs, besides its rows.
const DISK_MB: u32 = 64;

/// What a worker must have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequirementsTable {
    /// `cpu`, `cuda`, `opencl`, `oneapi` or `metal`.
    pub device: String,
    pub cores: u16,
    pub memory_mb: u32,
    pub device_memory_mb: u32,
    /// When absent, what the rows take that may not fit into memory, and 64 MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
    /// The most that the job may cost; no limit when absent.
    pub max_price: Option<u64>,
    /// 0 to 1.
    pub min_reputation: f64,
}

impl Default for RequirementsTable {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            cores: 1,
            memory_mb: 256,
            device_memory_mb: 0,
            disk_mb: None,
            max_price: None,
            min_reputation: 0.0,
        }
    }
}

/// How long and how often the network tries. Times are written 90s, 30m, 12h or 7d.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTable {
    /// Waiting for a worker.
    pub queue: String,
    /// One attempt.
    pub attempt: String,
    /// Waiting and running together.
    pub total: String,
    pub attempts: u8,
    pub output_mb: u32,
}

impl Default for LimitsTable {
    fn default() -> Self {
        let limits = cyxwiz_protocol::spec::JobLimits::default();
        Self {
            queue: "24h".to_owned(),
            attempt: "24h".to_owned(),
            total: "7d".to_owned(),
            attempts: limits.attempts,
            output_mb: limits.output_mb,
        }
    }
}

const fn middle() -> u8 {
    5
}

impl JobFile {
    /// Reads a job file: JSON when its first character is `{`, else TOML.
    pub fn parse(text: &str) -> Result<Self, JobFileError> {
        let job: Self = if is_json(text) {
            serde_json::from_str(text).map_err(|error| JobFileError::Json(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| JobFileError::Toml(error.to_string()))?
        };
        job.check()?;
        Ok(job)
    }

    /// Checks what the types cannot express, before anything is looked up.
    pub fn check(&self) -> Result<(), JobFileError> {
        self.requirements(0)?;
        self.limits()?;
        let plain = |name: &str| name.parse::<cyxwiz_protocol::spec::Name>().is_ok();
        if !plain(&self.name) {
            return Err(JobFileError::Name(self.name.clone()));
        }
        let tables = self.tables();
        if let Some(name) = tables.input_names().into_iter().find(|name| !plain(name)) {
            return Err(JobFileError::FileName(name.to_owned()));
        }
        self.job().map(|_job| ())
    }

    /// The trainer's part.
    ///
    /// # Errors
    /// The kind lacks a table, or has one that means nothing to it.
    pub fn job(&self) -> Result<Job, JobFileError> {
        Job::try_from(self.tables()).map_err(JobFileError::Tables)
    }

    /// The trainer's part as it is written.
    #[must_use]
    pub fn tables(&self) -> JobTables {
        JobTables {
            kind: self.kind,
            model: self.model.clone(),
            start: self.start.clone(),
            fine_tune: self.fine_tune.clone(),
            evaluate: self.evaluate.clone(),
            infer: self.infer.clone(),
            extract: self.extract.clone(),
            data: self.data.clone(),
            training: self.training.clone(),
        }
    }

    /// Where each file that the job names would lie, beside the job file in `folder`.
    #[must_use]
    pub fn files(&self, folder: &Path) -> BTreeMap<String, std::path::PathBuf> {
        let tables = self.tables();
        let names = tables.input_names();
        names.into_iter().map(|name| (name.to_owned(), folder.join(name))).collect()
    }

    /// The scheduler's part, for data that take so many bytes in memory.
    pub fn requirements(&self, rows_bytes: u64) -> Result<Requirements, JobFileError> {
        let table = &self.requirements;
        let in_memory = match self.data.streaming {
            Streaming::Never => true,
            Streaming::Always => false,
            Streaming::Auto => rows_bytes <= (u64::from(table.memory_mb) << 20) / 2,
        };
        // A quarter more for what rows are called.
        let on_disk =
            if in_memory { 0 } else { (rows_bytes / 4).saturating_mul(5).div_ceil(1_000_000) };
        let on_disk = u32::try_from(on_disk).unwrap_or(u32::MAX);
        let device: DeviceKind =
            table.device.parse().map_err(|_unknown| JobFileError::Device(table.device.clone()))?;
        let thousandths = (table.min_reputation.clamp(0.0, 1.0) * 1_000.0).round();
        Ok(Requirements {
            device,
            memory_mb: table.memory_mb,
            device_memory_mb: table.device_memory_mb,
            disk_mb: table.disk_mb.unwrap_or_else(|| on_disk.saturating_add(DISK_MB)),
            cores: table.cores,
            max_price: table.max_price.unwrap_or(Requirements::ANY_PRICE),
            min_reputation: Permille::new(thousandths as u16),
            min_sandbox_level: 0,
        })
    }

    /// What to tell of a job that takes so many bytes of memory, if it asks for less. On a device
    /// of its own what is computed lies in other memory.
    #[must_use]
    pub fn memory_note(&self, bytes: u64) -> Option<String> {
        let RequirementsTable { memory_mb, ref device, .. } = self.requirements;
        let short = device == "cpu" && bytes > u64::from(memory_mb) << 20;
        short.then(|| {
            format!(
                "it takes about {} MiB of memory, but requirements.memory_mb is {memory_mb}: if \
                 that is too little it fails; raise it, or use a smaller batch_size",
                bytes.div_ceil(1 << 20)
            )
        })
    }

    /// The limits in the protocol's form.
    pub fn limits(&self) -> Result<cyxwiz_protocol::spec::JobLimits, JobFileError> {
        let table = &self.limits;
        Ok(cyxwiz_protocol::spec::JobLimits {
            queue_ms: millis("queue", &table.queue)?,
            attempt_ms: millis("attempt", &table.attempt)?,
            total_ms: millis("total", &table.total)?,
            attempts: table.attempts,
            output_mb: table.output_mb,
        })
    }
}

/// Whether a text is JSON; else it is TOML.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Milliseconds of a time like `90s`.
fn millis(key: &'static str, text: &str) -> Result<u64, JobFileError> {
    let wrong = || JobFileError::Time { key, text: text.to_owned() };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 24 * 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_not_a_number| wrong())?;
    number.checked_mul(seconds * 1_000).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job with so much of `[requirements]` and `[data]`.
    fn job(requirements: &str, streaming: &str) -> JobFile {
        let text = format!(
            r#"name = "x"
requirements = {{ {requirements} }}
model.layers = [{{ type = "dense", units = 2 }}]
data = {{ source = "d.csv", label = "y", streaming = {streaming} }}
[training]
epochs = 1
batch_size = 8
loss = "mse"
optimizer = {{ type = "sgd", learning_rate = 0.1 }}
"#
        );
        JobFile::parse(&text).unwrap()
    }

    /// The disk that it asks for when its rows take 1 GB.
    fn disk(requirements: &str, streaming: &str) -> u32 {
        job(requirements, streaming).requirements(1_000_000_000).unwrap().disk_mb
    }

    #[test]
    fn too_little_memory_is_told_of_before_it_fails() {
        let note = |requirements: &str, bytes| job(requirements, "\"auto\"").memory_note(bytes);
        let told = note("memory_mb = 64", (64 << 20) + 1).unwrap();
        assert!(told.contains("about 65 MiB") && told.contains("memory_mb is 64"), "{told}");
        assert_eq!(note("memory_mb = 64", 64 << 20), None);
        assert_eq!(note("memory_mb = 64, device = \"cuda\"", 1 << 40), None);
    }

    #[test]
    fn rows_that_may_not_fit_into_memory_have_room_on_disk() {
        assert_eq!(disk("memory_mb = 1024", "\"auto\""), 1_314);
        assert_eq!(disk("memory_mb = 4096", "\"auto\""), 64);
        assert_eq!(disk("memory_mb = 4096", "true"), 1_314);
        assert_eq!(disk("memory_mb = 1024", "false"), 64);
        assert_eq!(disk("memory_mb = 1024, disk_mb = 7", "true"), 7);
    }
}
