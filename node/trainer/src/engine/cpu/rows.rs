//! Division of work over whole rows of a result. Which thread writes a row, and with which others,
//! has no influence on its values.

use rayon::prelude::*;

use super::CpuEngine;

/// Copies below which waking a thread takes longer than the work.
const PIECE: usize = 16 * 1024;

impl CpuEngine {
    /// Runs `work` on pieces of `target` of whole rows, `width` values each, with the index of
    /// their first. `cost` is what a row takes, in copies of one value.
    pub(super) fn in_rows(
        &self,
        target: &mut [f32],
        width: usize,
        cost: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if target.is_empty() {
            return;
        }
        let rows = PIECE.div_ceil(cost.max(1));
        match &self.pool {
            Some(pool) if target.len() > rows * width => pool.install(|| {
                let pieces = target.par_chunks_mut(rows * width).enumerate();
                pieces.for_each(|(index, piece)| work(index * rows, piece));
            }),
            Some(_) | None => work(0, target),
        }
    }
    /// Runs `work` on pieces of `target` of `share` values, with the offset of their first, if
    /// all of it takes `cost` copies or more worth dividing.
    pub(super) fn in_shares(
        &self,
        target: &mut [f32],
        share: usize,
        cost: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        match &self.pool {
            Some(pool) if cost > PIECE && share > 0 => pool.install(|| {
                let pieces = target.par_chunks_mut(share).enumerate();
                pieces.for_each(|(index, piece)| work(index * share, piece));
            }),
            Some(_) | None => work(0, target),
        }
    }
}
