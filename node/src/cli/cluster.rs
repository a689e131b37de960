//! A whole network of processes on this machine, for the demo and the benchmark: real nodes on
//! loopback, ports chosen by the system, everything below one folder, nothing left running when
//! it is dropped.

mod coordinators;

pub(crate) use coordinators::Coordinators;

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    client::Client,
    error::{CommandError, Kind},
};

/// How long a process may take to say that it is ready. Loaded machines are slow, not broken.
const READY: Duration = Duration::from_secs(30);
/// How long a process may take to end in order before it is killed.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Processes that end with this value.
#[derive(Debug)]
pub(crate) struct Cluster {
    root: PathBuf,
    /// Removed with the cluster, unless it is to be kept.
    folder: Option<tempfile::TempDir>,
    members: Vec<Member>,
    /// Those that were killed and may be started again.
    killed: Vec<Member>,
    interrupted: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// How it was started, for starting it again.
    arguments: Vec<OsString>,
    process: Child,
}

/// What the bootstrap peer said.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    pub(crate) address: String,
    pub(crate) invite: String,
    pub(crate) coordinator_invite: String,
}

/// What a node said.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) data_dir: PathBuf,
}

impl Node {
    /// Asks the node through its local API.
    pub(crate) fn client(&self) -> Result<Client, CommandError> {
        Client::connect(&self.data_dir)
    }
}

impl Cluster {
    /// A cluster without members, in a new folder.
    pub(crate) fn new(keep: bool) -> Result<Self, CommandError> {
        let failed = |source: std::io::Error| {
            CommandError::failure("cannot make a folder for the network").because(&source)
        };
        let folder = tempfile::Builder::new().prefix("cyxwiz-").tempdir().map_err(failed)?;
        let (root, folder) =
            if keep { (folder.keep(), None) } else { (folder.path().to_owned(), Some(folder)) };
        let interrupted = Arc::new(AtomicBool::new(false));
        listen_for_interrupts(&interrupted)?;
        Ok(Self { root, folder, members: Vec::new(), killed: Vec::new(), interrupted })
    }

    /// Where everything lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn bootstrap(&mut self, network: &str) -> Result<Bootstrap, CommandError> {
        let dir = self.root.join("bootstrap");
        let arguments = ["bootstrap", "--json", "--network", network];
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"];
        let mut arguments: Vec<_> = arguments.iter().chain(&listen).map(OsString::from).collect();
        arguments.push(dir.into());
        let said = self.spawn("bootstrap", arguments)?;
        let file = PathBuf::from(text(&said, "coordinator_invite_file"));
        let coordinator_invite = std::fs::read_to_string(&file).map_err(|source| {
            CommandError::failure(format!("cannot read {}", file.display())).because(&source)
        })?;
        Ok(Bootstrap {
            address: said["addresses"][0].as_str().unwrap_or_default().to_owned(),
            invite: text(&said, "invite"),
            coordinator_invite: coordinator_invite.trim().to_owned(),
        })
    }

    /// A node that joins by `invite`, with more `options` of `cyxwiz node run`.
    pub(crate) fn node(
        &mut self,
        name: &str,
        invite: &str,
        options: &[&str],
    ) -> Result<Node, CommandError> {
        let data_dir = self.root.join(name);
        let run = ["node", "run", "--output", "jsonl", "--no-mdns", "--join", invite];
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let mut arguments: Vec<_> =
            run.iter().chain(&listen).chain(options).map(OsString::from).collect();
        arguments.extend(["--data-dir".into(), data_dir.clone().into()]);
        let said = self.spawn(name, arguments)?;
        Ok(Node { name: name.to_owned(), peer: text(&said, "peer"), data_dir })
    }

    /// Ends a node as a power cut does, and says when.
    pub(crate) fn kill(&mut self, node: &Node) -> Result<Instant, CommandError> {
        let at = self.members.iter().position(|member| member.name == node.name);
        let Some(at) = at else {
            return Err(CommandError::failure(format!("{} does not run", node.name)));
        };
        let mut member = self.members.remove(at);
        let killed = Instant::now();
        // Errors say that it is gone already.
        let _ = member.process.kill();
        let _ = member.process.wait();
        self.killed.push(member);
        Ok(killed)
    }

    /// Starts a node that was killed, as it was started before and on what it has on disk.
    pub(crate) fn restart(&mut self, node: &Node) -> Result<(), CommandError> {
        let at = self.killed.iter().position(|member| member.name == node.name);
        let Some(at) = at else {
            return Err(CommandError::failure(format!("{} was not killed", node.name)));
        };
        let arguments = self.killed.remove(at).arguments;
        self.spawn(&node.name, arguments).map(drop)
    }

    /// Starts a process and waits for the first line that it says.
    fn spawn(&mut self, name: &str, arguments: Vec<OsString>) -> Result<Value, CommandError> {
        let log_path = self.root.join(format!("{name}.log"));
        // What an earlier life said stays readable.
        let log = std::fs::File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(|source| {
            CommandError::failure(format!("cannot write {}", log_path.display())).because(&source)
        })?;
        let mut command = program()?;
        command.args(&arguments);
        // What the user's shell says of nodes is not for these.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("CYXWIZ_") {
                command.env_remove(key);
            }
        }
        command.env("CYXWIZ_CONFIG", self.empty_config()?);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        leave_terminal(&mut command);
        let mut process = command.spawn().map_err(|source| {
            CommandError::failure(format!("cannot start {name}")).because(&source)
        })?;
        let stdout = process.stdout.take();
        self.members.push(Member { name: name.to_owned(), arguments, process });
        let said = stdout.and_then(|stdout| first_line(stdout, &self.interrupted));
        self.check_interrupt()?;
        said.and_then(|line| serde_json::from_str(&line).ok()).ok_or_else(|| {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(4).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            CommandError::failure(format!("{name} did not start: {}", tail.join(" | ")))
        })
    }

    fn empty_config(&self) -> Result<PathBuf, CommandError> {
        let path = self.root.join("config.toml");
        if !path.exists() {
            std::fs::write(&path, "").map_err(|source| {
                CommandError::failure(format!("cannot write {}", path.display())).because(&source)
            })?;
        }
        Ok(path)
    }

    /// Looks again and again until `ready` has something; fails when the time is up, a process
    /// has ended, or the user interrupts.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Result<Option<T>, CommandError>,
    ) -> Result<T, CommandError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            self.check_interrupt()?;
            for member in &mut self.members {
                if let Ok(Some(status)) = member.process.try_wait() {
                    let log = self.root.join(format!("{}.log", member.name));
                    return Err(CommandError::failure(format!("{} ended: {status}", member.name))
                        .hint(format!("its log: {}", log.display())));
                }
            }
            if Instant::now() > deadline {
                let text = format!("{what} took longer than {} s", limit.as_secs());
                return Err(CommandError::failure(text)
                    .hint(format!("the logs are in {}; --keep keeps them", self.root.display())));
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), CommandError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        Ok(())
    }

    /// How many processes run.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The process ids of all members, for whoever measures them.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.members.iter().map(|member| member.process.id())
    }

    /// The process id of a member, likewise.
    pub(crate) fn pid_of(&self, name: &str) -> Option<u32> {
        self.members.iter().find(|member| member.name == name).map(|it| it.process.id())
    }
}

