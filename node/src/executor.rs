//! Runs training jobs, each in a process of its own that the node does not trust: a private
//! directory, no inherited environment or descriptors, resource limits, frames on a pipe that are
//! checked like a stranger's, and death as a group. What the job means is the trainer's business;
//! fetching inputs and importing outputs is the caller's; the walls around the process are those
//! of `cyxwiz_sandbox`, chosen in `confinement`.
//!
//! One task per run owns the process. It alone signals and reaps it, so that a process id is never
//! used after its owner is gone. Leaving the group (`setsid`) is refused by the walls; without
//! them it is not undone here.

mod checkpoints;
mod confinement;
mod consumption;
mod course;
mod directory;
mod intake;
mod launch;
mod leftovers;
mod outbox;
mod outputs;
mod shortage;
mod supervision;
#[cfg(test)]
mod tests;
mod usage;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cyxwiz_trainer::EngineChoice;
use cyxwiz_trainer::frames::{Failure, Frame, Summary};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

pub use checkpoints::WrittenCheckpoint;
pub(crate) use confinement::{NICENESS, granted_bytes};
pub use usage::Usage;

/// One try of one job. Written `<job in hexadecimal>.<attempt>`, which also names its directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub job: [u8; 16],
    pub attempt: u32,
}

/// What to train, on what, and with how much of this machine.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    /// The job as the trainer reads it; becomes `job.json`, byte for byte.
    pub workload_json: String,
    /// Name below `inputs/` and the content-addressed file that appears there. The file is linked
    /// where the file system can, and loses its write permission: its content is its name.
    pub inputs: Vec<(String, PathBuf)>,
    /// A content-addressed checkpoint to go on from, placed as the inputs are. A process that
    /// cannot use it ends with [`cyxwiz_trainer::frames::FailureClass::BadCheckpoint`].
    pub resume: Option<PathBuf>,
    pub limits: RunLimits,
    /// What it computes with, which also says whether it may use this machine's GPUs.
    pub engine: EngineChoice,
}

/// What a run may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Private writable memory in MiB, on top of what an idle trainer needs.
    pub memory_mb: u32,
    pub threads: u16,
    /// Time from the start of the process to the end of its last frame.
    pub wall: Duration,
    /// All output files together, in MiB. A checkpoint may have three times as much and 16 MiB:
    /// weights, two moments of each, and the metrics so far.
    pub output_mb: u32,
    /// Rows of data that do not fit into memory, in temporary files, in MB.
    pub disk_mb: u32,
}

/// Where and how runs are run.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// The folder of the runs. The executor owns all that is in it; made where it is missing.
    pub root: PathBuf,
    /// The program that trains, normally this one again.
    pub program: PathBuf,
    /// Its first arguments; those of the engine, the run's directory, the number of threads and the
    /// room for rows follow.
    pub arguments: Vec<String>,
    /// Runs at the same time.
    pub max_concurrent: usize,
    pub walls: Walls,
}

/// What stands between a run and the rest of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// Everything that strangers' jobs need. A run that cannot have it fails.
    All,
    /// What this machine can do; the owner has agreed to that.
    WhatThereIs,
    /// Limits alone, around a program that is trusted like this one.
    LimitsOnly,
}

/// What the caller hears of a run: `Spawned`, then frames, then `Ended`, which always comes and is
/// the last. A run that ends before its process exists has no `Spawned`.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutorEvent {
    Spawned {
        id: RunId,
        pid: u32,
    },
    /// A `Hello`, `Reading`, `Started` or `Progress` that passed all checks; of the latter ten a
    /// second at most, besides one for each epoch's end.
    Frame {
        id: RunId,
        frame: Frame,
    },
    /// The process left a state to go on from. The newest replaces one that still waits.
    Checkpoint {
        id: RunId,
        checkpoint: WrittenCheckpoint,
    },
    Ended {
        id: RunId,
        outcome: Outcome,
    },
}

/// How a run ended. In all cases its process is dead and reaped, and its group was killed.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The outputs in `output_dir` are regular files with the sizes and sums of the summary. They
    /// stay until [`Executor::discard`].
    Finished {
        summary: Summary,
        output_dir: PathBuf,
    },
    Failed {
        failure: Failure,
    },
    Stopped {
        why: StopReason,
    },
}

/// Why a run was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    Cancelled,
    LeaseLost,
    Shutdown,
    /// It shall go on another time: it may end its batch and leave a checkpoint first. Another
    /// reason may follow and takes its place.
    Paused,
    /// The wall-clock or processor time of [`RunLimits`] is used up. The executor's own reason.
    TimedOut,
}

