//! The list of all kinds of layers, and how a call finds its kind.

use std::rc::Rc;

use super::activation::Activate;
use super::attention::Attention;
use super::batch_norm::BatchNorm;
use super::conv2d::Convolution;
use super::dense::Dense;
use super::dropout::Dropout;
use super::embedding::Embedding;
use super::flatten::Flatten;
use super::layer_norm::LayerNorm;
use super::pool2d::Pool2d;
use super::positional::Positional;
use super::recurrent::Recurrent;
use super::residual::Residual;
use super::{Gradients, Kept, Layer, Moment, Pass, TensorSpec};
use crate::engine::{Engine, EngineError, InputGradient};

/// Makes [`Kind`] and lets it be a [`Layer`] by whichever it is.
macro_rules! kinds {
    ($($kind:ident($layer:ty)),* $(,)?) => {
        /// A layer of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Kind {
            $($kind($layer)),*
        }

        impl Layer for Kind {
            fn kind(&self) -> &'static str {
                match self { $(Self::$kind(layer) => layer.kind()),* }
            }

            fn output(&self) -> &[usize] {
                match self { $(Self::$kind(layer) => layer.output()),* }
            }

            fn inner(&self) -> Vec<(String, &Self)> {
                match self { $(Self::$kind(layer) => layer.inner()),* }
            }

            fn tensors(&self) -> Vec<TensorSpec> {
                match self { $(Self::$kind(layer) => layer.tensors()),* }
            }

            fn flops(&self) -> u64 {
                match self { $(Self::$kind(layer) => layer.flops()),* }
            }

            fn held(&self) -> u64 {
                match self { $(Self::$kind(layer) => layer.held()),* }
            }

            fn widest(&self) -> u64 {
                match self { $(Self::$kind(layer) => layer.widest()),* }
            }

            fn scratch(&self) -> u64 {
                match self { $(Self::$kind(layer) => layer.scratch()),* }
            }

            fn predict<E: Engine>(
                &self,
                engine: &mut E,
                state: &[E::Tensor],
                x: Rc<E::Tensor>,
                rows: usize,
            ) -> Result<Rc<E::Tensor>, EngineError> {
                match self { $(Self::$kind(layer) => layer.predict(engine, state, x, rows)),* }
            }

            fn forward<E: Engine>(
                &self,
                engine: &mut E,
                state: &mut [E::Tensor],
                x: Rc<E::Tensor>,
                moment: Moment,
            ) -> Result<Pass<E::Tensor>, EngineError> {
                match self { $(Self::$kind(layer) => layer.forward(engine, state, x, moment)),* }
            }

            fn backward<E: Engine>(
                &self,
                engine: &mut E,
                state: &[E::Tensor],
                kept: Kept<E::Tensor>,
                slope: Rc<E::Tensor>,
                input: InputGradient,
                rows: usize,
            ) -> Result<Gradients<E::Tensor>, EngineError> {
                match self {$(
                    Self::$kind(layer) => layer.backward(engine, state, kept, slope, input, rows)
                ),*}
            }
        }
    };
}

kinds! {
    Activation(Activate),
    Attention(Attention),
    BatchNorm(BatchNorm),
    Conv2d(Convolution),
    Dense(Dense),
    Dropout(Dropout),
    Embedding(Embedding),
    Flatten(Flatten),
    LayerNorm(LayerNorm),
    Pool2d(Pool2d),
    Positional(Positional),
    Recurrent(Recurrent),
    Residual(Residual),
}
