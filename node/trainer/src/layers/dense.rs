//! Fully connected over the last axis, with bias; `torch.nn.Linear`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, batched, values};
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

    /// The vectors that it works on, one below the other.
    fn matrix<E: Engine>(
        engine: &mut E,
        x: Rc<E::Tensor>,
        rows: usize,
        row: &[usize],
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let Some((width, before @ [_, ..])) = row.split_last() else {
            return Ok(x);
        };
        let vectors = rows * before.iter().product::<usize>();
        engine.reshape(Rc::unwrap_or_clone(x), &[vectors, *width]).map(Rc::new)
    }

    fn shaped<E: Engine>(
        engine: &mut E,
        y: E::Tensor,
        rows: usize,
        row: &[usize],
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let shaped = if row.len() == 1 { y } else { engine.reshape(y, &batched(rows, row))? };
        Ok(Rc::new(shaped))
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
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let x = Self::matrix(engine, x, rows, &self.input)?;
        let y = engine.linear(&x, &state[0], &state[1])?;
        Self::shaped(engine, y, rows, &self.output)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let x = Self::matrix(engine, x, moment.rows, &self.input)?;
        let y = engine.linear(&x, &state[0], &state[1])?;
        let output = Self::shaped(engine, y, moment.rows, &self.output)?;
        Ok(Pass { output, kept: Kept::tensors([x]) })
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
        let slope = Self::matrix(engine, slope, rows, &self.output)?;
        let found = engine.linear_backward(&kept.tensors[0], &state[0], &slope, input)?;
        let input =
            found.input.map(|dx| Self::shaped(engine, dx, rows, &self.input)).transpose()?;
        Ok(Gradients { input, parameters: vec![found.weight, found.bias] })
    }
}
