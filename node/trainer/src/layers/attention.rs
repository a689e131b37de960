//! Multi-head self-attention over the positions of a row: `torch.nn.MultiheadAttention` with
//! `batch_first`, query, key and value being the same.

use std::rc::Rc;

use super::dropout::Dropout;
use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, values};
use crate::engine::arrays::{Mask, Side};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attention {
    /// `[positions, dimensions]`.
    shape: [usize; 2],
    /// Divides the dimensions.
    heads: usize,
    mask: Mask,
    /// Of the shares that positions have in each other.
    dropout: Dropout,
    /// Of its start values.
    stream: u32,
}

/// What each head works on: `[rows, heads, positions, dimensions of a head]`.
struct Projected<T> {
    /// Divided by the root of the dimensions of a head.
    query: T,
    key: T,
    value: T,
}

impl Attention {
    pub(crate) fn new(shape: [usize; 2], heads: usize, mask: Mask, rate: f64, stream: u32) -> Self {
        let [positions, dimensions] = shape;
        assert_eq!(dimensions % heads, 0, "heads divide the dimensions");
        let dropout = Dropout { rate, shape: vec![heads, positions, positions], stream };
        Self { shape, heads, mask, dropout, stream }
    }

    fn head(&self) -> usize {
        self.shape[1] / self.heads
    }

    fn factor(&self) -> f64 {
        1.0 / (self.head() as f64).sqrt()
    }

    /// `[rows, positions, parts · dimensions]` with the heads of all parts as an axis of their own,
    /// before the positions.
    fn split<E: Engine>(
        &self,
        engine: &mut E,
        flat: E::Tensor,
        parts: usize,
        rows: usize,
    ) -> Result<E::Tensor, EngineError> {
        let shape = [rows, self.shape[0], parts * self.heads, self.head()];
        let apart = engine.reshape(flat, &shape)?;
        engine.permute(&apart, &[0, 2, 1, 3])
    }

    /// The way back from [`Self::split`].
    fn join<E: Engine>(
        &self,
        engine: &mut E,
        apart: &E::Tensor,
        parts: usize,
        rows: usize,
    ) -> Result<E::Tensor, EngineError> {
        let [positions, dimensions] = self.shape;
        let together = engine.permute(apart, &[0, 2, 1, 3])?;
        engine.reshape(together, &[rows, positions, parts * dimensions])
    }

    fn project<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: &E::Tensor,
        rows: usize,
    ) -> Result<Projected<E::Tensor>, EngineError> {
        let all = engine.linear(x, &state[0], &state[1])?;
        let all = self.split(engine, all, 3, rows)?;
        let mut part =
            |part: usize| engine.slice(&all, 1, part * self.heads..(part + 1) * self.heads);
        let (mut query, key, value) = (part(0)?, part(1)?, part(2)?);
        engine.scale_in_place(&mut query, self.factor())?;
        Ok(Projected { query, key, value })
    }

    /// The values of all positions in their shares, and what it means for the next layer.
    fn mix<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        shares: &E::Tensor,
        value: &E::Tensor,
        rows: usize,
    ) -> Result<(Rc<E::Tensor>, E::Tensor), EngineError> {
        let mixed = engine.matmul(shares, Side::Plain, value, Side::Plain)?;
        let mixed = self.join(engine, &mixed, 1, rows)?;
        let y = engine.linear(&mixed, &state[2], &state[3])?;
        Ok((Rc::new(y), mixed))
    }
}

impl Layer for Attention {
    fn kind(&self) -> &'static str {
        "attention"
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let [_, dimensions] = self.shape;
        // As `torch.nn.init.xavier_uniform_` draws for `[3 · dimensions, dimensions]`.
        let bound = (6.0 / (4 * dimensions) as f64).sqrt() as f32;
        let projection = Start::Uniform { stream: self.stream, bound };
        let (zero, out) = (Start::Constant(0.0), Start::fan_in(self.stream, dimensions));
        vec![
            TensorSpec::parameter("in_proj_weight", &[3 * dimensions, dimensions], projection),
            TensorSpec::parameter("in_proj_bias", &[3 * dimensions], zero),
            TensorSpec::parameter("out_proj.weight", &[dimensions, dimensions], out),
            TensorSpec::parameter("out_proj.bias", &[dimensions], zero),
        ]
    }

    fn flops(&self) -> u64 {
        let [positions, dimensions] = self.shape.map(|length| length as u64);
        let products = 8 * dimensions + 4 * positions;
        positions * dimensions * products
    }

    /// Input, query, key, value, mixed values and output; and the shares, before and after dropout
    /// with its mask.
    fn held(&self) -> u64 {
        let copies = if self.dropout.rate == 0.0 { 1 } else { 3 };
        6 * values(&self.shape) + copies * values(&self.dropout.shape)
    }

    /// The shares of all heads, or query, key and value together.
    fn widest(&self) -> u64 {
        values(&self.dropout.shape).max(3 * values(&self.shape))
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let Projected { query, key, value } = self.project(engine, state, &x, rows)?;
        let scores = engine.matmul(&query, Side::Plain, &key, Side::Transposed)?;
        let shares = engine.masked_softmax(&scores, self.mask)?;
        Ok(self.mix(engine, state, &shares, &value, rows)?.0)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let rows = moment.rows;
        let Projected { query, key, value } = self.project(engine, state, &x, rows)?;
        let scores = engine.matmul(&query, Side::Plain, &key, Side::Transposed)?;
        let shares = Rc::new(engine.masked_softmax(&scores, self.mask)?);
        drop(scores);
        let pass = self.dropout.forward(engine, &mut [], Rc::clone(&shares), moment)?;
        let Pass { output: left, kept: dropped } = pass;
        let (output, mixed) = self.mix(engine, state, &left, &value, rows)?;
        let own = [query, key, value, mixed].map(Rc::new);
        let tensors = own.into_iter().chain([x, shares, left]).collect();
        Ok(Pass { output, kept: Kept { tensors, inner: vec![dropped] } })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        mut kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        use Side::{Plain, Transposed};
        let dropped = kept.inner.pop().expect("the forward pass left what dropout kept");
        let [query, key, value, mixed, x, shares, left] = &kept.tensors[..] else {
            unreachable!("the forward pass leaves seven tensors");
        };
        let wanted = InputGradient::Wanted;
        let out = engine.linear_backward(mixed, &state[2], &slope, wanted)?;
        let slope = self.split(engine, out.input.expect("it is wanted"), 1, rows)?;
        let of_value = engine.matmul(left, Transposed, &slope, Plain)?;
        let of_left = Rc::new(engine.matmul(&slope, Plain, value, Transposed)?);
        let of_shares = self.dropout.backward(engine, &[], dropped, of_left, wanted, rows)?;
        let of_shares = of_shares.input.expect("it is wanted");
        let of_scores = engine.masked_softmax_backward(shares, &of_shares)?;
        let mut of_query = engine.matmul(&of_scores, Plain, key, Plain)?;
        engine.scale_in_place(&mut of_query, self.factor())?;
        let of_key = engine.matmul(&of_scores, Transposed, query, Plain)?;
        let all = engine.concatenate(&[&of_query, &of_key, &of_value], 1)?;
        let all = self.join(engine, &all, 3, rows)?;
        let first = engine.linear_backward(x, &state[0], &all, input)?;
        Ok(Gradients {
            input: first.input.map(Rc::new),
            parameters: vec![first.weight, first.bias, out.weight, out.bias],
        })
    }
}
