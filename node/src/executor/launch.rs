//! Makes the directory, then the process. A thread of its own forks the process and lives as long
//! as it does, for two reasons: the kernel sends the parent-death signal when the forking *thread*
//! ends, and a thread of the runtime may end at any time; and the thread can wait for the death
//! without reaping, so that [`Group`] alone decides when the process id becomes free again.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use cyxwiz_sandbox::Cage;
use cyxwiz_trainer::{ArrayFireChoice, EngineChoice};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{ExecutorConfig, Run, StopReason, confinement, directory, leftovers};

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error(transparent)]
    Prepare(#[from] directory::PrepareError),
    #[error(transparent)]
    Walls(#[from] cyxwiz_sandbox::PrepareError),
    #[error("cannot start {program}")]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start a thread to watch the training process")]
    Thread(#[source] io::Error),
    #[error("the thread that starts the training process ended early")]
    Lost,
}

/// Everything a process is made from.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) config: Arc<ExecutorConfig>,
    pub(super) directory: PathBuf,
    pub(super) run: Arc<Run>,
    pub(super) stop: watch::Receiver<Option<StopReason>>,
}

/// A running process and the ends of its pipes.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) group: Group,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    /// Resolves, with whatever result, when the process is dead and not yet reaped.
    pub(super) exit: oneshot::Receiver<()>,
    pub(super) forked_at: Instant,
}

/// Makes the run's directory and its process.
pub(super) async fn launch(order: Order) -> Result<Launched, LaunchError> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        let (dead, exit) = oneshot::channel();
        let launched = start(&order, exit);
        let pid = launched.as_ref().ok().map(|launched| launched.group.pid);
        // When nobody waits for the answer any more it is dropped, and the process with it.
        drop(answer.send(launched));
        if let Some(pid) = pid {
            wait_unreaped(pid);
            drop(dead);
        }
    };
    thread::Builder::new()
        .name("run".to_owned())
        .stack_size(THREAD_STACK_BYTES)
        .spawn(work)
        .map_err(LaunchError::Thread)?;
    answered.await.unwrap_or(Err(LaunchError::Lost))
}

/// A process group with its leader, our child. Owns the right to signal and to reap.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    pid: Pid,
    reaped: bool,
}

impl Group {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to every process in the group, and to the leader if it has left it. Does
    /// nothing once the leader is reaped, as its number may be another's by then.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.reaped {
            // The only other answer is that no process is left to receive it.
            rustix::process::kill_process_group(self.pid, signal).ok();
            if rustix::process::getpgid(Some(self.pid)) != Ok(self.pid) {
                rustix::process::kill_process(self.pid, signal).ok();
            }
        }
    }

    /// Kills what is left of the group and reaps the leader. To be called when the leader is dead;
    /// waits for its death otherwise.
    pub(super) fn bury(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }

    /// Whether a process of the group is still there. An answer for the moment after
    /// [`Group::bury`]; later the number may be another's.
    pub(super) fn has_members(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid).is_ok()
    }
}

/// Only when the runtime goes down under a run: nothing is left running, and the node's own end
/// reaps it.
impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn start(order: &Order, exit: oneshot::Receiver<()>) -> Result<Launched, LaunchError> {
    directory::prepare(&order.directory, &order.run, &order.stop)?;
    let cage = confinement::cage(&order.config, &order.run, &order.directory)?;
    let forked_at = Instant::now();
    let mut child = spawn(order, cage)
        .map_err(|source| LaunchError::Spawn { program: order.config.program.clone(), source })?;
    let pid = Pid::from_child(&child);
    let group = |child| Group { child, pid, reaped: false };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        drop(group(child));
        return Err(LaunchError::Lost);
    };
    let launched = Launched { group: group(child), stdin, stdout, stderr, exit, forked_at };
    record(&order.directory, launched.group.pid());
    Ok(launched)
}

fn spawn(order: &Order, mut cage: Cage) -> io::Result<Child> {
    let threads = order.run.limits.threads.to_string();
    let scratch = order.directory.join(directory::SCRATCH);
    let mut command = Command::new(&order.config.program);
    command
        .args(&order.config.arguments)
        .args(engine_arguments(&order.run.engine))
        .arg(&order.directory)
        .arg(&threads)
        .args(["--disk-mb", &order.run.limits.disk_mb.to_string()])
        .current_dir(&order.directory)
        .env_clear()
        .env("LANG", "C")
        .env("RAYON_NUM_THREADS", &threads)
        .env("TMPDIR", &scratch)
        .envs(engine_environment(&order.run.engine, &threads, &scratch))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: `enter` only makes system calls on values computed above; it neither allocates nor
    // takes a lock that another thread may have held at the fork.
    unsafe {
        command.pre_exec(move || cage.enter());
    }
    command.spawn()
}

/// What `cyxwiz __train` is told of the engine.
fn engine_arguments(engine: &EngineChoice) -> Vec<OsString> {
    let EngineChoice::ArrayFire(ArrayFireChoice { backend, device, library }) = engine else {
        return Vec::new();
    };
    let device = device.to_string();
    let named = ["--af-backend", backend.name(), "--device", &device].map(OsString::from);
    let library = library.iter().flat_map(|file| ["--af-library".into(), file.clone().into()]);
    named.into_iter().chain(library).collect()
}

/// What libraries ask of the environment: how many threads they may have, and where they may keep
/// the code that they compile. ArrayFire crashes where it finds no home, and drivers of OpenCL have
/// their caches in there.
fn engine_environment(
    engine: &EngineChoice,
    threads: &str,
    scratch: &Path,
) -> Vec<(&'static str, OsString)> {
    if *engine == EngineChoice::Cpu {
        return Vec::new();
    }
    let counts = ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"];
    let caches = ["HOME", "XDG_CACHE_HOME", "CUDA_CACHE_PATH", "AF_JIT_KERNEL_CACHE_DIRECTORY"];
    let counts = counts.into_iter().map(|name| (name, threads.into()));
    counts.chain(caches.into_iter().map(|name| (name, scratch.into()))).collect()
}

/// Leaves on disk who the process is, for `leftovers` of a later life. The parent-death signal is
/// the first line and this the second, so a failure is not the run's.
fn record(directory: &Path, pid: u32) {
    let Some(identity) = leftovers::Identity::of(pid) else {
        return;
    };
    let path = directory::record_of(directory);
    if let Err(error) = directory::write_new(&path, identity.to_string().as_bytes()) {
        tracing::warn!(%error, path = %path.display(), "cannot record the process");
    }
}

/// Blocks until the process is dead, and leaves it to be reaped.
fn wait_unreaped(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options) {}
}

/// The thread makes files and waits; it needs no depth.
const THREAD_STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The walls keep a process from the list of users, the other place where a home is looked for.
    #[test]
    fn libraries_find_a_home_that_they_may_write_to() {
        let scratch = Path::new("/run/scratch");
        let backend = cyxwiz_trainer::Backend::OpenCl;
        let choice = ArrayFireChoice { backend, device: 0, library: None };
        let told = engine_environment(&EngineChoice::ArrayFire(choice), "2", scratch);
        for place in ["HOME", "XDG_CACHE_HOME", "AF_JIT_KERNEL_CACHE_DIRECTORY"] {
            assert!(told.contains(&(place, scratch.into())), "{place}");
        }
        assert!(told.contains(&("OPENBLAS_NUM_THREADS", "2".into())));
        assert_eq!(engine_environment(&EngineChoice::Cpu, "2", scratch), []);
    }
}
