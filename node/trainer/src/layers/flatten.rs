//! The same values under another shape: `flatten` and `reshape`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, batched};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flatten {
    pub(crate) kind: &'static str,
    pub(crate) input: Vec<usize>,
    pub(crate) output: Vec<usize>,
}

impl Flatten {
    fn shaped<E: Engine>(
        &self,
        engine: &mut E,
        x: Rc<E::Tensor>,
        shape: &[usize],
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        if self.input == self.output {
            return Ok(x);
        }
        engine.reshape(Rc::unwrap_or_clone(x), &batched(rows, shape)).map(Rc::new)
    }
}

impl Layer for Flatten {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn flops(&self) -> u64 {
        0
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        self.shaped(engine, x, &self.output, rows)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        _: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let output = self.shaped(engine, x, &self.output, moment.rows)?;
        Ok(Pass { output, kept: Kept::none() })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        _: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        self.shaped(engine, slope, &self.input, rows).map(Gradients::of_input)
    }
}
