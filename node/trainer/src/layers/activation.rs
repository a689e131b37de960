//! A function of each value, or of each vector along the last axis.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, values};
use crate::definition::Activation;
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Activate {
    pub(crate) function: Activation,
    pub(crate) shape: Vec<usize>,
}

impl Layer for Activate {
    fn kind(&self) -> &'static str {
        self.function.name()
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn flops(&self) -> u64 {
        values(&self.shape)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        engine.activate(self.function, &x).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        _: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        _: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let y = Rc::new(engine.activate(self.function, &x)?);
        Ok(Pass { output: Rc::clone(&y), kept: Kept::tensors([x, y]) })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let (x, y) = (&kept.tensors[0], &kept.tensors[1]);
        engine.activate_backward(self.function, x, y, &slope).map(Gradients::of_input)
    }
}
