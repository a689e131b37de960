//! When a run leaves a checkpoint, and what it does with one that it is given. A checkpoint that
//! cannot be written is a pity and no failure; one that cannot be used ends the run.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Begun, Event, Places, Run, TrainError};
use crate::checkpoint::{self, Position, Random, ResumeError, StateTensor, WriteError};
use crate::data::Targets;
use crate::definition::Workload;
use crate::engine::Engine;
use crate::frames::Paused;
use crate::layers::Role;
use crate::plan::Prepared;

/// The checkpoints of one run.
pub(super) struct Checkpoints<'a> {
    resume: Option<&'a Path>,
    folder: Option<&'a Path>,
    every_epochs: u32,
    every: Option<Duration>,
    keep: usize,
    epochs: u32,
    /// `None` where no clock counts for those between epochs.
    pause_min: Option<Duration>,
    /// When the last was made, or tried, and how long that took.
    last: Instant,
    cost: Duration,
    /// Those on disk, the oldest first.
    kept: VecDeque<PathBuf>,
    /// How far the newest of all is, one that was given too.
    newest: Paused,
    /// Digest of definition and data, once it was needed.
    work: Option<String>,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn new(places: &Places<'a>, workload: &Workload) -> Self {
        let training = &workload.training;
        let seconds = u64::from(training.checkpoint_min_seconds);
        let minutes = training.checkpoint_every_minutes;
        Self {
            resume: places.resume,
            folder: places.checkpoints,
            every_epochs: training.checkpoint_every_epochs,
            every: minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes)),
            keep: training.checkpoint_keep as usize,
            epochs: training.epochs,
            pause_min: (seconds > 0).then(|| Duration::from_secs(seconds)),
            last: Instant::now(),
            cost: Duration::ZERO,
            kept: VecDeque::new(),
            newest: Paused { epoch: 0, batch: 0 },
            work: None,
        }
    }

    /// How far a run is that goes on from the newest checkpoint.
    pub(super) fn newest(&self) -> Paused {
        self.newest
    }

    /// Puts the run where its checkpoint was, if it has one.
    pub(super) fn resume<E: Engine>(
        &mut self,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let Some(path) = self.resume else {
            return Ok(());
        };
        let work = self.work(run);
        let position = checkpoint::read(path, &work, self.epochs, &mut run.state_mut(), engine)
            .map_err(TrainError::Resume)?;
        if position.engine != engine.name() {
            observer(Event::Warning(format!(
                "the checkpoint was made by the engine {}; the result may differ in its last \
                 digits from that of one engine alone",
                position.engine
            )));
        }
        self.newest = Paused { epoch: position.epoch, batch: position.batch };
        run.resume(position).map_err(TrainError::Resume)
    }

    /// Writes a checkpoint if one is due after the epoch that is done.
    pub(super) fn epoch_end<E: Engine>(
        &mut self,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let epoch = run.epochs_done();
        let is_due = self.every_epochs > 0
            && epoch.is_multiple_of(self.every_epochs)
            && self.pause_min.is_none_or(|pause| self.is_past(pause));
        if epoch < self.epochs && is_due { self.write(run, engine, observer) } else { Ok(()) }
    }

    /// Writes a checkpoint if one is due by the clock.
    pub(super) fn batch_end<E: Engine>(
        &mut self,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let is_due = self.every.is_some_and(|every| self.is_past(every));
        if is_due { self.write(run, engine, observer) } else { Ok(()) }
    }

    /// Writes a checkpoint of a run between two batches, unless there is one or no place for it.
    pub(super) fn write<E: Engine>(
        &mut self,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let at = run.position();
        let Some(folder) = self.folder.filter(|_| at != self.newest) else {
            return Ok(());
        };
        let begun = Instant::now();
        let position = Position {
            epoch: at.epoch,
            batch: at.batch,
            tally: (at.batch > 0).then(|| run.begun.tally.clone()),
            work: self.work(run),
            engine: engine.name(),
            random: Random::after(at.epoch, run.workload.training.seed),
            optimizer_steps: run.optimizer.steps(),
            history: run.history.clone(),
            plateau: run.schedule.plateau().cloned(),
            stopping: run.workload.training.early_stopping.as_ref().map(|_| run.stopping.clone()),
            micro_batch: Some(run.micro_batch).filter(|&rows| rows < run.full_batch()),
        };
        match checkpoint::write(folder, position, &run.state_mut(), engine) {
            Ok(file) => {
                self.newest = at;
                self.kept.push_back(folder.join(&file.name));
                self.drop_old();
                observer(Event::Checkpoint(file));
            }
            Err(WriteError::Engine(error)) => return Err(error.into()),
            Err(WriteError::File(fault)) => observer(Event::Warning(format!(
                "the checkpoint after {} could not be written: {fault}",
                place(at)
            ))),
        }
        self.cost = begun.elapsed();
        self.last = Instant::now();
        Ok(())
    }

    /// Whether the last checkpoint is long enough ago, also for what it cost.
    fn is_past(&self, pause: Duration) -> bool {
        self.last.elapsed() >= pause.max(self.cost.saturating_mul(PAUSE_FACTOR))
    }

    fn drop_old(&mut self) {
        while self.kept.len() > self.keep {
            if let Some(path) = self.kept.pop_front() {
                // What cannot be removed takes room until the run's directory goes.
                std::fs::remove_file(path).ok();
            }
        }
    }

    fn work<T>(&mut self, run: &Run<'_, T>) -> String {
        self.work.get_or_insert_with(|| digest(run.workload, run.prepared)).clone()
    }
}

