//! One run: checks, trains epoch by epoch, scores, writes the result. Tells an observer how it
//! goes and looks at a stop flag after every batch; talking to another process is left to
//! [`crate::serve`].

mod checkpoints;
mod progress;
mod result;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::ResumeError;
use crate::data::{Dataset, Targets};
use crate::definition::Workload;
use crate::engine::{Engine, EngineError};
use crate::frames::{CheckpointFile, FailureClass, Progress, Started, Summary};
use crate::layers::{Moment, Network, Role, batched};
use crate::metrics::Tally;
use crate::optimizer::Optimizer;
use crate::plan::{CheckError, Prepared, fitted};
use crate::random::{Purpose, Stream};
use checkpoints::Checkpoints;
use progress::Reporter;
pub(crate) use result::History;

/// What an observer hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Definition and data fit; once, before the first step.
    Started(Started),
    /// At the end of each epoch, and between at most five times a second.
    Progress(Progress),
    /// A state to go on from is on disk.
    Checkpoint(CheckpointFile),
    /// Something did not go as it should, and training goes on without it.
    Warning(String),
}

/// Where a run finds and leaves its files.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The folder of the data.
    pub inputs: &'a Path,
    /// The folder of the result, made if it is not there.
    pub output: &'a Path,
    /// The folder of the checkpoints, made with the first; none are made without.
    pub checkpoints: Option<&'a Path>,
    /// A checkpoint of the same workload and data, to go on from.
    pub resume: Option<&'a Path>,
}

/// Why a run left no result.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "the loss is no finite number any more in epoch {epoch}, batch {batch}; try a \
         learning_rate below {learning_rate}, or scale the features with data.normalize"
    )]
    Diverged { epoch: u32, batch: u32, learning_rate: f64 },
    #[error(transparent)]
    Resume(ResumeError),
    #[error("stopped on request in epoch {epoch}")]
    Stopped { epoch: u32 },
    #[error("cannot write {file}: {fault}")]
    Output { file: &'static str, fault: io::Error },
}

impl TrainError {
    /// Whether another try can help, and which.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Check(fault) => fault.class(),
            Self::Engine(EngineError::OutOfMemory { .. })
            | Self::Resume(ResumeError::Engine(EngineError::OutOfMemory { .. })) => {
                FailureClass::OutOfMemory
            }
            Self::Engine(
                EngineError::Unavailable(_) | EngineError::Shape { .. } | EngineError::Class { .. },
            )
            | Self::Output { .. } => FailureClass::Internal,
            Self::Resume(_) => FailureClass::BadCheckpoint,
            Self::Diverged { .. } => FailureClass::Diverged,
            Self::Stopped { .. } => FailureClass::Stopped,
        }
    }
}

/// As [`train_at`], from the beginning to the end without checkpoints.
///
/// # Errors
/// As [`train_at`].
pub fn train<E: Engine>(
    workload: &Workload,
    inputs: &Path,
    output: &Path,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    stop: &AtomicBool,
) -> Result<Summary, TrainError> {
    let places = Places { inputs, output, checkpoints: None, resume: None };
    train_at(&places, workload, engine, observer, stop)
}

