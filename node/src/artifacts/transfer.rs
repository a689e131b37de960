//! One artifact over one stream: `serve` on the side that has it, `fetch` on the other.
//!
//! The asker sends magic, version, id and the offset from which it wants the bytes; the answer is
//! a status and the whole length, then the bytes from that offset in order. Integers are
//! little-endian. Either side gives up when the other makes no progress for [`STALL`]. Whom to
//! ask, whom to answer, and how many at a time, is for the network.

use std::io::SeekFrom;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{ArtifactStore, PartialWriter, WriteError};

/// How long the other side may make no progress.
pub const STALL: Duration = Duration::from_secs(30);

const MAGIC: [u8; 4] = *b"CYXA";
const VERSION: u8 = 1;
const REQUEST_BYTES: usize = 4 + 1 + 32 + 8;
const ANSWER_BYTES: usize = 1 + 8;

/// How much is read and written at a time: enough to keep hashing and disk busy, little enough
/// that a slow link gets one through well within [`STALL`].
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Found = 0,
    NotFound = 1,
    NotAllowed = 2,
    BadOffset = 3,
    OtherVersion = 4,
}

/// Fetches artifact `id` into `store`, going on where an earlier try ended. Returns its size.
///
/// An artifact that is there already is not fetched again. An answer that announces more than
/// `max_size` bytes is refused before anything is stored.
///
/// # Errors
/// [`FetchError`]; see [`FetchError::is_peers_fault`]. Except after wrong content, what came is
/// kept for the next try.
pub async fn fetch(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    store: &ArtifactStore,
    id: [u8; 32],
    max_size: u64,
) -> Result<u64, FetchError> {
    fetch_within(stream, store, id, max_size, STALL).await
}

/// [`fetch`] with another patience than [`STALL`].
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_within(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    store: &ArtifactStore,
    id: [u8; 32],
    max_size: u64,
    stall: Duration,
) -> Result<u64, FetchError> {
    if let Some(size) = store.size_of(id) {
        return Ok(size);
    }
    let mut offset = store.partial_size(id);
    if offset > max_size {
        offset = 0;
    }
    let mut request = [0; REQUEST_BYTES];
    request[..4].copy_from_slice(&MAGIC);
    request[4] = VERSION;
    request[5..37].copy_from_slice(&id);
    request[37..].copy_from_slice(&offset.to_le_bytes());
    let send = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    within(stall, send).await?;
    let mut answer = [0; ANSWER_BYTES];
    within(stall, stream.read_exact(&mut answer)).await?;
    let [status, size @ ..] = answer;
    let size = u64::from_le_bytes(size);
    match status {
        s if s == Status::Found as u8 => {}
        s if s == Status::NotFound as u8 => return Err(FetchError::NotFound),
        s if s == Status::NotAllowed as u8 => return Err(FetchError::NotAllowed),
        s if s == Status::OtherVersion as u8 => return Err(FetchError::OtherVersion),
        s if s == Status::BadOffset as u8 => {
            // What is here cannot be the beginning of that artifact.
            let store = store.clone();
            blocking(move || store.discard_part(id).map_err(WriteError::from)).await?;
            return Err(FetchError::WrongTogether { offset });
        }
        status => return Err(FetchError::BadStatus { status }),
    }
    if size > max_size {
        return Err(FetchError::TooLarge { size, max_size });
    }
    if size < offset {
        return Err(FetchError::BadOffset { offset, size });
    }
    let opener = store.clone();
    let writer = blocking(move || opener.writer(id, size)).await?;
    if writer.offset() != offset {
        return Err(FetchError::Changed);
    }
    match receive(stream, writer, stall).await {
        Err(FetchError::Write(WriteError::WrongHash { .. })) if offset > 0 => {
            Err(FetchError::WrongTogether { offset })
        }
        outcome => outcome,
    }
}

