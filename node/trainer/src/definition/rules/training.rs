//! What makes a way of training impossible whatever the data are.

use super::{DefinitionError, Problem, at_most, fault, range};
use crate::definition::{
    ClassWeights, DataSpec, EarlyStoppingSpec, Loss, LossSpec, OptimizerSpec, ScheduleSpec,
    TrainingSpec, WarmupSpec,
};
use crate::limits;
use crate::metrics::Watched;

pub(in crate::definition) fn training(
    training: &TrainingSpec,
    data: &DataSpec,
) -> Result<(), DefinitionError> {
    counts(training)?;
    loss("training.loss", &training.loss, WRITTEN)?;
    optimizer(&training.optimizer)?;
    clipping(training)?;
    if let Some(top_k) = training.top_k {
        let place = || "training.top_k".to_owned();
        if training.loss.kind() != Loss::SoftmaxCrossEntropy {
            return Err(fault(place(), Problem::TopKWithoutClasses(training.loss.kind().name())));
        }
        if top_k < 2 {
            return Err(range(place(), top_k, "2 or more; 1 is the accuracy"));
        }
        at_most(place(), u64::from(top_k), limits::MAX_OUTPUTS as u64)?;
    }
    schedule(training, data)?;
    if let Some(warmup) = &training.warmup {
        warm_up(warmup, training.epochs)?;
    }
    match &training.early_stopping {
        Some(stopping) => early_stopping(stopping, training, data),
        None => Ok(()),
    }
}

fn counts(training: &TrainingSpec) -> Result<(), DefinitionError> {
    for (place, found, limit) in [
        ("training.epochs", training.epochs, limits::MAX_EPOCHS),
        ("training.batch_size", training.batch_size, limits::MAX_BATCH),
    ] {
        at_least_one(place, found)?;
        at_most(place.into(), u64::from(found), u64::from(limit))?;
    }
    for (place, found, limit) in [
        ("training.checkpoint_every_epochs", training.checkpoint_every_epochs, limits::MAX_EPOCHS),
        (
            "training.checkpoint_min_seconds",
            training.checkpoint_min_seconds,
            limits::MAX_CHECKPOINT_PAUSE_S,
        ),
    ] {
        at_most(place.into(), u64::from(found), u64::from(limit))?;
    }
    if let Some(minutes) = training.checkpoint_every_minutes {
        let place = "training.checkpoint_every_minutes";
        let limit = f64::from(limits::MAX_CHECKPOINT_PAUSE_S / 60);
        positive(place, minutes, limit, "a number above 0, up to 10080, a week")?;
    }
    let keep = training.checkpoint_keep;
    at_least_one("training.checkpoint_keep", keep)?;
    let limit = limits::MAX_KEPT_CHECKPOINTS as u64;
    at_most("training.checkpoint_keep".into(), u64::from(keep), limit)
}

impl LossSpec {
    /// Judges a loss of which nothing may be left to be worked out from training rows.
    pub(crate) fn validate_settled(&self, place: &str) -> Result<(), DefinitionError> {
        if let Self::SoftmaxCrossEntropy { class_weights: Some(ClassWeights::Named(_)), .. } = self
        {
            let place = format!("{place}, class_weights");
            let allowed = "a list with one number for each class: here are no training rows";
            return Err(range(place, "\"balanced\"", allowed));
        }
        loss(place, self, SETTLED)
    }
}

fn loss(place: &str, loss: &LossSpec, bounds: Bounds) -> Result<(), DefinitionError> {
    match loss {
        LossSpec::SoftmaxCrossEntropy { label_smoothing, class_weights } => {
            share(&format!("{place}, label_smoothing"), *label_smoothing)?;
            match class_weights {
                Some(ClassWeights::Each(weights)) => {
                    factors(format!("{place}, class_weights"), weights, bounds)
                }
                Some(ClassWeights::Named(_)) | None => Ok(()),
            }
        }
        LossSpec::BinaryCrossEntropy { positive_weight: Some(weight) } => {
            factors(format!("{place}, positive_weight"), weight.values(), bounds)
        }
        LossSpec::BinaryCrossEntropy { positive_weight: None } | LossSpec::Mse | LossSpec::Mae => {
            Ok(())
        }
        LossSpec::Huber { delta } => {
            positive(&format!("{place}, delta"), *delta, 1e6, UP_TO_MILLION)
        }
    }
}

