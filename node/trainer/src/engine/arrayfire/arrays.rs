//! Where the operations of [`crate::engine::arrays`] are done.

use std::ops::Range;

use arrayfire::{MatProp, le, range, selectr};

use super::values::{Values, dims, matmul, shaped, times};
use super::{ArrayFireEngine, ArrayFireTensor, activation, axes, downloaded, embedding};
use super::{matrix, same, tensor, values, zeros};
use crate::engine::EngineError;
use crate::engine::arrays::{
    Around, Arrays, Mask, Product, Side, attended, concatenated, indices, permuted, unfit,
};

impl Arrays<ArrayFireTensor> for ArrayFireEngine {
    fn reshape(
        &mut self,
        x: ArrayFireTensor,
        shape: &[usize],
    ) -> Result<ArrayFireTensor, EngineError> {
        if shape.iter().product::<usize>() != x.count() {
            return Err(unfit("reshape", &x.shape, shape));
        }
        Ok(ArrayFireTensor { shape: shape.to_vec(), ..x })
    }

    fn permute(
        &mut self,
        x: &ArrayFireTensor,
        axes: &[usize],
    ) -> Result<ArrayFireTensor, EngineError> {
        let (shape, _) = permuted(&x.shape, axes)?;
        tensor(&shape, || axes::permute(&x.values, &x.shape, axes))
    }

    fn slice(
        &mut self,
        x: &ArrayFireTensor,
        axis: usize,
        range: Range<usize>,
    ) -> Result<ArrayFireTensor, EngineError> {
        let around = Around::axis("slice", &x.shape, axis)?;
        if range.start > range.end || range.end > around.length {
            return Err(unfit("slice", &x.shape, &[axis, range.start, range.end]));
        }
        let mut shape = x.shape.clone();
        shape[axis] = range.len();
        tensor(&shape, || axes::slice(&x.values, around, range.start, range.len()))
    }

    fn concatenate(
        &mut self,
        parts: &[&ArrayFireTensor],
        axis: usize,
    ) -> Result<ArrayFireTensor, EngineError> {
        let shapes: Vec<&[usize]> = parts.iter().map(|part| &part.shape[..]).collect();
        let shape = concatenated(&shapes, axis)?;
        let around = Around::axis("concatenate", &shape, axis)?;
        let filled = parts.iter().filter(|part| part.shape[axis] > 0);
        let filled: Vec<_> = filled.map(|part| (&part.values, part.shape[axis])).collect();
        tensor(&shape, || axes::concatenate(&filled, around))
    }

    fn add(
        &mut self,
        left: &ArrayFireTensor,
        right: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        same("add", left, right)?;
        tensor(&left.shape, || values::add(&left.flat(), &right.flat()))
    }

    fn subtract(
        &mut self,
        left: &ArrayFireTensor,
        right: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        same("subtract", left, right)?;
        tensor(&left.shape, || values::sub(&left.flat(), &right.flat()))
    }

    fn scale(&mut self, x: &ArrayFireTensor, factor: f32) -> Result<ArrayFireTensor, EngineError> {
        tensor(&x.shape, || times(&x.flat(), factor))
    }

    /// The library's matrices are the transposed of ours, so that operands change places.
    fn matmul(
        &mut self,
        left: &ArrayFireTensor,
        left_side: Side,
        right: &ArrayFireTensor,
        right_side: Side,
    ) -> Result<ArrayFireTensor, EngineError> {
        let size = Product::of(&left.shape, left_side, &right.shape, right_side)?;
        if size.inner == 0 {
            return zeros(&size.shape);
        }
        let operand = |x: &ArrayFireTensor, side, rows: usize, columns: usize| match side {
            Side::Plain => (shaped(&x.values, [columns, rows, size.count, 1]), MatProp::NONE),
            Side::Transposed => (shaped(&x.values, [rows, columns, size.count, 1]), MatProp::TRANS),
        };
        tensor(&size.shape, || {
            let (left, of_left) = operand(left, left_side, size.rows, size.inner);
            let (right, of_right) = operand(right, right_side, size.inner, size.columns);
            matmul(&right, &left, of_right, of_left)
        })
    }

    fn masked_softmax(
        &mut self,
        scores: &ArrayFireTensor,
        mask: Mask,
    ) -> Result<ArrayFireTensor, EngineError> {
        let (queries, keys) = attended(&scores.shape, mask)?;
        let count = scores.count() / (queries * keys).max(1);
        tensor(&scores.shape, || {
            let x = shaped(&scores.values, [keys, queries, count, 1]);
            activation::softmax(&match mask {
                Mask::None => x,
                Mask::Causal => causal(&x, queries),
            })
        })
    }

    fn masked_softmax_backward(
        &mut self,
        y: &ArrayFireTensor,
        dy: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        same("masked_softmax_backward", y, dy)?;
        tensor(&y.shape, || activation::softmax_backward(&y.by_rows(), &dy.by_rows()))
    }

    fn embed(
        &mut self,
        table: &ArrayFireTensor,
        ids: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        let (vocabulary, dimensions) = matrix("embed", table)?;
        let places = places(ids, vocabulary)?;
        let shape = [&ids.shape[..], &[dimensions]].concat();
        tensor(&shape, || embedding::columns(&table.by_rows(), &places))
    }

    fn embed_backward(
        &mut self,
        ids: &ArrayFireTensor,
        dy: &ArrayFireTensor,
        vocabulary: usize,
    ) -> Result<ArrayFireTensor, EngineError> {
        let dimensions = match dy.shape.split_last() {
            Some((&dimensions, rest)) if rest == ids.shape && dimensions > 0 => dimensions,
            Some(_) | None => return Err(unfit("embed_backward", &ids.shape, &dy.shape)),
        };
        let places = places(ids, vocabulary)?;
        if places.is_empty() {
            return zeros(&[vocabulary, dimensions]);
        }
        tensor(&[vocabulary, dimensions], || embedding::sums(&dy.by_rows(), &places, vocabulary))
    }
}

/// `x [keys, queries, ..]` with nothing to see behind a query.
fn causal(x: &Values, queries: usize) -> Values {
    let square = dims([queries, queries, 1, 1]);
    let seen = le(&range::<f32>(square, 0), &range::<f32>(square, 1), false);
    let seen = arrayfire::tile(&seen, dims([1, 1, x.dims()[2] as usize, 1]));
    selectr(x, &seen, f64::NEG_INFINITY)
}

fn places(ids: &ArrayFireTensor, vocabulary: usize) -> Result<Vec<u32>, EngineError> {
    let positions = ids.shape.iter().skip(1).product();
    let ids = downloaded(&ids.values, ids.count())?;
    let places = indices(ids.into_iter(), positions, vocabulary)?;
    Ok(places.into_iter().map(|place| place as u32).collect())
}
