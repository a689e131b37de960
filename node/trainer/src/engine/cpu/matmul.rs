//! Batched products: large ones divided over their rows or columns, small ones whole, one thread
//! each.

use super::gemm::{Block, Matrix, Panels, Start, gemm, product};
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
    let mut result = engine.unset(&size.shape)?;
    let (rows, inner, columns) = (size.rows, size.inner, size.columns);
    let (of_left, of_right, each) = (rows * inner, inner * columns, rows * columns);
    if each == 0 {
        return Ok(result);
    }
    let left = |index: usize| {
        let values = &left.values[index * of_left..(index + 1) * of_left];
        side(values, rows, inner, left_side)
    };
    let right = |index: usize| {
        let values = &right.values[index * of_right..(index + 1) * of_right];
        side(values, inner, columns, right_side)
    };
    if size.count < engine.team.size() {
        for (index, target) in result.values.chunks_exact_mut(each).enumerate() {
            gemm(engine, left(index), right(index), Start::Zero, target)?;
        }
    } else {
        let several = MULTIPLICATIONS.div_ceil(each * inner.max(1));
        let pieces = result.values.chunks_mut(several * each).enumerate();
        engine.team.try_share(pieces, |(piece, targets)| {
            let mut panels = Panels::new(engine, inner, rows, columns)?;
            for (index, target) in targets.chunks_exact_mut(each).enumerate() {
                let (index, target) = (piece * several + index, Block::new(target, rows, columns));
                product(left(index), right(index), Start::Zero, target, &mut panels);
            }
            Ok(())
        })?;
    }
    Ok(result)
}

/// Of a piece of work.
const MULTIPLICATIONS: usize = 1 << 18;

/// `[rows, columns]` from values that lie so, or the other way round.
fn side(values: &[f32], rows: usize, columns: usize, side: Side) -> Matrix<'_> {
    match side {
        Side::Plain => Matrix::new(values, rows, columns),
        Side::Transposed => Matrix::new(values, columns, rows).transposed(),
    }
}
