//! The events of one run that wait for room in the channel. Bounded: frames of progress replace
//! each other, and the run is not read from while [`Outbox::is_full`].

use std::collections::VecDeque;
use std::time::Duration;

use cyxwiz_trainer::frames::{Frame, Progress};
use tokio::sync::mpsc::Permit;
use tokio::time::Instant;

use super::{ExecutorEvent, RunId, WrittenCheckpoint};

#[derive(Debug)]
pub(super) struct Outbox {
    id: RunId,
    queue: VecDeque<ExecutorEvent>,
    /// The newest progress that has not been queued.
    waiting: Option<Progress>,
    next_progress_at: Instant,
}

impl Outbox {
    pub(super) fn new(id: RunId) -> Self {
        let next_progress_at = Instant::now();
        Self { id, queue: VecDeque::with_capacity(LENGTH_MAX), waiting: None, next_progress_at }
    }

    pub(super) fn push(&mut self, event: ExecutorEvent) {
        self.queue_waiting();
        self.queue.push_back(event);
    }

    /// Takes a frame of progress. The newest wins, but the last of each epoch is always kept.
    pub(super) fn progress(&mut self, progress: Progress) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.epoch < progress.epoch) {
            self.queue_waiting();
        }
        self.waiting = Some(progress);
    }

    /// Takes a checkpoint, in the place of an older one that still waits.
    pub(super) fn checkpoint(&mut self, checkpoint: WrittenCheckpoint) {
        let event = ExecutorEvent::Checkpoint { id: self.id, checkpoint };
        let is_older = |it: &&mut ExecutorEvent| matches!(it, ExecutorEvent::Checkpoint { .. });
        match self.queue.iter_mut().find(is_older) {
            Some(older) => *older = event,
            None => self.queue.push_back(event),
        }
    }

    /// Queues the waiting progress if it is due and would not wait any longer in the queue.
    pub(super) fn release(&mut self, now: Instant) {
        if self.waiting.is_some() && self.due().is_some_and(|due| due <= now) {
            self.queue_waiting();
            self.next_progress_at = now + PROGRESS_INTERVAL;
        }
    }

    /// When [`Outbox::release`] has something to do, as far as the clock decides it.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.waiting.is_some() && self.queue.is_empty()).then_some(self.next_progress_at)
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= LENGTH_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn send(&mut self, room: Permit<'_, ExecutorEvent>) {
        if let Some(event) = self.queue.pop_front() {
            room.send(event);
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.waiting = None;
    }

    pub(super) fn into_events(mut self) -> impl Iterator<Item = ExecutorEvent> {
        self.queue_waiting();
        self.queue.into_iter()
    }

    fn queue_waiting(&mut self) {
        let id = self.id;
        let waiting = self.waiting.take().map(Frame::Progress);
        self.queue.extend(waiting.map(|frame| ExecutorEvent::Frame { id, frame }));
    }
}

/// Events that wait: a burst of short epochs. One line adds at most two, after the check.
const LENGTH_MAX: usize = 16;

/// Ten a second are as many as an eye or a curve can use.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