async fn receive(
    mut stream: impl AsyncRead + Unpin,
    mut writer: PartialWriter,
    stall: Duration,
) -> Result<u64, FetchError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    while writer.offset() < writer.size() {
        let missing = usize::try_from(writer.size() - writer.offset()).unwrap_or(usize::MAX);
        let mut filled = 0;
        let wanted = missing.min(CHUNK_BYTES);
        let mut ended = None;
        // Small pieces are gathered, since each chunk costs a trip to a blocking thread.
        while filled < wanted {
            match within(stall, stream.read(&mut buffer[filled..wanted])).await {
                Ok(0) => ended = Some(FetchError::Ended),
                Ok(count) => filled += count,
                Err(error) => ended = Some(FetchError::Stream(error)),
            }
            if ended.is_some() {
                break;
            }
        }
        (writer, buffer) = blocking(move || {
            writer.write(&buffer[..filled])?;
            Ok((writer, buffer))
        })
        .await?;
        if let Some(error) = ended {
            return Err(error);
        }
    }
    blocking(move || writer.finish()).await
}

/// Answers one request on `stream` from `store`, if `allow` says that this id may be given away.
/// Returns the number of bytes of content sent.
///
/// # Errors
/// [`ServeError`]. A refusal that was told to the asker is one too.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    store: &ArtifactStore,
    allow: impl Fn([u8; 32]) -> bool,
) -> Result<u64, ServeError> {
    serve_within(stream, store, allow, STALL).await
}

/// [`serve`] with another patience than [`STALL`].
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    store: &ArtifactStore,
    allow: impl Fn([u8; 32]) -> bool,
    stall: Duration,
) -> Result<u64, ServeError> {
    let mut request = [0; REQUEST_BYTES];
    within(stall, stream.read_exact(&mut request)).await?;
    let (head, rest) = request.split_at(5);
    let (id, offset) = rest.split_at(32);
    let id: [u8; 32] = id.try_into().expect("split at 32");
    let offset = u64::from_le_bytes(offset.try_into().expect("the rest has 8 bytes"));
    if head[..4] != MAGIC {
        return Err(ServeError::NotARequest);
    }
    let found = if head[4] != VERSION {
        Err(Status::OtherVersion)
    } else if !allow(id) {
        Err(Status::NotAllowed)
    } else {
        store.path_of(id).ok_or(Status::NotFound)
    };
    let path = match found {
        Ok(path) => path,
        Err(status) => {
            answer(&mut stream, status, 0, stall).await?;
            return Err(ServeError::Refused { id, why: status.words() });
        }
    };
    let mut file = tokio::fs::File::open(&path).await?;
    let size = file.metadata().await?.len();
    if offset > size {
        answer(&mut stream, Status::BadOffset, size, stall).await?;
        return Err(ServeError::Refused { id, why: Status::BadOffset.words() });
    }
    answer(&mut stream, Status::Found, size, stall).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    file.set_max_buf_size(CHUNK_BYTES);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut sent = 0;
    while sent < size - offset {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            return Err(ServeError::Shrunk { id });
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let count = within(stall, stream.write(rest)).await?;
            if count == 0 {
                return Err(ServeError::Closed);
            }
            rest = &rest[count..];
            sent += count as u64;
        }
    }
    within(stall, stream.flush()).await?;
    within(stall, stream.shutdown()).await?;
    Ok(sent)
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    status: Status,
    size: u64,
    stall: Duration,
) -> Result<(), ServeError> {
    let mut answer = [status as u8; ANSWER_BYTES];
    answer[1..].copy_from_slice(&size.to_le_bytes());
    let send = async {
        stream.write_all(&answer).await?;
        stream.flush().await
    };
    within(stall, send).await?;
    Ok(())
}

async fn within<T>(
    stall: Duration,
    action: impl Future<Output = std::io::Result<T>>,
) -> Result<T, StreamError> {
    match timeout(stall, action).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StreamError::Stalled { seconds: stall.as_secs_f32() }),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(FetchError::ShuttingDown),
    }
}

