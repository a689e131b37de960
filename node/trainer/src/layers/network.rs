//! A model on an engine: its layers, and all their tensors by name.

use std::rc::Rc;

use super::{Chain, Kept, Moment, NamedValues, Pass, Role, TensorSpec};
use crate::engine::{Engine, EngineError, InputGradient};

pub(crate) struct Network<T> {
    chain: Chain,
    specs: Vec<TensorSpec>,
    /// One for each of `specs`.
    tensors: Vec<T>,
}

/// What a forward pass leaves for the backward pass.
#[derive(Debug)]
pub(crate) struct Tape<T> {
    output: Rc<T>,
    kept: Kept<T>,
    rows: usize,
}

impl<T> Tape<T> {
    pub(crate) fn output(&self) -> &T {
        &self.output
    }
}

impl<T: Clone + std::fmt::Debug> Network<T> {
    /// Puts `values`, one for each tensor of `chain` in order, onto the engine.
    pub(crate) fn new<E: Engine<Tensor = T>>(
        engine: &mut E,
        chain: &Chain,
        values: &[NamedValues],
    ) -> Result<Self, EngineError> {
        let specs = chain.tensors();
        assert_eq!(specs.len(), values.len(), "values for each tensor");
        let tensors = values.iter().map(|tensor| engine.upload(&tensor.values, &tensor.shape));
        let tensors = tensors.collect::<Result<Vec<T>, EngineError>>()?;
        Ok(Self { chain: chain.clone(), specs, tensors })
    }

    /// The layers without their values.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Outputs for `x [rows, ..]`, as after training.
    pub(crate) fn predict<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        x: T,
        rows: usize,
    ) -> Result<T, EngineError> {
        let y = self.chain.predict(engine, &self.tensors, Rc::new(x), rows)?;
        Ok(Rc::unwrap_or_clone(y))
    }

    /// The pass of a training step over `moment.rows` rows.
    pub(crate) fn forward<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        x: T,
        moment: Moment,
    ) -> Result<Tape<T>, EngineError> {
        let rows = moment.rows;
        let Pass { output, kept } =
            self.chain.forward(engine, &mut self.tensors, Rc::new(x), moment)?;
        Ok(Tape { output, kept, rows })
    }

    /// Gradients in the order of [`Self::parameters_mut`], from that of the output.
    pub(crate) fn backward<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        tape: Tape<T>,
        output_gradient: T,
    ) -> Result<Vec<T>, EngineError> {
        let Tape { output, kept, rows } = tape;
        // A tensor that nobody else holds can be worked on in place.
        drop(output);
        let (slope, unused) = (Rc::new(output_gradient), InputGradient::Unused);
        let found = self.chain.backward(engine, &self.tensors, kept, slope, unused, rows)?;
        Ok(found.parameters)
    }

    /// What the optimizer changes, in order.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut T> {
        let all = self.specs.iter().zip(&mut self.tensors);
        all.filter(|(spec, _)| spec.role == Role::Parameter).map(|(_, tensor)| tensor).collect()
    }

    /// All tensors that belong to the model, in order.
    pub(crate) fn state_mut(&mut self) -> impl Iterator<Item = (&TensorSpec, &mut T)> {
        self.specs.iter().zip(&mut self.tensors)
    }

    /// Copies all tensors to the host.
    pub(crate) fn values<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
    ) -> Result<Vec<NamedValues>, EngineError> {
        let all = self.specs.iter().zip(&self.tensors);
        let on_host = all.map(|(TensorSpec { name, shape, .. }, tensor)| {
            let values = engine.download(tensor)?;
            Ok(NamedValues { name: name.clone(), shape: shape.clone(), values })
        });
        on_host.collect()
    }
}
