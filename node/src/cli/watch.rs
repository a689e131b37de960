//! Follows one job until it ends or the person has seen enough. Reads its events and shows them
//! as a live view on a terminal, as plain lines elsewhere, or as they are in `jsonl`. Ctrl-C ends
//! the watching and never the job.

mod canvas;
mod course;
mod frame;
mod plain;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use self::canvas::Canvas;
use self::course::Course;
pub(crate) use self::frame::before_training;
use self::plain::Plain;
pub(crate) use self::plain::report_line;
use super::client::{Client, Events};
use super::error::{CommandError, Kind};
use super::output::{Format, Output, Stream, write_json_line};
use super::quantity::{now, short_job};
use crate::api::view::{JobEvent, JobPhase, JobView};

/// How much is shown on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// All that the stream can show.
    Course(Stream),
    /// Nothing.
    End,
}

/// Follows `job` until it ends and returns how it stands then. Ctrl-C ends the following with
/// [`Kind::Interrupted`].
pub(crate) fn follow(
    client: &Client,
    job: &str,
    show: Show,
    output: &Output,
) -> Result<JobView, CommandError> {
    let events = client.events(job)?;
    let news = listen(events)?;
    let mut screen = Screen::new(show, output);
    let outcome = drive(&news, &mut screen);
    screen.close()?;
    outcome?.ok_or_else(|| detached(job))
}

/// Follows a job that is to be paused until it is, or has ended, and returns how it stands then.
pub(crate) fn until_paused(client: &Client, job: &str) -> Result<JobView, CommandError> {
    for event in client.events(job)? {
        if let JobEvent::State { job } = event?
            && (job.state == JobPhase::Paused || job.state.is_final())
        {
            return Ok(*job);
        }
    }
    client.job(job)
}

/// What wakes the loop.
enum News {
    Event(Result<JobEvent, CommandError>),
    Interrupt,
}

/// The job's last state; nothing when a person interrupted.
fn drive(news: &Receiver<News>, screen: &mut Screen) -> Result<Option<JobView>, CommandError> {
    loop {
        match news.recv_timeout(REDRAW) {
            Ok(News::Event(event)) => {
                let event = event?;
                screen.take(&event)?;
                if let JobEvent::State { job } = event
                    && job.state.is_final()
                {
                    return Ok(Some(*job));
                }
            }
            Ok(News::Interrupt) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => screen.tick()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(CommandError::failure("the events of the job ended too early"));
            }
        }
    }
}

/// Starts a thread for the events and one for Ctrl-C; both wait for the reader of their news.
fn listen(events: Events) -> Result<Receiver<News>, CommandError> {
    let (sender, news) = sync_channel(MAX_UNREAD);
    let no_thread = |source| CommandError::failure("cannot start a thread").because(&source);
    let interrupts = sender.clone();
    let read = move || {
        for event in events {
            if sender.send(News::Event(event)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("events".to_owned()).spawn(read).map_err(no_thread)?;
    let listen = move || wait_for_interrupt(&interrupts);
    thread::Builder::new().name("interrupt".to_owned()).spawn(listen).map_err(no_thread)?;
    Ok(news)
}

fn wait_for_interrupt(news: &SyncSender<News>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    // Without a handler, Ctrl-C ends the program in the system's way, which is also fine.
    if let Ok(runtime) = runtime
        && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
    {
        news.send(News::Interrupt).ok();
    }
}

fn detached(job: &str) -> CommandError {
    let message = format!("stopped watching; job {} goes on", short_job(job));
    CommandError::new(Kind::Interrupted, message).hint(format!(
        "come back with `cyxwiz job watch {job}`, end it with `cyxwiz job cancel {job}`"
    ))
}

/// Where the course of a job appears.
enum Screen {
    Live { canvas: Canvas, course: Box<Course>, drawn: Instant, output: Output },
    Plain { plain: Plain, stream: Stream },
    Lines,
    Nothing,
}

impl Screen {
    fn new(show: Show, output: &Output) -> Self {
        match (show, output.format) {
            (Show::End, _) | (_, Format::Json) => Self::Nothing,
            (Show::Course(Stream::Stdout), Format::Jsonl) => Self::Lines,
            (Show::Course(_), _) if output.quiet => Self::Nothing,
            (Show::Course(stream), _) if stream.is_live() => Self::Live {
                canvas: Canvas::new(stream),
                course: Box::default(),
                drawn: Instant::now(),
                output: output.clone(),
            },
            (Show::Course(stream), _) => Self::Plain { plain: Plain::new(output.ids), stream },
        }
    }

    fn take(&mut self, event: &JobEvent) -> Result<(), CommandError> {
        match self {
            Self::Live { course, drawn, .. } => {
                course.take(event);
                let due = drawn.elapsed() >= MIN_FRAME || !matches!(event, JobEvent::Report { .. });
                if due { self.tick() } else { Ok(()) }
            }
            Self::Plain { plain, stream } => {
                let lines = plain.take(event, Instant::now());
                lines.iter().try_for_each(|line| stream.line(line))
            }
            Self::Lines => write_json_line(event),
            Self::Nothing => Ok(()),
        }
    }

    /// Draws what has changed, the clock and the terminal's size included.
    fn tick(&mut self) -> Result<(), CommandError> {
        if let Self::Live { canvas, course, drawn, output } = self {
            *drawn = Instant::now();
            let frame = |size| frame::frame(course, size, now(), output.ids, canvas.colours());
            let lines = frame(canvas.size());
            return canvas.draw(&lines);
        }
        Ok(())
    }

    /// Leaves the last picture where it is.
    fn close(&mut self) -> Result<(), CommandError> {
        self.tick()
    }
}

/// A clock that jumps by more than this looks broken.
const REDRAW: Duration = Duration::from_millis(250);
/// Ten pictures a second; more cannot be read.
const MIN_FRAME: Duration = Duration::from_millis(100);
/// The reading thread waits when the terminal is slow, and the node behind it.
const MAX_UNREAD: usize = 64;
