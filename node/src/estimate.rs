//! What a job is expected to take, worked out before anything runs: from the shapes of its layers,
//! its rows and its epochs. Overheads and other engines' tricks are left out, so that it is a
//! yardstick and no promise.

use cyxwiz_protocol::spec::Estimate;
use cyxwiz_trainer::{Job, Plan};

/// Forward and backward passes of a row that is trained on, in forward passes.
const TRAINING_PASSES: u64 = 3;

pub(crate) fn estimate(plan: &Plan, job: &Job) -> Estimate {
    let row = plan.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.flops));
    let epochs = match job {
        Job::Train(workload) => Some(workload.training.epochs),
        Job::FineTune(work) => Some(work.training.epochs),
        Job::Apply(_) => None,
    };
    let passes = epochs.map_or(plan.rows, |epochs| {
        let learnt = plan.train_rows.saturating_mul(TRAINING_PASSES);
        let epoch = learnt.saturating_add(plan.validation_rows);
        epoch.saturating_mul(epochs.into()).saturating_add(plan.test_rows)
    });
    Estimate {
        memory_mb: u32::try_from(plan.memory_bytes.div_ceil(1_000_000)).unwrap_or(u32::MAX),
        mflop: row.saturating_mul(passes) / 1_000_000,
    }
}
