//! From what was seen of a run to how it ended, and what of it stays on disk: everything after a
//! good end, the last words on standard error after a bad one.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use cyxwiz_trainer::frames::{Failure, FailureClass, Summary};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::warn;

use super::consumption::Excess;
use super::intake::{self, Last};
use super::{MIB, Outcome, Run, StopReason, directory, outputs, shortage};

/// Why a run was ended by us.
#[derive(Debug)]
pub(super) enum Cause {
    Stopped(StopReason),
    /// What the process used more of than it was given.
    Overuse(Excess),
    /// What the process or this machine did wrong.
    Fault(String),
}

impl Cause {
    pub(super) fn fault(error: &dyn Error) -> Self {
        Self::Fault(explain(error))
    }
}

/// All that is known of a run whose process is gone, or never was.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) cause: Option<Cause>,
    pub(super) last: Option<Last>,
    /// `None` when there was no process.
    pub(super) status: Option<io::Result<ExitStatus>>,
    /// Whether SIGKILL came from us.
    pub(super) killed: bool,
    /// Whether it was asked to pause.
    pub(super) pausing: bool,
    /// Whether its data were read and its model was made.
    pub(super) begun: bool,
    pub(super) elapsed: Duration,
    pub(super) tail: Tail,
}

impl Evidence {
    pub(super) fn unstarted(cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            last: None,
            status: None,
            killed: false,
            pausing: false,
            begun: false,
            elapsed: Duration::ZERO,
            tail: Tail::default(),
        }
    }
}

/// Judges, and tidies up the disk accordingly.
pub(super) async fn conclude(evidence: Evidence, directory: PathBuf, run: Arc<Run>) -> Outcome {
    let work = move || {
        let Evidence { tail, .. } = &evidence;
        let log = tail.bytes();
        let outcome = judge(evidence, &directory, &run);
        tidy(&directory, &log, &outcome);
        outcome
    };
    // A thread for it, as files are hashed and removed.
    let judged = tokio::task::spawn_blocking(work).await;
    judged.unwrap_or_else(|error| internal(explain(&error)))
}

pub(super) fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Finished { .. } => "finished",
        Outcome::Failed { .. } => "failed",
        Outcome::Stopped { .. } => "stopped",
    }
}

fn judge(mut evidence: Evidence, directory: &Path, run: &Run) -> Outcome {
    match (evidence.cause.take(), evidence.last.take()) {
        (Some(Cause::Stopped(why)), _) => Outcome::Stopped { why },
        (Some(Cause::Fault(message)), _) => internal(message),
        (Some(Cause::Overuse(excess)), _) => match excess {
            Excess::Memory { .. } => refused(&excess.to_string(), evidence.begun, run),
            Excess::Threads { .. }
            | Excess::Files { .. }
            | Excess::Names { .. }
            | Excess::Disk { .. } => internal(excess.to_string()),
        },
        (None, Some(Last::Finished(summary))) => {
            match outputs::verify(directory, &summary.outputs, run.limits.output_bytes()) {
                Ok(()) => Outcome::Finished {
                    summary: within(summary, evidence.elapsed),
                    output_dir: directory.join(directory::OUTPUT),
                },
                Err(error) => internal(explain(&error)),
            }
        }
        (None, Some(Last::Paused)) if evidence.pausing => {
            Outcome::Stopped { why: StopReason::Paused }
        }
        (None, Some(Last::Paused)) => internal("paused though nobody asked".to_owned()),
        (None, Some(Last::Failed(failure))) => match failure.class {
            FailureClass::Stopped => {
                internal(format!("stopped though nobody asked: {}", failure.message))
            }
            FailureClass::BadCheckpoint if run.resume.is_none() => {
                internal(format!("a bad checkpoint though it had none: {}", failure.message))
            }
            FailureClass::OutOfMemory => refused(&failure.message, evidence.begun, run),
            FailureClass::InvalidJob
            | FailureClass::InvalidData
            | FailureClass::Diverged
            | FailureClass::BadCheckpoint
            | FailureClass::Internal => Outcome::Failed { failure },
        },
        (None, None) => died(evidence, run),
    }
}

