//! Operands in the order in which tiles read them.

use super::{DEPTH, Lies, Matrix};
use crate::engine::EngineError;
use crate::engine::cpu::CpuEngine;
use crate::engine::cpu::memory::Buffer;
use crate::engine::cpu::vectors::{TURNED, Vector};

/// Rows of the left operand that are packed at a time: they stay in the second-level cache beside
/// the right one's columns.
pub(super) const ROWS: usize = 128;

/// Values of the right operand that are packed at a time.
const RIGHT: usize = 128 * 1024;

/// Columns of the right operand that are packed at a time.
pub(super) fn columns(depth: usize) -> usize {
    /// Whole panels, whatever the tile.
    const WHOLE: usize = 32;
    RIGHT / depth.clamp(1, DEPTH) / WHOLE * WHOLE
}

/// Memory for the panels of one thread's product.
pub(in super::super) struct Panels {
    pub(super) left: Packed,
    pub(super) right: Packed,
}

impl Panels {
    /// For products of up to `rows` by `columns`, over `depth`.
    pub(in super::super) fn new(
        engine: &CpuEngine,
        depth: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Self, EngineError> {
        /// Of the widest panel of either side.
        const PADDING: usize = 32;
        let packed = |length: usize, most: usize| {
            let length = length.min(most) + PADDING;
            Ok::<_, EngineError>(Packed(engine.scratch(depth.min(DEPTH) * length)?))
        };
        Ok(Self { left: packed(rows, ROWS)?, right: packed(columns, self::columns(depth))? })
    }
}

pub(super) struct Packed(Buffer);

impl Packed {
    /// [`fill`]s as much of it as `matrix` takes.
    #[inline(always)]
    pub(super) fn pack<V: Vector, const W: usize>(&mut self, matrix: Matrix<'_>) -> &[f32] {
        let panels = &mut self.0[..matrix.rows.next_multiple_of(W) * matrix.columns];
        fill::<V, W>(matrix, panels);
        panels
    }
}

/// Rows of `matrix` in panels of `W`: in each, `W` values of every column side by side. What is
/// missing to a whole panel is zero.
#[inline(always)]
pub(super) fn fill<V: Vector, const W: usize>(matrix: Matrix<'_>, panels: &mut [f32]) {
    let (rows, depth) = (matrix.rows, matrix.columns);
    for (index, panel) in panels.chunks_exact_mut(depth * W).enumerate() {
        let first = index * W;
        let rows = first..rows.min(first + W);
        let (panel, count) = (panel.as_chunks_mut::<W>().0, rows.len());
        let part = matrix.in_rows(rows);
        match part.lies {
            Lies::ByColumns if count == W => {
                for (place, column) in panel.iter_mut().zip(part.values.chunks(part.stride)) {
                    place.copy_from_slice(&column[..W]);
                }
            }
            Lies::ByColumns => {
                for (place, column) in panel.iter_mut().zip(part.values.chunks(part.stride)) {
                    place[..count].copy_from_slice(&column[..count]);
                    place[count..].fill(0.0);
                }
            }
            Lies::ByRows => turn::<V, W>(part, panel),
        }
    }
}

/// Up to `W` rows into columns.
#[inline(always)]
fn turn<V: Vector, const W: usize>(matrix: Matrix<'_>, panel: &mut [[f32; W]]) {
    let nothing = [0.0; TURNED];
    let row = |row: usize| match row < matrix.rows {
        true => &matrix.values[row * matrix.stride..][..matrix.columns],
        false => &[],
    };
    for first in (0..W).step_by(TURNED) {
        let rows: [&[f32]; TURNED] = std::array::from_fn(|index| row(first + index));
        let count = TURNED.min(W - first);
        let whole = rows.map(|row| row.as_chunks::<TURNED>().0);
        for (index, places) in panel.chunks_mut(TURNED).enumerate() {
            if places.len() == TURNED {
                let square = whole.map(|row| row.get(index).unwrap_or(&nothing));
                let columns = V::turned(square);
                for (place, column) in places.iter_mut().zip(columns) {
                    place[first..first + count].copy_from_slice(&column[..count]);
                }
            } else {
                for (offset, place) in places.iter_mut().enumerate() {
                    for (value, row) in place[first..first + count].iter_mut().zip(rows) {
                        *value = row.get(index * TURNED + offset).copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }
}
