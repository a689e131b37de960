//! [`Arrays`] on host memory: what is one line, and the way to what is more.

use std::ops::Range;

use super::{CpuEngine, CpuTensor, activation, axes, embedding, matmul, same};
use crate::engine::EngineError;
use crate::engine::arrays::{Arrays, Mask, Side, attended};

impl Arrays<CpuTensor> for CpuEngine {
    fn reshape(&mut self, x: CpuTensor, shape: &[usize]) -> Result<CpuTensor, EngineError> {
        axes::reshape(x, shape)
    }

    fn permute(&mut self, x: &CpuTensor, axes: &[usize]) -> Result<CpuTensor, EngineError> {
        axes::permute(self, x, axes)
    }

    fn slice(
        &mut self,
        x: &CpuTensor,
        axis: usize,
        range: Range<usize>,
    ) -> Result<CpuTensor, EngineError> {
        axes::slice(self, x, axis, range)
    }

    fn concatenate(&mut self, parts: &[&CpuTensor], axis: usize) -> Result<CpuTensor, EngineError> {
        axes::concatenate(self, parts, axis)
    }

    fn add(&mut self, left: &CpuTensor, right: &CpuTensor) -> Result<CpuTensor, EngineError> {
        both(self, "add", left, right, |left, right| left + right)
    }

    fn subtract(&mut self, left: &CpuTensor, right: &CpuTensor) -> Result<CpuTensor, EngineError> {
        both(self, "subtract", left, right, |left, right| left - right)
    }

    fn scale(&mut self, x: &CpuTensor, factor: f32) -> Result<CpuTensor, EngineError> {
        let mut scaled = self.unset(&x.shape)?;
        self.in_pieces(&mut scaled.values, |offset, piece| {
            let values = &x.values[offset..];
            piece.iter_mut().zip(values).for_each(|(scaled, value)| *scaled = value * factor);
        });
        Ok(scaled)
    }

    fn matmul(
        &mut self,
        left: &CpuTensor,
        left_side: Side,
        right: &CpuTensor,
        right_side: Side,
    ) -> Result<CpuTensor, EngineError> {
        matmul::matmul(self, left, left_side, right, right_side)
    }

    fn masked_softmax(&mut self, scores: &CpuTensor, mask: Mask) -> Result<CpuTensor, EngineError> {
        let (queries, keys) = attended(&scores.shape, mask)?;
        let mut shares = self.copy_of(scores)?;
        self.in_rows(&mut shares.values, keys, keys * EXP, |first, piece| {
            for (index, row) in piece.chunks_exact_mut(keys).enumerate() {
                let seen = mask.seen((first + index) % queries, keys);
                let (seen, hidden) = row.split_at_mut(seen);
                activation::softmax(seen, seen.len());
                hidden.fill(0.0);
            }
        });
        Ok(shares)
    }

    fn masked_softmax_backward(
        &mut self,
        y: &CpuTensor,
        dy: &CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        same("masked_softmax_backward", y, dy)?;
        let (_, keys) = attended(&y.shape, Mask::None)?;
        let mut slopes = self.copy_of(dy)?;
        self.in_rows(&mut slopes.values, keys, keys * 2, |first, piece| {
            let y = &y.values[first * keys..][..piece.len()];
            activation::softmax_backward(y, piece, keys);
        });
        Ok(slopes)
    }

    fn embed(&mut self, table: &CpuTensor, ids: &CpuTensor) -> Result<CpuTensor, EngineError> {
        embedding::embed(self, table, ids)
    }

    fn embed_backward(
        &mut self,
        ids: &CpuTensor,
        dy: &CpuTensor,
        vocabulary: usize,
    ) -> Result<CpuTensor, EngineError> {
        embedding::embed_backward(self, ids, dy, vocabulary)
    }
}

/// Copies of a value in the time of one exponential, about.
pub(super) const EXP: usize = 4;

fn both(
    engine: &CpuEngine,
    operation: &'static str,
    left: &CpuTensor,
    right: &CpuTensor,
    work: impl Fn(f32, f32) -> f32 + Sync,
) -> Result<CpuTensor, EngineError> {
    same(operation, left, right)?;
    let mut result = engine.unset(&left.shape)?;
    engine.in_pieces(&mut result.values, |offset, piece| {
        let pairs = left.values[offset..].iter().zip(&right.values[offset..]);
        piece.iter_mut().zip(pairs).for_each(|(to, (left, right))| *to = work(*left, *right));
    });
    Ok(result)
}
