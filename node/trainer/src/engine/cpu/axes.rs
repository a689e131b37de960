//! Copies that change the order or the extent of axes, in runs as long as both sides allow.

use std::ops::Range;

use super::{CpuEngine, CpuTensor};
use crate::engine::EngineError;
use crate::engine::arrays::{Around, concatenated, permuted, unfit};

pub(super) fn reshape(mut x: CpuTensor, shape: &[usize]) -> Result<CpuTensor, EngineError> {
    if shape.iter().product::<usize>() != x.values.len() {
        return Err(unfit("reshape", &x.shape, shape));
    }
    x.shape = shape.to_vec();
    Ok(x)
}

pub(super) fn permute(
    engine: &CpuEngine,
    x: &CpuTensor,
    axes: &[usize],
) -> Result<CpuTensor, EngineError> {
    let (shape, strides) = permuted(&x.shape, axes)?;
    let mut result = engine.unset(&shape)?;
    let (Some((&width, leading)), Some((&step, strides))) =
        (shape.split_last(), strides.split_last())
    else {
        result.values.copy_from_slice(&x.values);
        return Ok(result);
    };
    engine.in_rows(&mut result.values, width, width, |first, piece| {
        let mut place = Place::at(first, leading, strides);
        for row in piece.chunks_exact_mut(width) {
            let source = &x.values[place.offset..];
            if step == 1 {
                row.copy_from_slice(&source[..width]);
            } else {
                let picked = source.iter().step_by(step);
                row.iter_mut().zip(picked).for_each(|(value, from)| *value = *from);
            }
            place.advance(leading, strides);
        }
    });
    Ok(result)
}

/// An index along each axis of a result, and the offset of its value in the source.
struct Place {
    index: Vec<usize>,
    offset: usize,
}

impl Place {
    fn at(mut row: usize, shape: &[usize], strides: &[usize]) -> Self {
        let (mut index, mut offset) = (vec![0; shape.len()], 0);
        for axis in (0..shape.len()).rev() {
            index[axis] = row % shape[axis];
            offset += index[axis] * strides[axis];
            row /= shape[axis];
        }
        Self { index, offset }
    }

    /// On to the next row, and after the last to the first again.
    fn advance(&mut self, shape: &[usize], strides: &[usize]) {
        for axis in (0..shape.len()).rev() {
            self.index[axis] += 1;
            self.offset += strides[axis];
            if self.index[axis] < shape[axis] {
                return;
            }
            self.offset -= self.index[axis] * strides[axis];
            self.index[axis] = 0;
        }
    }
}

pub(super) fn slice(
    engine: &CpuEngine,
    x: &CpuTensor,
    axis: usize,
    range: Range<usize>,
) -> Result<CpuTensor, EngineError> {
    let Around { length, inner, .. } = Around::axis("slice", &x.shape, axis)?;
    if range.start > range.end || range.end > length {
        return Err(unfit("slice", &x.shape, &[axis, range.start, range.end]));
    }
    let mut shape = x.shape.clone();
    shape[axis] = range.len();
    let (before, width) = (range.start * inner, range.len() * inner);
    let mut result = engine.unset(&shape)?;
    engine.in_rows(&mut result.values, width, width, |first, piece| {
        for (index, block) in piece.chunks_exact_mut(width).enumerate() {
            let begin = (first + index) * length * inner + before;
            block.copy_from_slice(&x.values[begin..begin + width]);
        }
    });
    Ok(result)
}

pub(super) fn concatenate(
    engine: &CpuEngine,
    parts: &[&CpuTensor],
    axis: usize,
) -> Result<CpuTensor, EngineError> {
    let shapes: Vec<&[usize]> = parts.iter().map(|part| &part.shape[..]).collect();
    let shape = concatenated(&shapes, axis)?;
    let Around { length, inner, .. } = Around::axis("concatenate", &shape, axis)?;
    let mut result = engine.unset(&shape)?;
    let width = length * inner;
    engine.in_rows(&mut result.values, width, width, |first, piece| {
        for (index, mut block) in piece.chunks_exact_mut(width).enumerate() {
            for part in parts {
                let width = part.shape[axis] * inner;
                let (place, rest) = block.split_at_mut(width);
                place.copy_from_slice(&part.values[(first + index) * width..][..width]);
                block = rest;
            }
        }
    });
    Ok(result)
}
