//! What the protocol asks of the outside world: fetch files, check definitions, run and stop
//! processes. Each task is carried out beside the driver and answers with one or more
//! [`TaskEvent`]s; the driver alone owns this and calls it.

mod checkpoints;
mod inspect;
mod outcome;
mod transfer;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use cyxwiz_protocol::{
    PeerId, Run, Task, TaskEvent, Verified,
    effects::StopReason,
    report::{Checkpoint, Ending, FailureClass, Progress},
    spec::JobSpec,
};
use cyxwiz_scoring::Requirements;
use cyxwiz_trainer::frames::{Failure, FailureClass as TrainerFailure};
use tokio::{sync::mpsc, task::AbortHandle};

pub use inspect::{InspectError, Inspector, fits};
pub use transfer::{PURPOSE, Transfers, serve_stream};

use crate::engines::Engines;
use crate::executor::{self, Executor, ExecutorEvent, RunId, RunLimits};
use checkpoints::Importer;

/// Answers that may wait for the driver; a task that has one more waits.
pub const EVENTS: usize = 256;

/// Memory that every job gets, however little it asks for.
const LEAST_MEMORY_MB: u32 = 64;

/// Private memory that the process of a job may have, in bytes, at a worker that gives it no more
/// threads than it asks for.
#[must_use]
pub fn process_memory(needs: &Requirements) -> u64 {
    executor::granted_bytes(needs.memory_mb.max(LEAST_MEMORY_MB), needs.cores.max(1))
}

/// What this machine lets a job use.
#[derive(Clone, Debug)]
pub struct Allowance {
    pub threads: u16,
    pub engines: Engines,
}

/// See the module's text.
#[derive(Debug)]
pub struct Tasks {
    me: PeerId,
    inspector: Inspector,
    transfers: Transfers,
    executor: Option<Executor>,
    allowance: Allowance,
    /// Runs whose inputs are on their way.
    preparing: BTreeMap<Run, Preparing>,
    /// Runs that a process carries out.
    running: BTreeMap<Run, Running>,
    done: mpsc::Sender<Done>,
}

#[derive(Debug)]
struct Preparing {
    spec: Arc<Verified<JobSpec>>,
    fetch: AbortHandle,
}

#[derive(Debug)]
struct Running {
    begun: std::time::Instant,
    spec: Arc<Verified<JobSpec>>,
    importer: Importer,
    /// The inputs of a run that goes on from a checkpoint, for its second start without one.
    afresh: Option<Vec<(String, PathBuf)>>,
}

/// The files that a run begins with.
#[derive(Debug)]
pub struct Prepared {
    inputs: Vec<(String, PathBuf)>,
    /// The checkpoint to go on from.
    resume: Option<PathBuf>,
}

/// What comes back to the driver.
#[derive(Debug)]
pub enum Done {
    /// For the peer.
    Event(TaskEvent),
    /// For [`Tasks::launch`]: the inputs of a run are here, each with its file.
    Inputs { run: Run, result: Result<Prepared, String> },
}

impl Tasks {
    /// `done` must be read by whoever calls the other functions, or they wait for ever.
    #[must_use]
    pub fn new(
        me: PeerId,
        inspector: Inspector,
        transfers: Transfers,
        executor: Option<Executor>,
        allowance: Allowance,
        done: mpsc::Sender<Done>,
    ) -> Self {
        let (preparing, running) = (BTreeMap::new(), BTreeMap::new());
        Self { me, inspector, transfers, executor, allowance, preparing, running, done }
    }

    /// Begins a task. Never waits.
    pub fn begin(&mut self, task: Task) {
        match task {
            Task::Inspect { spec, from } => self.inspect(spec, from),
            Task::Run { run, spec, resume, sources } => self.prepare(run, spec, resume, sources),
            Task::Stop { run, why } => self.stop(run, why),
            // The run's directory went when its outputs became artifacts.
            Task::Discard { run } => tracing::debug!(%run, "the receipt was counted"),
            Task::Collect { job, why, files, from } => {
                let (transfers, done) = (self.transfers.clone(), self.done.clone());
                let from = self.others(&from);
                tokio::spawn(async move {
                    let result = transfers.fetch_all(&files, &from).await;
                    tell(&done, Done::Event(TaskEvent::Collected { job, why, result })).await;
                });
            }
        }
    }

    fn inspect(&self, spec: Arc<Verified<JobSpec>>, from: PeerId) {
        let (inspector, transfers) = (self.inspector.clone(), self.transfers.clone());
        let done = self.done.clone();
        let from = self.others(&[from]);
        tokio::spawn(async move {
            let result = inspector.admit(&spec, &transfers, &from).await;
            let job = spec.id;
            tell(&done, Done::Event(TaskEvent::Inspected { job, result })).await;
        });
    }

