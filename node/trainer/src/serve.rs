//! The body of the process that trains for a node: reads `job.json`, trains, and tells what
//! happens in [`crate::frames`]. Limits on the process itself (time, memory, files, network) are
//! the node's to set before it starts.

use std::any::Any;
use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::apply::apply;
use crate::definition::{DefinitionError, Job};
use crate::engine::arrayfire::ArrayFireEngine;
use crate::engine::choice::EngineChoice;
use crate::engine::cpu::CpuEngine;
use crate::engine::{Engine, EngineError};
use crate::frames::{Control, FRAMES_VERSION, Failure, FailureClass, Frame, MAX_LINE_BYTES};
use crate::limits;
use crate::train::{Event, Places, Requests, TrainError, fine_tune, train_at};

/// The checkpoint that [`serve`] goes on from, where there is one in its directory.
pub const RESUME_FILE: &str = "resume.safetensors";
/// The folder of its checkpoints.
pub const CHECKPOINT_FOLDER: &str = "checkpoints";

/// How the process ended; the last frame says the same, if it could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeExit {
    Finished,
    /// On request, to be gone on with from its newest checkpoint.
    Paused,
    Failed(FailureClass),
    /// The reader of the frames is gone.
    Unheard,
}

impl ServeExit {
    /// Exit code for the process: 0 finished or paused, 1 failed, 2 nobody listened.
    pub fn code(self) -> u8 {
        match self {
            Self::Finished | Self::Paused => 0,
            Self::Failed(_) => 1,
            Self::Unheard => 2,
        }
    }
}

/// Does the work of `dir/job.json` on the files in `dir/inputs/` with `threads` threads, leaves the
/// result in `dir/output/` and checkpoints in `dir/checkpoints/`, and reports on `frames` until a
/// [`Frame::Finished`], [`Frame::Paused`] or [`Frame::Failed`]. Obeys each [`Control`]; stops at the
/// end of `control`, which a thread reads that lives as long as `control` does. Where there is a
/// `dir/resume.safetensors`, it goes on from it.
pub fn serve(
    dir: &Path,
    threads: usize,
    control: impl Read + Send + 'static,
    frames: impl Write,
) -> ServeExit {
    serve_on(&EngineChoice::Cpu, dir, Means { threads, disk: None }, control, frames)
}

/// What the process may use of its machine, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    pub threads: usize,
    /// As [`Places::disk`].
    pub disk: Option<u64>,
}

/// As [`serve`], on an engine that may be another than the embedded one, and within `means`.
pub fn serve_on(
    choice: &EngineChoice,
    dir: &Path,
    means: Means,
    control: impl Read + Send + 'static,
    frames: impl Write,
) -> ServeExit {
    match choice {
        EngineChoice::Cpu => {
            let engine = CpuEngine::new(means.threads);
            serve_with(engine, CpuEngine::class(), dir, means, control, frames)
        }
        EngineChoice::ArrayFire(arrayfire) => {
            let count = u16::try_from(means.threads).unwrap_or(u16::MAX);
            let engine = ArrayFireEngine::new(arrayfire, count);
            let asked = format!("arrayfire-{}", arrayfire.backend);
            serve_with(engine, asked, dir, means, control, frames)
        }
    }
}

/// `asked` is what an engine that did not start is called.
fn serve_with<E: Engine>(
    engine: Result<E, EngineError>,
    asked: String,
    dir: &Path,
    means: Means,
    control: impl Read + Send + 'static,
    frames: impl Write,
) -> ServeExit {
    let mut outlet = Outlet { frames, broken: false };
    let name = engine.as_ref().map_or(asked, Engine::name);
    let count = means.threads.max(1) as u32;
    outlet.say(&Frame::Hello { version: FRAMES_VERSION, engine: name, threads: count });
    let requests = Arc::new(Requests::default());
    let listening = listen(control, Arc::clone(&requests));
    // Nothing that a panic could leave half changed is used after it but the outlet, which
    // writes whole lines.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        listening?;
        run(dir, means.disk, &mut engine.map_err(ServeError::Engine)?, &mut outlet, &requests)
    }));
    let frame = match ended {
        Ok(Ok(summary)) => Frame::Finished(summary),
        Ok(Err(ServeError::Train(TrainError::Paused(at)))) => Frame::Paused(at),
        Ok(Err(error)) => failed(error.class(), &error.to_string()),
        Err(panic) => failed(FailureClass::Internal, &panic_message(panic.as_ref())),
    };
    outlet.say(&frame);
    match frame {
        _ if outlet.broken => ServeExit::Unheard,
        Frame::Failed(failure) => ServeExit::Failed(failure.class),
        Frame::Paused(_) => ServeExit::Paused,
        Frame::Finished(_)
        | Frame::Hello { .. }
        | Frame::Reading(_)
        | Frame::Started(_)
        | Frame::Progress(_)
        | Frame::Checkpoint(_)
        | Frame::Warning { .. } => ServeExit::Finished,
    }
}

