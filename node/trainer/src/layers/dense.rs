//! Fully connected over the last axis, with bias; `torch.nn.Linear`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, values};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    input: Vec<usize>,
    output: Vec<usize>,
    /// Of its start values.
    stream: u32,
}

impl Dense {
    pub(crate) fn new(input: &[usize], units: usize, stream: u32) -> Self {
        let (_, before) = input.split_last().expect("rows have at least one axis");
        Self { input: input.to_vec(), output: [before, &[units]].concat(), stream }
    }

    fn inputs(&self) -> usize {
        *self.input.last().expect("rows have at least one axis")
    }

    fn units(&self) -> usize {
        *self.output.last().expect("rows have at least one axis")
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let start = Start::fan_in(self.stream, self.inputs());
        vec![
            TensorSpec::parameter("weight", &[self.units(), self.inputs()], start),
            TensorSpec::parameter("bias", &[self.units()], start),
        ]
    }

    fn flops(&self) -> u64 {
        2 * values(&self.output) * self.inputs() as u64
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        engine.linear(&x, &state[0], &state[1]).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        _: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let y = engine.linear(&x, &state[0], &state[1])?;
        Ok(Pass { output: Rc::new(y), kept: Kept::tensors([x]) })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let found = engine.linear_backward(&kept.tensors[0], &state[0], &slope, input)?;
        let input = found.input.map(Rc::new);
        Ok(Gradients { input, parameters: vec![found.weight, found.bias] })
    }
}