impl Status {
    fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not here",
            Self::NotAllowed => "not to be given away",
            Self::BadOffset => "the offset lies behind its end",
            Self::OtherVersion => "another version of the protocol",
        }
    }
}

/// A stream that does not move on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Nothing moved for too long.
    #[error("the other peer made no progress for {seconds} s")]
    Stalled {
        /// How long it was waited for.
        seconds: f32,
    },
    /// The connection failed.
    #[error("the connection to the other peer failed")]
    Io(#[from] std::io::Error),
}

/// Why an artifact was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have it.
    #[error("the peer does not have this artifact: ask another")]
    NotFound,
    /// The peer does not give it to us.
    #[error("the peer does not give this artifact away: ask another")]
    NotAllowed,
    /// The peer speaks another version.
    #[error(
        "the peer does not speak version 1 of the artifact protocol: one of us needs an update"
    )]
    OtherVersion,
    /// The peer answered something that means nothing.
    #[error("the peer answered with an unknown status {status}")]
    BadStatus {
        /// What it answered.
        status: u8,
    },
    /// The peer's artifact ends before what is here already.
    #[error("the peer says the artifact has {size} bytes, {offset} are here already")]
    BadOffset {
        /// How much is here.
        offset: u64,
        /// What the peer says.
        size: u64,
    },
    /// The peer announced more than is acceptable.
    #[error("the peer announced {size} bytes, more than the {max_size} that are acceptable")]
    TooLarge {
        /// What the peer announced.
        size: u64,
        /// What the caller accepts.
        max_size: u64,
    },
    /// What an earlier transfer left and what came now do not make the artifact. Nobody knows which
    /// of the two was wrong; all of it was discarded, and the next try starts from the beginning.
    #[error(
        "the {offset} bytes of an earlier transfer and those of this one are not the artifact: \
         they were discarded, ask again"
    )]
    WrongTogether {
        /// How much was here.
        offset: u64,
    },
    /// The peer closed the stream before the end; what came is kept.
    #[error("the peer ended the transfer before the end: what came is kept, ask again")]
    Ended,
    /// Another transfer has changed the unfinished file meanwhile.
    #[error("another transfer of this artifact was going on: try again")]
    Changed,
    /// The runtime stops.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// The stream did not move on; what came is kept.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The content was wrong, or this node's disk refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl FetchError {
    /// Whether the peer broke the protocol or sent wrong content, and should be remembered for it.
    #[must_use]
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::BadStatus { .. }
            | Self::BadOffset { .. }
            | Self::TooLarge { .. }
            | Self::Write(WriteError::WrongHash { .. } | WriteError::TooLong { .. }) => true,
            Self::NotFound
            | Self::NotAllowed
            | Self::OtherVersion
            | Self::WrongTogether { .. }
            | Self::Ended
            | Self::Changed
            | Self::ShuttingDown
            | Self::Stream(_)
            | Self::Write(
                WriteError::Busy { .. } | WriteError::Incomplete { .. } | WriteError::Storage(_),
            ) => false,
        }
    }
}

/// Why a request was not, or not fully, answered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The bytes are no request of this protocol.
    #[error("the peer sent something else than an artifact request")]
    NotARequest,
    /// The asker was told no.
    #[error("artifact {} was refused: {why}", hex::encode(id))]
    Refused {
        /// What was asked for.
        id: [u8; 32],
        /// Why not.
        why: &'static str,
    },
    /// The peer closed the stream before the end.
    #[error("the peer ended the transfer before the end")]
    Closed,
    /// The file became shorter while it was read: somebody has changed it.
    #[error("artifact {} was changed on disk while it was sent", hex::encode(id))]
    Shrunk {
        /// Which one.
        id: [u8; 32],
    },
    /// The stream did not move on.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// This node could not read the file.
    #[error("cannot read an artifact")]
    Read(#[from] std::io::Error),
}
