//! Reads what a training process says and believes none of it: line length, shape, version, order,
//! names and numbers. What passes is safe to store, to show and to send on; whether the output
//! files are what they are said to be is for `outputs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cyxwiz_trainer::frames::{
    CheckpointFile, FRAMES_VERSION, Failure, Frame, MAX_LINE_BYTES, Paused, Progress, Started,
    Summary,
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::directory;

/// What is wrong with something a training process said. Each of them costs it its life.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error("cannot read from the training process")]
    Read(#[source] io::Error),
    #[error("the training process wrote a line of more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    #[error("the training process wrote a line that is not a frame")]
    NotAFrame(#[source] serde_json::Error),
    #[error("the training process speaks version {said} of the frames, not {FRAMES_VERSION}")]
    Version { said: u32 },
    #[error("the training process said `{said}` when it was not due")]
    OutOfTurn { said: &'static str },
    #[error("the training process names {count} output files, more than {OUTPUTS_MAX}")]
    TooManyOutputs { count: usize },
    #[error("the training process names an output file that is no plain name, or comes twice")]
    OutputName,
    #[error("the training process names a checkpoint that is no plain name")]
    CheckpointName,
    #[error("the training process tells of a checkpoint of epoch {said}, while in epoch {epoch}")]
    CheckpointEpoch { said: u32, epoch: u32 },
    #[error("the training process says that it paused at a place that no checkpoint is of")]
    PausedElsewhere,
}

/// A byte stream cut into lines of bounded length.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// So many bytes at the start of the buffer hold no line end.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), searched: 0 }
    }

    /// The next whole line without its end, or `None` at the end of input; a last line without an
    /// end was cut off and does not count. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, IntakeError> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(position) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + position;
                if end > MAX_LINE_BYTES {
                    return Err(IntakeError::LongLine);
                }
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE_BYTES {
                return Err(IntakeError::LongLine);
            }
            self.buffer.reserve(READ_BYTES);
            if self.source.read_buf(&mut self.buffer).await.map_err(IntakeError::Read)? == 0 {
                return Ok(None);
            }
        }
    }
}

/// A frame that passed.
#[derive(Debug)]
pub(super) enum Heard {
    /// A `Hello`, a `Reading` or a `Started`.
    News(Frame),
    Progress(Progress),
    /// Whether there is such a file is for `checkpoints`.
    Checkpoint(CheckpointFile),
    Warning(String),
    /// One more of what has been said too often.
    Nothing,
    Last(Last),
}

/// The frame after which nothing may come.
#[derive(Debug)]
pub(super) enum Last {
    Finished(Summary),
    /// Where the newest checkpoint that it told of is, or the one that it was given.
    Paused,
    Failed(Failure),
}

/// Where the conversation stands.
#[derive(Debug)]
pub(super) struct Intake {
    stage: Stage,
    begun: bool,
    threads: u32,
    warnings: u32,
}

#[derive(Debug)]
enum Stage {
    Silent,
    Greeted,
    /// `epoch`, and epochs and batches of the newest `checkpoint`, have no way back.
    Training {
        epochs: u32,
        epoch: u32,
        checkpoint: (u32, u32),
    },
    Over,
}

