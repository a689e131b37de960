//! What has happened in a run and what follows from it: the first reason to end it stays, a stop
//! escalates by the clock, and only a dead process is over. Makes no waiting; `supervision` asks
//! for the next moment of interest.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::checkpoints::Folder;
use super::consumption::Excess;
use super::intake::{Heard, Intake, Last};
use super::launch::Group;
use super::outbox::Outbox;
use super::verdict::{Cause, Evidence, Tail};
use super::{ExecutorEvent, Run, RunId, StopReason};

#[derive(Debug)]
pub(super) struct Course {
    id: RunId,
    group: Group,
    intake: Intake,
    checkpoints: Folder,
    forked_at: Instant,
    wall_end: Instant,
    /// Why the run is being ended, once it is.
    cause: Option<Cause>,
    last: Option<Last>,
    /// The process was asked to pause; from then on it is not waited for any more.
    pause_until: Option<Instant>,
    terminate_at: Option<Instant>,
    kill_at: Option<Instant>,
    killed: bool,
    exit: Option<Exit>,
}

#[derive(Debug)]
struct Exit {
    at: Instant,
    status: io::Result<ExitStatus>,
    /// Until then the pipes may still give what the process had written.
    drain_until: Instant,
}

impl Course {
    pub(super) fn new(group: Group, run: &Run, directory: &Path, forked_at: Instant) -> Self {
        Self {
            id: run.id,
            group,
            intake: Intake::new(run.limits.threads),
            checkpoints: Folder::new(directory, &run.limits),
            forked_at,
            wall_end: forked_at.checked_add(run.limits.wall).unwrap_or(forked_at + FOREVER),
            cause: None,
            last: None,
            pause_until: None,
            terminate_at: None,
            kill_at: None,
            killed: false,
            exit: None,
        }
    }

    pub(super) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn has_last(&self) -> bool {
        self.last.is_some()
    }

    /// Whether the process is to be told to pause: once, while nothing else ends it.
    pub(super) fn on_pause(&mut self) -> bool {
        if !self.is_undecided() || self.pause_until.is_some() {
            return false;
        }
        self.pause_until = Some(Instant::now() + PAUSE_GRACE);
        true
    }

    /// Whether the process is to be told: not when it has had its last word, or is being ended
    /// already.
    pub(super) fn on_stop(&mut self, why: StopReason) -> bool {
        if !self.is_undecided() {
            return false;
        }
        let now = Instant::now();
        self.cause = Some(Cause::Stopped(why));
        self.terminate_at = Some(now + TERMINATE_AFTER);
        self.kill_at = Some(now + KILL_AFTER);
        true
    }

    /// The process broke a rule, or we cannot follow it any more: it dies at once.
    pub(super) fn fail(&mut self, error: &dyn Error) {
        if self.cause.is_none() {
            self.end_now(Cause::fault(error));
        }
    }

    /// The process took more than it was given: it dies at once.
    pub(super) fn overuse(&mut self, excess: Excess) {
        if self.cause.is_none() {
            self.end_now(Cause::Overuse(excess));
        }
    }

