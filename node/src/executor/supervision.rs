//! One run from directory to outcome: the task that owns its process. It waits for whatever comes
//! first (a wish to stop, the death of the process, a time limit, room for an event, a line, words
//! on standard error) and hands it to `course`, which decides. How the end is named is for
//! `verdict`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyxwiz_trainer::frames::Control;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::consumption::Watch;
use super::course::Course;
use super::intake::{IntakeError, Lines};
use super::launch::{self, LaunchError, Launched, Order};
use super::outbox::Outbox;
use super::usage::Meter;
use super::verdict::{self, Cause, Evidence, Tail};
use super::{Alive, ExecutorConfig, ExecutorEvent, Run, Runs, StopReason};

/// A run that was admitted.
#[derive(Debug)]
pub(super) struct Supervision {
    pub(super) config: Arc<ExecutorConfig>,
    pub(super) events: mpsc::Sender<ExecutorEvent>,
    pub(super) runs: Runs,
    pub(super) alive: mpsc::Sender<Alive>,
    pub(super) stop: watch::Receiver<Option<StopReason>>,
    pub(super) meter: Arc<Meter>,
    pub(super) directory: PathBuf,
    pub(super) run: Run,
}

impl Supervision {
    /// Does the run, and tells of it until `Ended`.
    pub(super) async fn carry_out(self) {
        let Self { config, events, runs, alive, stop, meter, directory, run } = self;
        let (id, run) = (run.id, Arc::new(run));
        let order = Order {
            config,
            directory: directory.clone(),
            run: Arc::clone(&run),
            stop: stop.clone(),
        };
        let mut outbox = Outbox::new(id);
        let evidence = match launch::launch(order).await {
            Ok(launched) => {
                let watch = |pid| Watch::begin(pid, &run, &directory, meter);
                supervise(launched, stop, &events, &mut outbox, &run, &directory, watch).await
            }
            Err(error) => Evidence::unstarted(refusal(&error, &stop)),
        };
        let outcome = verdict::conclude(evidence, directory, run).await;
        info!(run = %id, outcome = verdict::name_of(&outcome), "run ended");
        // The place is free, and nothing is left to stop, before the caller hears of it.
        runs.end(id);
        drop(alive);
        for event in outbox.into_events().chain([ExecutorEvent::Ended { id, outcome }]) {
            // Whoever dropped the receiver wants no more events.
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Why nothing was started; a wish to stop explains it best.
fn refusal(error: &LaunchError, stop: &watch::Receiver<Option<StopReason>>) -> Cause {
    let why = *stop.borrow();
    why.map_or_else(|| Cause::fault(error), Cause::Stopped)
}

async fn supervise(
    launched: Launched,
    mut stop: watch::Receiver<Option<StopReason>>,
    events: &mpsc::Sender<ExecutorEvent>,
    outbox: &mut Outbox,
    run: &Run,
    directory: &Path,
    watch: impl FnOnce(u32) -> Watch,
) -> Evidence {
    let Launched { group, stdin, stdout, stderr, mut exit, forked_at } = launched;
    outbox.push(ExecutorEvent::Spawned { id: run.id, pid: group.pid() });
    info!(run = %run.id, pid = group.pid(), "training process started");
    let mut watch = watch(group.pid());
    let mut course = Course::new(group, run, directory, forked_at);
    let mut tail = Tail::default();
    let mut pipes = match Pipes::register(stdin, stdout, stderr) {
        Ok(pipes) => pipes,
        Err(error) => {
            course.fail(&error);
            return bury_unheard(course, exit).await;
        }
    };
    let mut watching = true;
    let mut heard = None;
    let mut deaf = false;
    loop {
        let now = Instant::now();
        outbox.release(now);
        let full = outbox.is_full();
        course.on_time(now, full);
        if course.is_over(now, pipes.stdout.is_none() && pipes.stderr.is_none()) {
            break;
        }
        let wake = course.wake(now, outbox.due());
        tokio::select! {
            biased;
            why = wish(&mut stop, heard), if matches!(heard, None | Some(StopReason::Paused)) => {
                heard = Some(why);
                pipes.end(&mut course, why).await;
            }
            _ = &mut exit, if !course.has_exited() => course.on_exit(),
            excess = &mut watch.excess, if watching && !course.has_exited() => {
                watching = false;
                // An error means that nobody looks any more: the system's limits stay.
                excess.into_iter().for_each(|excess| course.overuse(excess));
            }
            () = sleep_until(wake) => {}
            room = events.reserve(), if !deaf && !outbox.is_empty() => match room {
                Ok(room) => outbox.send(room),
                // Nobody will ever hear of this run.
                Err(_closed) => {
                    deaf = true;
                    pipes.end(&mut course, StopReason::Shutdown).await;
                }
            },
            line = next_line(&mut pipes.stdout), if !full && pipes.stdout.is_some() => {
                pipes.take(line, &mut course, outbox);
            }
            more = tail.read_from(&mut pipes.stderr), if pipes.stderr.is_some() => {
                if !more {
                    pipes.stderr = None;
                }
            }
        }
        if deaf {
            outbox.clear();
        }
    }
    course.wait_for_group().await;
    course.into_evidence(tail)
}

/// Resolves when the run is to stop, for another reason than the one that was `heard`. Nobody left
/// who could say so means the same.
async fn wish(
    stop: &mut watch::Receiver<Option<StopReason>>,
    heard: Option<StopReason>,
) -> StopReason {
    match stop.wait_for(|why| why.is_some() && *why != heard).await {
        Ok(why) => why.unwrap_or(StopReason::Shutdown),
        Err(_closed) => StopReason::Shutdown,
    }
}

/// The end of a process that cannot be listened to, and was told to die for it.
async fn bury_unheard(mut course: Course, exit: oneshot::Receiver<()>) -> Evidence {
    course.on_time(Instant::now(), false);
    // The sender says nothing; that it is gone is the news.
    exit.await.ok();
    course.on_exit();
    course.into_evidence(Tail::default())
}

async fn next_line(
    stdout: &mut Option<Lines<ChildStdout>>,
) -> Result<Option<Vec<u8>>, IntakeError> {
    match stdout {
        Some(lines) => lines.next().await,
        None => Ok(None),
    }
}

/// Our ends of the pipes; `None` once closed.
#[derive(Debug)]
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<Lines<ChildStdout>>,
    stderr: Option<ChildStderr>,
}

impl Pipes {
    fn register(
        stdin: std::process::ChildStdin,
        stdout: std::process::ChildStdout,
        stderr: std::process::ChildStderr,
    ) -> io::Result<Self> {
        Ok(Self {
            stdin: Some(ChildStdin::from_std(stdin)?),
            stdout: Some(Lines::new(ChildStdout::from_std(stdout)?)),
            stderr: Some(ChildStderr::from_std(stderr)?),
        })
    }

    /// Takes what [`next_line`] gave. After the last frame the process hears that nobody is left
    /// to talk to.
    fn take(
        &mut self,
        line: Result<Option<Vec<u8>>, IntakeError>,
        course: &mut Course,
        outbox: &mut Outbox,
    ) {
        match line {
            Ok(Some(line)) => course.on_line(&line, outbox),
            Ok(None) => self.stdout = None,
            Err(error) => {
                self.stdout = None;
                course.fail(&error);
            }
        }
        if course.has_last() {
            self.stdin = None;
        }
    }

    async fn end(&mut self, course: &mut Course, why: StopReason) {
        if why == StopReason::Paused {
            if course.on_pause() {
                self.say(Control::Pause).await;
            }
        } else if course.on_stop(why) {
            self.say(Control::Stop).await;
            // The end of input says the same to one that does not parse.
            self.stdin = None;
        }
    }

    /// Tells the process what to do. Never waits: no more than two such lines are ever written,
    /// and a pipe holds them unread.
    async fn say(&mut self, control: Control) {
        let Some(stdin) = &mut self.stdin else {
            return;
        };
        let mut line = serde_json::to_vec(&control).expect("a plain enum becomes JSON");
        line.push(b'\n');
        // A process that has closed its input is past listening; the signals follow.
        stdin.write_all(&line).await.ok();
    }
}