/// Why the process left no result.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot read job.json: {0}")]
    Job(std::io::Error),
    #[error("job.json has more than the {limit} bytes allowed")]
    LargeJob { limit: u64 },
    #[error("job.json is not UTF-8")]
    NotUtf8,
    #[error("job.json: {0}")]
    Definition(DefinitionError),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error(transparent)]
    Engine(EngineError),
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl ServeError {
    fn class(&self) -> FailureClass {
        match self {
            Self::Job(_) | Self::Thread(_) | Self::Engine(_) => FailureClass::Internal,
            Self::LargeJob { .. } | Self::NotUtf8 | Self::Definition(_) => FailureClass::InvalidJob,
            Self::Train(error) => error.class(),
        }
    }
}

fn run<E: Engine, W: Write>(
    dir: &Path,
    disk: Option<u64>,
    engine: &mut E,
    outlet: &mut Outlet<W>,
    requests: &Requests,
) -> Result<crate::frames::Summary, ServeError> {
    let job = job(&dir.join("job.json"))?;
    let mut observer = |event| {
        outlet.say(&match event {
            Event::Reading(so_far) => Frame::Reading(so_far),
            Event::Started(started) => Frame::Started(started),
            Event::Progress(progress) => Frame::Progress(progress),
            Event::Checkpoint(file) => Frame::Checkpoint(file),
            Event::Warning(message) => Frame::Warning { message: cut(&message) },
        });
        if outlet.broken {
            requests.stop();
        }
    };
    let (inputs, output) = (dir.join("inputs"), dir.join("output"));
    let (checkpoints, resume) = (dir.join(CHECKPOINT_FOLDER), dir.join(RESUME_FILE));
    let places = Places {
        inputs: &inputs,
        output: &output,
        checkpoints: Some(&checkpoints),
        // One that is there and cannot be looked at is an error, not a fresh start.
        resume: (!matches!(resume.try_exists(), Ok(false))).then_some(&*resume),
        disk,
    };
    let ended = match &job {
        Job::Train(workload) => train_at(&places, workload, engine, &mut observer, requests),
        Job::FineTune(job) => fine_tune(&places, job, engine, &mut observer, requests),
        Job::Apply(job) => apply(&places, job, engine, &mut observer, requests),
    };
    Ok(ended?)
}

fn job(path: &Path) -> Result<Job, ServeError> {
    let limit = limits::MAX_DEFINITION_BYTES;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(ServeError::Job)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(ServeError::Job)?;
    if bytes.len() as u64 > limit {
        return Err(ServeError::LargeJob { limit });
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(ServeError::NotUtf8);
    };
    Job::from_json(&text).map_err(ServeError::Definition)
}

/// Passes on what `control` says; its end or a fault of it mean that the node is gone.
fn listen(control: impl Read + Send + 'static, requests: Arc<Requests>) -> Result<(), ServeError> {
    let body = move || {
        let mut reader = BufReader::new(control);
        let mut line = Vec::new();
        // A line that is too long, or no command, comes from no node worth working for.
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line);
            if matches!(read, Ok(1..)) && line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(Control::Checkpoint) => requests.checkpoint(),
                Ok(Control::Pause) => requests.pause(),
                Ok(Control::Stop) | Err(_) => break,
            }
        }
        requests.stop();
    };
    match std::thread::Builder::new().name("control".to_owned()).spawn(body) {
        Ok(_) => Ok(()),
        Err(fault) => Err(ServeError::Thread(fault)),
    }
}

/// Writes frames until the first error, and nothing after it.
struct Outlet<W> {
    frames: W,
    broken: bool,
}

impl<W: Write> Outlet<W> {
    fn say(&mut self, frame: &Frame) {
        if self.broken {
            return;
        }
        let mut line = serde_json::to_vec(frame).expect("frames always serialize");
        line.push(b'\n');
        assert!(line.len() <= MAX_LINE_BYTES, "frames are short: their texts are cut");
        let written = self.frames.write_all(&line).and_then(|()| self.frames.flush());
        self.broken = written.is_err();
    }
}

fn failed(class: FailureClass, message: &str) -> Frame {
    Frame::Failed(Failure { class, message: cut(message) })
}

fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(limits::MAX_MESSAGE_BYTES)].to_owned()
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the trainer has a bug: {}", text.unwrap_or("it panicked without a message"))
}
