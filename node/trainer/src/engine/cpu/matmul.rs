//! Batched products: large ones divided over their rows or columns, small ones whole, one thread
//! each.

use super::gemm::{Matrix, gemm, product_into};
use super::{CpuEngine, CpuTensor};
use crate::engine::EngineError;
use crate::engine::arrays::{Product, Side};

pub(super) fn matmul(
    engine: &CpuEngine,
    left: &CpuTensor,
    left_side: Side,
    right: &CpuTensor,
    right_side: Side,
) -> Result<CpuTensor, EngineError> {
    let size = Product::of(&left.shape, left_side, &right.shape, right_side)?;
    let mut result = engine.zeros_of(&size.shape)?;
    let (rows, inner, columns) = (size.rows, size.inner, size.columns);
    if rows == 0 || inner == 0 || columns == 0 {
        return Ok(result);
    }
    let (of_left, of_right, each) = (rows * inner, inner * columns, rows * columns);
    let left = |index: usize| {
        let values = &left.values[index * of_left..(index + 1) * of_left];
        side(values, rows, inner, left_side)
    };
    let right = |index: usize| {
        let values = &right.values[index * of_right..(index + 1) * of_right];
        side(values, inner, columns, right_side)
    };
    if size.count < engine.threads {
        for (index, target) in result.values.chunks_exact_mut(each).enumerate() {
            gemm(engine, left(index), right(index), 0.0, target);
        }
    } else {
        engine.in_rows(&mut result.values, each, each * inner / PER_COPY, |first, piece| {
            for (index, target) in piece.chunks_exact_mut(each).enumerate() {
                product_into(left(first + index), right(first + index), 0.0, target, columns);
            }
        });
    }
    Ok(result)
}

/// Multiplications in the time of copying one value, about.
const PER_COPY: usize = 16;

/// `[rows, columns]` from values that lie so, or the other way round.
fn side(values: &[f32], rows: usize, columns: usize, side: Side) -> Matrix<'_> {
    match side {
        Side::Plain => Matrix::new(values, rows, columns),
        Side::Transposed => Matrix::new(values, columns, rows).transposed(),
    }
}
