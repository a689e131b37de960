//! The operations that layers, losses and optimizers are made of, and nothing above them: an
//! engine knows tensors, not models. Chance never comes from an engine; masks and start weights
//! are made on the host and uploaded, so that engines differ in rounding only.
//!
//! Tensors are row-major with the batch as first axis. Weights are `[outputs, inputs]`. Operands
//! of wrong shape are a fault of the caller that an engine reports as [`EngineError::Shape`].

pub mod arrayfire;
pub mod arrays;
pub(crate) mod choice;
pub mod cpu;
pub mod images;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
pub(crate) mod tests;

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

    /// As [`Self::upload`], of the values that `write` appends to a vector.
    ///
    /// # Errors
    /// Those of `write`, and those of every operation.
    fn upload_written<F: From<EngineError>>(
        &mut self,
        shape: &[usize],
        write: impl FnOnce(&mut Vec<f32>) -> Result<(), F>,
    ) -> Result<Self::Tensor, F> {
        let (mut values, count) = (Vec::new(), shape.iter().product());
        if values.try_reserve_exact(count).is_err() {
            return Err(EngineError::OutOfMemory { bytes: count as u64 * 4 }.into());
        }
        write(&mut values)?;
        Ok(self.upload(&values, shape)?)
    }

    /// Copies one class a row to the device.
    fn upload_ids(&mut self, ids: &[u32]) -> Result<Self::Ids, EngineError>;

    /// Copies a tensor to the host.
    fn download(&mut self, tensor: &Self::Tensor) -> Result<Vec<f32>, EngineError>;

    /// A tensor of zeros.
    fn zeros(&mut self, shape: &[usize]) -> Result<Self::Tensor, EngineError>;

    /// `x · weightᵀ + bias` of `x [.., inputs]`, `weight [outputs, inputs]`, `bias [outputs]`.
    fn linear(
        &mut self,
        x: &Self::Tensor,
        weight: &Self::Tensor,
        bias: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradients of [`Self::linear`] from `dy [.., outputs]`.
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

    /// Whether [`Self::activate_backward`] may be given `y` for `x`, which then need not be kept.
    fn needs_no_input(&self, _: Activation) -> bool {
        false
    }

    /// As [`Self::activate`], where nobody has a use for `x` any more.
    fn activate_in_place(
        &mut self,
        function: Activation,
        x: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError> {
        self.activate(function, &x)
    }

    /// As [`Self::activate_backward`], where nobody has a use for `dy` any more.
    fn activate_backward_in_place(
        &mut self,
        function: Activation,
        x: &Self::Tensor,
        y: &Self::Tensor,
        dy: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError> {
        self.activate_backward(function, x, y, &dy)
    }

    /// Product value by value.
    fn multiply(
        &mut self,
        left: &Self::Tensor,
        right: &Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// The loss of `output`, summed over all rows and divided by `divisor`, and its gradient. The
    /// last axis of an output holds its classes or values, all others are rows.
    fn loss(
        &mut self,
        function: &LossFunction<Self::Tensor>,
        output: &Self::Tensor,
        target: Target<'_, Self>,
        divisor: f64,
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

    /// One step of RMSprop, in place.
    fn rmsprop(
        &mut self,
        parameter: &mut Self::Tensor,
        gradient: &Self::Tensor,
        state: RmsState<'_, Self::Tensor>,
        step: &RmsStep,
    ) -> Result<(), EngineError>;

    /// Adds `part` to `sum`, in place.
    fn accumulate(
        &mut self,
        sum: &mut Self::Tensor,
        part: &Self::Tensor,
    ) -> Result<(), EngineError>;

    /// Multiplies every value, in place.
    fn scale_in_place(&mut self, tensor: &mut Self::Tensor, factor: f64)
    -> Result<(), EngineError>;

    /// Brings every value into `-limit..=limit`, in place.
    fn clamp(&mut self, tensor: &mut Self::Tensor, limit: f64) -> Result<(), EngineError>;

    /// Sum of the squares of all values, in f64: finite if, and only if, all of them are.
    fn sum_of_squares(&mut self, tensor: &Self::Tensor) -> Result<f64, EngineError>;
}

/// Whether a backward operation shall compute the gradient of its input, which the first
/// layer of a model has no use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradient {
    Wanted,
    Unused,
}

/// Sizes of [`Engine::linear`].
pub(crate) struct Linear {
    /// All vectors of `x`.
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Of the result.
    pub(crate) shape: Vec<usize>,
}

impl Linear {
    pub(crate) fn of(
        operation: &'static str,
        x: &[usize],
        weight: &[usize],
    ) -> Result<Self, EngineError> {
        match (x.split_last(), weight) {
            (Some((&inputs, before)), &[outputs, expected])
                if inputs == expected && inputs > 0 && outputs > 0 =>
            {
                let shape = [before, &[outputs]].concat();
                Ok(Self { rows: before.iter().product(), inputs, outputs, shape })
            }
            _ => Err(arrays::unfit(operation, x, weight)),
        }
    }
}

/// What [`Engine::linear_backward`] gives.
#[derive(Debug)]
pub struct LinearGradients<T> {
    pub input: Option<T>,
    pub weight: T,
    pub bias: T,
}

/// What [`Engine::loss`] computes, for each row or, from the binary cross-entropy on, each value.
#[derive(Clone, Debug)]
pub enum LossFunction<T> {
    /// `-sum(q * ln softmax(row))`, where `q` is the target's share of each class, of which
    /// `smoothing` is first taken and spread evenly, times the class's weight.
    SoftmaxCrossEntropy {
        smoothing: f64,
        /// One for each class.
        weights: Option<T>,
    },
    /// `-(w * t * ln sigmoid(x) + (1 - t) * ln(1 - sigmoid(x)))`.
    BinaryCrossEntropy {
        /// `w`, one for each value of a row.
        positive_weight: Option<T>,
    },
    /// `(x - t)^2`.
    Squared,
    /// `|x - t|`, whose gradient is 0 at 0.
    Absolute,
    /// `(x - t)^2 / 2` up to a difference of `delta`, `delta * (|x - t| - delta / 2)` from there.
    Huber { delta: f64 },
}

/// What [`Engine::loss`] measures an output against.
#[derive(Debug)]
pub enum Target<'a, E: Engine + ?Sized> {
    /// One class a row; for the softmax cross-entropy only.
    Classes(&'a E::Ids),
    /// In the shape of the output.
    Values(&'a E::Tensor),
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

/// What RMSprop keeps, all changed by a step.
#[derive(Debug)]
pub struct RmsState<'a, T: ?Sized> {
    /// Running mean of the gradient's square.
    pub square: &'a mut T,
    /// Running mean of the gradient, where it is centered.
    pub mean: Option<&'a mut T>,
    /// Where there is momentum.
    pub velocity: Option<&'a mut T>,
}

/// Numbers of one step of RMSprop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsStep {
    pub learning_rate: f64,
    pub alpha: f64,
    pub epsilon: f64,
    pub momentum: f64,
    /// Added to the gradient.
    pub weight_decay: f64,
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("not enough memory for a tensor of {bytes} bytes; use a smaller batch_size")]
    OutOfMemory { bytes: u64 },
    #[error("the engine does not start: {0}")]
    Unavailable(String),
    /// A library or driver failed, in its own words.
    #[error("the device failed with code {code}: {message}")]
    Device { code: i32, message: String },
    #[error("{operation}: operands {left:?} and {right:?} do not fit")]
    Shape { operation: &'static str, left: Vec<usize>, right: Vec<usize> },
    #[error("{operation}: class {class} of {classes}")]
    Class { operation: &'static str, class: u32, classes: usize },
    #[error(
        "row {row} of the batch, position {position}: {id} is no id of a vocabulary of \
         {vocabulary}; use whole numbers from 0, or a larger vocabulary"
    )]
    Id { row: usize, position: usize, id: f32, vocabulary: usize },
}
