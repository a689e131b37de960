//! The executor from outside: shell scripts play trainers that behave, misbehave, or will not die.

mod hostile;
mod life;
mod limits;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cyxwiz_trainer::frames::{Failure, FailureClass, Frame, ReadSoFar, Summary};
use rustix::process::{Pid, PidfdFlags};
use tempfile::TempDir;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::*;

/// An executor whose trainer is a shell script; `$1` is the run's directory.
struct Bench {
    root: TempDir,
    executor: Executor,
    events: mpsc::Receiver<ExecutorEvent>,
}

impl Bench {
    fn new(script: &str) -> Self {
        Self::with_room(script, 64)
    }

    fn with_room(script: &str, events: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::channel(events);
        let executor = Executor::new(config(&root.path().join("runs"), script), sender).unwrap();
        Self { root, executor, events }
    }

    async fn next(&mut self) -> ExecutorEvent {
        let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        next.unwrap_or_else(|_| panic!("no event; active: {:?}", self.executor.active())).unwrap()
    }

    async fn spawned(&mut self) -> u32 {
        let event = self.next().await;
        let ExecutorEvent::Spawned { pid, .. } = event else {
            panic!("expected Spawned, not {event:?}");
        };
        pid
    }

    /// Everything up to the end: the frames, and how it ended.
    async fn end(&mut self) -> (Vec<Frame>, Outcome) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                ExecutorEvent::Spawned { .. } => {}
                ExecutorEvent::Frame { frame, .. } => frames.push(frame),
                ExecutorEvent::Checkpoint { .. } => {}
                ExecutorEvent::Ended { outcome, .. } => return (frames, outcome),
            }
        }
    }

    async fn outcome(script: &str) -> Outcome {
        let mut bench = Self::new(script);
        bench.executor.start(run(1)).unwrap();
        let outcome = bench.end().await.1;
        assert!(bench.executor.active().is_empty());
        outcome
    }

    fn run_directory(&self, attempt: u32) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("runs").join(id(attempt).to_string())
    }

    fn left_on_disk(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join("runs")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn config(root: &Path, script: &str) -> ExecutorConfig {
    ExecutorConfig {
        root: root.to_owned(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned(), "trainer".to_owned()],
        max_concurrent: 2,
        walls: Walls::LimitsOnly,
    }
}

fn id(attempt: u32) -> RunId {
    RunId { job: [0xab; 16], attempt }
}

fn run(attempt: u32) -> Run {
    Run {
        id: id(attempt),
        workload_json: "{}".to_owned(),
        inputs: Vec::new(),
        resume: None,
        engine: EngineChoice::Cpu,
        limits: RunLimits {
            memory_mb: 256,
            threads: 2,
            wall: Duration::from_secs(60),
            output_mb: 1,
            disk_mb: 0,
        },
    }
}

/// A script that says hello and started, then does `rest`.
fn training(rest: &str) -> String {
    format!("{HELLO}\n{STARTED}\n{rest}")
}

/// A shell line that claims to have finished with one output.
fn finished(name: &str, size: &str, sha256: &str) -> String {
    format!(
        r#"echo '{{"frame":"finished","metrics":{{"loss":0.5}},"compute_ms":9999999,
"engine":"cpu","threads":1,"parameters":7,"outputs":[{{"name":"{name}","size":'{size}',
"sha256":"'{sha256}'"}}]}}' | tr -d '\n'; echo"#
    )
}

fn progress(epoch: &str, batch: &str, metrics: &str) -> String {
    format!(
        r#"echo '{{"frame":"progress","epochs":3,"epoch":'{epoch}','\
'"batches":500,"batch":'{batch}',"metrics":{{{metrics}}},"learning_rate":0.1,'\
'"samples_processed":1,"samples_per_second":1.0,'\
'"elapsed_ms":1,"eta_ms":null,"memory_bytes":null}}'"#
    )
}

#[track_caller]
fn assert_failed(outcome: &Outcome, class: FailureClass, words: &str) {
    let Outcome::Failed { failure: Failure { class: found, message } } = outcome else {
        panic!("expected a failure with {words:?}, not {outcome:?}");
    };
    assert_eq!(*found, class, "{message}");
    assert!(message.contains(words), "{message:?} does not contain {words:?}");
}

#[track_caller]
fn assert_finished(outcome: Outcome) -> (Summary, PathBuf) {
    let Outcome::Finished { summary, output_dir } = outcome else {
        panic!("expected Finished, not {outcome:?}");
    };
    (summary, output_dir)
}

/// Whether no living process has the number; one that waits to be reaped is dead.
fn is_dead(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits, by the kernel's own notice, until a process that need not be a child is dead.
async fn death_of(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) else {
        return;
    };
    // SAFETY: an owned descriptor names one open file until it is dropped.
    let handle = unsafe { AsyncFd::register(handle) }.unwrap();
    let dead = tokio::time::timeout(PATIENCE, handle.readable()).await;
    dead.expect("the process dies").unwrap().retain_ready();
}

const HELLO: &str = r#"echo '{"frame":"hello","version":2,"engine":"cpu","threads":1}'"#;
const READING: &str = r#"echo '{"frame":"reading","values":9,"elapsed_ms":1000}'"#;
const STARTED: &str = r#"echo '{"frame":"started","parameters":7,"train_rows":1,'\
'"validation_rows":0,"test_rows":0,"epochs":3,"batches_per_epoch":500}'"#;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
