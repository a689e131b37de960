//! The operations that layers, losses and optimizers are made of, and nothing above them: an
//! engine knows tensors, not models. Chance never comes from an engine; masks and start weights
//! are made on the host and uploaded, so that engines differ in rounding only.
//!
//! Tensors are row-major with the batch as first axis. Weights are `[outputs, inputs]`. Operands
//! of wrong shape are a fault of the caller that an engine reports as [`EngineError::Shape`].

pub mod arrays;
pub mod cpu;
pub mod images;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use crate::definition::Activation;
use arrays::Arrays;
use images::Images;

/// A device that computes. Not bound to be `Send`: it lives on one thread of its process.
pub trait Engine: Arrays<<Self as Engine>::Tensor> + Images<<Self as Engine>::Tensor> {
    /// 32-bit floats of any shape.
    type Tensor: Clone + Debug;
    /// One class a row.
    type Ids: Debug;

    /// Engine and version; runs whose names are equal give equal bits.
    fn name(&self) -> String;

    /// Host threads that work at the same time.
    fn threads(&self) -> u32;

    /// Copies `values` to the device.
    ///
    /// # Errors
    /// Like every operation: memory ran out, shapes disagree, or the device failed.
    fn upload(&mut self, values: &[f32], shape: &[usize]) -> Result<Self::Tensor, EngineError>;

    /// Copies one class a row to the device.
    fn upload_ids(&mut self, ids: &[u32]) -> Result<Self::Ids, EngineError>;

    /// Copies a tensor to the host.
    fn download(&mut self, tensor: &Self::Tensor) -> Result<Vec<f32>, EngineError>;

    /// A tensor of zeros.
    fn zeros(&mut self, shape: &[usize]) -> Result<Self::Tensor, EngineError>;

    /// `x · weightᵀ + bias` of `x [rows, inputs]`, `weight [outputs, inputs]`, `bias [outputs]`.
    fn linear(
        &mut self,
        x: &Self::Tensor,
        weight: &Self::Tensor,
        bias: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradients of [`Self::linear`] from `dy [rows, outputs]`.
    fn linear_backward(
        &mut self,
        x: &Self::Tensor,
        weight: &Self::Tensor,
        dy: &Self::Tensor,
        input: InputGradient,
    ) -> Result<LinearGradients<Self::Tensor>, EngineError>;

    /// The function of each value; softmax over the last axis.
    fn activate(
        &mut self,
        function: Activation,
        x: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradient of [`Self::activate`] from its input `x`, its output `y` and `dy`.
    fn activate_backward(
        &mut self,
        function: Activation,
        x: &Self::Tensor,
        y: &Self::Tensor,
        dy: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// Product value by value.
    fn multiply(
        &mut self,
        left: &Self::Tensor,
        right: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// Mean over rows of `-ln softmax(logits)[class]`.
    fn softmax_cross_entropy(
        &mut self,
        logits: &Self::Tensor,
        classes: &Self::Ids,
    ) -> Result<LossGradient<Self::Tensor>, EngineError>;

    /// Mean over all values of the squared difference.
    fn mean_squared_error(
        &mut self,
        predicted: &Self::Tensor,
        target: &Self::Tensor,
    ) -> Result<LossGradient<Self::Tensor>, EngineError>;

    /// Index of the largest value of each row, the first of equals.
    fn argmax_rows(&mut self, tensor: &Self::Tensor) -> Result<Vec<u32>, EngineError>;

    /// One step of gradient descent, in place; `velocity` is needed where there is momentum.
    fn sgd(
        &mut self,
        parameter: &mut Self::Tensor,
        gradient: &Self::Tensor,
        velocity: Option<&mut Self::Tensor>,
        step: &SgdStep,
    ) -> Result<(), EngineError>;

    /// One step of Adam or AdamW, in place.
    fn adam(
        &mut self,
        parameter: &mut Self::Tensor,
        gradient: &Self::Tensor,
        moments: Moments<'_, Self::Tensor>,
        step: &AdamStep,
    ) -> Result<(), EngineError>;
}

/// Whether a backward operation shall compute the gradient of its input, which the first
/// layer of a model has no use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradient {
    Wanted,
    Unused,
}

/// What [`Engine::linear_backward`] gives.
#[derive(Debug)]
pub struct LinearGradients<T> {
    pub input: Option<T>,
    pub weight: T,
    pub bias: T,
}

/// A loss and its gradient with respect to the model's output.
#[derive(Debug)]
pub struct LossGradient<T> {
    /// Summed on the host in f64.
    pub loss: f64,
    pub gradient: T,
}

/// Adam's running means, both changed by a step.
#[derive(Debug)]
pub struct Moments<'a, T> {
    /// Of the gradient.
    pub first: &'a mut T,
    /// Of its square.
    pub second: &'a mut T,
}

/// Numbers of one step of gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
}

/// Numbers of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Added to the gradient.
    pub weight_decay: f64,
    /// Factor on the parameter before the step: `1 - learning_rate * decay` in AdamW, else 1.
    pub shrink: f64,
    /// `1 - beta1^t` at step `t`, counted from 1.
    pub correction1: f64,
    /// `1 - beta2^t`.
    pub correction2: f64,
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("not enough memory for a tensor of {bytes} bytes; use a smaller batch_size")]
    OutOfMemory { bytes: u64 },
    #[error("the engine does not start: {0}")]
    Unavailable(String),
    #[error("{operation}: operands {left:?} and {right:?} do not fit")]
    Shape { operation: &'static str, left: Vec<usize>, right: Vec<usize> },
    #[error("{operation}: class {class} of {classes}")]
    Class { operation: &'static str, class: u32, classes: usize },
}