/// The process ended without a last word.
fn died(evidence: Evidence, run: &Run) -> Outcome {
    let Evidence { status, killed, begun, tail, .. } = evidence;
    let status = match status {
        Some(Ok(status)) => status,
        Some(Err(error)) => return internal(explain(&error)),
        None => return internal("there was no training process".to_owned()),
    };
    let died_of = |signal: Signal| status.signal() == Some(signal.as_raw());
    if died_of(Signal::KILL) && !killed {
        let limit = run.limits.memory_mb;
        let message = format!(
            "the system killed the training process, as it does when the machine has no more \
             memory; the limit of the process was {limit} MiB"
        );
        return failed(FailureClass::OutOfMemory, message);
    }
    if died_of(Signal::ABORT) && tail.tells_of_memory() {
        return refused("the training process gave up", begun, run);
    }
    if died_of(Signal::XCPU) {
        return Outcome::Stopped { why: StopReason::TimedOut };
    }
    if died_of(Signal::XFSZ) {
        let limit = run.limits.file_bytes() / MIB;
        return internal(format!("a file would have become larger than the {limit} MiB allowed"));
    }
    let words = tail.quote();
    let said = if words.is_empty() { "nothing on standard error" } else { &words };
    internal(format!("the training process ended without a result ({status}): {said}"))
}

/// Nobody can have computed longer than the process was there.
fn within(summary: Summary, elapsed: Duration) -> Summary {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let compute_ms = summary.compute_ms.min(elapsed_ms);
    Summary { compute_ms, ..summary }
}

/// Failures to tidy up take space, which is the owner's to know, and change no outcome.
fn tidy(run: &Path, log: &[u8], outcome: &Outcome) {
    let finished = matches!(outcome, Outcome::Finished { .. });
    let record = directory::remove_entry(&directory::record_of(run));
    let files = if finished { Ok(()) } else { directory::remove_entry(run) };
    let words = if finished || log.is_empty() {
        Ok(())
    } else {
        directory::write_new(&directory::log_of(run), log)
    };
    for error in [record, files, words].into_iter().filter_map(Result::err) {
        warn!(path = %run.display(), %error, "cannot tidy up after a run");
    }
}

fn refused(what: &str, begun: bool, run: &Run) -> Outcome {
    Outcome::Failed { failure: shortage::refused(what, begun, run) }
}

fn internal(message: String) -> Outcome {
    failed(FailureClass::Internal, message)
}

fn failed(class: FailureClass, message: String) -> Outcome {
    Outcome::Failed { failure: Failure { class, message } }
}

/// An error and its sources on one line, for a message that leaves this process.
fn explain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    intake::label(&words.join(": "), intake::MESSAGE_CHARS)
}

/// The last of what a process wrote to its standard error.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// Takes what is there to read; `false` at the end. May be dropped and called again.
    pub(super) async fn read_from<R: AsyncRead + Unpin>(&mut self, source: &mut Option<R>) -> bool {
        let Some(source) = source else { return false };
        let mut chunk = [0; CHUNK_BYTES];
        // What cannot be read is lost, and words on standard error decide nothing.
        let count = source.read(&mut chunk).await.unwrap_or(0);
        self.bytes.extend(&chunk[..count]);
        let excess = self.bytes.len().saturating_sub(LOG_BYTES_MAX);
        self.bytes.drain(..excess);
        count > 0
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    fn quote(&self) -> String {
        let excess = self.bytes.len().saturating_sub(QUOTE_BYTES_MAX);
        let quoted: Vec<u8> = self.bytes.iter().skip(excess).copied().collect();
        intake::label(String::from_utf8_lossy(&quoted).trim(), QUOTE_BYTES_MAX)
    }

    /// Whether it looks like an allocator that gave up: Rust's, or C++'s in an engine's library.
    fn tells_of_memory(&self) -> bool {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        ["memory allocation of", "bad_alloc"].iter().any(|words| text.contains(words))
    }
}

/// What is kept of standard error: a backtrace and the lines before it.
const LOG_BYTES_MAX: usize = 64 * 1024;

/// What of it is worth sending to the submitter.
const QUOTE_BYTES_MAX: usize = 2 * 1024;

const CHUNK_BYTES: usize = 4 * 1024;
