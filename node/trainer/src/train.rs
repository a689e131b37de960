//! One run: checks, trains epoch by epoch, scores, writes the result. Tells an observer how it
//! goes and looks for requests while data are read and before every batch; talking to another process is left to
//! [`crate::serve`].

mod checkpoints;
mod criterion;
mod progress;
mod requests;
mod result;
mod scoring;
mod step;
mod stopping;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::checkpoint::ResumeError;
use crate::data::{DataError, Reading, Window};
use crate::definition::{DataSpec, FineTune, Streaming, Workload};
use crate::engine::{Engine, EngineError};
use crate::frames::{CheckpointFile, FailureClass, Paused, Progress, ReadSoFar, Started, Summary};
use crate::layers::{Moment, Network, Role};
use crate::metrics::Tally;
use crate::optimizer::Optimizer;
use crate::plan::{CheckError, Continued, Prepared};
use crate::random::{Purpose, Stream};
use crate::schedule::Schedule;
use checkpoints::Checkpoints;
pub(crate) use criterion::Criterion;
use progress::Reporter;
pub(crate) use progress::resident_bytes;
pub(crate) use requests::Request;
pub use requests::Requests;
use result::Ended;
pub(crate) use result::History;
pub(crate) use result::write_scores;
pub(crate) use scoring::{PassError, Watch, gather, score, score_watched};
pub(crate) use stopping::Stopping;

/// What an observer hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Data are being read; before anything else, and at most once a second.
    Reading(ReadSoFar),
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
    /// Bytes that rows which do not fit into memory may take in the folder of temporary files, in
    /// files with names; as many as there is room for, in files without, where nothing is said.
    pub disk: Option<u64>,
}

/// Why a run left no result.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Check(CheckError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "{what} no finite number any more in epoch {epoch}, batch {batch}; try a learning_rate \
         below {learning_rate}, clip_norm, or scale the features with data.normalize"
    )]
    Diverged { what: Diverged, epoch: u32, batch: u32, learning_rate: f64 },
    #[error(transparent)]
    Resume(ResumeError),
    #[error("stopped on request while data were read")]
    StoppedReading,
    #[error("stopped on request in epoch {epoch}")]
    Stopped { epoch: u32 },
    #[error("paused on request after epoch {} and batch {} of the next", .0.epoch, .0.batch)]
    Paused(Paused),
    #[error("stopped on request after {rows} rows")]
    StoppedAt { rows: u64 },
    #[error("{place}: the model gives no finite number; look for values far from those it knows")]
    NotFinite { place: String },
    #[error("cannot write {file}: {fault}")]
    Output { file: &'static str, fault: io::Error },
}

/// Where a number that is not finite was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diverged {
    Loss,
    Gradient,
    Weights,
}

impl std::fmt::Display for Diverged {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Loss => "the loss is",
            Self::Gradient => "the gradient has",
            Self::Weights => "the weights have",
        })
    }
}

impl From<CheckError> for TrainError {
    fn from(error: CheckError) -> Self {
        if let CheckError::Data(DataError::Stopped) = error {
            Self::StoppedReading
        } else if let CheckError::Data(DataError::Paused) = error {
            Self::Paused(Paused { epoch: 0, batch: 0 })
        } else {
            Self::Check(error)
        }
    }
}

impl From<DataError> for TrainError {
    fn from(error: DataError) -> Self {
        CheckError::from(error).into()
    }
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
                EngineError::Unavailable(_)
                | EngineError::Device { .. }
                | EngineError::Shape { .. }
                | EngineError::Class { .. },
            )
            | Self::Output { .. } => FailureClass::Internal,
            Self::Engine(EngineError::Id { .. }) => FailureClass::InvalidData,
            Self::Resume(_) => FailureClass::BadCheckpoint,
            Self::Diverged { .. } => FailureClass::Diverged,
            Self::StoppedReading
            | Self::Stopped { .. }
            | Self::StoppedAt { .. }
            | Self::Paused(_) => FailureClass::Stopped,
            Self::NotFinite { .. } => FailureClass::InvalidData,
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
    requests: &Requests,
) -> Result<Summary, TrainError> {
    let places = Places { inputs, output, checkpoints: None, resume: None, disk: None };
    train_at(&places, workload, engine, observer, requests)
}

