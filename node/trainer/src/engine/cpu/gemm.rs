//! Matrix product. Each value of the result is one sum in one order, whoever computes it: products
//! are added one after the other in stretches of [`DEPTH`], and the sums of the stretches in their
//! order. Tiles, panels and threads divide rows and columns of the result, never the summed axis,
//! so that no bit depends on them.
//!
//! The data's way through the caches is that of Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication" (2008).

mod block;
mod panels;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::CpuEngine;
use super::vectors::{Kernel, LANES, Level, Vector};
use crate::engine::EngineError;
pub(super) use block::Block;
pub(super) use panels::Panels;

/// Products that are added up before their sum is added to that of others; a part of the results'
/// bits, so never changed.
const DEPTH: usize = 256;

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// From the begin of a row to that of the next, or of a column if it lies by columns.
    stride: usize,
    lies: Lies,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    ByRows,
    ByColumns,
}

impl<'a> Matrix<'a> {
    /// Row after row.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix is as long as its shape says");
        Self { values, rows, columns, stride: columns, lies: Lies::ByRows }
    }

    /// As [`Self::new`], with the begins of rows `stride` apart.
    pub(super) fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let last = rows.saturating_sub(1) * stride;
        assert!(columns <= stride && values.len() >= last + columns, "all rows are there");
        Self { values, rows, columns, stride, lies: Lies::ByRows }
    }

    pub(super) fn transposed(self) -> Self {
        let lies = match self.lies {
            Lies::ByRows => Lies::ByColumns,
            Lies::ByColumns => Lies::ByRows,
        };
        Self { rows: self.columns, columns: self.rows, lies, ..self }
    }

    fn in_rows(self, range: Range<usize>) -> Self {
        let at = match self.lies {
            Lies::ByRows => range.start * self.stride,
            Lies::ByColumns => range.start,
        };
        Self { values: self.values.get(at..).unwrap_or_default(), rows: range.len(), ..self }
    }

    fn in_columns(self, range: Range<usize>) -> Self {
        self.transposed().in_rows(range).transposed()
    }
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// The same for all rows.
    Row(&'a [f32]),
}

impl Start<'_> {
    fn in_columns(self, range: Range<usize>) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Row(row) => Self::Row(&row[range]),
        }
    }
}

/// `result = start + left · right`, row after row, divided among the engine's threads.
pub(super) fn gemm(
    engine: &CpuEngine,
    left: Matrix<'_>,
    right: Matrix<'_>,
    start: Start<'_>,
    result: &mut [f32],
) -> Result<(), EngineError> {
    /// Multiplications that take as long as another thread's packing.
    const WORTH_DIVIDING: usize = 1 << 18;
    let (rows, columns) = (left.rows, right.columns);
    let whole = Block::new(result, rows, columns);
    let divided = engine.team.size() > 1 && rows * columns * left.columns >= WORTH_DIVIDING;
    if !divided {
        let mut panels = Panels::new(engine, left.columns, rows, columns)?;
        product(left, right, start, whole, &mut panels);
        return Ok(());
    }
    let by_rows = rows >= columns;
    let length = share(rows.max(columns), engine.team.size());
    let blocks = if by_rows { whole.split_rows(length) } else { whole.split_columns(length) };
    engine.team.try_share(blocks.into_iter(), |block| {
        let (rows, columns) = (block.rows(), block.columns());
        let mut panels = Panels::new(engine, left.columns, rows.len(), columns.len())?;
        let (left, right) = (left.in_rows(rows), right.in_columns(columns.clone()));
        product(left, right, start.in_columns(columns), block, &mut panels);
        Ok(())
    })
}

/// Rows or columns of a thread, in whole tiles.
fn share(length: usize, threads: usize) -> usize {
    const TILE: usize = 2 * LANES;
    length.div_ceil(threads).next_multiple_of(TILE)
}

/// `rows` in blocks of [`LANES`]: in each, their values of every column side by side. What is
/// missing to a whole block is zero.
pub(super) fn side_by_side(rows: Matrix<'_>, blocks: &mut [f32]) {
    assert_eq!(blocks.len(), rows.rows.next_multiple_of(LANES) * rows.columns, "whole blocks");
    Level::of_processor().run(SideBySide { rows, blocks });
}

struct SideBySide<'a> {
    rows: Matrix<'a>,
    blocks: &'a mut [f32],
}

impl Kernel for SideBySide<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        panels::fill::<V, LANES>(self.rows, self.blocks);
    }
}

/// `result = start + left · right` on the caller's thread.
pub(super) fn product(
    left: Matrix<'_>,
    right: Matrix<'_>,
    start: Start<'_>,
    result: Block<'_>,
    panels: &mut Panels,
) {
    product_at(Level::of_processor(), left, right, start, result, panels);
}

