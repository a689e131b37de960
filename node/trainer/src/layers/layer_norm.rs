//! The last axes of each row at mean 0 and variance 1; `torch.nn.LayerNorm`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Misfit, Moment, Pass, TensorSpec, values};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerNorm {
    shape: Vec<usize>,
    axes: usize,
    epsilon: f64,
}

impl LayerNorm {
    pub(super) fn new(input: &[usize], axes: usize, epsilon: f64) -> Result<Self, Misfit> {
        if axes > input.len() {
            return Err(Misfit::Axes { axes, found: super::Axes(input.to_vec()) });
        }
        Ok(Self { shape: input.to_vec(), axes, epsilon })
    }
}

impl Layer for LayerNorm {
    fn kind(&self) -> &'static str {
        "layer_norm"
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let last = &self.shape[self.shape.len() - self.axes..];
        vec![TensorSpec::constant("weight", last, 1.0), TensorSpec::constant("bias", last, 0.0)]
    }

    fn flops(&self) -> u64 {
        8 * values(&self.shape)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        engine.layer_norm(&x, &state[0], &state[1], self.epsilon).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        _: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let y = engine.layer_norm(&x, &state[0], &state[1], self.epsilon)?;
        Ok(Pass { output: Rc::new(y), kept: Kept::tensors([x]) })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let x = &kept.tensors[0];
        let found = engine.layer_norm_backward(x, &state[0], &slope, self.epsilon)?;
        let (input, parameters) = (Some(Rc::new(found.input)), vec![found.weight, found.bias]);
        Ok(Gradients { input, parameters })
    }
}