/// Trains `workload` on the files in the folder of inputs and writes `model.safetensors`,
/// `model.json` and `metrics.json` into that of the result; on the way there checkpoints, as often
/// as the workload says, and on request. A run that goes on from a checkpoint gives the same bits
/// as one that was never interrupted, on an engine of the same name.
///
/// # Errors
/// [`TrainError`], whose class says whether a repetition could do better. No file is left half
/// written; no file of the result is written at all unless training came to its end.
pub fn train_at<E: Engine>(
    places: &Places<'_>,
    workload: &Workload,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    requests: &Requests,
) -> Result<Summary, TrainError> {
    let prepared = read(places, observer, requests, |reading| {
        Prepared::new(workload, places.inputs, reading)
    })?;
    train_prepared(places, workload, &prepared, engine, observer, requests)
}

/// As [`train_at`], from a model that was trained before.
pub(crate) fn fine_tune<E: Engine>(
    places: &Places<'_>,
    job: &FineTune,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    requests: &Requests,
) -> Result<Summary, TrainError> {
    let Continued { workload, prepared } =
        read(places, observer, requests, |reading| Continued::new(job, places.inputs, reading))?;
    train_prepared(places, &workload, &prepared, engine, observer, requests)
}

/// Reads data while the observer is told, and wishes are heard.
pub(crate) fn read<T>(
    places: &Places<'_>,
    observer: &mut dyn FnMut(Event),
    requests: &Requests,
    read: impl FnOnce(&Reading<'_>) -> Result<T, CheckError>,
) -> Result<T, TrainError> {
    // All that read share it, and one of them tells at a time.
    let observer = RefCell::new(observer);
    let told = |so_far| (observer.borrow_mut())(Event::Reading(so_far));
    let checkpoints = places.checkpoints.is_some() || places.resume.is_some();
    Ok(read(&Reading::new(requests, &told).with_disk(places.disk).with_sum(checkpoints))?)
}

/// As [`train_at`], on data that have been read, from where they say that it begins.
fn train_prepared<E: Engine>(
    places: &Places<'_>,
    workload: &Workload,
    prepared: &Prepared,
    engine: &mut E,
    observer: &mut dyn FnMut(Event),
    requests: &Requests,
) -> Result<Summary, TrainError> {
    let mut run = Run::new(workload, prepared, engine)?;
    let mut checkpoints = Checkpoints::new(places, workload);
    checkpoints.resume(&mut run, engine, observer)?;
    let (done, begun) = (run.epochs_done(), run.begun.batches);
    observer(Event::Started(prepared.plan.started(workload.training.epochs, done, begun)));
    tell_of_disk(prepared.plan.streamed, &workload.data, observer);
    let reporter = Reporter::new(workload, &prepared.plan, done, begun);
    let mut outside = Outside { observer, requests, reporter, checkpoints };
    for epoch in done + 1..=workload.training.epochs {
        run.epoch(engine, epoch, &mut outside)?;
        let metrics = run.watch(engine, epoch, requests)?;
        (outside.observer)(Event::Progress(outside.reporter.epoch_end(epoch, metrics)));
        // No checkpoint of an epoch that ends the run: one more would be trained from it.
        if run.is_over(epoch) {
            break;
        }
        outside.checkpoints.epoch_end(&mut run, engine, outside.observer)?;
    }
    run.finish();
    let epoch = run.epochs_done();
    let values = run.network.values(engine)?;
    let test = match prepared.split.test.as_slice() {
        [] => None,
        rows => Some(run.score(engine, rows, true, epoch, requests)?),
    };
    let batches = prepared.plan.batches_per_epoch;
    if let Some(test) = &test
        && !test.is_finite()
    {
        return Err(run.diverged(Diverged::Loss, epoch, batches));
    }
    let model = crate::model::TrainedModel::new(workload, prepared, engine.name(), values);
    if !model.is_finite() {
        return Err(run.diverged(Diverged::Weights, epoch, batches));
    }
    let (metrics, outputs) = result::write(places.output, &model, test.as_ref(), run.ended())?;
    Ok(Summary {
        metrics,
        outputs,
        compute_ms: outside.reporter.elapsed_ms(),
        engine: engine.name(),
        threads: engine.threads(),
        parameters: prepared.plan.parameters,
    })
}

/// Says that rows are read from disk, where nobody asked for it.
pub(crate) fn tell_of_disk(streamed: bool, data: &DataSpec, observer: &mut dyn FnMut(Event)) {
    if streamed && data.streaming == Streaming::Auto {
        observer(Event::Warning(format!(
            "{} does not fit into half of the memory: its rows are read from disk, which changes \
             the time that it takes and not the result",
            data.source
        )));
    }
}

/// Whom a run talks to while it goes on.
struct Outside<'a, 'p> {
    observer: &'a mut dyn FnMut(Event),
    requests: &'a Requests,
    reporter: Reporter,
    checkpoints: Checkpoints<'p>,
}

/// The part of an epoch that is done.
#[derive(Clone, Debug)]
struct Begun {
    batches: u32,
    tally: Tally,
}

/// A model in training.
struct Run<'a, T> {
    workload: &'a Workload,
    prepared: &'a Prepared,
    network: Network<T>,
    optimizer: Optimizer<T>,
    criterion: Criterion<T>,
    schedule: Schedule,
    stopping: Stopping,
    /// All tensors of the model after its best epoch, where the result shall have those.
    best: Option<Vec<T>>,
    /// Rows that pass through the model at once: those of a batch until they did not fit.
    micro_batch: usize,
    history: History,
    begun: Begun,
    /// Features of this batch and some to come, where they are on disk.
    window: Window,
}

