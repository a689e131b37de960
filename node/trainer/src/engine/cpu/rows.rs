//! Division of work over pieces of a result. Which thread writes a piece, and with which others, has
//! no influence on its values.

use super::CpuEngine;
use super::vectors::{LANES, wide};

/// Copies of a value that take longer than to share them out.
pub(super) const PIECE: usize = 16 * 1024;

impl CpuEngine {
    /// Runs `work` on pieces of `target`, each with its offset.
    pub(super) fn in_pieces(&self, target: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
        self.in_shares(target, PIECE, work);
    }

    /// Runs `work` on pieces of `target` of whole rows, `width` values each, with the index of
    /// their first. `cost` is what a row takes, in copies of one value.
    pub(super) fn in_rows(
        &self,
        target: &mut [f32],
        width: usize,
        cost: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let rows = PIECE.div_ceil(cost.max(1));
        self.in_shares(target, rows * width, |offset, piece| work(offset / width.max(1), piece));
    }

    /// Runs `work` on pieces of `target` of `share` values, with the offset of their first.
    pub(super) fn in_shares(
        &self,
        target: &mut [f32],
        share: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let pieces = target.chunks_mut(share.max(1)).enumerate();
        self.team.share(pieces, |(index, piece)| work(index * share, piece));
    }

    /// Columns of a piece of work that looks at all rows of a matrix of `values`: there are no
    /// more such pieces than threads.
    pub(super) fn columns_each(&self, columns: usize, values: usize) -> usize {
        let threads = if values > PIECE { self.team.size() } else { 1 };
        columns.div_ceil(threads).next_multiple_of(LANES)
    }
}

wide! {
    /// Adds to `sums` its columns of all rows of `values`, `width` each, from column `first` on.
    pub(super) fn add_columns(values: &[f32], width: usize, first: usize, sums: &mut [f32]) {
        for row in values.chunks_exact(width) {
            let row = &row[first..first + sums.len()];
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}