/// Trains `workload` on the files in the folder of inputs and writes `model.safetensors`,
/// `model.json` and `metrics.json` into that of the result; on the way there checkpoints, as often
/// as the workload says. A run that goes on from a checkpoint gives the same bits as one that was
/// never interrupted, on an engine of the same name.
///
/// # Errors
/// [`TrainError`], whose class says whether a repetition could do better. No file is left half
/// written; no file of the result is written at all unless training came to its end.
pub fn train_at<E: Engine>(
    places: &Places<'_>,
    workload: &Workload,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    stop: &AtomicBool,
) -> Result<Summary, TrainError> {
    let prepared = Prepared::new(workload, places.inputs)?;
    let mut run = Run::new(workload, &prepared, engine)?;
    let mut history = History::new(workload.training.epochs);
    let mut checkpoints = Checkpoints::new(places, workload, &prepared);
    let done = checkpoints.resume(&mut run, &mut history, engine, observer)?;
    observer(Event::Started(prepared.plan.started(workload.training.epochs, done)));
    let mut reporter = Reporter::new(workload, &prepared.plan, done);
    for epoch in done + 1..=workload.training.epochs {
        let trained = run.epoch(engine, epoch, &mut reporter, observer, stop)?;
        let mut metrics = std::collections::BTreeMap::new();
        trained.write("", &mut metrics);
        let rows = &prepared.split.validation;
        if !rows.is_empty() {
            let watched = score(engine, &run.network, &prepared.data, rows, false)?;
            run.finite(&watched, epoch, prepared.plan.batches_per_epoch)?;
            watched.write("val_", &mut metrics);
        }
        history.push(epoch, &metrics);
        observer(Event::Progress(reporter.epoch_end(epoch, metrics)));
        checkpoints.epoch_end(epoch, &mut run, &history, engine, observer)?;
    }
    let values = run.network.values(engine)?;
    let test = match prepared.split.test.as_slice() {
        [] => None,
        rows => Some(score(engine, &run.network, &prepared.data, rows, true)?),
    };
    if let Some(test) = &test {
        run.finite(test, workload.training.epochs, prepared.plan.batches_per_epoch)?;
    }
    let model = crate::model::TrainedModel::new(workload, &prepared, engine.name(), values);
    if !model.is_finite() {
        return Err(run.diverged(workload.training.epochs, prepared.plan.batches_per_epoch));
    }
    let (metrics, outputs) = result::write(places.output, &model, test.as_ref(), history)?;
    Ok(Summary {
        metrics,
        outputs,
        compute_ms: reporter.elapsed_ms(),
        engine: engine.name(),
        threads: engine.threads(),
        parameters: prepared.plan.parameters,
    })
}

/// A model in training.
struct Run<'a, T> {
    workload: &'a Workload,
    prepared: &'a Prepared,
    network: Network<T>,
    optimizer: Optimizer<T>,
    /// Features of one batch, kept to be filled again.
    batch: Vec<f32>,
}

impl<'a, T: Clone + std::fmt::Debug> Run<'a, T> {
    fn new<E: Engine<Tensor = T>>(
        workload: &'a Workload,
        prepared: &'a Prepared,
        engine: &mut E,
    ) -> Result<Self, TrainError> {
        let chain = fitted(&workload.model, &prepared.data.shape)?;
        let values = chain.start(workload.training.seed);
        let network = Network::new(engine, &chain, &values)?;
        let tensors = chain.tensors().into_iter();
        let parameters = tensors.filter(|tensor| tensor.role == Role::Parameter);
        let shapes: Vec<Vec<usize>> = parameters.map(|tensor| tensor.shape).collect();
        let optimizer = Optimizer::new(engine, workload.training.optimizer, &shapes)?;
        Ok(Self { workload, prepared, network, optimizer, batch: Vec::new() })
    }

    /// One pass over the training rows, in an order of its own.
    fn epoch<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        epoch: u32,
        reporter: &mut Reporter,
        observer: &mut dyn FnMut(Event),
        stop: &AtomicBool,
    ) -> Result<Tally, TrainError> {
        let training = &self.workload.training;
        let mut order = self.prepared.split.train.clone();
        Stream::new(training.seed, Purpose::Order { epoch }).shuffle(&mut order);
        let mut tally = tally(&self.prepared.data.targets, false);
        for (batch, rows) in (1..).zip(order.chunks(training.batch_size as usize)) {
            if stop.load(Ordering::Relaxed) {
                return Err(TrainError::Stopped { epoch });
            }
            let moment = Moment { seed: training.seed, epoch, batch, rows: rows.len() };
            self.step(engine, rows, moment, &mut tally)?;
            self.finite(&tally, epoch, batch)?;
            if let Some(progress) = reporter.batch_end(epoch, batch, rows.len(), &tally) {
                observer(Event::Progress(progress));
            }
        }
        Ok(tally)
    }

    fn step<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        rows: &[u32],
        moment: Moment,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let data = &self.prepared.data;
        let x = gather(engine, &data.features, &data.shape, rows, &mut self.batch)?;
        let tape = self.network.forward(engine, x, moment)?;
        let gradient = loss(engine, tape.output(), &data.targets, rows, tally)?;
        let gradients = self.network.backward(engine, tape, gradient)?;
        self.optimizer.step(engine, self.network.parameters_mut(), &gradients)
    }

    fn finite(&self, tally: &Tally, epoch: u32, batch: u32) -> Result<(), TrainError> {
        if tally.is_finite() { Ok(()) } else { Err(self.diverged(epoch, batch)) }
    }

    fn diverged(&self, epoch: u32, batch: u32) -> TrainError {
        let learning_rate = self.workload.training.optimizer.learning_rate();
        TrainError::Diverged { epoch, batch, learning_rate }
    }
}