impl<'a, T: Clone + std::fmt::Debug> Run<'a, T> {
    fn new<E: Engine<Tensor = T>>(
        workload: &'a Workload,
        prepared: &'a Prepared,
        engine: &mut E,
    ) -> Result<Self, TrainError> {
        let training = &workload.training;
        let (chain, values) = prepared.start(workload)?;
        let mut network = Network::new(engine, &chain, &values)?;
        let tensors = chain.tensors().into_iter();
        let parameters = tensors.filter(|tensor| tensor.role == Role::Parameter);
        let shapes: Vec<Vec<usize>> = parameters.map(|tensor| tensor.shape).collect();
        let optimizer = Optimizer::new(engine, training.optimizer, &shapes)?;
        let criterion = Criterion::new(
            engine,
            &prepared.loss,
            &prepared.data.targets,
            chain.output(),
            training.top_k,
        )?;
        let restores = training.early_stopping.as_ref().is_some_and(|spec| spec.restore_best);
        let best = restores.then(|| copies(&mut network));
        Ok(Self {
            workload,
            prepared,
            network,
            optimizer,
            begun: Begun { batches: 0, tally: criterion.tally(false) },
            criterion,
            schedule: Schedule::new(training, prepared.plan.batches_per_epoch),
            stopping: Stopping::default(),
            best,
            micro_batch: training.batch_size as usize,
            history: History::new(training.epochs),
            window: Window::default(),
        })
    }