    fn prepare(
        &mut self,
        run: Run,
        spec: Arc<Verified<JobSpec>>,
        resume: Option<Checkpoint>,
        sources: Vec<PeerId>,
    ) {
        let (transfers, done) = (self.transfers.clone(), self.done.clone());
        let sources = self.others(&sources);
        let (files, bytes_max) = (spec.inputs.clone(), self.limits(&spec).checkpoint_bytes());
        let fetch = tokio::spawn(async move {
            let result = match transfers.fetch_all(&files, &sources).await {
                Ok(()) => {
                    let resume = match resume {
                        Some(it) => {
                            checkpoints::fetch(run, it, bytes_max, &sources, &transfers).await
                        }
                        None => None,
                    };
                    transfers.paths(&files).map(|inputs| Prepared { inputs, resume })
                }
                Err(error) => Err(error),
            };
            tell(&done, Done::Inputs { run, result }).await;
        });
        self.preparing.insert(run, Preparing { spec, fetch: fetch.abort_handle() });
    }

    /// The inputs of a run are here: start its process. Hands back what is to be told at once.
    pub fn launch(&mut self, run: Run, prepared: Result<Prepared, String>) -> Option<TaskEvent> {
        let Preparing { spec, .. } = self.preparing.remove(&run)?;
        let started = prepared
            .map_err(|error| format!("the input files could not be fetched: {error}"))
            .and_then(|prepared| {
                let afresh = prepared.resume.is_some().then(|| prepared.inputs.clone());
                self.execute(run, &spec, prepared, Duration::ZERO).map(|()| afresh)
            });
        match started {
            Ok(afresh) => {
                let artifacts = self.transfers.artifacts().clone();
                let importer = Importer::start(run, artifacts, self.done.clone());
                let begun = std::time::Instant::now();
                self.running.insert(run, Running { begun, spec, importer, afresh });
                None
            }
            Err(message) => Some(failed(run, FailureClass::Internal, message, 0)),
        }
    }

    /// Hands a run to the executor, of whose time some is `spent`.
    fn execute(
        &self,
        run: Run,
        spec: &JobSpec,
        Prepared { inputs, resume }: Prepared,
        spent: Duration,
    ) -> Result<(), String> {
        let executor = self.executor.as_ref().ok_or("this peer runs no jobs")?;
        let mut limits = self.limits(spec);
        limits.wall = limits.wall.saturating_sub(spent).max(Duration::from_millis(1));
        let (id, workload_json) = (run_id(run), spec.workload.clone());
        let device = spec.requirements.device;
        let engine = self.allowance.engines.for_device(device);
        let engine = engine.ok_or_else(|| format!("this worker has no engine for {device}"))?;
        executor
            .start(executor::Run { id, workload_json, inputs, resume, limits, engine })
            .map_err(|error| error.to_string())
    }

    fn limits(&self, spec: &JobSpec) -> RunLimits {
        RunLimits {
            memory_mb: spec.requirements.memory_mb.max(LEAST_MEMORY_MB),
            threads: self.allowance.threads.max(spec.requirements.cores.min(64)).max(1),
            wall: Duration::from_millis(spec.limits.attempt_ms),
            output_mb: spec.limits.output_mb.max(1),
            disk_mb: spec.requirements.disk_mb,
        }
    }

    /// Starts a run again that got nowhere with its checkpoint, from its beginning. `None` when it
    /// was not that, or must not be started again.
    fn restart(&mut self, run: Run, outcome: &executor::Outcome) -> Option<Result<(), String>> {
        let executor::Outcome::Failed { failure } = outcome else {
            return None;
        };
        // A state that leads to no number may be wrong, and says nothing of the job.
        if !matches!(failure.class, TrainerFailure::BadCheckpoint | TrainerFailure::Diverged) {
            return None;
        }
        let running = self.running.get_mut(&run)?;
        let (inputs, spec) = (running.afresh.take()?, Arc::clone(&running.spec));
        let (spent, reason) = (running.begun.elapsed(), &failure.message);
        tracing::warn!(%run, reason, "a useless checkpoint: the run begins at its beginning");
        self.tidy(run);
        Some(self.execute(run, &spec, Prepared { inputs, resume: None }, spent))
    }

