//! Memory of tensors: what one tensor leaves is kept for the next of its size. A training step
//! makes the same tensors as the one before, and asking the system for them anew takes as long as
//! a third of the arithmetic.
//!
//! All together is never more than tensors took at one time: what is kept makes way first.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::{CpuEngine, CpuTensor};
use crate::engine::EngineError;

/// Values below which the allocator is fast by itself.
const WORTH_KEEPING: usize = 4 * 1024;

/// Values in memory that goes back to where it came from.
#[derive(Debug)]
pub(super) struct Buffer {
    values: Vec<f32>,
    home: Home,
}

/// What an engine and its tensors share. A mutex and no channel: the threads of the engine take
/// and give for moments only.
#[derive(Clone, Debug, Default)]
pub(super) struct Home(Arc<Mutex<Kept>>);

/// Sizes are in values.
#[derive(Debug, Default)]
struct Kept {
    /// By capacity.
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    kept: usize,
    in_use: usize,
    most_in_use: usize,
}

impl Kept {
    fn take(&mut self, count: usize) -> Option<Vec<f32>> {
        let (&capacity, several) = self.free.range_mut(count..=count + count / 8).next()?;
        let values = several.pop();
        if several.is_empty() {
            self.free.remove(&capacity);
        }
        self.kept -= capacity;
        values
    }

    /// Gives kept memory back to the system until no more than `most` is kept.
    fn shrink(&mut self, most: usize) {
        while self.kept > most {
            let Some(mut largest) = self.free.last_entry() else { return };
            self.kept -= *largest.key();
            largest.get_mut().pop();
            if largest.get().is_empty() {
                largest.remove();
            }
        }
    }
}

impl Home {
    /// A vector with room for `count` values, and whatever is in it; never aborts the process.
    fn vector(&self, count: usize) -> Result<Vec<f32>, EngineError> {
        let mut values = Vec::new();
        if count < WORTH_KEEPING {
            return match values.try_reserve_exact(count) {
                Ok(()) => Ok(values),
                Err(_) => Err(EngineError::OutOfMemory { bytes: count as u64 * 4 }),
            };
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.take(count) {
            kept.in_use += found.capacity();
            return Ok(found);
        }
        let most = kept.most_in_use.saturating_sub(kept.in_use.saturating_add(count));
        kept.shrink(most);
        if values.try_reserve_exact(count).is_err() {
            kept.shrink(0);
            if values.try_reserve_exact(count).is_err() {
                return Err(EngineError::OutOfMemory { bytes: count as u64 * 4 });
            }
        }
        kept.in_use += values.capacity();
        kept.most_in_use = kept.most_in_use.max(kept.in_use);
        Ok(values)
    }

    fn give(&self, values: Vec<f32>) {
        let capacity = values.capacity();
        if capacity < WORTH_KEEPING {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.in_use = kept.in_use.saturating_sub(capacity);
        if kept.in_use + kept.kept + capacity <= kept.most_in_use {
            kept.kept += capacity;
            kept.free.entry(capacity).or_default().push(values);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.values));
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        // Where there is no memory, what a `Vec` does then happens.
        let mut values = self.home.vector(self.values.len()).unwrap_or_default();
        values.clear();
        values.extend_from_slice(&self.values);
        Self { values, home: self.home.clone() }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Deref for Buffer {
    type Target = Vec<f32>;

    fn deref(&self) -> &Vec<f32> {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

impl CpuEngine {
    /// An empty buffer with room for `count` values; never aborts the process.
    pub(super) fn room(&self, count: usize) -> Result<Buffer, EngineError> {
        let mut buffer = self.buffer(count)?;
        buffer.clear();
        Ok(buffer)
    }

    fn buffer(&self, count: usize) -> Result<Buffer, EngineError> {
        Ok(Buffer { values: self.home.vector(count)?, home: self.home.clone() })
    }

    pub(super) fn zeroed(&self, count: usize) -> Result<Buffer, EngineError> {
        let mut values = self.room(count)?;
        values.resize(count, 0.0);
        Ok(values)
    }

    pub(super) fn zeros_of(&self, shape: &[usize]) -> Result<CpuTensor, EngineError> {
        let values = self.zeroed(shape.iter().product())?;
        Ok(CpuTensor { values, shape: shape.to_vec() })
    }

    /// Values that are whatever was there; for what is written before it is read.
    pub(super) fn scratch(&self, count: usize) -> Result<Buffer, EngineError> {
        let mut values = self.buffer(count)?;
        values.resize(count, 0.0);
        Ok(values)
    }

    /// A tensor whose values are whatever was there; for results that are written whole.
    pub(super) fn unset(&self, shape: &[usize]) -> Result<CpuTensor, EngineError> {
        let values = self.scratch(shape.iter().product())?;
        Ok(CpuTensor { values, shape: shape.to_vec() })
    }

    pub(super) fn copy_of(&self, from: &CpuTensor) -> Result<CpuTensor, EngineError> {
        let mut copy = self.unset(&from.shape)?;
        self.in_pieces(&mut copy.values, |offset, piece| {
            piece.copy_from_slice(&from.values[offset..offset + piece.len()]);
        });
        Ok(copy)
    }
}
