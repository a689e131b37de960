//! Layers in a row, numbered as `torch.nn.Sequential` would.

use std::rc::Rc;

use super::kind::Kind;
use super::step::steps;
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
    /// Of each layer, whether it stays as it is.
    frozen: Vec<bool>,
}

impl Chain {
    /// A whole model for rows of shape `input`.
    pub(crate) fn new(specs: &[LayerSpec], input: &[usize]) -> Result<Self, LayerFault> {
        fit::chain(specs, input)
    }

    pub(super) fn of(input: &[usize], layers: Vec<Kind>) -> Self {
        let frozen = vec![false; layers.len()];
        Self { input: input.to_vec(), layers, frozen }
    }

    /// The same layers, of which those that are marked stay as they are.
    pub(crate) fn with_frozen(self, frozen: Vec<bool>) -> Self {
        assert_eq!(frozen.len(), self.layers.len(), "a mark for each layer");
        Self { frozen, ..self }
    }

    /// The first `count` layers.
    pub(crate) fn first(mut self, count: usize) -> Self {
        self.layers.truncate(count);
        self.frozen.truncate(count);
        self
    }

    /// Frozen layers before all that learn: they work as after training, and no gradient goes
    /// back to them.
    pub(crate) fn fixed(&self) -> usize {
        let learning = self.first_learning().unwrap_or(0);
        self.frozen[..learning].iter().rposition(|frozen| *frozen).map_or(0, |last| last + 1)
    }

    fn first_learning(&self) -> Option<usize> {
        let learns =
            |index: &usize| !self.frozen[*index] && learned(&self.layers[*index].tensors()) > 0;
        (0..self.layers.len()).find(learns)
    }

    /// Each layer with its number.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Kind)> {
        self.layers.iter().enumerate()
    }

    /// What people call each layer, as in `2 dense`.
    pub(crate) fn names(&self) -> Vec<String> {
        self.numbered().map(|(index, layer)| format!("{index} {}", layer.kind())).collect()
    }

    pub(crate) fn input(&self) -> &[usize] {
        &self.input
    }

    pub(crate) fn output(&self) -> &[usize] {
        self.layers.last().map_or(&self.input, Layer::output)
    }

    /// Numbers that are learnt, now or before.
    pub(crate) fn parameters(&self) -> u64 {
        self.layers.iter().map(|layer| learned(&layer.tensors())).sum()
    }

    /// Of these, the ones that learn.
    pub(crate) fn trainable(&self) -> u64 {
        learned(&self.tensors())
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
            let role = |role| if self.frozen[index] { Role::Frozen } else { role };
            all.extend(layer.tensors().into_iter().map(|tensor| {
                let role = role(tensor.role);
                TensorSpec { role, ..tensor.within(index) }
            }));
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
        for (_, step) in steps(&self.layers) {
            let (own, rest) = state.split_at(step.layer().tensors().len());
            value = step.predict(engine, own, value, rows)?;
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
        let fixed = self.fixed();
        for (index, step) in steps(&self.layers) {
            let (own, rest) = state.split_at_mut(step.layer().tensors().len());
            let pass = if index < fixed {
                let output = step.predict(engine, own, value, moment.rows)?;
                Pass { output, kept: Kept::none() }
            } else {
                step.forward(engine, own, value, moment)?
            };
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
        let first = self.first_learning().unwrap_or(self.layers.len());
        for ((index, step), kept) in steps(&self.layers).into_iter().zip(kept.inner).rev() {
            let (rest, own) = state.split_at(state.len() - step.layer().tensors().len());
            state = rest;
            let needed = index > first || input == InputGradient::Wanted;
            let want = if needed { InputGradient::Wanted } else { InputGradient::Unused };
            // Nothing before the first layer that learns has a use for more.
            let Some(dy) = slope.take() else { break };
            let found = step.backward(engine, own, kept, dy, want, rows)?;
            slope = found.input.filter(|_| needed);
            groups.push(if self.frozen[index] { Vec::new() } else { found.parameters });
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

pub(super) fn learned(tensors: &[TensorSpec]) -> u64 {
    let learned = tensors.iter().filter(|tensor| tensor.role == Role::Parameter);
    learned.map(TensorSpec::values).sum()
}