/// Why an executor cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("the executor needs a tokio runtime around it")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    #[error("cannot use {path} for runs; make it writable for the node")]
    Root {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove {path}, left by an earlier run; remove it by hand")]
    Leftover {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Why a run was not taken. Nothing was started and no event will come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("all {limit} places for runs are taken; try again when one has ended")]
    Full { limit: usize },
    #[error("{kept} ended runs wait to be discarded; discard them first")]
    Undiscarded { kept: usize },
    #[error("run {id} is here already")]
    Known { id: RunId },
    #[error("the limit `{limit}` must not be zero")]
    ZeroLimit { limit: &'static str },
    #[error("{count} input files are more than {limit}")]
    TooManyInputs { count: usize, limit: usize },
    #[error("{name:?} is not a plain file name, or comes twice")]
    InputName { name: String },
    #[error("the executor is shutting down")]
    ShuttingDown,
}

/// Starts, stops and watches the runs of this node.
///
/// # Events
/// The channel is bounded by the caller. When it is full, the run's own task waits, and with it
/// the training process, once its pipe is full too; stopping and time limits go on meanwhile.
/// Progress does not queue up: the newest replaces the one that still waits.
#[derive(Debug)]
pub struct Executor {
    config: Arc<ExecutorConfig>,
    events: mpsc::Sender<ExecutorEvent>,
    runtime: Handle,
    runs: Runs,
    /// Cloned into each run's task until its process is dead; `shutdown` waits for the last.
    alive: mpsc::Sender<Alive>,
    all_dead: mpsc::Receiver<Alive>,
}

impl Executor {
    /// Prepares the folder of runs; kills what an earlier life left running there and removes its
    /// directories. Blocks while it does, for two seconds at most per process that will not die.
    ///
    /// # Errors
    /// Outside a tokio runtime, and when the folder cannot be made, owned or emptied.
    pub fn new(
        config: ExecutorConfig,
        events: mpsc::Sender<ExecutorEvent>,
    ) -> Result<Self, ExecutorError> {
        let runtime = Handle::try_current().map_err(ExecutorError::NoRuntime)?;
        let root = directory::make_root(&config.root)
            .map_err(|source| ExecutorError::Root { path: config.root.clone(), source })?;
        leftovers::clear(&root)?;
        let (alive, all_dead) = mpsc::channel(1);
        let config = Arc::new(ExecutorConfig { root, ..config });
        Ok(Self { config, events, runtime, runs: Runs::default(), alive, all_dead })
    }

    /// Takes a run. Returns at once: directory, process and frames are the run's own task, which
    /// reports by events, failures to get going included.
    ///
    /// # Errors
    /// When there is no place, or what was handed in cannot be a run.
    pub fn start(&self, run: Run) -> Result<(), StartError> {
        let id = run.id;
        check(&run)?;
        let (stop, meter) = self.runs.admit(id, self.config.max_concurrent)?;
        let task = supervision::Supervision {
            directory: directory_of(&self.config.root, id),
            config: Arc::clone(&self.config),
            events: self.events.clone(),
            runs: self.runs.clone(),
            alive: self.alive.clone(),
            stop,
            meter,
            run,
        };
        self.runtime.spawn(task.carry_out());
        Ok(())
    }

    /// Asks a run to stop; after two seconds it is told by SIGTERM, after four it is killed. One
    /// that is to be paused has a minute. The first reason given stays, but for a pause, which
    /// gives way to every other. Unknown and ended runs are none of its business.
    pub fn stop(&self, id: RunId, why: StopReason) {
        self.runs.stop(|known| *known == id, why);
    }

    /// What the process of an active run was seen to use; nothing before it was looked at.
    #[must_use]
    pub fn usage(&self, id: RunId) -> Usage {
        match self.runs.lock().by_id.get(&id) {
            Some(Place::Active { meter, .. }) => meter.usage(),
            Some(Place::Kept) | None => Usage::default(),
        }
    }

    /// The runs whose `Ended` has not been made yet, in order.
    #[must_use]
    pub fn active(&self) -> Vec<RunId> {
        let places = self.runs.lock();
        let active = places.by_id.iter().filter(|(_, place)| matches!(place, Place::Active { .. }));
        active.map(|(id, _)| *id).collect()
    }

    /// Removes what an ended run has left on disk, and forgets it; to be called once for each
    /// `Ended`, after the outputs are imported. Does nothing for a run that is still active.
    pub fn discard(&self, id: RunId) {
        if !matches!(self.runs.lock().by_id.get(&id), Some(Place::Kept)) {
            return;
        }
        if let Err(error) = directory::remove(&directory_of(&self.config.root, id)) {
            // The place stays taken, so that a later run never meets these files.
            return warn!(run = %id, %error, "cannot remove the run's directory");
        }
        self.runs.lock().by_id.remove(&id);
    }

    /// Stops all runs and waits until their processes are dead, five seconds or so at most for
    /// each that the system lets die. Their `Ended` follow as far as the receiver still listens.
    pub async fn shutdown(mut self) {
        self.stop_all();
        // Nobody else holds the receiver, so the only way out is that all clones are gone.
        let (replacement, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.alive, replacement));
        while self.all_dead.recv().await.is_some() {}
        info!("all runs are stopped");
    }

    fn stop_all(&self) {
        self.runs.lock().closed = true;
        self.runs.stop(|_| true, StopReason::Shutdown);
    }
}

