//! How layers in a row work: mostly one after the other as they stand there. Where the values are
//! the same bits, some work in another order, or two as one.

use std::rc::Rc;

use super::conv2d::Convolution;
use super::kind::Kind;
use super::{Gradients, Kept, Layer, Moment, Pass};
use crate::definition::Activation;
use crate::engine::images::Window;
use crate::engine::{Engine, EngineError, InputGradient};

/// What works at one time.
pub(super) enum Step<'a> {
    One(&'a Kind),
    /// A convolution, and the pooling of the largest that stands behind it.
    Pooled {
        layer: &'a Kind,
        conv: &'a Convolution,
        pool: Window,
    },
}

/// What works one after the other, each with the index of its layer, or of the first of two.
///
/// The largest of a window is the same before rectification and after it, but then there is less
/// to rectify: a rectification before a pooling of the largest works after it.
pub(super) fn steps(layers: &[Kind]) -> Vec<(usize, Step<'_>)> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    for (index, pair) in layers.windows(2).enumerate() {
        if rectifies(&pair[0]) && largest_of(&pair[1]).is_some() {
            order.swap(index, index + 1);
        }
    }
    let mut steps = Vec::with_capacity(layers.len());
    let mut rest = order.into_iter().peekable();
    while let Some(index) = rest.next() {
        let layer = &layers[index];
        let pool = rest.peek().and_then(|next| largest_of(&layers[*next]));
        steps.push((index, Step::of(layer, pool)));
        if matches!(steps.last(), Some((_, Step::Pooled { .. }))) {
            rest.next();
        }
    }
    steps
}

fn rectifies(layer: &Kind) -> bool {
    matches!(layer, Kind::Activation(it) if it.function == Activation::Relu)
}

fn largest_of(layer: &Kind) -> Option<Window> {
    if let Kind::Pool2d(pool) = layer { pool.largest_of() } else { None }
}

impl<'a> Step<'a> {
    /// `layer`, with the pooling behind it if they can work as one.
    fn of(layer: &'a Kind, pool: Option<Window>) -> Self {
        match (layer, pool) {
            (Kind::Conv2d(conv), Some(pool)) => Self::Pooled { layer, conv, pool },
            _ => Self::One(layer),
        }
    }

    /// The one whose parameters and buffers it has.
    pub(super) fn layer(&self) -> &Kind {
        match self {
            Self::One(layer) | Self::Pooled { layer, .. } => layer,
        }
    }

    pub(super) fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        match self {
            Self::One(layer) => layer.predict(engine, state, x, rows),
            Self::Pooled { conv, pool, .. } => {
                let (weight, bias) = (&state[0], state.get(1));
                let found = engine.conv2d_max_pool(&x, weight, bias, &conv.joined(*pool))?;
                Ok(Rc::new(found.output))
            }
        }
    }

    pub(super) fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        match self {
            Self::One(layer) => layer.forward(engine, state, x, moment),
            Self::Pooled { conv, pool, .. } => {
                let (weight, bias) = (&state[0], state.get(1));
                let found = engine.conv2d_max_pool(&x, weight, bias, &conv.joined(*pool))?;
                let kept = Kept::tensors([x, Rc::new(found.origin)]);
                Ok(Pass { output: Rc::new(found.output), kept })
            }
        }
    }

    pub(super) fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        match self {
            Self::One(layer) => layer.backward(engine, state, kept, slope, input, rows),
            Self::Pooled { conv, pool, .. } => {
                let [x, origin] = &kept.tensors[..] else {
                    unreachable!("its forward pass keeps two tensors");
                };
                let joined = conv.joined(*pool);
                let found = engine
                    .conv2d_max_pool_backward(x, &state[0], origin, &slope, &joined, input)?;
                Ok(conv.gradients(found))
            }
        }
    }
}