fn product_at(
    level: Level,
    left: Matrix<'_>,
    right: Matrix<'_>,
    start: Start<'_>,
    result: Block<'_>,
    panels: &mut Panels,
) {
    assert_eq!(left.columns, right.rows, "the summed axes are equally long");
    let shape = [result.rows().len(), result.columns().len()];
    assert_eq!(shape, [left.rows, right.columns], "the result has the product's shape");
    level.run(Product { left, right, start, result, panels });
}

struct Product<'a, 'p> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    start: Start<'a>,
    result: Block<'a>,
    panels: &'p mut Panels,
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let columns = self.right.columns;
        if !V::MANY {
            return self.tiles::<V, 6, 1, LANES>(0..columns);
        }
        // The last columns in single vectors, if that is all they fill.
        let rest = columns % (2 * LANES);
        let wide = if rest <= LANES { columns - rest } else { columns };
        self.tiles::<V, 8, 2, { 2 * LANES }>(0..wide);
        self.tiles::<V, 8, 1, LANES>(wide..columns);
    }
}

impl Product<'_, '_> {
    /// Some columns of the result, in tiles of `R` rows and `W` columns, which are `C` vectors.
    #[inline(always)]
    fn tiles<V: Vector, const R: usize, const C: usize, const W: usize>(
        &mut self,
        columns: Range<usize>,
    ) {
        let (rows, depth) = (self.left.rows, self.left.columns);
        let packed_columns = panels::columns(depth);
        for columns in pieces(columns, packed_columns) {
            if depth == 0 {
                self.fill(columns);
                continue;
            }
            let right = self.right.in_columns(columns.clone());
            for summed in pieces(0..depth, DEPTH) {
                let right = right.in_rows(summed.clone());
                let right = self.panels.right.pack::<V, W>(right.transposed());
                for rows in pieces(0..rows, panels::ROWS) {
                    let left = self.left.in_rows(rows.clone()).in_columns(summed.clone());
                    let left = self.panels.left.pack::<V, R>(left);
                    let start = (summed.start == 0).then_some(self.start);
                    for (index, right) in right.chunks_exact(summed.len() * W).enumerate() {
                        let begin = columns.start + index * W;
                        let columns = begin..columns.end.min(begin + W);
                        for (index, left) in left.chunks_exact(summed.len() * R).enumerate() {
                            let begin = rows.start + index * R;
                            let rows = begin..rows.end.min(begin + R);
                            let sums = tile::<V, R, C>(left, right);
                            add::<V, R, C>(&mut self.result, rows, columns.clone(), start, sums);
                        }
                    }
                }
            }
        }
    }

    /// What the sum of nothing gives.
    fn fill(&mut self, columns: Range<usize>) {
        for row in 0..self.left.rows {
            let line = self.result.line(row, columns.clone());
            match self.start {
                Start::Zero => line.fill(0.0),
                Start::Row(values) => line.copy_from_slice(&values[columns.clone()]),
            }
        }
    }
}

/// `range` in pieces of `length`.
fn pieces(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(length).map(move |begin| begin..end.min(begin + length))
}

/// Sums of products of panels, `R` rows of the left and `C` vectors of the right.
#[inline(always)]
fn tile<V: Vector, const R: usize, const C: usize>(left: &[f32], right: &[f32]) -> [[V; C]; R] {
    let mut sums = [[V::zero(); C]; R];
    let left = left.as_chunks::<R>().0;
    let right = right.as_chunks::<LANES>().0.as_chunks::<C>().0;
    for (left, right) in left.iter().zip(right) {
        let right: [V; C] = std::array::from_fn(|column| V::load(&right[column]));
        for (sums, left) in sums.iter_mut().zip(left) {
            let left = V::splat(*left);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.times_plus(right, *sum);
            }
        }
    }
    sums
}

/// Adds a tile to its place in the result, or to `start` if it is the first there.
#[inline(always)]
fn add<V: Vector, const R: usize, const C: usize>(
    result: &mut Block<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    start: Option<Start<'_>>,
    sums: [[V; C]; R],
) {
    for (row, sums) in rows.zip(sums) {
        let line = result.line(row, columns.clone());
        let before = match start {
            None => Some(&*line),
            Some(Start::Zero) => None,
            Some(Start::Row(values)) => Some(&values[columns.clone()]),
        };
        if columns.len() == C * LANES {
            let sums = match before {
                None => sums,
                Some(before) => {
                    let before = before.as_chunks::<LANES>().0;
                    std::array::from_fn(|place| V::load(&before[place]).plus(sums[place]))
                }
            };
            for (place, sum) in line.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                sum.store(place);
            }
        } else {
            let mut whole = [[0.0; LANES]; C];
            whole.iter_mut().zip(sums).for_each(|(place, sum)| sum.store(place));
            let sums = whole.as_flattened().iter();
            match start {
                Some(Start::Zero) => line.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum),
                Some(Start::Row(values)) => {
                    let start = &values[columns.clone()];
                    let terms = start.iter().zip(sums);
                    line.iter_mut().zip(terms).for_each(|(to, (start, sum))| *to = start + sum);
                }
                None => line.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
            }
        }
    }
}