/// An executor that is dropped leaves no process behind; it only does not wait.
impl Drop for Executor {
    fn drop(&mut self) {
        self.stop_all();
    }
}

impl RunLimits {
    pub(crate) fn output_bytes(&self) -> u64 {
        u64::from(self.output_mb) * MIB
    }

    /// Whoever may write a model may write its checkpoint.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        3 * self.output_bytes() + cyxwiz_trainer::limits::MAX_CHECKPOINT_HEADER_BYTES
    }

    /// Of temporary files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        u64::from(self.disk_mb) * 1_000_000
    }

    /// The size of the largest file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.checkpoint_bytes().max(self.disk_bytes())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", hex::encode(self.job), self.attempt)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

/// Never sent: only whether senders of it exist is of interest.
#[derive(Debug)]
enum Alive {}

/// Which runs there are. A mutex, because `start`, `stop` and `active` answer at once without
/// asking a task; it is never held across an await.
#[derive(Clone, Debug, Default)]
struct Runs(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    by_id: BTreeMap<RunId, Place>,
    closed: bool,
}

#[derive(Debug)]
enum Place {
    Active {
        stop: watch::Sender<Option<StopReason>>,
        meter: Arc<usage::Meter>,
    },
    /// Ended, the directory still there.
    Kept,
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // Every change under the lock is a single insert or remove, whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(
        &self,
        id: RunId,
        limit: usize,
    ) -> Result<(watch::Receiver<Option<StopReason>>, Arc<usage::Meter>), StartError> {
        let mut places = self.lock();
        if places.closed {
            return Err(StartError::ShuttingDown);
        }
        if places.by_id.contains_key(&id) {
            return Err(StartError::Known { id });
        }
        let kept = places.by_id.values().filter(|place| matches!(place, Place::Kept)).count();
        if places.by_id.len() - kept >= limit {
            return Err(StartError::Full { limit });
        }
        if kept >= KEPT_RUNS_MAX {
            return Err(StartError::Undiscarded { kept });
        }
        let (stop, receiver) = watch::channel(None);
        let meter = Arc::<usage::Meter>::default();
        places.by_id.insert(id, Place::Active { stop, meter: Arc::clone(&meter) });
        Ok((receiver, meter))
    }

    fn stop(&self, which: impl Fn(&RunId) -> bool, why: StopReason) {
        for (id, place) in &self.lock().by_id {
            if let Place::Active { stop, .. } = place
                && which(id)
            {
                stop.send_if_modified(|reason| {
                    let open = matches!(reason, None | Some(StopReason::Paused));
                    let news = open && *reason != Some(why);
                    if news {
                        *reason = Some(why);
                    }
                    news
                });
            }
        }
    }

    fn end(&self, id: RunId) {
        self.lock().by_id.insert(id, Place::Kept);
    }
}

fn directory_of(root: &Path, id: RunId) -> PathBuf {
    root.join(id.to_string())
}

fn check(run: &Run) -> Result<(), StartError> {
    let RunLimits { memory_mb, threads, wall, output_mb, disk_mb: _ } = run.limits;
    let limits = [
        ("memory_mb", memory_mb == 0),
        ("threads", threads == 0),
        ("wall", wall.is_zero()),
        ("output_mb", output_mb == 0),
    ];
    if let Some((limit, _)) = limits.into_iter().find(|(_, zero)| *zero) {
        return Err(StartError::ZeroLimit { limit });
    }
    if run.inputs.len() > INPUTS_MAX {
        return Err(StartError::TooManyInputs { count: run.inputs.len(), limit: INPUTS_MAX });
    }
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in &run.inputs {
        if !directory::is_plain_name(name) || !seen.insert(name) {
            return Err(StartError::InputName { name: name.clone() });
        }
    }
    Ok(())
}

const MIB: u64 = 1024 * 1024;

/// Input files of one run; a data set is one to four files.
const INPUTS_MAX: usize = 64;

/// Ended runs whose directory nobody has discarded. More means that the caller forgets to.
const KEPT_RUNS_MAX: usize = 256;
