//! Who begins the committee: the holder of the charter tells every coordinator that asks, over a
//! stream for nothing else, and decides for the first of them. Both ends are here, because both
//! must agree on how the stream is used: a length in four bytes and the question, then the same
//! with the answer. What the bytes mean is [`cyxwiz_protocol::charter`]'s; that the decision
//! survives is `decision`'s, doing it over is `anew`'s.

mod anew;
mod decision;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cyxwiz_net::{Handle, OpenError, PeerKey, PeerStream};
use cyxwiz_protocol::charter::{CharterError, FoundingAnswer, FoundingQuestion, FoundingRefusal};
use cyxwiz_protocol::{DecodeError, Network, PeerId, UnixMillis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

pub(crate) use anew::{Anew, ForceError, force_new_committee};
pub use anew::{ConfirmError, confirm_new_committee};
pub use decision::DecisionError;
pub(crate) use decision::Decisions;

/// The name of the streams that carry the question.
pub const FOUNDING: &str = "founding";

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No stream to the holder of the charter.
    #[error("the holder of the charter cannot be asked")]
    Open(#[from] OpenError),
    /// It broke.
    #[error("the question to the holder of the charter was cut off")]
    Cut(#[from] io::Error),
    /// What came back is no answer.
    #[error("the answer cannot be read: one of the two programs is too old")]
    Answer(#[from] DecodeError),
    /// A founding that the charter did not sign.
    #[error("the answer is not the charter's")]
    Forged(#[from] CharterError),
    /// Nothing came back.
    #[error("the holder of the charter did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Asks `holder` who begins the committee of `network`. A founding is checked; a refusal is an
/// answer, too.
pub async fn ask_founding(
    net: &Handle,
    holder: PeerKey,
    network: &Network,
    question: &FoundingQuestion,
) -> Result<FoundingAnswer, AskError> {
    let ask = async {
        let mut stream = net.open_stream(holder, FOUNDING).await?;
        write(&mut stream, &question.to_bytes()).await?;
        let bytes = read(&mut stream, FoundingAnswer::MAX_BYTES).await?;
        let answer = FoundingAnswer::from_bytes(&bytes)?;
        if let FoundingAnswer::Founding(founding) = &answer {
            founding.verify(network)?;
        }
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or(Err(AskError::Silent))
}

/// Answers the questions of a network's coordinators.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    decisions: Arc<Decisions>,
    places: Arc<Semaphore>,
    /// Who is being answered: one question of a peer at a time. Held only to look and to note.
    asking: Arc<Mutex<BTreeSet<PeerKey>>>,
}

impl Registrar {
    pub(crate) fn new(decisions: Decisions) -> Self {
        let places = Arc::new(Semaphore::new(PLACES));
        Self { decisions: Arc::new(decisions), places, asking: Arc::default() }
    }

    /// Answers the question on a stream that `from` opened, beside; one too many is closed, and
    /// asked again.
    pub(crate) fn serve(&self, from: PeerKey, stream: PeerStream) {
        let (Ok(place), Some(turn)) =
            (Arc::clone(&self.places).try_acquire_owned(), Turn::take(&self.asking, from))
        else {
            tracing::debug!(peer = %from, "too many questions at once; one was closed");
            return;
        };
        let decisions = Arc::clone(&self.decisions);
        tokio::spawn(async move {
            let _held = (place, turn);
            match tokio::time::timeout(HURRY, converse(decisions, from, stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(peer = %from, %error, "not answered"),
                Err(_) => tracing::debug!(peer = %from, "was too slow with its question"),
            }
        });
    }
}

async fn converse(
    decisions: Arc<Decisions>,
    from: PeerKey,
    mut stream: PeerStream,
) -> io::Result<()> {
    let bytes = read(&mut stream, FoundingQuestion::MAX_BYTES).await?;
    let question = FoundingQuestion::from_bytes(&bytes).map_err(io::Error::other)?;
    // The disk may take its time, and another process may hold the file for a moment.
    let answering =
        tokio::task::spawn_blocking(move || answer(&decisions, PeerId(from.0), &question));
    let answer = answering.await.map_err(io::Error::other)?;
    write(&mut stream, &answer.to_bytes()).await
}

/// The answer to `peer`, whose identity its connection has proven: nothing is signed for another.
fn answer(decisions: &Decisions, peer: PeerId, question: &FoundingQuestion) -> FoundingAnswer {
    let now = unix_now();
    match question.credential.verify(decisions.network(), peer, now) {
        Ok(()) => {}
        Err(CharterError::Expired) => return FoundingAnswer::Refused(FoundingRefusal::Expired),
        Err(_) => return FoundingAnswer::Refused(FoundingRefusal::Seat),
    }
    match decisions.founder((peer, question.store), now) {
        Ok(founding) => FoundingAnswer::Founding(founding),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(tracing::field::display);
            tracing::error!(%error, cause, "a coordinator was not told who founds");
            FoundingAnswer::Refused(FoundingRefusal::Trouble)
        }
    }
}

async fn write(stream: &mut PeerStream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_u32(length).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut PeerStream, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
    if length > limit {
        return Err(io::Error::other(format!("{length} bytes announced where {limit} may be")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

pub(crate) fn unix_now() -> UnixMillis {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// A peer's sole question, until dropped.
struct Turn {
    asking: Arc<Mutex<BTreeSet<PeerKey>>>,
    peer: PeerKey,
}

impl Turn {
    fn take(asking: &Arc<Mutex<BTreeSet<PeerKey>>>, peer: PeerKey) -> Option<Self> {
        let new = asking.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
        new.then(|| Self { asking: Arc::clone(asking), peer })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.peer);
    }
}

/// Questions that are answered at once: a few coordinators that start together, and as many
/// strangers as can be borne who only keep a place.
const PLACES: usize = 32;

/// How long whoever asks may keep its place.
const HURRY: Duration = Duration::from_secs(4);

/// How long whoever asks waits: connecting may take most of it.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
