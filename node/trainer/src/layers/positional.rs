//! A learned vector for each position, added to what is there: `torch.nn.Embedding` of the
//! positions.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, batched, values};
use crate::engine::arrays::Side;
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Positional {
    /// `[positions, dimensions]`.
    shape: [usize; 2],
    /// Of its start values.
    stream: u32,
}

impl Positional {
    pub(crate) fn new(shape: [usize; 2], stream: u32) -> Self {
        Self { shape, stream }
    }

    /// A column of ones: times a row it repeats it, transposed it adds rows up.
    fn ones<E: Engine>(engine: &mut E, rows: usize) -> Result<E::Tensor, EngineError> {
        engine.upload(&vec![1.0; rows], &[rows, 1])
    }

    fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Layer for Positional {
    fn kind(&self) -> &'static str {
        "positional_embedding"
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let start = Start::Normal { stream: self.stream };
        vec![TensorSpec::parameter("weight", &self.shape, start)]
    }

    fn flops(&self) -> u64 {
        values(&self.shape)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let ones = Self::ones(engine, rows)?;
        let table = engine.reshape(state[0].clone(), &[1, self.width()])?;
        let places = engine.matmul(&ones, Side::Plain, &table, Side::Plain)?;
        let places = engine.reshape(places, &batched(rows, &self.shape))?;
        engine.add(&x, &places).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        Ok(Pass { output: self.predict(engine, state, x, moment.rows)?, kept: Kept::none() })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        _: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let ones = Self::ones(engine, rows)?;
        let wide = engine.reshape(E::Tensor::clone(&slope), &[rows, self.width()])?;
        let table = engine.matmul(&ones, Side::Transposed, &wide, Side::Plain)?;
        let table = engine.reshape(table, &self.shape)?;
        let input = (input == InputGradient::Wanted).then_some(slope);
        Ok(Gradients { input, parameters: vec![table] })
    }
}
