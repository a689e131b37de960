//! A job whose worker's process dies goes on elsewhere from its newest checkpoint: the real
//! training process under the real executor, told what to do as the protocol tells it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cyxwiz_net::Config;
use cyxwiz_node::artifacts::{ArtifactStore, Limits};
use cyxwiz_node::engines::Engines;
use cyxwiz_node::executor::{Executor, ExecutorConfig, ExecutorEvent, Walls};
use cyxwiz_node::tasks::{Allowance, Done, Inspector, Tasks, Transfers};
use cyxwiz_protocol::{
    ArtifactId, Attempt, CellId, Identity, JobId, NetworkId, Run, Task, TaskEvent, UnixMillis,
    Verified,
    report::{Checkpoint, Ending, FailureClass, Success},
    spec::{Estimate, FileRef, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::Requirements;
use tempfile::TempDir;
use tokio::sync::mpsc;

const EPOCHS: u32 = 200;

/// A machine that works, without a peer that tells it what to do.
struct Worker {
    tasks: Tasks,
    artifacts: ArtifactStore,
    executor: mpsc::Receiver<ExecutorEvent>,
    done: mpsc::Receiver<Done>,
    events: Vec<TaskEvent>,
    /// The process to kill as soon as a checkpoint was told of.
    kill_at_checkpoint: bool,
    pid: Option<u32>,
    _net: cyxwiz_net::Events,
    _folder: TempDir,
}

impl Worker {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        let artifacts =
            ArtifactStore::open(&path("artifacts"), Limits { max_bytes: 1 << 30 }).unwrap();
        let (net, events) = cyxwiz_net::start(Config::new([7; 32], "resume")).await.unwrap();
        let (executor_in, executor) = mpsc::channel(64);
        let config = ExecutorConfig {
            root: path("runs"),
            program: env!("CARGO_BIN_EXE_cyxwiz").into(),
            arguments: vec!["__train".to_owned()],
            walls: Walls::All,
            max_concurrent: 1,
        };
        let (done_in, done) = mpsc::channel(64);
        let tasks = Tasks::new(
            Identity::from_seed([7; 32]).id(),
            Inspector::new(path("checks")).unwrap(),
            Transfers::new(net, artifacts.clone()),
            Some(Executor::new(config, executor_in).unwrap()),
            Allowance { threads: 1, engines: Engines::default() },
            done_in,
        );
        Self {
            tasks,
            artifacts,
            executor,
            done,
            events: Vec::new(),
            kill_at_checkpoint: false,
            pid: None,
            _net: events,
            _folder: folder,
        }
    }

    /// Carries an attempt out, as the driver does.
    async fn attempt(&mut self, attempt: u32, resume: Option<Checkpoint>) -> Ending {
        let run = Run { job: JobId([9; 16]), attempt: Attempt(attempt) };
        self.events.clear();
        self.tasks.begin(Task::Run { run, spec: self.spec(), resume, sources: Vec::new() });
        loop {
            let event = tokio::select! {
                Some(event) = self.executor.recv() => {
                    if let ExecutorEvent::Spawned { pid, .. } = &event {
                        self.pid = Some(*pid);
                    }
                    self.tasks.on_executor(event)
                }
                Some(done) = self.done.recv() => match done {
                    Done::Event(event) => Some(event),
                    Done::Inputs { run, result } => self.tasks.launch(run, result),
                },
                () = tokio::time::sleep(Duration::from_secs(120)) => panic!("{:?}", self.events),
            };
            match event {
                Some(TaskEvent::Ended { ending, .. }) => {
                    self.tasks.tidy(run);
                    return ending;
                }
                Some(event) => {
                    if matches!(event, TaskEvent::Checkpointed { .. }) && self.kill_at_checkpoint {
                        self.kill();
                    }
                    self.events.push(event);
                }
                None => {}
            }
        }
    }

    /// The job, whose input is here already.
    fn spec(&self) -> Arc<Verified<JobSpec>> {
        let data = self.artifacts.import_bytes(line().as_bytes()).unwrap();
        let name = "line.csv".parse().unwrap();
        spec(vec![FileRef { name, artifact: ArtifactId(data.id), size: data.size }])
    }

    fn kill(&mut self) {
        // Ours and not reaped before `Ended`, so the number is still its own.
        let pid = self.pid.take().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let told = self.events.iter().filter_map(|event| {
            let TaskEvent::Checkpointed { checkpoint, .. } = event else {
                return None;
            };
            Some(checkpoint.clone())
        });
        told.collect()
    }

    /// The epochs that were told of as under way or done.
    fn epochs(&self) -> Vec<u32> {
        let told = self.events.iter().filter_map(|event| {
            let TaskEvent::Progress { progress, .. } = event else {
                return None;
            };
            Some(progress.epoch)
        });
        told.collect()
    }

    fn bytes_of(&self, checkpoint: &Checkpoint) -> Vec<u8> {
        let path = self.artifacts.path_of(checkpoint.file.artifact.0).unwrap();
        std::fs::read(path).unwrap()
    }

    /// Holds `bytes` as a checkpoint that was fetched.
    fn hold(&self, epoch: u32, bytes: &[u8]) -> Checkpoint {
        let imported = self.artifacts.import_bytes(bytes).unwrap();
        let name = "checkpoint.safetensors".parse().unwrap();
        let file = FileRef { name, artifact: ArtifactId(imported.id), size: imported.size };
        Checkpoint { epoch, batch: 0, file }
    }
}

fn line() -> String {
    let rows = (0..60).map(|n| {
        let (a, b) = (f64::from(n % 10) / 10.0, f64::from(n / 10) / 6.0);
        format!("{a},{b},{}\n", 2.0 * a - b)
    });
    format!("a,b,y\n{}", rows.collect::<String>())
}

fn spec(inputs: Vec<FileRef>) -> Arc<Verified<JobSpec>> {
    let workload = format!(
        r#"{{"model": {{"layers": [{{"type": "dense", "units": 16, "activation": "tanh"}},
                                   {{"type": "dropout", "rate": 0.2}},
                                   {{"type": "dense", "units": 1}}]}},
            "data": {{"source": "line.csv", "label": "y", "validation": 0.25}},
            "training": {{"epochs": {EPOCHS}, "batch_size": 4, "loss": "mse", "seed": 4,
                          "checkpoint_every_epochs": 2, "checkpoint_min_seconds": 0,
                          "optimizer": {{"type": "adam", "learning_rate": 0.001}}}}}}"#
    );
    let spec = JobSpec {
        id: JobId([9; 16]),
        cell: CellId(0),
        name: "line".parse().unwrap(),
        kind: JobKind::Train,
        workload,
        inputs,
        requirements: Requirements::default(),
        priority: Priority::default(),
        limits: JobLimits::default(),
        estimate: Estimate::default(),
    };
    let author = Identity::from_seed([1; 32]);
    Arc::new(author.sign(NetworkId([0; 16]), UnixMillis(0), 1, spec))
}

