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

impl Activate {
    /// In the memory of `x` where nobody else holds it.
    fn of<E: Engine>(&self, engine: &mut E, x: Rc<E::Tensor>) -> Result<E::Tensor, EngineError> {
        match Rc::try_unwrap(x) {
            Ok(x) => engine.activate_in_place(self.function, x),
            Err(x) => engine.activate(self.function, &x),
        }
    }

    fn slope<E: Engine>(
        &self,
        engine: &mut E,
        x: &E::Tensor,
        y: &E::Tensor,
        dy: Rc<E::Tensor>,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let found = match Rc::try_unwrap(dy) {
            Ok(dy) => engine.activate_backward_in_place(self.function, x, y, dy),
            Err(dy) => engine.activate_backward(self.function, x, y, &dy),
        };
        found.map(Gradients::of_input)
    }
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
        self.of(engine, x).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        _: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        _: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let input = (!engine.needs_no_input(self.function)).then(|| Rc::clone(&x));
        let y = Rc::new(self.of(engine, x)?);
        let kept: Vec<_> = input.into_iter().chain([Rc::clone(&y)]).collect();
        Ok(Pass { output: y, kept: Kept::tensors(kept) })
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
        let [x, .., y] = &kept.tensors[..] else {
            let y = &kept.tensors[0];
            return self.slope(engine, y, y, slope);
        };
        self.slope(engine, x, y, slope)
    }
}