impl Intake {
    /// `threads` is what the process was given; it cannot have used more.
    pub(super) fn new(threads: u16) -> Self {
        let threads = u32::from(threads);
        Self { stage: Stage::Silent, begun: false, threads, warnings: 0 }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Silent)
    }

    /// Whether the process has read its data and made its model.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn hear(&mut self, line: &[u8]) -> Result<Heard, IntakeError> {
        let frame = serde_json::from_slice(line).map_err(IntakeError::NotAFrame)?;
        match (frame, &mut self.stage) {
            (Frame::Hello { version, engine, threads }, Stage::Silent) => {
                if version != FRAMES_VERSION {
                    return Err(IntakeError::Version { said: version });
                }
                self.stage = Stage::Greeted;
                let engine = label(&engine, NAME_CHARS);
                let threads = threads.min(self.threads);
                Ok(Heard::News(Frame::Hello { version, engine, threads }))
            }
            (Frame::Reading(so_far), Stage::Greeted) => Ok(Heard::News(Frame::Reading(so_far))),
            (Frame::Started(started), Stage::Greeted) => {
                let epochs = started.epochs;
                let resumed_epochs = started.resumed_epochs.min(epochs);
                let epoch = resumed_epochs.saturating_add(1).min(epochs);
                let checkpoint = (resumed_epochs, started.resumed_batches);
                self.stage = Stage::Training { epochs, epoch, checkpoint };
                self.begun = true;
                let started = Started { resumed_epochs, ..started };
                Ok(Heard::News(Frame::Started(started)))
            }
            (Frame::Progress(progress), Stage::Training { epochs, epoch, .. }) => {
                let progress = clamp(progress, *epoch, *epochs);
                *epoch = progress.epoch;
                Ok(Heard::Progress(progress))
            }
            (Frame::Checkpoint(file), Stage::Training { epoch, checkpoint, .. }) => {
                if !directory::is_plain_name(&file.name) {
                    return Err(IntakeError::CheckpointName);
                }
                // One inside an epoch may come before the first word of that epoch.
                let at = (file.epoch, file.batch);
                if at <= *checkpoint || file.epoch > *epoch {
                    return Err(IntakeError::CheckpointEpoch { said: file.epoch, epoch: *epoch });
                }
                *checkpoint = at;
                Ok(Heard::Checkpoint(file))
            }
            (Frame::Warning { message }, Stage::Greeted | Stage::Training { .. }) => {
                self.warnings = self.warnings.saturating_add(1);
                if self.warnings > WARNINGS_MAX {
                    return Ok(Heard::Nothing);
                }
                Ok(Heard::Warning(label(&message, MESSAGE_CHARS)))
            }
            (Frame::Finished(summary), Stage::Training { .. }) => {
                self.stage = Stage::Over;
                self.accept(summary).map(|summary| Heard::Last(Last::Finished(summary)))
            }
            (Frame::Paused(paused), Stage::Training { checkpoint, .. }) => {
                if (paused.epoch, paused.batch) != *checkpoint {
                    return Err(IntakeError::PausedElsewhere);
                }
                self.stage = Stage::Over;
                Ok(Heard::Last(Last::Paused))
            }
            // It was not at its checkpoint yet, if it has one.
            (Frame::Paused(Paused { epoch: 0, batch: 0 }), Stage::Greeted) => {
                self.stage = Stage::Over;
                Ok(Heard::Last(Last::Paused))
            }
            (Frame::Failed(failure), Stage::Greeted | Stage::Training { .. }) => {
                self.stage = Stage::Over;
                let message = label(&failure.message, MESSAGE_CHARS);
                Ok(Heard::Last(Last::Failed(Failure { message, ..failure })))
            }
            (frame, _) => Err(IntakeError::OutOfTurn { said: name_of(&frame) }),
        }
    }

    fn accept(&self, summary: Summary) -> Result<Summary, IntakeError> {
        let count = summary.outputs.len();
        if count > OUTPUTS_MAX {
            return Err(IntakeError::TooManyOutputs { count });
        }
        let mut seen = BTreeSet::new();
        let fine = |name| directory::is_plain_name(name) && seen.insert(name);
        if !summary.outputs.iter().map(|file| file.name.as_str()).all(fine) {
            return Err(IntakeError::OutputName);
        }
        Ok(Summary {
            metrics: clean(summary.metrics),
            engine: label(&summary.engine, NAME_CHARS),
            threads: summary.threads.min(self.threads),
            ..summary
        })
    }
}

/// Text from a stranger as it may be shown: one line, no control characters, bounded.
pub(super) fn label(text: &str, chars_max: usize) -> String {
    let visible = |character: char| {
        if character.is_control() { ' ' } else { character }
    };
    text.chars().take(chars_max).map(visible).collect()
}

/// Numbers that contradict the run's own plan are brought back into it. Infinities and NaN cannot
/// occur: JSON has none.
fn clamp(progress: Progress, epoch: u32, epochs: u32) -> Progress {
    Progress {
        epoch: progress.epoch.min(epochs).max(epoch),
        epochs,
        batch: progress.batch.min(progress.batches),
        metrics: clean(progress.metrics),
        learning_rate: progress.learning_rate.max(0.0),
        samples_per_second: progress.samples_per_second.max(0.0),
        ..progress
    }
}

fn clean(metrics: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let plain = |name: &str| {
        !name.is_empty() && name.len() <= NAME_CHARS && name.bytes().all(|b| b.is_ascii_graphic())
    };
    metrics.into_iter().filter(|(name, _)| plain(name)).take(METRICS_MAX).collect()
}

fn name_of(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello { .. } => "hello",
        Frame::Reading(_) => "reading",
        Frame::Started(_) => "started",
        Frame::Progress(_) => "progress",
        Frame::Checkpoint(_) => "checkpoint",
        Frame::Warning { .. } => "warning",
        Frame::Finished(_) => "finished",
        Frame::Paused(_) => "paused",
        Frame::Failed(_) => "failed",
    }
}

/// Longest text of a failure; it travels to the submitter and is stored by coordinators.
pub(super) const MESSAGE_CHARS: usize = 4096;

/// One read: many frames of progress, or a good part of the longest line.
const READ_BYTES: usize = 8 * 1024;

/// A model, its definition, a report and some checkpoints.
const OUTPUTS_MAX: usize = 16;

/// A disk that stays full is told of at every checkpoint; so much of it is enough for a log.
const WARNINGS_MAX: u32 = 16;

/// A loss and some scores, each for three data sets.
const METRICS_MAX: usize = 64;
const NAME_CHARS: usize = 64;
