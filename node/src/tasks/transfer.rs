//! Artifacts between peers: fetched from whoever holds them, checked by content, served to
//! whoever of the network asks.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, sync::Mutex};

use cyxwiz_net::{Handle, PeerKey, PeerStream};
use cyxwiz_protocol::{PeerId, spec::FileRef};
use tokio::sync::Semaphore;

use crate::artifacts::{ArtifactStore, transfer};

/// The name of the streams that carry artifacts.
pub const PURPOSE: &str = "artifact";
/// Fetches that go on at once; more wait their turn.
const FETCHES: usize = 16;
/// Streams that are served at once; more are closed, and asked for again.
const SERVED: usize = 64;

/// Fetches artifacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transfers {
    net: Handle,
    artifacts: ArtifactStore,
    turns: Arc<Semaphore>,
    served: Arc<Semaphore>,
    /// Artifacts that are being fetched. Shared by tasks that may all want the same one, and held
    /// only to look and to note, never across a wait: a channel would need a task of its own.
    busy: Arc<Mutex<BTreeSet<[u8; 32]>>>,
}

impl Transfers {
    #[must_use]
    pub fn new(net: Handle, artifacts: ArtifactStore) -> Self {
        Self {
            net,
            artifacts,
            turns: Arc::new(Semaphore::new(FETCHES)),
            served: Arc::new(Semaphore::new(SERVED)),
            busy: Arc::default(),
        }
    }

    #[must_use]
    pub const fn artifacts(&self) -> &ArtifactStore {
        &self.artifacts
    }

    /// Makes sure that every file is here, from any of `sources`. The error says who failed how.
    pub async fn fetch_all(&self, files: &[FileRef], sources: &[PeerId]) -> Result<(), String> {
        for file in files {
            self.fetch(file, sources).await?;
        }
        Ok(())
    }

    async fn fetch(&self, file: &FileRef, sources: &[PeerId]) -> Result<(), String> {
        let id = file.artifact.0;
        // Fetches of one artifact come one after another; all but the first find it here.
        let _mine = Claim::take(&self.busy, id).await;
        let right_size = |size| {
            if size == file.size {
                return Ok(());
            }
            Err(format!("{} has {size} bytes where the job says {}", file.name, file.size))
        };
        if let Some(size) = self.artifacts.size_of(id) {
            return right_size(size);
        }
        let _turn = self.turns.acquire().await.map_err(|_closed| "the node ends".to_owned())?;
        let mut errors = Vec::new();
        for source in sources {
            match self.fetch_from(*source, id, file.size).await {
                Ok(size) => return right_size(size),
                Err(error) => {
                    errors.push(format!("{} from …{}: {error}", file.name, source.short()))
                }
            }
        }
        if errors.is_empty() {
            errors.push(format!("{} is nowhere to be had", file.name));
        }
        Err(errors.join("; "))
    }

    async fn fetch_from(&self, source: PeerId, id: [u8; 32], size: u64) -> Result<u64, String> {
        let stream = self
            .net
            .open_stream(PeerKey(source.0), PURPOSE)
            .await
            .map_err(|error| error.to_string())?;
        transfer::fetch(stream, &self.artifacts, id, size).await.map_err(|error| error.to_string())
    }

    /// Where the files lie, all of which are here.
    pub fn paths(&self, files: &[FileRef]) -> Result<Vec<(String, PathBuf)>, String> {
        files
            .iter()
            .map(|file| {
                let path = self.artifacts.path_of(file.artifact.0);
                let path = path.ok_or_else(|| format!("{} went away again", file.name))?;
                Ok((file.name.to_string(), path))
            })
            .collect()
    }
}

/// Answers one stream of a peer that wants an artifact.
pub fn serve_stream(transfers: &Transfers, from: PeerKey, stream: PeerStream) {
    let artifacts = transfers.artifacts.clone();
    let Ok(place) = Arc::clone(&transfers.served).try_acquire_owned() else {
        tracing::debug!(peer = %from, "too many artifacts are being served; one was refused");
        return;
    };
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = transfer::serve(stream, &artifacts, |_id| true).await {
            tracing::debug!(peer = %from, %error, "an artifact was not served");
        }
    });
}

/// The sole right to fetch an artifact, until dropped.
struct Claim {
    busy: Arc<Mutex<BTreeSet<[u8; 32]>>>,
    id: [u8; 32],
}

impl Claim {
    async fn take(busy: &Arc<Mutex<BTreeSet<[u8; 32]>>>, id: [u8; 32]) -> Self {
        // Looking again is cheap and rare: two jobs must want the same bytes at the same moment.
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(2));
        loop {
            pause.tick().await;
            if lock(busy).insert(id) {
                return Self { busy: Arc::clone(busy), id };
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.id);
    }
}

fn lock(busy: &Mutex<BTreeSet<[u8; 32]>>) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 32]>> {
    busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
