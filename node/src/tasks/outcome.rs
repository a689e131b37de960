//! From the trainer's words to the protocol's: frames to progress, outcomes to endings.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    ArtifactId, limits,
    report::{Ending, FailureClass, Metric, Progress, Success},
    spec::FileRef,
};
use cyxwiz_trainer::frames::{self, Frame, Summary};

use crate::{
    artifacts::ArtifactStore,
    executor::{Outcome, StopReason, Usage},
};

/// What a frame says of a run's progress, if anything.
pub(super) fn progress(frame: Frame, usage: Usage) -> Option<Progress> {
    match frame {
        // Nobody knows yet how many epochs and batches there are.
        Frame::Reading(so_far) => Some(Progress {
            elapsed_ms: so_far.elapsed_ms,
            memory_mb: usage.memory_mb,
            cpu_percent: usage.cpu_percent,
            ..super::begun(0, 0)
        }),
        Frame::Started(started) => Some(Progress {
            epoch: started.resumed_epochs,
            // All of them, of an epoch that is done.
            batch: if started.resumed_epochs == 0 { 0 } else { started.batches_per_epoch },
            samples_processed: started.train_rows.saturating_mul(started.resumed_epochs.into()),
            ..super::begun(started.epochs, started.batches_per_epoch)
        }),
        Frame::Progress(progress) => Some(Progress {
            epoch: progress.epoch,
            epochs: progress.epochs,
            batch: progress.batch,
            batches: progress.batches,
            metrics: metrics(progress.metrics),
            learning_rate: progress.learning_rate,
            samples_processed: progress.samples_processed,
            samples_per_second: progress.samples_per_second,
            elapsed_ms: progress.elapsed_ms,
            eta_ms: progress.eta_ms,
            // The process's own word, until somebody has looked.
            memory_mb: usage.memory_mb.or_else(|| {
                let bytes = progress.memory_bytes?;
                Some(u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX))
            }),
            cpu_percent: usage.cpu_percent,
            gpu_percent: usage.gpu_percent,
            gpu_memory_mb: usage.gpu_memory_mb,
        }),
        Frame::Hello { .. }
        | Frame::Checkpoint(_)
        | Frame::Warning { .. }
        | Frame::Finished(_)
        | Frame::Paused(_)
        | Frame::Failed(_) => None,
    }
}

/// How a run ended. Its outputs become artifacts here; those that cannot be kept fail the run.
pub(super) fn ending(outcome: Outcome, artifacts: &ArtifactStore) -> Ending {
    match outcome {
        Outcome::Finished { summary, output_dir } => keep(summary, &output_dir, artifacts)
            .unwrap_or_else(|message| Ending::Failed { class: FailureClass::Internal, message }),
        Outcome::Failed { failure } => {
            let class = match failure.class {
                frames::FailureClass::InvalidJob => FailureClass::InvalidJob,
                frames::FailureClass::InvalidData => FailureClass::InvalidData,
                frames::FailureClass::Diverged => FailureClass::Diverged,
                frames::FailureClass::OutOfMemory => FailureClass::OutOfMemory,
                frames::FailureClass::Stopped => FailureClass::Abandoned,
                // Tried again without it before it comes here; see `Tasks::on_executor`.
                frames::FailureClass::BadCheckpoint | frames::FailureClass::Internal => {
                    FailureClass::Internal
                }
            };
            Ending::Failed { class, message: failure.message }
        }
        Outcome::Stopped { why } => match why {
            // The worker knows whether it may go on another time.
            StopReason::Cancelled | StopReason::Paused => Ending::Cancelled,
            StopReason::TimedOut => Ending::Failed {
                class: FailureClass::TimedOut,
                message: "the attempt took longer than limits.attempt allows".to_owned(),
            },
            StopReason::LeaseLost | StopReason::Shutdown => Ending::Failed {
                class: FailureClass::Abandoned,
                message: "the worker stopped the run".to_owned(),
            },
        },
    }
}

fn keep(
    summary: Summary,
    output_dir: &std::path::Path,
    artifacts: &ArtifactStore,
) -> Result<Ending, String> {
    let mut outputs = Vec::with_capacity(summary.outputs.len());
    for output in summary.outputs {
        let name = output.name.parse().map_err(|error| format!("an output file: {error}"))?;
        let imported = artifacts
            .import_file(&output_dir.join(&output.name))
            .map_err(|error| format!("the output {} could not be kept: {error}", output.name))?;
        let artifact = ArtifactId(imported.id);
        if artifact.to_string() != output.sha256 {
            return Err(format!("the output {} changed after the run ended", output.name));
        }
        outputs.push(FileRef { name, artifact, size: imported.size });
    }
    let mut engine = summary.engine;
    engine.truncate(engine.floor_char_boundary(limits::NAME_BYTES));
    Ok(Ending::Succeeded(Success {
        outputs,
        metrics: metrics(summary.metrics),
        parameters: summary.parameters,
        engine,
        threads: summary.threads,
    }))
}

fn metrics(map: BTreeMap<String, f64>) -> Vec<Metric> {
    let named = map.into_iter().filter(|(name, _)| name.len() <= limits::NAME_BYTES);
    named.take(limits::METRICS).map(|(name, value)| Metric { name, value }).collect()
}
