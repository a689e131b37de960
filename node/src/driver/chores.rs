//! What a node looks after every few seconds: room on its disk, the address book, the cache of
//! artifacts, the committee's record in the network's hash table. Whatever waits for the disk or
//! walks through folders goes on beside the loop, which answers others meanwhile.

use std::time::{Duration, Instant};

use cyxwiz_protocol::Input;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Driver;
use crate::address_book::{AddressBook, SaveError};

pub(super) const EVERY: Duration = Duration::from_secs(2);
/// How often the cache of artifacts is measured.
const MEASURE: Duration = Duration::from_secs(60);
/// Free space under which no new jobs are accepted: room for what running ones still write.
const DISK_RESERVE: u64 = 256 * 1024 * 1024;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Chores {
    disk_full: bool,
    saving: Option<JoinHandle<Result<(), SaveError>>>,
    measure_at: Option<Instant>,
    measuring: Option<JoinHandle<bool>>,
}

impl Chores {
    /// Writes the address book if it has changed, one writer at a time.
    async fn save_book(&mut self, book: &mut AddressBook) {
        if let Some(saving) = self.saving.take_if(|it| it.is_finished()) {
            note_saved(saving, book).await;
        }
        if self.saving.is_none()
            && let Some(changes) = book.take_changes()
        {
            self.saving = Some(spawn_blocking(move || changes.write()));
        }
    }

    /// Waits until the book is on disk as it is.
    pub(super) async fn close_book(&mut self, book: &mut AddressBook) {
        if let Some(saving) = self.saving.take() {
            note_saved(saving, book).await;
        }
        if let Some(changes) = book.take_changes() {
            note_saved(spawn_blocking(move || changes.write()), book).await;
        }
    }
}

impl Driver {
    pub(super) async fn do_chores(&mut self) {
        let full = self.store.health().free_bytes.is_some_and(|free| free < DISK_RESERVE);
        if full != self.state.chores.disk_full {
            self.state.chores.disk_full = full;
            if full {
                tracing::warn!("the disk is nearly full: no new jobs are accepted until it is not");
            } else {
                tracing::info!("the disk has room again");
            }
            self.handle(Input::DiskFull(full)).await;
        }
        self.state.chores.save_book(&mut self.book).await;
        self.bound_artifacts().await;
        self.tend_notice().await;
    }

    /// The committee's record in the network's hash table: put there, or looked up.
    async fn tend_notice(&mut self) {
        if let Some(bytes) = self.state.notice.take_found().await {
            // It speaks for itself; whoever kept it did not write it.
            let from = self.peer.id();
            self.handle(Input::Frame { from, bytes }).await;
        }
        let leader = self.peer.status().committee.map(|record| record.ballot.leader);
        let known = leader.zip(self.peer.committee_frame());
        self.state.notice.tend(&self.net, &self.network, self.peer.id(), known);
    }

    /// Now and then measures the artifacts, and drops those that nobody was promised when they
    /// are too many. Both walk through folders, and so go on beside the loop.
    async fn bound_artifacts(&mut self) {
        let artifacts = self.transfers.artifacts().clone();
        let chores = &mut self.state.chores;
        if let Some(measuring) = chores.measuring.take_if(|it| it.is_finished()) {
            if !measuring.await.unwrap_or(false) {
                return;
            }
            let pinned = self.peer.artifacts().into_iter().map(|artifact| artifact.0).collect();
            spawn_blocking(move || match artifacts.evict(0, &pinned) {
                Ok(gone) => tracing::info!(files = gone.len(), "made room among the artifacts"),
                Err(error) => tracing::warn!(%error, "no room could be made among the artifacts"),
            });
        } else if chores.measuring.is_none()
            && chores.measure_at.is_none_or(|at| Instant::now() >= at)
        {
            chores.measure_at = Some(Instant::now() + MEASURE);
            chores.measuring = Some(spawn_blocking(move || artifacts.is_over_limit()));
        }
    }
}

async fn note_saved(saving: JoinHandle<Result<(), SaveError>>, book: &mut AddressBook) {
    let outcome = saving.await;
    if !matches!(outcome, Ok(Ok(()))) {
        book.put_back_changes();
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the address book was not saved"),
        Err(error) => tracing::error!(%error, "saving the address book ended early"),
    }
}
