//! Layers in a row, numbered as `torch.nn.Sequential` would.

use std::rc::Rc;

use super::kind::Kind;
use super::{
    Gradients, Kept, Layer, LayerFault, Moment, NamedValues, Pass, Role, Start, TensorSpec, fit,
    values,
};
use crate::definition::LayerSpec;
use crate::engine::{Engine, EngineError, InputGradient};
use crate::limits;
use crate::random::{Purpose, Stream};

/// Fitted layers, each to the output of the one before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chain {
    input: Vec<usize>,
    layers: Vec<Kind>,
}

impl Chain {
    /// A whole model for rows of shape `input`.
    pub(crate) fn new(specs: &[LayerSpec], input: &[usize]) -> Result<Self, LayerFault> {
        fit::chain(specs, input)
    }

    pub(super) fn of(input: &[usize], layers: Vec<Kind>) -> Self {
        Self { input: input.to_vec(), layers }
    }

    /// Each layer with its number.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Kind)> {
        self.layers.iter().enumerate()
    }

    pub(crate) fn input(&self) -> &[usize] {
        &self.input
    }

    pub(crate) fn output(&self) -> &[usize] {
        self.layers.last().map_or(&self.input, Layer::output)
    }

    /// Trainable numbers.
    pub(crate) fn parameters(&self) -> u64 {
        parameters(&self.tensors())
    }

    /// Values of the largest tensor that a row becomes.
    pub(crate) fn widest(&self) -> u64 {
        let each = self.layers.iter().map(Layer::widest);
        each.fold(values(&self.input), u64::max)
    }

    /// Rows that pass at once outside training; of narrow rows as many as are useful.
    pub(crate) fn scored_at_once(&self) -> usize {
        let fit = limits::SCORED_VALUES / self.widest().max(1);
        fit.clamp(1, limits::SCORED_AT_ONCE as u64) as usize
    }

    /// All parameters and buffers, in the order of the layers.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            all.extend(layer.tensors().into_iter().map(|tensor| tensor.within(index)));
        }
        all
    }

    /// Start values of [`Self::tensors`].
    pub(crate) fn start(&self, seed: u64) -> Vec<NamedValues> {
        let mut current: Option<(u32, Stream)> = None;
        let tensors = self.tensors().into_iter().map(|tensor| {
            let mut values = vec![0.0; tensor.shape.iter().product()];
            match tensor.start {
                Start::Constant(value) => values.fill(value),
                Start::Uniform { stream, bound } => {
                    opened(&mut current, seed, stream).fill_uniform(&mut values, bound);
                }
                Start::Normal { stream } => {
                    opened(&mut current, seed, stream).fill_normal(&mut values);
                }
            }
            NamedValues { name: tensor.name, shape: tensor.shape, values }
        });
        tensors.collect()
    }

    /// Additions and multiplications of a forward pass over one row.
    pub(crate) fn flops(&self) -> u64 {
        self.layers.iter().map(Layer::flops).sum()
    }

    /// Values that a training step holds for each row.
    pub(crate) fn held(&self) -> u64 {
        self.layers.iter().map(Layer::held).sum()
    }

    /// Values that an engine may need on top of tensors.
    pub(crate) fn scratch(&self) -> u64 {
        self.layers.iter().map(Layer::scratch).max().unwrap_or(0)
    }

    pub(crate) fn predict<E: Engine>(
        &self,
        engine: &mut E,
        mut state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let mut value = x;
        for layer in &self.layers {
            let (own, rest) = state.split_at(layer.tensors().len());
            value = layer.predict(engine, own, value, rows)?;
            state = rest;
        }
        Ok(value)
    }

    pub(crate) fn forward<E: Engine>(
        &self,
        engine: &mut E,
        mut state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let (mut value, mut inner) = (x, Vec::with_capacity(self.layers.len()));
        for layer in &self.layers {
            let (own, rest) = state.split_at_mut(layer.tensors().len());
            let pass = layer.forward(engine, own, value, moment)?;
            (value, state) = (pass.output, rest);
            inner.push(pass.kept);
        }
        Ok(Pass { output: value, kept: Kept { tensors: Vec::new(), inner } })
    }

    pub(crate) fn backward<E: Engine>(
        &self,
        engine: &mut E,
        mut state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let (mut slope, mut groups) = (Some(slope), Vec::new());
        let has_parameters = |layer: &Kind| parameters(&layer.tensors()) > 0;
        let first = self.layers.iter().position(has_parameters).unwrap_or(self.layers.len());
        let layers = self.layers.iter().zip(kept.inner).enumerate();
        for (index, (layer, kept)) in layers.rev() {
            let (rest, own) = state.split_at(state.len() - layer.tensors().len());
            state = rest;
            let needed = index > first || input == InputGradient::Wanted;
            let want = if needed { InputGradient::Wanted } else { InputGradient::Unused };
            // Nothing before the first layer with parameters has a use for more.
            let Some(dy) = slope.take() else { break };
            let found = layer.backward(engine, own, kept, dy, want, rows)?;
            slope = found.input.filter(|_| needed);
            groups.push(found.parameters);
        }
        let parameters = groups.into_iter().rev().flatten().collect();
        Ok(Gradients { input: slope, parameters })
    }
}

/// The stream of weights `layer`, further on if it is the `current` one.
fn opened(current: &mut Option<(u32, Stream)>, seed: u64, layer: u32) -> &mut Stream {
    let stream = match current.take() {
        Some((open, stream)) if open == layer => stream,
        _ => Stream::new(seed, Purpose::Weights { layer }),
    };
    &mut current.insert((layer, stream)).1
}

pub(super) fn parameters(tensors: &[TensorSpec]) -> u64 {
    let learned = tensors.iter().filter(|tensor| tensor.role == Role::Parameter);
    learned.map(TensorSpec::values).sum()
}