    /// One pass over the training rows, in an order of its own, or what is left of it.
    fn epoch<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        epoch: u32,
        outside: &mut Outside<'_, '_>,
    ) -> Result<(), TrainError> {
        let training = &self.workload.training;
        let mut order = self.prepared.split.train.clone();
        Stream::new(training.seed, Purpose::Order { epoch }).shuffle(&mut order);
        self.window.clear();
        let size = training.batch_size as usize;
        let batches = (1..).zip(order.chunks(size));
        for (batch, rows) in batches.skip(self.begun.batches as usize) {
            self.heed(engine, epoch, outside)?;
            let begin = (batch - 1) as usize * size;
            self.window.reach(&self.prepared.data.features, &order, begin, begin + rows.len())?;
            let moment =
                Moment { seed: training.seed, epoch, batch, rows: rows.len(), first_row: 0 };
            let rate = self.step(engine, rows, moment, outside.observer)?;
            self.begun.batches = batch;
            let tally = &self.begun.tally;
            let told = outside.reporter.batch_end(epoch, batch, rows.len(), rate, tally);
            told.into_iter().for_each(|progress| (outside.observer)(Event::Progress(progress)));
        }
        Ok(())
    }

    /// Does what is asked, or due by the clock, between two batches.
    fn heed<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        epoch: u32,
        outside: &mut Outside<'_, '_>,
    ) -> Result<(), TrainError> {
        let Outside { observer, requests, checkpoints, .. } = outside;
        match requests.next() {
            Some(Request::Stop) => Err(TrainError::Stopped { epoch }),
            Some(Request::Pause) => {
                checkpoints.write(self, engine, observer)?;
                Err(TrainError::Paused(checkpoints.newest()))
            }
            // Where nothing is new the wish waits for the next batch.
            Some(Request::Checkpoint) if checkpoints.newest() == self.position() => {
                requests.checkpoint();
                Ok(())
            }
            Some(Request::Checkpoint) => checkpoints.write(self, engine, observer),
            None => checkpoints.batch_end(self, engine, observer),
        }
    }

    /// Scores an epoch, and lets all that listen to metrics hear of it.
    fn watch<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        epoch: u32,
        requests: &Requests,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let fresh = Begun { batches: 0, tally: self.criterion.tally(false) };
        let Begun { tally: trained, .. } = std::mem::replace(&mut self.begun, fresh);
        let batch = self.prepared.plan.batches_per_epoch;
        let mut squares = 0.0;
        for parameter in self.network.parameters_mut() {
            squares += engine.sum_of_squares(parameter)?;
        }
        if !squares.is_finite() {
            return Err(self.diverged(Diverged::Weights, epoch, batch));
        }
        let mut metrics = BTreeMap::new();
        trained.write("", &mut metrics);
        let rows = &self.prepared.split.validation;
        if !rows.is_empty() {
            let watched = self.score(engine, rows, false, epoch, requests)?;
            if !watched.is_finite() {
                return Err(self.diverged(Diverged::Loss, epoch, batch));
            }
            watched.write("val_", &mut metrics);
        }
        self.history.push(epoch, &metrics);
        self.schedule.epoch_end(&metrics);
        if let Some(spec) = &self.workload.training.early_stopping
            && self.stopping.epoch_end(spec, epoch, &metrics)
            && self.best.is_some()
        {
            self.best = Some(copies(&mut self.network));
        }
        Ok(metrics)
    }

    /// As [`score`], unless it is to stop. A pause waits: what it would leave is an epoch that is
    /// not watched yet.
    fn score<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        rows: &[u32],
        confusion: bool,
        epoch: u32,
        requests: &Requests,
    ) -> Result<Tally, TrainError> {
        let at_once = self.network.chain().scored_at_once();
        let mut passed = |_| match requests.is_stopped() {
            true => Err(TrainError::Stopped { epoch }),
            false => Ok(()),
        };
        let watch = Watch { at_once, passed: &mut passed };
        let (network, data) = (&self.network, &self.prepared.data);
        score_watched(engine, network, data, rows, &self.criterion, confusion, watch)
    }

    /// Whether `epoch`, which has been watched, is the last.
    fn is_over(&self, epoch: u32) -> bool {
        let spec = self.workload.training.early_stopping.as_ref();
        spec.is_some_and(|spec| self.stopping.is_over(spec, epoch))
    }

    /// Makes the model what the result shall be.
    fn finish(&mut self) {
        let best = self.best.take().into_iter().flatten();
        for ((_, tensor), best) in self.network.state_mut().zip(best) {
            *tensor = best;
        }
    }

    fn ended(self) -> Ended {
        let training = &self.workload.training;
        let epoch = self.epochs_done();
        Ended {
            history: self.history,
            epoch,
            stopping: training.early_stopping.clone().map(|spec| (spec, self.stopping)),
            micro_batch: (self.micro_batch < training.batch_size as usize)
                .then_some(self.micro_batch),
        }
    }

    fn epochs_done(&self) -> u32 {
        (self.optimizer.steps() / u64::from(self.prepared.plan.batches_per_epoch)) as u32
    }

    fn position(&self) -> Paused {
        Paused { epoch: self.epochs_done(), batch: self.begun.batches }
    }

    fn diverged(&self, what: Diverged, epoch: u32, batch: u32) -> TrainError {
        // The rate of the step that came before the one that is due.
        let learning_rate = self.schedule.rate(self.optimizer.steps().saturating_sub(1));
        TrainError::Diverged { what, epoch, batch, learning_rate }
    }
}

fn copies<T: Clone + std::fmt::Debug>(network: &mut Network<T>) -> Vec<T> {
    network.state_mut().map(|(_, tensor)| tensor.clone()).collect()
}