#[track_caller]
fn succeeded(ending: Ending) -> Success {
    let Ending::Succeeded(success) = ending else { panic!("{ending:?}") };
    success
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_ends_elsewhere_with_the_same_bytes() {
    let mut first = Worker::new().await;
    let straight = succeeded(first.attempt(1, None).await);
    assert!(!first.checkpoints().is_empty());

    first.kill_at_checkpoint = true;
    let Ending::Failed { class, .. } = first.attempt(2, None).await else { panic!() };
    // Who kills from outside is taken for the system in want of memory.
    assert_eq!(class, FailureClass::OutOfMemory);
    let checkpoints = first.checkpoints();
    assert!(checkpoints.is_sorted_by_key(|checkpoint| checkpoint.epoch), "{checkpoints:?}");
    let newest = checkpoints.last().unwrap();
    assert!(newest.epoch < EPOCHS, "it was killed midway");

    let mut second = Worker::new().await;
    let resume = second.hold(newest.epoch, &first.bytes_of(newest));
    assert_eq!(resume, *newest);
    let resumed = succeeded(second.attempt(3, Some(resume)).await);
    assert_eq!(second.epochs()[0], newest.epoch, "progress begins where the checkpoint ends");
    assert!(second.epochs().is_sorted());
    assert_eq!(resumed.outputs, straight.outputs);
    assert_eq!(resumed.metrics, straight.metrics);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_useless_checkpoint_costs_the_start_and_not_the_job() {
    let mut worker = Worker::new().await;
    let straight = succeeded(worker.attempt(1, None).await);
    let told = worker.checkpoints().pop().unwrap();
    let mut bytes = worker.bytes_of(&told);
    *bytes.last_mut().unwrap() ^= 1;
    let altered = worker.hold(told.epoch, &bytes);
    let mut nowhere = told.clone();
    nowhere.file.artifact = ArtifactId([3; 32]);
    let mut huge = told.clone();
    huge.file.size = u64::MAX;
    for (attempt, resume) in (2..).zip([altered, nowhere, huge]) {
        let again = succeeded(worker.attempt(attempt, Some(resume)).await);
        assert_eq!(worker.epochs()[0], 0, "attempt {attempt} begins at the beginning");
        assert_eq!(again.outputs, straight.outputs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_is_not_for_who_was_told_to_stop() {
    use cyxwiz_protocol::effects::StopReason;

    let mut worker = Worker::new().await;
    let bad = worker.hold(1, b"short");
    let run = Run { job: JobId([9; 16]), attempt: Attempt(1) };
    let resume = Some(bad);
    worker.tasks.begin(Task::Run { run, spec: worker.spec(), resume, sources: Vec::new() });
    let Some(Done::Inputs { run, result }) = worker.done.recv().await else { panic!() };
    assert!(worker.tasks.launch(run, result).is_none());
    let ended = loop {
        let event = worker.executor.recv().await.unwrap();
        if matches!(event, ExecutorEvent::Ended { .. }) {
            break event;
        }
    };
    // The process refused the checkpoint before the wish to stop came.
    worker.tasks.begin(Task::Stop { run, why: StopReason::Cancelled });
    assert!(worker.tasks.on_executor(ended).is_none());
    let Some(Done::Event(TaskEvent::Ended { ending, .. })) = worker.done.recv().await else {
        panic!()
    };
    let Ending::Failed { class, message } = ending else { panic!("{ending:?}") };
    assert_eq!(class, FailureClass::Internal);
    assert!(message.contains("no checkpoint"), "{message}");
}
