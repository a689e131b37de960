//! Matrix product on `matrixmultiply`, divided over rows or columns of the result, never over the
//! summed axis: each value is then one sum in one order, whoever computes it.

use super::CpuEngine;

/// A matrix in a slice, possibly read transposed.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix is as long as its shape says");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Part of the result: its first row and column, and its size.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

/// `result = left · right + beta * result`, row-major; `beta` is 0 or 1.
pub(super) fn gemm(
    engine: &CpuEngine,
    left: Matrix<'_>,
    right: Matrix<'_>,
    beta: f32,
    result: &mut [f32],
) {
    /// Multiplications below which waking a thread takes longer than it saves.
    const WORTH_DIVIDING: usize = 1 << 19;
    assert_eq!(left.columns, right.rows, "the summed axes are equally long");
    assert_eq!(result.len(), left.rows * right.columns, "the result has the product's shape");
    let (rows, columns) = (left.rows, right.columns);
    let target = Target { values: result.as_mut_ptr(), row_stride: columns };
    let whole = Block { row: 0, column: 0, rows, columns };
    match &engine.pool {
        Some(pool) if rows * columns * left.columns >= WORTH_DIVIDING => pool.scope(|scope| {
            let length = piece(rows.max(columns), engine.threads);
            let target = &target;
            for start in (0..rows.max(columns)).step_by(length) {
                let block = if rows >= columns {
                    Block { row: start, rows: length.min(rows - start), ..whole }
                } else {
                    Block { column: start, columns: length.min(columns - start), ..whole }
                };
                // SAFETY: the blocks lie within the result and share no value, and the scope ends
                // before the exclusive borrow of the result does.
                scope.spawn(move |_| unsafe { block_product(left, right, beta, block, target) });
            }
        }),
        // SAFETY: the block is the whole result, borrowed exclusively.
        Some(_) | None => unsafe { block_product(left, right, beta, whole, &target) },
    }
}

/// `result = left · right + beta * result` on the caller's thread, where the result lies in a
/// row-major matrix whose rows are `row_stride` long, and `result` begins with its first value.
/// `beta` is 0 or 1.
pub(super) fn product_into(
    left: Matrix<'_>,
    right: Matrix<'_>,
    beta: f32,
    result: &mut [f32],
    row_stride: usize,
) {
    assert_eq!(left.columns, right.rows, "the summed axes are equally long");
    assert!(right.columns <= row_stride, "rows do not overlap");
    let fits = ends_within(result.len(), left.rows, right.columns, row_stride);
    assert!(fits, "the result has the product's shape");
    let block = Block { row: 0, column: 0, rows: left.rows, columns: right.columns };
    let target = Target { values: result.as_mut_ptr(), row_stride };
    // SAFETY: the result is borrowed exclusively and ends behind the block.
    unsafe { block_product(left, right, beta, block, &target) }
}

/// Whether the last of `rows` rows ends within `length` values.
fn ends_within(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || (rows - 1) * row_stride + columns <= length
}

/// A share for each thread, in whole tiles of the kernel.
fn piece(length: usize, threads: usize) -> usize {
    const TILE: usize = 16;
    length.div_ceil(threads).next_multiple_of(TILE)
}

/// Start of the row-major result, and the length of its rows.
struct Target {
    values: *mut f32,
    row_stride: usize,
}

// SAFETY: each thread writes its own block only; see `gemm`.
unsafe impl Sync for Target {}

/// # Safety
/// `target` points to `left.rows` rows of `right.columns` values, `row_stride` apart, of which
/// nobody else touches `block`, and `block` lies within them.
unsafe fn block_product(
    left: Matrix<'_>,
    right: Matrix<'_>,
    beta: f32,
    block: Block,
    target: &Target,
) {
    assert!(block.row + block.rows <= left.rows, "blocks end with the result");
    assert!(block.column + block.columns <= right.columns, "blocks end with the result");
    if block.rows == 0 || block.columns == 0 || left.columns == 0 {
        return;
    }
    // SAFETY: both matrices are as long as their shapes say (`Matrix::new`), so all offsets of
    // the block's rows and columns lie within them, and so does the block in the target.
    unsafe {
        matrixmultiply::sgemm(
            block.rows,
            left.columns,
            block.columns,
            1.0,
            left.values.as_ptr().add(block.row * left.row_stride),
            left.row_stride as isize,
            left.column_stride as isize,
            right.values.as_ptr().add(block.column * right.column_stride),
            right.row_stride as isize,
            right.column_stride as isize,
            beta,
            target.values.add(block.row * target.row_stride + block.column),
            target.row_stride as isize,
            1,
        );
    }
}