fn factors(place: String, values: &[f64], bounds: Bounds) -> Result<(), DefinitionError> {
    if values.is_empty() {
        return Err(range(place, "an empty list", "one number for each class or output"));
    }
    at_most(place.clone(), values.len() as u64, limits::MAX_OUTPUTS as u64)?;
    values.iter().try_for_each(|value| {
        if (bounds.least..=bounds.most).contains(value) {
            Ok(())
        } else {
            Err(range(place.clone(), value, bounds.allowed))
        }
    })
}

/// Between which factors of a loss lie.
#[derive(Clone, Copy)]
struct Bounds {
    least: f64,
    most: f64,
    allowed: &'static str,
}

/// As f32 these neither vanish nor overflow, nor do their products with a loss.
const WRITTEN: Bounds =
    Bounds { least: 1e-6, most: 1e6, allowed: "numbers from 0.000001 to 1000000" };

/// Worked out from rows, of which there may be more; as f32 these are still numbers above 0.
const SETTLED: Bounds = Bounds { least: 1e-30, most: 1e30, allowed: "numbers above 0" };

fn optimizer(optimizer: &OptimizerSpec) -> Result<(), DefinitionError> {
    match *optimizer {
        OptimizerSpec::Sgd { learning_rate, momentum, nesterov, weight_decay } => {
            rates(learning_rate, weight_decay)?;
            share("training.optimizer, momentum", momentum)?;
            if nesterov && momentum == 0.0 {
                let place = "training.optimizer, nesterov".into();
                return Err(fault(place, Problem::NesterovWithoutMomentum));
            }
            Ok(())
        }
        OptimizerSpec::Adam { learning_rate, beta1, beta2, epsilon, weight_decay }
        | OptimizerSpec::Adamw { learning_rate, beta1, beta2, epsilon, weight_decay } => {
            rates(learning_rate, weight_decay)?;
            share("training.optimizer, beta1", beta1)?;
            share("training.optimizer, beta2", beta2)?;
            not_vanishing(epsilon)
        }
        OptimizerSpec::Rmsprop {
            learning_rate, alpha, epsilon, momentum, weight_decay, ..
        } => {
            rates(learning_rate, weight_decay)?;
            share("training.optimizer, alpha", alpha)?;
            share("training.optimizer, momentum", momentum)?;
            not_vanishing(epsilon)
        }
    }
}

/// Below this, f32 makes it zero and the first step divides by zero.
fn not_vanishing(epsilon: f64) -> Result<(), DefinitionError> {
    if (1e-30..=1.0).contains(&epsilon) {
        return Ok(());
    }
    Err(range("training.optimizer, epsilon".into(), epsilon, "a number from 1e-30 to 1"))
}

fn rates(learning_rate: f64, weight_decay: f64) -> Result<(), DefinitionError> {
    positive("training.optimizer, learning_rate", learning_rate, MAX_RATE, UP_TO_MAX_RATE)?;
    if !(0.0..=1e3).contains(&weight_decay) {
        let place = "training.optimizer, weight_decay".into();
        return Err(range(place, weight_decay, "a number from 0 to 1000"));
    }
    Ok(())
}

fn clipping(training: &TrainingSpec) -> Result<(), DefinitionError> {
    if training.clip_norm.is_some() && training.clip_value.is_some() {
        return Err(fault("training".into(), Problem::TwoClippings));
    }
    for (place, limit) in
        [("training.clip_norm", training.clip_norm), ("training.clip_value", training.clip_value)]
    {
        if let Some(limit) = limit
            && !(1e-30..=1e30).contains(&limit)
        {
            return Err(range(place.into(), limit, "a number from 1e-30 to 1e30"));
        }
    }
    Ok(())
}

