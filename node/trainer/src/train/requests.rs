//! What others ask of a run while it goes on. The run looks between two batches, and between two
//! blocks of rows that are read.

use std::sync::atomic::{AtomicBool, Ordering};

/// Wishes from another thread. A stop comes before a pause, a pause before a checkpoint.
#[derive(Debug, Default)]
pub struct Requests {
    stop: AtomicBool,
    pause: AtomicBool,
    checkpoint: AtomicBool,
}

/// The wish that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Stop,
    Pause,
    Checkpoint,
}

impl Requests {
    /// Asks the run to end at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks the run to leave a checkpoint and end.
    pub fn pause(&self) {
        self.pause.store(true, Ordering::Relaxed);
    }

    /// Asks the run to leave a checkpoint and go on.
    pub fn checkpoint(&self) {
        self.checkpoint.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Relaxed)
    }

    /// A wish for a checkpoint is heard once.
    pub(crate) fn next(&self) -> Option<Request> {
        if self.is_stopped() {
            Some(Request::Stop)
        } else if self.is_paused() {
            Some(Request::Pause)
        } else if self.checkpoint.swap(false, Ordering::Relaxed) {
            Some(Request::Checkpoint)
        } else {
            None
        }
    }
}
