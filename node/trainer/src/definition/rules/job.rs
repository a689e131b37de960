//! What makes a job impossible by its kind: tables and keys that it lacks, or that mean nothing
//! to it.

use super::data::Targets;
use super::{DefinitionError, Problem, at_most, data, fault, range, training};
use crate::definition::job::{Application, FineTune, JobKind, JobTables, StartSpec, Task};
use crate::definition::{DataSpec, LossSpec, Missing, ModelSpec, Normalize};
use crate::limits;

/// Refuses each table that means nothing to the kind of the job.
pub(in crate::definition) fn tables(tables: &JobTables) -> Result<(), DefinitionError> {
    use JobKind::{Evaluate, Extract, FineTune, Infer, Train};
    let trained = [FineTune, Evaluate, Infer, Extract];
    for (table, given, kinds) in [
        ("start", tables.start.is_some(), &trained[..]),
        ("fine_tune", tables.fine_tune.is_some(), &[FineTune]),
        ("evaluate", tables.evaluate.is_some(), &[Evaluate]),
        ("infer", tables.infer.is_some(), &[Infer]),
        ("extract", tables.extract.is_some(), &[Extract]),
        ("training", tables.training.is_some(), &[Train, FineTune]),
    ] {
        if given && !kinds.contains(&tables.kind) {
            let problem = Problem::NotOfKind { kind: tables.kind.name(), table };
            return Err(fault(table.to_owned(), problem));
        }
    }
    Ok(())
}

/// That a job of this kind has no such table.
pub(in crate::definition) fn missing(kind: JobKind, table: &'static str) -> DefinitionError {
    fault(table.to_owned(), Problem::NeededByKind { kind: kind.name(), table })
}

/// That a job is no training from the beginning.
pub(in crate::definition) fn not_train(kind: JobKind) -> DefinitionError {
    fault("kind".to_owned(), Problem::OtherKind(kind.name()))
}

pub(in crate::definition) fn fine_tune(job: &FineTune) -> Result<(), DefinitionError> {
    start(&job.start, job.model.as_ref())?;
    if let Some(head) = &job.changes.replace_head {
        super::head(head)?;
    } else if job.changes.head_from.is_some() {
        return Err(fault("fine_tune.head_from".into(), Problem::HeadWithoutLayers));
    }
    data::check(&job.data, Targets::Of(job.training.loss.kind()))?;
    training::training(&job.training, &job.data)
}

pub(in crate::definition) fn application(job: &Application) -> Result<(), DefinitionError> {
    start(&job.start, job.model.as_ref())?;
    let kind = job.task.kind();
    let targets = match &job.task {
        Task::Evaluate(_) => Targets::OfModel,
        Task::Infer(_) | Task::Extract(_) => Targets::None(kind),
    };
    data::check(&job.data, targets)?;
    no_training_keys(&job.data, kind, job.model.is_some())?;
    if kind != JobKind::Evaluate && job.data.missing == Some(Missing::DropRow) {
        return Err(fault("data.missing".into(), Problem::DroppedRows(kind.name())));
    }
    if let Some(batch) = job.task.batch_size() {
        let place = || format!("{}.batch_size", kind.name());
        if batch == 0 {
            return Err(range(place(), batch, "1 or more"));
        }
        at_most(place(), u64::from(batch), u64::from(limits::MAX_BATCH))?;
    }
    match &job.task {
        Task::Evaluate(spec) => match spec.top_k {
            Some(top_k) if top_k < 2 => {
                let allowed = "2 or more; 1 is the accuracy";
                Err(range("evaluate.top_k".into(), top_k, allowed))
            }
            Some(_) | None => outputs(job, kind),
        },
        Task::Infer(_) => outputs(job, kind),
        Task::Extract(_) => Ok(()),
    }
}

/// The files of a trained model, and what is said of it.
fn start(start: &StartSpec, model: Option<&ModelSpec>) -> Result<(), DefinitionError> {
    data::plain_file_name("start.weights", &start.weights)?;
    if !start.weights.ends_with(".safetensors") {
        let problem = Problem::NoSafetensors(start.weights.clone());
        return Err(fault("start.weights".into(), problem));
    }
    if let Some(definition) = &start.definition {
        data::plain_file_name("start.definition", definition)?;
    }
    let Some(model) = model else {
        for (key, given) in [("outputs", start.outputs.is_some()), ("loss", start.loss.is_some())] {
            if given {
                return Err(fault(format!("start.{key}"), Problem::SaidByModel(key)));
            }
        }
        return Ok(());
    };
    if start.definition.is_some() {
        return Err(fault("model".into(), Problem::TwoDefinitions));
    }
    if let Some(outputs) = &start.outputs {
        data::distinct("start.outputs", outputs.names(), limits::MAX_OUTPUTS)?;
        let long = |name: &&String| name.len() > limits::MAX_FIELD_BYTES;
        if let Some(name) = outputs.names().iter().find(long) {
            let (found, limit) = (name.len() as u64, limits::MAX_FIELD_BYTES as u64);
            return Err(fault("start.outputs".into(), Problem::TooMany { found, limit }));
        }
        let loss = start.loss.as_ref().map_or(outputs.usual_loss(), LossSpec::kind);
        if loss.has_classes() != outputs.usual_loss().has_classes() {
            return Err(fault("start.loss".into(), Problem::OtherOutputs(loss.name())));
        }
    } else if start.loss.is_some() {
        return Err(fault("start.loss".into(), Problem::LossWithoutOutputs));
    }
    if let Some(loss) = &start.loss {
        loss.validate_settled("start.loss")?;
    }
    super::model(model)
}

/// Weights that say nothing of themselves do not say what comes out either.
fn outputs(job: &Application, kind: JobKind) -> Result<(), DefinitionError> {
    if job.model.is_some() && job.start.outputs.is_none() {
        return Err(fault("start.outputs".into(), Problem::OutputsMissing(kind.name())));
    }
    Ok(())
}

/// Refuses what divides rows or learns from them.
fn no_training_keys(
    data: &DataSpec,
    kind: JobKind,
    model_given: bool,
) -> Result<(), DefinitionError> {
    let kind = kind.name();
    for (key, given) in [("test", data.test.is_some()), ("validation", data.validation != 0.0)] {
        if given {
            return Err(fault(format!("data.{key}"), Problem::AllRows(kind)));
        }
    }
    if data.normalize != Normalize::None {
        return Err(fault("data.normalize".into(), Problem::LearntFromRows(kind)));
    }
    if data.scale.is_some() && !model_given {
        return Err(fault("data.scale".into(), Problem::ScaledByModel));
    }
    Ok(())
}
