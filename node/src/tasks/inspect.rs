//! Checking a definition against its data before a job is accepted: by the submitter's node, to
//! tell its user early, and by the leader's, which believes nobody.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use cyxwiz_protocol::{
    Digest, PeerId,
    message::submission::Refusal,
    spec::{FileRef, JobLimits, JobSpec},
};
use cyxwiz_scoring::Requirements;
use cyxwiz_trainer::{Job, Plan, Streaming};
use tokio::sync::Semaphore;

use super::{Transfers, process_memory};

/// Verdicts that are remembered: a burst of like jobs is checked once.
const REMEMBERED: usize = 256;
/// Checks that go on at once: each reads a whole data set into memory.
const CHECKS: usize = 2;

/// Checks definitions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inspector {
    folder: PathBuf,
    turns: Arc<Semaphore>,
    /// The newest verdicts. Shared by tasks, held only to look and to note: a channel would need
    /// a task of its own.
    known: Arc<Mutex<VecDeque<(Digest, Verdict)>>>,
}

type Verdict = Result<Plan, String>;

/// Why a job cannot be handed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// In the trainer's words.
    #[error("{0}")]
    Workload(String),
    #[error("the files of the job could not be looked at: {0}")]
    Files(String),
}

impl Inspector {
    /// Uses `folder` for what a check needs on disk. It is emptied first.
    pub fn new(folder: PathBuf) -> std::io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&folder)?,
        }
        let turns = Arc::new(Semaphore::new(CHECKS));
        Ok(Self { folder, turns, known: Arc::default() })
    }

    /// The leader's check: fetches the inputs from the submitter first.
    pub(super) async fn admit(
        &self,
        spec: &JobSpec,
        transfers: &Transfers,
        from: &[PeerId],
    ) -> Result<(), Refusal> {
        transfers.fetch_all(&spec.inputs, from).await.map_err(Refusal::Inputs)?;
        let memory = process_memory(&spec.requirements);
        match self.check(&spec.workload, &spec.inputs, memory, transfers).await {
            Ok(plan) => {
                let job = Job::from_json(&spec.workload).expect("it was read to be checked");
                let fits = fits(&plan, &job, &spec.requirements, &spec.limits);
                fits.map_err(|text| Refusal::Workload(clip(text)))
            }
            Err(InspectError::Workload(text)) => Err(Refusal::Workload(clip(text))),
            Err(InspectError::Files(text)) => Err(Refusal::Inputs(clip(text))),
        }
    }

    /// Fits a definition to its data, which are here, and plans it for a process that may have so
    /// many bytes of `memory`.
    pub async fn check(
        &self,
        workload: &str,
        inputs: &[FileRef],
        memory: u64,
        transfers: &Transfers,
    ) -> Result<Plan, InspectError> {
        let key = fingerprint(workload, inputs, memory);
        if let Some(verdict) = self.remembered(key) {
            return verdict.map_err(InspectError::Workload);
        }
        let files = transfers.paths(inputs).map_err(InspectError::Files)?;
        let _turn = self.turns.acquire().await;
        let folder = self.folder.join(key.to_string());
        let text = workload.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            let verdict = in_folder(&folder, &files, &text, memory);
            // What is left behind is removed when the node starts the next time.
            let _ = std::fs::remove_dir_all(&folder);
            verdict
        });
        let verdict = checked
            .await
            .map_err(|panic| InspectError::Files(panic.to_string()))?
            .map_err(|error| InspectError::Files(error.to_string()))?;
        self.remember(key, verdict.clone());
        verdict.map_err(InspectError::Workload)
    }

    fn remembered(&self, key: Digest) -> Option<Verdict> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.iter().find(|(other, _)| *other == key).map(|(_, verdict)| verdict.clone())
    }

    fn remember(&self, key: Digest, verdict: Verdict) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back((key, verdict));
    }
}

/// Whether a process may have what the rows take, and write what is made of them.
pub fn fits(
    plan: &Plan,
    job: &Job,
    needs: &Requirements,
    limits: &JobLimits,
) -> Result<(), String> {
    let data = match job {
        Job::Train(workload) => &workload.data,
        Job::FineTune(work) => &work.data,
        Job::Apply(work) => &work.data,
    };
    let in_memory = plan.rows_bytes;
    if data.streaming == Streaming::Never && in_memory > u64::from(needs.memory_mb) << 20 {
        return Err(format!(
            "with data.streaming = false the rows take {} MiB of memory, but \
             requirements.memory_mb is {}; set it higher, or leave data.streaming out",
            in_memory.div_ceil(1 << 20),
            needs.memory_mb
        ));
    }
    let allowed = u64::from(limits.output_mb) * 1_000_000;
    if plan.result_bytes <= allowed {
        return Ok(());
    }
    let needed = plan.result_bytes.div_ceil(1_000_000);
    Err(format!(
        "the result takes about {needed} MB, but limits.output_mb is {}; set it higher, choose \
         another format or use fewer rows",
        limits.output_mb
    ))
}

/// Lays the files out as the trainer finds them, and asks it.
fn in_folder(
    folder: &std::path::Path,
    files: &[(String, PathBuf)],
    workload: &str,
    memory: u64,
) -> std::io::Result<Verdict> {
    std::fs::create_dir_all(folder)?;
    for (name, path) in files {
        let to = folder.join(name);
        if std::fs::hard_link(path, &to).is_err() && !to.exists() {
            std::fs::copy(path, &to)?;
        }
    }
    let job = match Job::from_json(workload) {
        Ok(job) => job,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(job.check(folder, Some(memory)).map_err(|error| error.message()))
}

fn fingerprint(workload: &str, inputs: &[FileRef], memory: u64) -> Digest {
    let mut bytes = memory.to_le_bytes().to_vec();
    bytes.extend(workload.as_bytes());
    for input in inputs {
        bytes.push(0);
        bytes.extend(input.name.as_str().as_bytes());
        bytes.push(0);
        bytes.extend(input.artifact.0);
    }
    Digest::of(&bytes)
}

fn clip(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(cyxwiz_protocol::limits::TEXT_BYTES));
    text
}
