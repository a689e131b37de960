//! Effects whose writes are not on disk yet, oldest first.

use std::collections::VecDeque;

use cyxwiz_protocol::Effects;

#[derive(Debug, Default)]
pub(super) struct Held(VecDeque<(u64, Effects)>);

impl Held {
    /// Batches come in the order of their numbers.
    pub(super) fn push(&mut self, batch: u64, effects: Effects) {
        debug_assert!(self.0.back().is_none_or(|(last, _)| *last < batch));
        self.0.push_back((batch, effects));
    }

    /// The next effects that `flushed` makes free.
    pub(super) fn pop(&mut self, flushed: u64) -> Option<Effects> {
        self.0.pop_front_if(|(batch, _)| *batch <= flushed).map(|(_, effects)| effects)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
