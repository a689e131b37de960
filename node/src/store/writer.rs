//! The one thread that writes: gathers what waits, writes it with one sync, then tells.
//!
//! It never waits for the reader of its news, who may itself be waiting for room in the queue.
//! After the first failure it tells that, ends, and nothing is acknowledged any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::engine::{self, Engine};
use super::format::{self, Index, State};
use super::seal::{LockFile, Seal, SealFile};
use super::{Batch, Flushed, StoreError};

/// A group ends when it has this many changes or bytes: enough to fill a sync, and little enough
/// that the first in it does not wait long for the last.
const GROUP_CHANGES: usize = 1024;
const GROUP_BYTES: usize = 4 << 20;

/// How often to look whether sled has begun to use files that it does not sync.
const GROUPS_PER_BLOB_CHECK: u64 = 256;

/// How soon to try again to tell news when its reader is far behind.
const RETRY_NEWS: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) engine: Engine,
    pub(super) seal: SealFile,
    /// Held until the engine is closed.
    pub(super) lock: LockFile,
    pub(super) store_id: [u8; 16],
    pub(super) state: State,
    pub(super) index: Index,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) news: Sender<Flushed>,
}

impl Writer {
    pub(super) fn run(mut self, batches: &Receiver<(u64, Batch)>) {
        match self.write_all(batches) {
            Ok(()) => {
                if let Err(error) = self.seal.sync() {
                    tracing::warn!(%error, "the store's seal could not be synced");
                }
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store cannot write any more"
                );
                self.tell_failure(error);
            }
        }
        // In this order: nobody else may open the directory before the engine has let go of it.
        drop(self.engine);
        drop(self.lock);
    }

    /// Returns when the store is dropped or writing fails.
    fn write_all(&mut self, batches: &Receiver<(u64, Batch)>) -> Result<(), StoreError> {
        let mut untold = None;
        loop {
            let first = if untold.is_some() {
                batches.recv_timeout(RETRY_NEWS)
            } else {
                batches.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match first {
                Ok(first) => untold = Some(self.write_group(first, batches)?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if let Some(number) = untold
                && !matches!(self.news.try_send(Flushed::UpTo(number)), Err(TrySendError::Full(_)))
            {
                untold = None;
            }
        }
    }

    /// Writes `first` and what waits behind it; returns the last number that is on disk now.
    fn write_group(
        &mut self,
        first: (u64, Batch),
        batches: &Receiver<(u64, Batch)>,
    ) -> Result<u64, StoreError> {
        let (mut number, Batch(mut changes)) = first;
        let mut bytes: usize = 0;
        while changes.len() < GROUP_CHANGES && bytes < GROUP_BYTES {
            let Ok((next, batch)) = batches.try_recv() else {
                break;
            };
            number = next;
            bytes += batch.bytes();
            changes.extend(batch.0);
        }
        if changes.is_empty() {
            return Ok(number);
        }
        let writes = format::group(changes, &mut self.state, &mut self.index);
        self.engine.apply(writes)?;
        self.engine.sync()?;
        if self.state.generation.is_multiple_of(GROUPS_PER_BLOB_CHECK)
            && engine::has_blobs(self.engine.dir())
        {
            let path = self.engine.dir().to_owned();
            let detail = "it has put values in files that it does not sync".to_owned();
            return Err(StoreError::Engine { path, detail });
        }
        let seal = Seal { store_id: self.store_id, generation: self.state.generation };
        self.seal.update(&seal).map_err(|source| StoreError::from_io(self.engine.dir(), source))?;
        Ok(number)
    }

    /// Tells the failure however far behind the reader is, unless nobody is left to tell.
    fn tell_failure(&self, error: StoreError) {
        let mut news = Flushed::Failed { error };
        while let Err(TrySendError::Full(unsent)) = self.news.try_send(news) {
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            news = unsent;
            std::thread::sleep(RETRY_NEWS);
        }
    }
}
