//! One step: forward, backward, clipping, optimizer. Where a batch does not fit into memory it
//! goes through the model in parts, whose gradients are added up; nothing of the model changes
//! before all of them are there.

use super::{Diverged, Event, PassError, Run, TrainError, gather};
use crate::definition::OnOutOfMemory;
use crate::engine::{Engine, EngineError};
use crate::layers::{Moment, Role};
use crate::metrics::Seen;

impl<T: Clone + std::fmt::Debug> Run<'_, T> {
    /// Trains on `rows`; gives the learning rate that was used.
    pub(super) fn step<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        rows: &[u32],
        moment: Moment,
        observer: &mut dyn FnMut(Event),
    ) -> Result<f64, TrainError> {
        let buffers = self.buffers();
        let (parts, mut gradients) = loop {
            match self.gradients(engine, rows, moment) {
                Err(PassError::Engine(EngineError::OutOfMemory { bytes }))
                    if self.halve(rows.len()) =>
                {
                    self.put_back(&buffers);
                    observer(Event::Warning(format!(
                        "not enough memory for {bytes} bytes in epoch {}, batch {}; going on with \
                         {} rows at once, whose gradients are added up to those of {}",
                        moment.epoch,
                        moment.batch,
                        self.micro_batch,
                        self.workload.training.batch_size
                    )));
                }
                found => break found?,
            }
        };
        if !parts.iter().all(|seen| seen.loss.is_finite()) {
            return Err(self.diverged(Diverged::Loss, moment.epoch, moment.batch));
        }
        let norm = norm(engine, &gradients)?;
        if !norm.is_finite() {
            return Err(self.diverged(Diverged::Gradient, moment.epoch, moment.batch));
        }
        self.clip(engine, &mut gradients, norm)?;
        let rate = self.schedule.rate(self.optimizer.steps());
        self.optimizer.step(engine, self.network.parameters_mut(), &gradients, rate)?;
        let tally = &mut self.begun.tally;
        parts.iter().for_each(|seen| tally.add(seen));
        tally.add_gradient_norm(norm);
        Ok(rate)
    }

    /// The gradients of the mean loss of `rows`, and what was seen on the way.
    fn gradients<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        rows: &[u32],
        moment: Moment,
    ) -> Result<(Vec<Seen>, Vec<T>), PassError> {
        let data = &self.prepared.data;
        let whole = self.criterion.weight(data, rows);
        let (mut parts, mut sums) = (Vec::new(), Vec::new());
        let mut first_row = 0;
        for rows in rows.chunks(self.micro_batch) {
            let x = gather(engine, data, rows, &self.window)?;
            let moment = Moment { rows: rows.len(), first_row, ..moment };
            let tape = self.network.forward(engine, x, moment)?;
            let measured = self.criterion.measure(engine, tape.output(), data, rows, whole)?;
            let gradients = self.network.backward(engine, tape, measured.gradient)?;
            if sums.is_empty() {
                sums = gradients;
            } else {
                for (sum, part) in sums.iter_mut().zip(&gradients) {
                    engine.accumulate(sum, part)?;
                }
            }
            parts.push(measured.seen);
            first_row += rows.len();
        }
        Ok((parts, sums))
    }

    /// Makes the parts of a batch of so many rows smaller, if the job allows it and they can be.
    fn halve(&mut self, rows: usize) -> bool {
        let part = self.micro_batch.min(rows);
        let allowed = match self.workload.training.on_out_of_memory {
            OnOutOfMemory::Fail => false,
            OnOutOfMemory::HalveBatch => part > 1,
        };
        if allowed {
            self.micro_batch = part.div_ceil(2);
        }
        allowed
    }

    /// What a forward pass changes, where it may have to be repeated.
    fn buffers(&mut self) -> Vec<T> {
        match self.workload.training.on_out_of_memory {
            OnOutOfMemory::Fail => Vec::new(),
            OnOutOfMemory::HalveBatch => {
                let state = self.network.state_mut();
                let buffers = state.filter(|(spec, _)| spec.role == Role::Buffer);
                buffers.map(|(_, tensor)| tensor.clone()).collect()
            }
        }
    }

    fn put_back(&mut self, buffers: &[T]) {
        let state = self.network.state_mut().filter(|(spec, _)| spec.role == Role::Buffer);
        for ((_, tensor), before) in state.zip(buffers) {
            tensor.clone_from(before);
        }
    }

    fn clip<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        gradients: &mut [T],
        norm: f64,
    ) -> Result<(), EngineError> {
        let training = &self.workload.training;
        if let Some(limit) = training.clip_value {
            gradients.iter_mut().try_for_each(|gradient| engine.clamp(gradient, limit))?;
        }
        if let Some(limit) = training.clip_norm {
            // The same small number as PyTorch's, for the same results.
            let factor = limit / (norm + 1e-6);
            if factor < 1.0 {
                gradients
                    .iter_mut()
                    .try_for_each(|gradient| engine.scale_in_place(gradient, factor))?;
            }
        }
        Ok(())
    }
}

/// The L2 norm of all gradients together.
fn norm<E: Engine>(engine: &mut E, gradients: &[E::Tensor]) -> Result<f64, EngineError> {
    let mut squares = 0.0;
    for gradient in gradients {
        squares += engine.sum_of_squares(gradient)?;
    }
    Ok(squares.sqrt())
}