    pub(super) fn on_line(&mut self, line: &[u8], outbox: &mut Outbox) {
        if self.cause.is_some() {
            return;
        }
        match self.intake.hear(line) {
            Ok(Heard::News(frame)) => {
                let since_fork = self.forked_at.elapsed();
                debug!(run = %self.id, ?since_fork, frame = ?frame, "heard");
                outbox.push(ExecutorEvent::Frame { id: self.id, frame });
            }
            Ok(Heard::Progress(progress)) => outbox.progress(progress),
            Ok(Heard::Checkpoint(said)) => match self.checkpoints.open(&said) {
                Ok(Some(checkpoint)) => outbox.checkpoint(checkpoint),
                Ok(None) => debug!(run = %self.id, epoch = said.epoch, "a checkpoint went again"),
                Err(error) => self.fail(&error),
            },
            Ok(Heard::Warning(message)) => {
                warn!(run = %self.id, message, "the training process warns");
            }
            Ok(Heard::Nothing) => {}
            Ok(Heard::Last(last)) => {
                self.last = Some(last);
                self.kill_at = Some(Instant::now() + EXIT_GRACE);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// The leader is dead: so is the rest of its group, after this.
    pub(super) fn on_exit(&mut self) {
        let at = Instant::now();
        let status = self.group.bury();
        self.exit = Some(Exit { at, status, drain_until: at + DRAIN_TIMEOUT });
    }

    /// Does what is due. While the caller is `behind` with reading, draining takes no time.
    pub(super) fn on_time(&mut self, now: Instant, behind: bool) {
        if let Some(exit) = &mut self.exit {
            if behind {
                exit.drain_until = now + DRAIN_TIMEOUT;
            }
            return;
        }
        if self.is_undecided() {
            if now >= self.wall_end {
                self.end_now(Cause::Stopped(StopReason::TimedOut));
            } else if self.pause_until.is_some_and(|until| now >= until) {
                // What it did since its last checkpoint is done again another time.
                self.end_now(Cause::Stopped(StopReason::Paused));
            } else if self.intake.is_silent() && now >= self.forked_at + HELLO_TIMEOUT {
                self.end_now(Cause::Fault(format!(
                    "the training process said nothing for {} s",
                    HELLO_TIMEOUT.as_secs()
                )));
            }
        }
        if self.terminate_at.take_if(|at| *at <= now).is_some() {
            self.group.signal(Signal::TERM);
        }
        if self.kill_at.take_if(|at| *at <= now).is_some() {
            self.killed = true;
            self.group.signal(Signal::KILL);
        }
    }

    /// Whether the process is dead and nothing it said is of interest any more.
    pub(super) fn is_over(&self, now: Instant, drained: bool) -> bool {
        let Some(exit) = &self.exit else { return false };
        drained || !self.is_undecided() || now >= exit.drain_until
    }

    /// The next moment at which [`Course::on_time`] has something to do, or the outbox has.
    pub(super) fn wake(&self, now: Instant, outbox_due: Option<Instant>) -> Instant {
        let undecided = self.is_undecided() && self.exit.is_none();
        let moments = [
            outbox_due,
            self.exit.as_ref().map(|exit| exit.drain_until),
            self.terminate_at.filter(|_| self.exit.is_none()),
            self.kill_at.filter(|_| self.exit.is_none()),
            undecided.then_some(self.wall_end),
            self.pause_until.filter(|_| undecided),
            (undecided && self.intake.is_silent()).then_some(self.forked_at + HELLO_TIMEOUT),
        ];
        moments.into_iter().flatten().min().unwrap_or(now + FOREVER)
    }

    /// Waits a little for the killed members of the group, so that none of them still writes when
    /// the outputs are read. Bounded, as a dead one whose parent does not reap it counts too.
    pub(super) async fn wait_for_group(&self) {
        let deadline = Instant::now() + GROUP_TIMEOUT;
        while self.group.has_members() && Instant::now() < deadline {
            tokio::time::sleep(GROUP_POLL).await;
        }
    }

    pub(super) fn into_evidence(self, tail: Tail) -> Evidence {
        let ended_at = self.exit.as_ref().map_or_else(Instant::now, |exit| exit.at);
        Evidence {
            cause: self.cause,
            last: self.last,
            status: self.exit.map(|exit| exit.status),
            killed: self.killed,
            pausing: self.pause_until.is_some(),
            begun: self.intake.has_begun(),
            elapsed: ended_at.duration_since(self.forked_at),
            tail,
        }
    }

    /// Neither has the process had its last word, nor is it being ended.
    fn is_undecided(&self) -> bool {
        self.cause.is_none() && self.last.is_none()
    }

    fn end_now(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.terminate_at = None;
        self.kill_at = Some(Instant::now());
    }
}

/// From the wish to stop to SIGTERM: time to write a last checkpoint's end, not to make one.
const TERMINATE_AFTER: Duration = Duration::from_secs(2);
const KILL_AFTER: Duration = Duration::from_secs(4);

/// For the batch that a process is at when it is asked to pause, and for its checkpoint.
const PAUSE_GRACE: Duration = Duration::from_secs(60);

/// After its last frame a process has only memory to give back; GPU drivers take a while.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// A trainer says hello before it reads anything. Long enough for a disk that is busy.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// What a dead process wrote is in the pipe already. Only a process that left the group, and
/// holds the pipe open, makes this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

const GROUP_TIMEOUT: Duration = Duration::from_secs(1);
const GROUP_POLL: Duration = Duration::from_millis(1);

/// Stands for a moment that does not come.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
