//! A model as layers in a row over any engine: forward, backward, start values. Losses are the
//! engine's, steps are [`crate::optimizer`]'s.
//!
//! A kind of layer is a file below `layers/` with a type of its own, fitted to the shape of its
//! input, that knows its sizes and what to ask of an engine, and holds no values. A new kind
//! touches that file, `LayerSpec` in the definition, the list in [`kind`] and the one in [`fit`].
//! All values live in a [`Network`], one list of tensors with the names that
//! `torch.nn.Sequential` would give them.

mod activation;
mod attention;
mod batch_norm;
mod chain;
mod conv2d;
mod dense;
mod dropout;
mod embedding;
mod fit;
mod flatten;
mod kind;
mod layer_norm;
mod network;
mod pool2d;
mod positional;
mod recurrent;
mod residual;
mod step;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::rc::Rc;

use crate::engine::{Engine, EngineError, InputGradient};

pub(crate) use chain::Chain;
pub(crate) use fit::LayerFault;
pub use fit::{Axes, Misfit};
pub(crate) use kind::Kind;
pub(crate) use network::Network;

/// One kind of layer, fitted to its input. Shapes are those of a row, without the batch axis;
/// tensors have the batch axis in front.
pub(crate) trait Layer {
    /// Its name in a layer table.
    fn kind(&self) -> &'static str;

    fn output(&self) -> &[usize];

    /// Layers that it is made of, with their places within it, as in `layers.0`. Its own sizes
    /// include theirs.
    fn inner(&self) -> Vec<(String, &Kind)> {
        Vec::new()
    }

    /// Parameters and buffers, in one order for ever.
    fn tensors(&self) -> Vec<TensorSpec> {
        Vec::new()
    }

    /// Additions and multiplications of a forward pass over one row, about.
    fn flops(&self) -> u64;

    /// Values that a training step holds for each row: output, and what else is kept.
    fn held(&self) -> u64 {
        values(self.output())
    }

    /// Values of the largest tensor that a row becomes in it.
    fn widest(&self) -> u64 {
        values(self.output())
    }

    /// Values that an engine may need on top of tensors, whatever the number of rows.
    fn scratch(&self) -> u64 {
        0
    }

    /// Output outside training. `state` are the values of [`Self::tensors`].
    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError>;

    /// Output in training, with what [`Self::backward`] needs. Only buffers of `state` change.
    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError>;

    /// Gradients from `slope`, that of the output.
    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError>;
}

/// A parameter or buffer: what it is called, and how it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorSpec {
    /// Within its layer; a [`Chain`] puts the place of the layer in front.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    pub(crate) start: Start,
}

impl TensorSpec {
    pub(crate) fn parameter(name: &str, shape: &[usize], start: Start) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), role: Role::Parameter, start }
    }

    pub(crate) fn constant(name: &str, shape: &[usize], value: f32) -> Self {
        Self::parameter(name, shape, Start::Constant(value))
    }

    pub(crate) fn buffer(name: &str, shape: &[usize], value: f32) -> Self {
        Self { role: Role::Buffer, ..Self::constant(name, shape, value) }
    }

    /// As part of something that is called `parent`.
    pub(crate) fn within(self, parent: impl Display) -> Self {
        Self { name: format!("{parent}.{}", self.name), ..self }
    }

    /// Values in it.
    pub(crate) fn values(&self) -> u64 {
        values(&self.shape)
    }
}

/// Who changes a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The optimizer, by a gradient.
    Parameter,
    /// The layer itself, in a forward pass.
    Buffer,
    /// Nobody: its layer is frozen.
    Frozen,
}

/// Values at the beginning of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// Drawn within `-bound..bound` from the stream of weights `stream`; tensors that follow each
    /// other in one stream share it.
    Uniform {
        stream: u32,
        bound: f32,
    },
    /// Drawn from the normal distribution of mean 0 and deviation 1, as `torch.nn.Embedding`
    /// begins.
    Normal {
        stream: u32,
    },
    Constant(f32),
}

impl Start {
    /// As `torch.nn.Linear` and `torch.nn.Conv2d` begin, weights and biases alike: within
    /// `1 / sqrt(inputs of one output)`.
    pub(crate) fn fan_in(stream: u32, inputs: usize) -> Self {
        Self::Uniform { stream, bound: (1.0 / (inputs as f64).sqrt()) as f32 }
    }
}

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedValues {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Where in a run a batch is, on which its dropout depends and on nothing else; and its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seed: u64,
    pub(crate) epoch: u32,
    pub(crate) batch: u32,
    /// Rows that pass now.
    pub(crate) rows: usize,
    /// Rows of the batch that went before, where it passes in parts.
    pub(crate) first_row: usize,
}

/// What a layer's forward pass in training gives.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    pub(crate) output: Rc<T>,
    pub(crate) kept: Kept<T>,
}

/// What a layer's forward pass leaves for its backward pass; what it means is the layer's.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub(crate) tensors: Vec<Rc<T>>,
    /// Of layers within it.
    pub(crate) inner: Vec<Self>,
}

impl<T> Kept<T> {
    pub(crate) fn none() -> Self {
        Self { tensors: Vec::new(), inner: Vec::new() }
    }

    pub(crate) fn tensors(tensors: impl Into<Vec<Rc<T>>>) -> Self {
        Self { tensors: tensors.into(), inner: Vec::new() }
    }
}

/// What a layer's backward pass gives.
#[derive(Debug)]
pub(crate) struct Gradients<T> {
    /// None only where it was not wanted.
    pub(crate) input: Option<Rc<T>>,
    /// One for each parameter, in order.
    pub(crate) parameters: Vec<T>,
}

impl<T> Gradients<T> {
    /// Of a layer without parameters.
    pub(crate) fn of_input(input: impl Into<Rc<T>>) -> Self {
        Self { input: Some(input.into()), parameters: Vec::new() }
    }
}

/// Values in a tensor of this shape; the most there can be where they are more.
pub(crate) fn values(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |count, length| count.saturating_mul(*length as u64))
}

/// The shape of a batch of `rows` such rows.
pub(crate) fn batched(rows: usize, row: &[usize]) -> Vec<usize> {
    [&[rows], row].concat()
}
