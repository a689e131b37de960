//! A job of a few rows, which a device finishes within the walls before a worker offers it. A driver
//! that answers when it is asked for its devices may yet compile nothing in there, and would cost
//! every job that comes here an attempt. Which device is tried is for the caller.

use std::io;
use std::time::Duration;

use cyxwiz_trainer::EngineChoice;
use tokio::sync::mpsc;

use crate::executor::{
    Executor, ExecutorConfig, ExecutorError, ExecutorEvent, Outcome, Run, RunId, RunLimits,
    StartError,
};

/// Why a device is of no use for jobs.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("the files of a trial job cannot be written: {0}")]
    Files(#[source] io::Error),
    #[error("a trial job did not start: {0}")]
    Executor(#[from] ExecutorError),
    #[error("a trial job did not start: {0}")]
    Start(#[from] StartError),
    /// In the words of the trainer or of the executor.
    #[error("a trial job failed: {0}")]
    Failed(String),
    #[error("a trial job had not finished after {} s", WALL.as_secs())]
    Unfinished,
}

/// Runs the job on `engine` as `config` runs strangers' jobs, but in a folder of its own.
///
/// # Errors
/// [`TrialError`], unless the job finished.
pub async fn trial(config: ExecutorConfig, engine: EngineChoice) -> Result<(), TrialError> {
    let folder = tempfile::tempdir().map_err(TrialError::Files)?;
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, ROWS).map_err(TrialError::Files)?;
    let (sender, mut events) = mpsc::channel(EVENTS);
    let config = ExecutorConfig { root: folder.path().join("runs"), max_concurrent: 1, ..config };
    let executor = Executor::new(config, sender)?;
    executor.start(Run {
        id: RunId { job: [0; 16], attempt: 1 },
        workload_json: JOB.to_owned(),
        inputs: vec![("rows.csv".to_owned(), rows)],
        resume: None,
        limits: RunLimits { memory_mb: 256, threads: 1, wall: WALL, output_mb: 16, disk_mb: 0 },
        engine,
    })?;
    let outcome = loop {
        match events.recv().await {
            Some(ExecutorEvent::Ended { outcome, .. }) => break outcome,
            Some(
                ExecutorEvent::Spawned { .. }
                | ExecutorEvent::Frame { .. }
                | ExecutorEvent::Checkpoint { .. },
            ) => {}
            None => return Err(TrialError::Unfinished),
        }
    };
    match outcome {
        Outcome::Finished { .. } => Ok(()),
        Outcome::Failed { failure } => Err(TrialError::Failed(failure.message)),
        Outcome::Stopped { .. } => Err(TrialError::Unfinished),
    }
}

/// A product, a function of each value, a sum and a step: what every job asks of a device.
const JOB: &str = r#"{
    "model": {"layers": [{"type": "dense", "units": 4, "activation": "relu"},
                         {"type": "dense", "units": 1}]},
    "data": {"source": "rows.csv", "label": "y"},
    "training": {"epochs": 1, "batch_size": 4, "loss": "mse", "seed": 1,
                 "optimizer": {"type": "sgd", "learning_rate": 0.01}}}"#;

const ROWS: &str = "a,b,y\n0,0,0\n0,1,1\n1,0,1\n1,1,2\n2,0,2\n0,2,2\n2,1,3\n1,2,3\n";

/// Most of it is for compilers: a driver that has nothing cached takes seconds for each kernel.
const WALL: Duration = Duration::from_secs(120);

/// More than so short a job tells.
const EVENTS: usize = 64;
