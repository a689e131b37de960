//! An executor whose trainer is the hostile one, and the judgement over what became of it.

use std::path::PathBuf;
use std::time::Duration;

use cyxwiz_node::executor::{
    Executor, ExecutorConfig, ExecutorEvent, Outcome, Run, RunId, RunLimits, Walls,
};
use cyxwiz_trainer::{ArrayFireChoice, Backend, EngineChoice};
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::hostile::{ESCAPED, HELD};
use crate::target::Stage;

/// What was seen of one run.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) pid: u32,
    pub(crate) stage: Stage,
    /// From the wish to start to the first word of the process.
    pub(crate) hello_after: Duration,
    pub(crate) folder: TempDir,
}

impl Ended {
    /// What the hostile trainer said of its attempt, or the executor of its end.
    pub(crate) fn message(&self) -> String {
        match &self.outcome {
            Outcome::Failed { failure } => failure.message.clone(),
            Outcome::Finished { .. } | Outcome::Stopped { .. } => format!("{:?}", self.outcome),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("runs").join(format!("{ID}.log"))
    }
}

/// The program that the executor takes for its trainer.
pub(crate) struct Trainer {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) engine: EngineChoice,
}

impl Trainer {
    fn hostile(engine: EngineChoice) -> Result<Self, Failed> {
        let arguments = vec![crate::TRAINER.to_owned()];
        Ok(Self { program: std::env::current_exe()?, arguments, engine })
    }
}

/// Runs one attempt of the hostile trainer to its end.
pub(crate) fn run(attempt: &str, walls: Walls, wall: Duration) -> Result<Ended, Failed> {
    train(Trainer::hostile(EngineChoice::Cpu)?, attempt, walls, wall)
}

/// Runs a trainer to its end.
pub(crate) fn train(
    trainer: Trainer,
    attempt: &str,
    walls: Walls,
    wall: Duration,
) -> Result<Ended, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let stage = Stage::new(folder.path())?;
    runtime.block_on(async {
        let (sender, mut events) = mpsc::channel(1024);
        let executor = Executor::new(
            ExecutorConfig {
                root: folder.path().join("runs"),
                program: trainer.program,
                arguments: trainer.arguments,
                max_concurrent: 1,
                walls,
            },
            sender,
        )?;
        let started = std::time::Instant::now();
        executor.start(Run {
            id: ID,
            workload_json: serde_json::to_string(&stage.target(attempt)?)?,
            inputs: vec![("data".to_owned(), stage.input.clone())],
            resume: None,
            engine: trainer.engine,
            limits: RunLimits { memory_mb: 128, threads: 1, wall, output_mb: 1, disk_mb: 0 },
        })?;
        let (mut pid, mut hello_after) = (0, Duration::ZERO);
        loop {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await?;
            match event.ok_or("the executor is gone")? {
                ExecutorEvent::Spawned { pid: number, .. } => pid = number,
                ExecutorEvent::Frame { .. } if hello_after.is_zero() => {
                    hello_after = started.elapsed();
                }
                ExecutorEvent::Frame { .. } | ExecutorEvent::Checkpoint { .. } => {}
                ExecutorEvent::Ended { outcome, .. } => {
                    return Ok(Ended { outcome, pid, stage, hello_after, folder });
                }
            }
        }
    })
}

/// Inside the walls the system says no, and nothing happened; also where they let a GPU's driver
/// through.
pub(crate) fn is_held(attempt: &str) -> Result<(), Failed> {
    let backend = Backend::OpenCl;
    let gpu = EngineChoice::ArrayFire(ArrayFireChoice { backend, device: 0, library: None });
    is_held_on(attempt, EngineChoice::Cpu)?;
    match attempt {
        OPEN_TO_DRIVERS => Ok(()),
        _ => is_held_on(attempt, gpu).map_err(|failed| {
            format!("with a GPU: {}", failed.message().unwrap_or_default()).into()
        }),
    }
}

/// Drivers share memory with their device.
const OPEN_TO_DRIVERS: &str = "make_a_file_in_memory";

fn is_held_on(attempt: &str, engine: EngineChoice) -> Result<(), Failed> {
    let mut ended = train(Trainer::hostile(engine)?, attempt, Walls::All, LONG)?;
    let message = ended.message();
    let says_no = REFUSALS.iter().any(|words| message.contains(words));
    if !message.starts_with(HELD) || !says_no {
        return Err(format!("inside the walls: {message}").into());
    }
    if !ended.stage.is_untouched() {
        return Err("it says that it was held, and something has changed".into());
    }
    Ok(())
}

/// Without walls the same attempt works, so that it is the walls that hold it.
pub(crate) fn escapes_without(attempt: &str) -> Result<(), Failed> {
    let ended = run(attempt, Walls::LimitsOnly, LONG)?;
    let message = ended.message();
    if message.starts_with(ESCAPED) || message.contains("exit status: 42") {
        return Ok(());
    }
    Err(format!("without walls: {message}").into())
}

/// Whether no living process has the number.
pub(crate) fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

const ID: RunId = RunId { job: [0xee; 16], attempt: 1 };

/// A busy disk takes a minute for what ends a flood.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

/// EACCES, EPERM, ENOSYS and EXDEV, which Landlock says of links between folders.
const REFUSALS: [&str; 4] = [
    "Permission denied",
    "Operation not permitted",
    "Function not implemented",
    "Invalid cross-device link",
];