/// Metrics of a model on some rows of `data`, in their order.
pub(crate) fn score<E: Engine>(
    engine: &mut E,
    network: &Network<E::Tensor>,
    data: &Dataset,
    rows: &[u32],
    confusion: bool,
) -> Result<Tally, EngineError> {
    let mut tally = tally(&data.targets, confusion);
    let mut batch = Vec::new();
    for rows in rows.chunks(network.chain().scored_at_once()) {
        let x = gather(engine, &data.features, &data.shape, rows, &mut batch)?;
        let y = network.predict(engine, x, rows.len())?;
        loss(engine, &y, &data.targets, rows, &mut tally)?;
    }
    Ok(tally)
}

fn tally(targets: &Targets, confusion: bool) -> Tally {
    match targets {
        Targets::Classes { names, .. } | Targets::Positions { names, .. } => {
            Tally::classes(confusion.then_some(names.len()))
        }
        Targets::Values { names, .. } => Tally::values(names.len()),
    }
}

/// Puts some rows onto the engine.
fn gather<E: Engine>(
    engine: &mut E,
    values: &[f32],
    row_shape: &[usize],
    rows: &[u32],
    batch: &mut Vec<f32>,
) -> Result<E::Tensor, EngineError> {
    let width: usize = row_shape.iter().product();
    batch.clear();
    for &row in rows {
        batch.extend_from_slice(&values[row as usize * width..][..width]);
    }
    engine.upload(batch, &batched(rows.len(), row_shape))
}

/// Adds a batch to the tally; gives the gradient of its loss.
fn loss<E: Engine>(
    engine: &mut E,
    output: &E::Tensor,
    targets: &Targets,
    rows: &[u32],
    tally: &mut Tally,
) -> Result<E::Tensor, EngineError> {
    match targets {
        Targets::Classes { ids, .. } => {
            let truth: Vec<u32> = rows.iter().map(|&row| ids[row as usize]).collect();
            let on_engine = engine.upload_ids(&truth)?;
            let found = engine.softmax_cross_entropy(output, &on_engine)?;
            tally.add_classes(found.loss, &engine.argmax_rows(output)?, &truth);
            Ok(found.gradient)
        }
        Targets::Positions { ids, positions, names } => {
            // To the loss, each position is a row.
            let rows = rows.iter().map(|&row| row as usize * positions);
            let truth: Vec<u32> =
                rows.flat_map(|start| &ids[start..start + positions]).copied().collect();
            let logits = engine.download(output)?;
            let logits = engine.upload(&logits, &[truth.len(), names.len()])?;
            let on_engine = engine.upload_ids(&truth)?;
            let found = engine.softmax_cross_entropy(&logits, &on_engine)?;
            tally.add_classes(found.loss, &engine.argmax_rows(&logits)?, &truth);
            let gradient = engine.download(&found.gradient)?;
            engine.upload(&gradient, &[truth.len() / positions, positions * names.len()])
        }
        Targets::Values { values, names } => {
            let mut truth = Vec::new();
            let on_engine = gather(engine, values, &[names.len()], rows, &mut truth)?;
            let found = engine.mean_squared_error(output, &on_engine)?;
            tally.add_values(found.loss, &engine.download(output)?, &truth);
            Ok(found.gradient)
        }
    }
}