impl Member {
    fn is_pillar(&self) -> bool {
        self.arguments.iter().any(|it| it == "bootstrap" || it == "--coordinator")
    }
}

impl Drop for Cluster {
    /// Ends every process by its own id: asked first, then killed. Bootstrap and coordinators go
    /// last, so that workers can hand their runs back to somebody.
    fn drop(&mut self) {
        let members = std::mem::take(&mut self.members);
        let (pillars, others) = members.into_iter().partition::<Vec<_>, _>(Member::is_pillar);
        for mut group in [others, pillars] {
            end(&mut group);
        }
        drop(self.folder.take());
    }
}

fn end(group: &mut [Member]) {
    let deadline = Instant::now() + FAREWELL;
    for member in &*group {
        ask_to_end(&member.process);
    }
    for member in group {
        while matches!(member.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        // Errors say that it is gone already.
        let _ = member.process.kill();
        let _ = member.process.wait();
    }
}

pub(crate) fn interrupted() -> CommandError {
    CommandError::new(Kind::Interrupted, "interrupted; every process was ended")
}

fn program() -> Result<Command, CommandError> {
    let path = std::env::current_exe().map_err(|source| {
        CommandError::failure("cannot find this program's own file").because(&source)
    })?;
    Ok(Command::new(path))
}

fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_default().to_owned()
}

/// The first line, read beside so that an interrupt is noticed meanwhile. The rest is read too,
/// or the process would wait for its reader one day.
fn first_line(stdout: std::process::ChildStdout, interrupted: &AtomicBool) -> Option<String> {
    let (line_in, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        if let Some(Ok(first)) = lines.next() {
            let _ = line_in.send(first);
        }
        lines.for_each(drop);
    });
    let deadline = Instant::now() + READY;
    while Instant::now() < deadline && !interrupted.load(Ordering::Relaxed) {
        match line.recv_timeout(LOOK) {
            Ok(line) => return Some(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// Ctrl-C shall reach this process alone, which then ends the others in order; and none of them
/// shall outlive it.
#[cfg(unix)]
fn leave_terminal(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        let tie = move || {
            let signal = rustix::process::Signal::KILL;
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // The parent may have gone between the fork and the line above.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::Error::from(std::io::ErrorKind::NotFound));
            }
            Ok(())
        };
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe { command.pre_exec(tie) };
    }
}

#[cfg(not(unix))]
fn leave_terminal(_command: &mut Command) {}

#[cfg(unix)]
fn ask_to_end(process: &Child) {
    let pid = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended already; it is not reaped before `wait`, so the id is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn ask_to_end(_process: &Child) {}

fn listen_for_interrupts(interrupted: &Arc<AtomicBool>) -> Result<(), CommandError> {
    let flag = Arc::clone(interrupted);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| {
            CommandError::failure("the system gives no threads to run on").because(&source)
        })?;
    std::thread::spawn(move || {
        runtime.block_on(super::run::first_signal());
        flag.store(true, Ordering::Relaxed);
    });
    Ok(())
}
