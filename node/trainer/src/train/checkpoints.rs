//! When a run leaves a checkpoint, and what it does with one that it is given. A checkpoint that
//! cannot be written is a pity and no failure; one that cannot be used ends the run.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Event, Places, Run, TrainError};
use crate::checkpoint::{self, Position, Random, ResumeError, StateTensor, WriteError};
use crate::data::Targets;
use crate::definition::Workload;
use crate::engine::Engine;
use crate::layers::Role;
use crate::limits;
use crate::plan::Prepared;

/// The checkpoints of one run.
pub(super) struct Checkpoints<'a> {
    resume: Option<&'a Path>,
    folder: Option<&'a Path>,
    every_epochs: u32,
    epochs: u32,
    /// `None` where no clock counts.
    pause_min: Option<Duration>,
    /// No sooner than this is the next one made.
    next_at: Instant,
    /// Those on disk, the oldest first.
    kept: VecDeque<PathBuf>,
    /// Digest of definition and data.
    work: String,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn new(places: &Places<'a>, workload: &Workload, prepared: &Prepared) -> Self {
        let training = &workload.training;
        let folder = places.checkpoints.filter(|_| training.checkpoint_every_epochs > 0);
        let seconds = u64::from(training.checkpoint_min_seconds);
        let pause_min = (seconds > 0).then(|| Duration::from_secs(seconds));
        let needed = folder.is_some() || places.resume.is_some();
        Self {
            resume: places.resume,
            folder,
            every_epochs: training.checkpoint_every_epochs,
            epochs: training.epochs,
            pause_min,
            next_at: Instant::now() + pause_min.unwrap_or_default(),
            kept: VecDeque::new(),
            work: if needed { digest(workload, prepared) } else { String::new() },
        }
    }

    /// Puts the run where its checkpoint was, if it has one; gives the epochs that are done.
    pub(super) fn resume<E: Engine>(
        &self,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<u32, TrainError> {
        let Some(path) = self.resume else {
            return Ok(0);
        };
        let batches = u64::from(run.prepared.plan.batches_per_epoch);
        let position =
            checkpoint::read(path, &self.work, self.epochs, &mut run.state_mut(), engine)
                .map_err(TrainError::Resume)?;
        if position.optimizer_steps != u64::from(position.epoch) * batches {
            let fault = ResumeError::Contradiction("its steps are not those of its epochs");
            return Err(TrainError::Resume(fault));
        }
        if position.engine != engine.name() {
            observer(Event::Warning(format!(
                "the checkpoint was made by the engine {}; the result may differ in its last \
                 digits from that of one engine alone",
                position.engine
            )));
        }
        let epoch = position.epoch;
        run.resume(position).map_err(TrainError::Resume)?;
        Ok(epoch)
    }

    /// Writes a checkpoint if one is due.
    pub(super) fn epoch_end<E: Engine>(
        &mut self,
        epoch: u32,
        run: &mut Run<'_, E::Tensor>,
        engine: &mut E,
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        let begun = Instant::now();
        let Some(folder) = self.folder.filter(|_| self.is_due(epoch, begun)) else {
            return Ok(());
        };
        let position = Position {
            epoch,
            work: self.work.clone(),
            engine: engine.name(),
            random: Random::after(epoch, run.workload.training.seed),
            optimizer_steps: run.optimizer.steps(),
            history: run.history.clone(),
            plateau: run.schedule.plateau().cloned(),
            stopping: run.workload.training.early_stopping.as_ref().map(|_| run.stopping.clone()),
            micro_batch: Some(run.micro_batch).filter(|&rows| rows < run.full_batch()),
        };
        match checkpoint::write(folder, position, &run.state_mut(), engine) {
            Ok(file) => {
                self.kept.push_back(folder.join(&file.name));
                self.drop_old();
                observer(Event::Checkpoint(file));
            }
            Err(WriteError::Engine(error)) => return Err(error.into()),
            Err(WriteError::File(fault)) => observer(Event::Warning(format!(
                "the checkpoint after epoch {epoch} could not be written: {fault}"
            ))),
        }
        let cost = begun.elapsed().saturating_mul(PAUSE_FACTOR);
        let pause = self.pause_min.map_or(Duration::ZERO, |pause| pause.max(cost));
        self.next_at = Instant::now() + pause;
        Ok(())
    }

    fn is_due(&self, epoch: u32, now: Instant) -> bool {
        epoch < self.epochs && epoch.is_multiple_of(self.every_epochs) && now >= self.next_at
    }

    fn drop_old(&mut self) {
        while self.kept.len() > limits::KEPT_CHECKPOINTS {
            if let Some(path) = self.kept.pop_front() {
                // What cannot be removed takes room until the run's directory goes.
                std::fs::remove_file(path).ok();
            }
        }
    }
}

impl<T: Clone + std::fmt::Debug> Run<'_, T> {
    fn full_batch(&self) -> usize {
        self.workload.training.batch_size as usize
    }

    /// Takes over all of a state that is no tensor.
    fn resume(&mut self, position: Position) -> Result<(), ResumeError> {
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
    let mut add = |words: &mut dyn Iterator<Item = [u8; 4]>| {
        let mut bytes = Vec::with_capacity(HASHED_AT_ONCE);
        while {
            bytes.clear();
            bytes.extend(words.take(HASHED_AT_ONCE / 4).flatten());
            !bytes.is_empty()
        } {
            sum.update(&bytes);
        }
    };
    add(&mut data.features.iter().map(|value| value.to_le_bytes()));
    match &data.targets {
        Targets::Classes { ids, .. } | Targets::Positions { ids, .. } => {
            add(&mut ids.iter().map(|id| id.to_le_bytes()))
        }
        Targets::Values { values, .. } => add(&mut values.iter().map(|it| it.to_le_bytes())),
    }
    hex::encode(sum.finalize())
}

/// At most one part in so many of a run's time goes into checkpoints.
const PAUSE_FACTOR: u32 = 40;

/// Bytes that are gathered before they are hashed.
const HASHED_AT_ONCE: usize = 64 * 1024;
