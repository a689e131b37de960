//! Rows that are read before they are needed: those of several batches together, in the order in
//! which they lie on disk, by a thread of its own while the batches before them are trained on.
//! The order of training is as it would be without.

use std::thread::JoinHandle;

use super::Features;
use crate::data::{DataError, storage};

/// Some rows of a data set, as they are stored; none where it is in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    now: Block,
    next: Option<JoinHandle<Result<Block, DataError>>>,
    /// How far of an order the next block reaches.
    until: usize,
    /// And the one that is there.
    reached: usize,
}

/// Rows in ascending order.
#[derive(Debug, Default)]
struct Block {
    rows: Vec<u32>,
    values: Vec<f32>,
}

impl Window {
    /// Forgets what was read of another order.
    pub(crate) fn clear(&mut self) {
        // What the thread still reads is of no use; it ends by itself.
        *self = Self::default();
    }

    /// Makes sure that the rows `order[begin..end]` are there, and has those read that come next.
    pub(crate) fn reach(
        &mut self,
        features: &Features,
        order: &[u32],
        begin: usize,
        end: usize,
    ) -> Result<(), DataError> {
        if !features.on_disk() || end <= self.reached {
            return Ok(());
        }
        if self.next.is_none() {
            self.until = begin;
            self.read_on(features, order, end - begin)?;
        }
        if let Some(next) = self.next.take() {
            self.now = match next.join() {
                Ok(read) => read?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            self.reached = self.until;
        }
        if self.reached < order.len() {
            self.read_on(features, order, end - begin)?;
        }
        Ok(())
    }

    /// The values of a row that is here.
    pub(super) fn row(&self, row: u32, width: usize) -> Option<&[f32]> {
        let place = self.now.rows.binary_search(&row).ok()?;
        Some(&self.now.values[place * width..][..width])
    }

    /// Begins to read the next whole batches of an order, at least one.
    fn read_on(
        &mut self,
        features: &Features,
        order: &[u32],
        batch: usize,
    ) -> Result<(), DataError> {
        let fitting = bytes(storage::memory_budget()) / (4 * features.width() as u64);
        let batches = (fitting as usize / batch).max(1);
        let begin = self.until;
        self.until = (begin + batches * batch).min(order.len());
        let mut rows = order[begin..self.until].to_vec();
        rows.sort_unstable();
        let spans: Vec<_> = features.spans(&rows).collect();
        let stored = std::sync::Arc::clone(&features.stored);
        let width = features.width();
        let read = move || {
            let mut values = Vec::with_capacity(rows.len() * width);
            stored.append(&spans, &mut values)?;
            Ok(Block { rows, values })
        };
        let name = features.stored.name();
        let spawned = std::thread::Builder::new().name("rows".to_owned()).spawn(read);
        self.next =
            Some(spawned.map_err(|fault| DataError::Lost { file: name.to_owned(), fault })?);
        Ok(())
    }
}

/// Of one block, where the rows of a data set may have `budget` bytes; two are there at a time.
pub(super) fn bytes(budget: u64) -> u64 {
    (budget / 16).clamp(1 << 20, 64 << 20)
}