    fn stop(&mut self, run: Run, why: StopReason) {
        if let Some(preparing) = self.preparing.remove(&run) {
            preparing.fetch.abort();
            let done = self.done.clone();
            tokio::spawn(async move {
                let event = TaskEvent::Ended { run, ending: Ending::Cancelled, compute_ms: 0 };
                tell(&done, Done::Event(event)).await;
            });
            return;
        }
        if let Some(running) = self.running.get_mut(&run) {
            // It may have ended already, and must not begin again.
            running.afresh = None;
        }
        let why = match why {
            StopReason::Cancelled | StopReason::Superseded => executor::StopReason::Cancelled,
            StopReason::LeaseLost => executor::StopReason::LeaseLost,
            StopReason::Leaving => executor::StopReason::Shutdown,
            StopReason::Paused => executor::StopReason::Paused,
        };
        if let Some(executor) = &self.executor {
            executor.stop(run_id(run), why);
        }
    }

    /// What the executor says of a run, in the protocol's words.
    pub fn on_executor(&mut self, event: ExecutorEvent) -> Option<TaskEvent> {
        match event {
            ExecutorEvent::Spawned { id, .. } => Some(TaskEvent::Started { run: run_of(id) }),
            ExecutorEvent::Frame { id, frame } => {
                let usage = self.executor.as_ref().map(|executor| executor.usage(id));
                let progress = outcome::progress(frame, usage.unwrap_or_default())?;
                Some(TaskEvent::Progress { run: run_of(id), progress })
            }
            ExecutorEvent::Checkpoint { id, checkpoint } => {
                if let Some(running) = self.running.get(&run_of(id)) {
                    running.importer.offer(checkpoint);
                }
                None
            }
            ExecutorEvent::Ended { id, outcome } => {
                let run = run_of(id);
                let outcome = match self.restart(run, &outcome) {
                    Some(Ok(())) => return None,
                    Some(Err(message)) => {
                        let class = TrainerFailure::Internal;
                        executor::Outcome::Failed { failure: Failure { class, message } }
                    }
                    None => outcome,
                };
                let running = self.running.remove(&run);
                let compute_ms = running.as_ref().map_or(0, |it| it.begun.elapsed().as_millis());
                let compute_ms = u64::try_from(compute_ms).unwrap_or(u64::MAX);
                self.conclude(run, outcome, running.map(|it| it.importer), compute_ms);
                None
            }
        }
    }

    /// Makes artifacts of the last checkpoint and the outputs, then says how the run ended and lets its directory go.
    fn conclude(
        &self,
        run: Run,
        outcome: executor::Outcome,
        importer: Option<Importer>,
        compute_ms: u64,
    ) {
        let (artifacts, done) = (self.transfers.artifacts().clone(), self.done.clone());
        tokio::spawn(async move {
            match (importer, &outcome) {
                (Some(importer), executor::Outcome::Finished { .. }) => importer.abandon(),
                // Its last checkpoint is what another attempt goes on from.
                (Some(importer), _) => importer.finish().await,
                (None, _) => {}
            }
            let ended = tokio::task::spawn_blocking(move || outcome::ending(outcome, &artifacts));
            let ending = ended.await.unwrap_or_else(|panic| Ending::Failed {
                class: FailureClass::Internal,
                message: format!("the outputs could not be kept: {panic}"),
            });
            tell(&done, Done::Event(TaskEvent::Ended { run, ending, compute_ms })).await;
        });
    }

    /// The run's outputs are artifacts, or it has none: its directory may go.
    pub fn tidy(&self, run: Run) {
        if let Some(executor) = &self.executor {
            executor.discard(run_id(run));
        }
    }

    /// Ends every process.
    pub async fn shutdown(self) {
        for preparing in self.preparing.values() {
            preparing.fetch.abort();
        }
        if let Some(executor) = self.executor {
            executor.shutdown().await;
        }
    }

    fn others(&self, peers: &[PeerId]) -> Vec<PeerId> {
        peers.iter().copied().filter(|peer| *peer != self.me).collect()
    }
}

async fn tell(done: &mpsc::Sender<Done>, what: Done) {
    // The driver is gone only when the node ends; then nobody waits for the answer.
    let _ = done.send(what).await;
}

fn failed(run: Run, class: FailureClass, message: String, compute_ms: u64) -> TaskEvent {
    TaskEvent::Ended { run, ending: Ending::Failed { class, message }, compute_ms }
}

const fn run_id(run: Run) -> RunId {
    RunId { job: run.job.0, attempt: run.attempt.0 }
}

const fn run_of(id: RunId) -> Run {
    Run { job: cyxwiz_protocol::JobId(id.job), attempt: cyxwiz_protocol::Attempt(id.attempt) }
}

/// The empty progress of a run that has begun and not trained yet.
pub(crate) fn begun(epochs: u32, batches: u32) -> Progress {
    Progress { epochs, batches, ..Progress::default() }
}
