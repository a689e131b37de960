//! Direct frames on a stream: a length of four bytes, big-endian, then the frame. One stream for
//! each direction, each with a task of its own; only the opener writes. Opening streams, and who
//! may open how many, is left to `swarm`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::event::{Event, Shared};
use crate::handle::Counters;
use crate::key::PeerKey;
use crate::streams::{PeerStream, StreamError, StreamResult};

/// What the tasks of the streams need from the swarm or tell it. The swarm takes these whatever
/// else it does, so the tasks may wait for room.
#[derive(Debug)]
pub(crate) enum Report {
    /// A writer needs a stream to its peer.
    Open { to: PeerKey, reply: StreamResult },
    /// Frames that may not have arrived.
    Failed { to: PeerKey, frames: u64, reason: String },
    /// A peer announced a frame over the limit.
    Oversized { from: PeerKey },
}

/// Bounds for what is read; shared by all readers.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) max_frame_bytes: usize,
    pub(crate) queue: mpsc::Sender<Shared>,
    /// Bytes that may wait of all peers together, in units of [`SHARE_UNIT_BYTES`].
    pub(crate) total: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// Takes frames off a stream until it ends or breaks its bounds. Waits for the peer's share of
/// the queue before each frame: its own stream is not read meanwhile, nobody else's is held up.
pub(crate) async fn read_frames(
    from: PeerKey,
    stream: PeerStream,
    share: Arc<Semaphore>,
    intake: Intake,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let Ok(len) = stream.read_u32().await else { return };
        let len = len as usize;
        if len > intake.max_frame_bytes {
            intake.counters.frames_oversized.add(1);
            // The swarm being gone ends this task as well.
            let _ = intake.reports.send(Report::Oversized { from }).await;
            return;
        }
        let units = share_units(len);
        let Ok(own) = Arc::clone(&share).acquire_many_owned(units).await else { return };
        // Grows as the bytes come in: an announced length alone costs nothing.
        let mut bytes = Vec::with_capacity(len.min(16 << 10));
        match (&mut stream).take(len as u64).read_to_end(&mut bytes).await {
            Ok(read) if read == len => {}
            _ => return,
        }
        intake.counters.frames_in.add(1);
        intake.counters.frame_bytes_in.add(len as u64 + 4);
        let Ok(total) = Arc::clone(&intake.total).acquire_many_owned(units).await else { return };
        let event = Event::Frame { from, bytes };
        if intake.queue.send(Shared::with([own, total], event)).await.is_err() {
            return;
        }
    }
}

/// Writes what is queued for a peer, opening a stream when there is something to write and none
/// open. Ends when the queue is closed and empty.
pub(crate) async fn write_frames(
    to: PeerKey,
    mut queue: mpsc::Receiver<Vec<u8>>,
    reports: mpsc::Sender<Report>,
    counters: Arc<Counters>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH_FRAMES).await > 0 {
        let mut stream = match open(to, &reports).await {
            Ok(stream) => BufWriter::with_capacity(BUFFER_BYTES, stream),
            Err(reason) => {
                // What queued up meanwhile would wait for the same failure.
                while batch.len() < MAX_FAILED_AT_ONCE
                    && queue.try_recv().is_ok_and(|frame| {
                        batch.push(frame);
                        true
                    })
                {}
                fail(to, &mut batch, reason, &reports, &counters).await;
                continue;
            }
        };
        loop {
            if let Err(reason) = write_batch(&mut stream, &batch).await {
                fail(to, &mut batch, reason, &reports, &counters).await;
                break;
            }
            counters.frames_out.add(batch.len() as u64);
            counters.frame_bytes_out.add(batch.iter().map(|it| it.len() as u64 + 4).sum());
            batch.clear();
            // The peer never writes here: whatever is read means that the stream has ended, and
            // the next frame needs a new one.
            let mut byte = [0; 1];
            tokio::select! {
                biased;
                _ = stream.read(&mut byte) => break,
                taken = queue.recv_many(&mut batch, BATCH_FRAMES) => if taken == 0 {
                    // The peer sees the end of the stream either way.
                    let _ = stream.shutdown().await;
                    return;
                },
            }
        }
    }
}

async fn open(to: PeerKey, reports: &mpsc::Sender<Report>) -> Result<PeerStream, String> {
    let gone = || "the network of this peer is shut down".to_owned();
    let (reply, answer) = oneshot::channel();
    reports.send(Report::Open { to, reply }).await.map_err(|_closed| gone())?;
    match answer.await {
        Ok(Ok(stream)) => Ok(PeerStream::new(stream, None)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(StreamError::Broken("the connection was closed".to_owned()).to_string()),
    }
}

async fn write_batch(stream: &mut BufWriter<PeerStream>, batch: &[Vec<u8>]) -> Result<(), String> {
    let write = async {
        for frame in batch {
            let len = u32::try_from(frame.len()).expect("the handle refused larger frames");
            stream.write_u32(len).await?;
            stream.write_all(frame).await?;
        }
        stream.flush().await
    };
    match tokio::time::timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the connection broke: {error}")),
        Err(_) => Err(format!("the peer took nothing for {} s", WRITE_TIMEOUT.as_secs())),
    }
}

async fn fail(
    to: PeerKey,
    batch: &mut Vec<Vec<u8>>,
    reason: String,
    reports: &mpsc::Sender<Report>,
    counters: &Counters,
) {
    let frames = batch.len() as u64;
    batch.clear();
    counters.frames_failed.add(frames);
    // The swarm being gone ends this task as well.
    let _ = reports.send(Report::Failed { to, frames, reason }).await;
}

/// What a frame costs of a share.
fn share_units(len: usize) -> u32 {
    u32::try_from(len.div_ceil(SHARE_UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// Permits of a share of so many bytes, in which the largest frame fits.
pub(crate) fn share_of(bytes: usize, max_frame_bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(share_units(bytes.max(max_frame_bytes)) as usize))
}

impl Shared {
    fn with(shares: [OwnedSemaphorePermit; 2], event: Event) -> Self {
        let [own, total] = shares;
        Self { event, _shares: [Some(own), Some(total)] }
    }
}

/// Small frames count as this much, for what they cost beside their bytes.
const SHARE_UNIT_BYTES: usize = 1024;

/// Frames written before a flush: one flush serves a burst.
const BATCH_FRAMES: usize = 64;

/// Frames given up in one report.
const MAX_FAILED_AT_ONCE: usize = 4096;

/// About one maximal packet of yamux.
const BUFFER_BYTES: usize = 16 << 10;

/// A peer that takes nothing for so long is as good as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