fn place(Paused { epoch, batch }: Paused) -> String {
    match batch {
        0 => format!("epoch {epoch}"),
        batch => format!("batch {batch} of epoch {}", epoch + 1),
    }
}

impl<T: Clone + std::fmt::Debug> Run<'_, T> {
    fn full_batch(&self) -> usize {
        self.workload.training.batch_size as usize
    }

    /// Takes over all of a state that is no tensor.
    fn resume(&mut self, position: Position) -> Result<(), ResumeError> {
        self.begun = self.begun(&position)?;
        let spec = self.workload.training.early_stopping.as_ref();
        let stopping_fits = match (spec, &position.stopping) {
            (None, None) => true,
            (Some(spec), Some(stopping)) => stopping.is_of(spec, position.epoch),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !stopping_fits {
            return Err(ResumeError::Contradiction("its best epoch is none of a run that goes on"));
        }
        if !self.schedule.resume(position.plateau) {
            return Err(ResumeError::Contradiction("its learning rate is none of the schedule"));
        }
        let rows = position.micro_batch.unwrap_or(self.full_batch());
        if !(1..=self.full_batch()).contains(&rows) {
            return Err(ResumeError::Contradiction("its parts of a batch are no parts"));
        }
        self.micro_batch = rows;
        self.stopping = position.stopping.unwrap_or_default();
        self.optimizer.resume_at(position.optimizer_steps);
        self.history = position.history;
        Ok(())
    }

    /// What a state has of the epoch that it is in.
    fn begun(&self, position: &Position) -> Result<Begun, ResumeError> {
        let &Position { epoch, batch: batches, ref tally, optimizer_steps, .. } = position;
        let whole = self.prepared.plan.batches_per_epoch;
        if batches >= whole || (epoch, batches) == (0, 0) {
            return Err(ResumeError::Contradiction("its batch is none of an epoch"));
        }
        if optimizer_steps != u64::from(epoch) * u64::from(whole) + u64::from(batches) {
            return Err(ResumeError::Contradiction("its steps are not those of its epochs"));
        }
        let fresh = self.criterion.tally(false);
        let positions = match self.prepared.data.targets {
            Targets::Positions { positions, .. } => positions,
            Targets::Classes { .. } | Targets::Values { .. } => 1,
        };
        let rows = u64::from(batches) * (self.full_batch() * positions) as u64;
        match tally {
            None if batches == 0 => Ok(Begun { batches, tally: fresh }),
            Some(tally) if batches > 0 && tally.is_of(&fresh, rows, batches.into()) => {
                Ok(Begun { batches, tally: tally.clone() })
            }
            None | Some(_) => {
                Err(ResumeError::Contradiction("its sums are not those of its batches"))
            }
        }
    }

    /// All tensors that a later epoch depends on, in one order for ever.
    fn state_mut(&mut self) -> Vec<StateTensor<'_, T>> {
        let (mut state, mut all, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
        for (spec, tensor) in self.network.state_mut() {
            let name = format!("model.{}", spec.name);
            state.push(StateTensor { name, shape: spec.shape.clone(), tensor });
            all.push(spec);
            if spec.role == Role::Parameter {
                parameters.push(spec);
            }
        }
        for (parameter, kind, tensor) in self.optimizer.state_mut() {
            let spec = parameters[parameter];
            let name = format!("optimizer.{kind}.{}", spec.name);
            state.push(StateTensor { name, shape: spec.shape.clone(), tensor });
        }
        for (spec, tensor) in all.iter().zip(self.best.iter_mut().flatten()) {
            let name = format!("best.{}", spec.name);
            state.push(StateTensor { name, shape: spec.shape.clone(), tensor });
        }
        state
    }
}

/// What a state belongs to: the definition, and the data as the model sees them.
fn digest(workload: &Workload, prepared: &Prepared) -> String {
    let mut sum = Sha256::new();
    let text = workload.to_json();
    sum.update((text.len() as u64).to_le_bytes());
    sum.update(text);
    if let Some(beginning) = &prepared.beginning {
        sum.update(&beginning.digest);
    }
    let data = &prepared.data;
    let row_shape = &data.shape;
    for count in [data.rows, row_shape.len(), data.targets.width()].iter().chain(row_shape) {
        sum.update((*count as u64).to_le_bytes());
    }
    for name in data.feature_names.iter().chain(data.targets.names()) {
        sum.update((name.len() as u64).to_le_bytes());
        sum.update(name);
    }
    // How stored values are encoded and scaled follows from them and the definition.
    sum.update(data.features.digest());
    let mut bytes = Vec::new();
    let mut add = |words: &mut dyn Iterator<Item = [u8; 4]>| {
        bytes.clear();
        bytes.extend(words.flatten());
        sum.update(&bytes);
    };
    match &data.targets {
        Targets::Classes { ids, .. } | Targets::Positions { ids, .. } => {
            let parts = ids.chunks(HASHED_AT_ONCE);
            parts.for_each(|ids| add(&mut ids.iter().map(|id| id.to_le_bytes())));
        }
        Targets::Values { values, .. } => {
            let parts = values.chunks(HASHED_AT_ONCE);
            parts.for_each(|part| add(&mut part.iter().map(|value| value.to_le_bytes())));
        }
    }
    hex::encode(sum.finalize())
}

/// At most one part in so many of a run's time goes into checkpoints.
const PAUSE_FACTOR: u32 = 40;

/// Values that are gathered before they are hashed.
const HASHED_AT_ONCE: usize = 16 * 1024;