fn schedule(training: &TrainingSpec, data: &DataSpec) -> Result<(), DefinitionError> {
    match &training.schedule {
        ScheduleSpec::Constant => Ok(()),
        ScheduleSpec::Step { every_epochs, factor } => {
            at_least_one("training.schedule, every_epochs", *every_epochs)?;
            positive("training.schedule, factor", *factor, 1.0, UP_TO_ONE)
        }
        ScheduleSpec::Exponential { factor } => {
            positive("training.schedule, factor", *factor, 1.0, UP_TO_ONE)
        }
        ScheduleSpec::Cosine { last } => final_rate("training.schedule, final", *last, training),
        ScheduleSpec::OneCycle { max, pct_start, div_factor, final_div_factor } => {
            if let Some(max) = *max {
                positive("training.schedule, max", max, MAX_RATE, UP_TO_MAX_RATE)?;
            }
            if !(*pct_start > 0.0 && *pct_start < 1.0) {
                let place = "training.schedule, pct_start".into();
                return Err(range(place, pct_start, "a number between 0 and 1"));
            }
            for (key, value) in [("div_factor", div_factor), ("final_div_factor", final_div_factor)]
            {
                if !(1.0..=1e9).contains(value) {
                    let place = format!("training.schedule, {key}");
                    return Err(range(place, value, "a number from 1 to 1e9"));
                }
            }
            Ok(())
        }
        ScheduleSpec::ReduceOnPlateau { metric, factor, min, threshold, patience: _ } => {
            watched("training.schedule, metric", metric, training, data)?;
            if !(*factor > 0.0 && *factor < 1.0) {
                let place = "training.schedule, factor".into();
                return Err(range(place, factor, "a number between 0 and 1"));
            }
            share("training.schedule, threshold", *threshold)?;
            final_rate("training.schedule, min", *min, training)
        }
    }
}

fn final_rate(place: &str, rate: f64, training: &TrainingSpec) -> Result<(), DefinitionError> {
    if (0.0..=training.optimizer.learning_rate()).contains(&rate) {
        return Ok(());
    }
    Err(range(place.into(), rate, "a number from 0 to the optimizer's learning_rate"))
}

fn warm_up(warmup: &WarmupSpec, epochs: u32) -> Result<(), DefinitionError> {
    match (warmup.steps, warmup.epochs) {
        (Some(steps), None) => at_least_one("training.warmup, steps", steps)?,
        (None, Some(found)) => {
            at_least_one("training.warmup, epochs", found)?;
            if found >= epochs {
                let place = "training.warmup, epochs".into();
                return Err(range(place, found, "fewer than training.epochs"));
            }
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(fault("training.warmup".into(), Problem::WarmupKeys));
        }
    }
    positive("training.warmup, start_factor", warmup.start_factor, 1.0, UP_TO_ONE)
}

fn early_stopping(
    stopping: &EarlyStoppingSpec,
    training: &TrainingSpec,
    data: &DataSpec,
) -> Result<(), DefinitionError> {
    watched("training.early_stopping, metric", &stopping.metric, training, data)?;
    at_least_one("training.early_stopping, patience", stopping.patience)?;
    if !(0.0..=1e30).contains(&stopping.min_delta) {
        let place = "training.early_stopping, min_delta".into();
        return Err(range(place, stopping.min_delta, "a number from 0 to 1e30"));
    }
    Ok(())
}

/// A metric that there will be at the end of each epoch, and that has a better and a worse.
fn watched(
    place: &str,
    metric: &str,
    training: &TrainingSpec,
    data: &DataSpec,
) -> Result<(), DefinitionError> {
    let known = Watched::names(training.loss.kind(), training.top_k);
    let bare = metric.strip_prefix("val_").unwrap_or(metric);
    if !known.iter().any(|name| name == bare) {
        let problem = Problem::Metric { found: metric.to_owned(), known: known.join(", ") };
        return Err(fault(place.into(), problem));
    }
    if bare != metric && data.validation == 0.0 {
        let problem = Problem::NoValidation { metric: metric.to_owned(), bare: bare.to_owned() };
        return Err(fault(place.into(), problem));
    }
    Ok(())
}

fn at_least_one(place: &str, found: u32) -> Result<(), DefinitionError> {
    if found == 0 { Err(range(place.into(), found, "1 or more")) } else { Ok(()) }
}

fn positive(
    place: &str,
    value: f64,
    most: f64,
    allowed: &'static str,
) -> Result<(), DefinitionError> {
    if value > 0.0 && value <= most { Ok(()) } else { Err(range(place.into(), value, allowed)) }
}

fn share(place: &str, value: f64) -> Result<(), DefinitionError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(range(place.into(), value, "0 up to, but not including, 1"))
}

/// The largest learning rate that makes sense of anything.
const MAX_RATE: f64 = 1e3;
const UP_TO_MAX_RATE: &str = "a number above 0, at most 1000";
const UP_TO_MILLION: &str = "a number above 0, at most 1000000";
const UP_TO_ONE: &str = "a number above 0, at most 1";
