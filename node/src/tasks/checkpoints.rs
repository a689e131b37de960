//! Checkpoints between a run and the network: one to go on from is fetched before the run, those
//! that it leaves become artifacts while it goes on.

use std::path::PathBuf;

use cyxwiz_protocol::{ArtifactId, PeerId, Run, TaskEvent, report::Checkpoint, spec::FileRef};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Done, Transfers, tell};
use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::executor::WrittenCheckpoint;

/// The file of a checkpoint that a run shall go on from. `None`, after a word in the log, where it
/// is not to be had: the run then begins at its beginning.
pub(super) async fn fetch(
    run: Run,
    checkpoint: Checkpoint,
    bytes_max: u64,
    sources: &[PeerId],
    transfers: &Transfers,
) -> Option<PathBuf> {
    let Checkpoint { epoch, batch, file } = checkpoint;
    let fetched = if file.size > bytes_max {
        Err(format!("it has {} bytes, more than the {bytes_max} of such a job", file.size))
    } else {
        transfers.fetch_all(std::slice::from_ref(&file), sources).await
    };
    let gone = || format!("{} went away again", file.name);
    match fetched.and_then(|()| transfers.artifacts().path_of(file.artifact.0).ok_or_else(gone)) {
        Ok(path) => {
            tracing::info!(%run, epoch, batch, "the run goes on from a checkpoint");
            Some(path)
        }
        Err(reason) => {
            tracing::warn!(%run, epoch, reason, "no checkpoint: the run begins at its beginning");
            None
        }
    }
}

/// Makes artifacts of a run's checkpoints, one at a time. Those that come meanwhile replace each
/// other, so that a fast process never waits for this, nor this for a slow disk.
#[derive(Debug)]
pub(super) struct Importer {
    newest: watch::Sender<Option<WrittenCheckpoint>>,
    task: JoinHandle<()>,
}

impl Importer {
    pub(super) fn start(run: Run, artifacts: ArtifactStore, done: mpsc::Sender<Done>) -> Self {
        let (newest, mut offered) = watch::channel(None::<WrittenCheckpoint>);
        let task = tokio::spawn(async move {
            // Ends when the other side is gone and its last word was heard.
            while offered.changed().await.is_ok() {
                let Some(checkpoint) = offered.borrow_and_update().clone() else {
                    continue;
                };
                let (epoch, artifacts) = (checkpoint.epoch, artifacts.clone());
                let import = move || keep(&checkpoint, &artifacts);
                match tokio::task::spawn_blocking(import).await {
                    Ok(Ok(checkpoint)) => {
                        let event = TaskEvent::Checkpointed { run, checkpoint };
                        tell(&done, Done::Event(event)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(%run, epoch, %error, "a checkpoint could not be kept");
                    }
                    Err(error) => tracing::error!(%run, epoch, %error, "an import ended early"),
                }
            }
        });
        Self { newest, task }
    }

    pub(super) fn offer(&self, checkpoint: WrittenCheckpoint) {
        self.newest.send_replace(Some(checkpoint));
    }

    /// Waits until what was offered last is an artifact and told of.
    pub(super) async fn finish(self) {
        let Self { newest, task } = self;
        drop(newest);
        if let Err(error) = task.await {
            tracing::error!(%error, "the import of checkpoints ended early");
        }
    }

    /// Nobody needs a checkpoint any more.
    pub(super) fn abandon(self) {
        self.task.abort();
    }
}

/// Why a checkpoint is not kept. The run goes on.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("{0}")]
    Artifact(#[from] ArtifactError),
    #[error("it was cut off while it was read: {found} of {said} bytes were left")]
    CutOff { found: u64, said: u64 },
}

fn keep(
    checkpoint: &WrittenCheckpoint,
    artifacts: &ArtifactStore,
) -> Result<Checkpoint, KeepError> {
    let said = checkpoint.size;
    let imported = artifacts.import_open(checkpoint.file(), said)?;
    if imported.size != said {
        return Err(KeepError::CutOff { found: imported.size, said });
    }
    let name = NAME.parse().expect("a plain name");
    let file = FileRef { name, artifact: ArtifactId(imported.id), size: imported.size };
    Ok(Checkpoint { epoch: checkpoint.epoch, batch: checkpoint.batch, file })
}

/// What the file is called among a job's files, whatever the epoch.
const NAME: &str = "checkpoint.safetensors";
