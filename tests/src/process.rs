//! One process that stays: what it says, and its end.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    running::is_stopped,
    waiting::{LOOK, SOON, eventually},
};

/// A process that ends with this value, whatever happens to the test. When the test fails, the
/// end of its log is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As by Ctrl-C.
    Interrupt,
    /// As by a service manager.
    Terminate,
    /// As by a power cut.
    Kill,
}

impl Process {
    /// Starts `command`; its standard error goes to `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> Self {
        // What an earlier life said stays readable.
        let file = File::options().create(true).append(true).open(log).expect("log opens");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (lines_in, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The rest is read too, or the process would wait for its reader one day.
                let _ = lines_in.send(line);
            }
        });
        Self { name: name.to_owned(), child, lines, log: log.to_owned() }
    }

    /// The next line that it writes to standard output, as JSON.
    ///
    /// # Panics
    ///
    /// When it ends, is silent for too long, or says something else.
    #[track_caller]
    pub fn document(&mut self) -> Value {
        self.document_or_end()
            .unwrap_or_else(|status| panic!("{} ended ({status}):\n{}", self.name, self.log_tail()))
    }

    /// The same, or how it ended instead.
    #[track_caller]
    pub fn document_or_end(&mut self) -> Result<Value, ExitStatus> {
        match self.lines.recv_timeout(SOON) {
            Ok(line) => Ok(serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{} said {line:?}: {error}", self.name))),
            Err(RecvTimeoutError::Disconnected) => Err(self.wait(SOON)),
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} says nothing:\n{}", self.name, self.log_tail())
            }
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends the signal and waits until it has ended.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) -> ExitStatus {
        self.signal(how);
        self.wait(SOON)
    }

    /// Sends the signal.
    pub fn signal(&self, how: Stop) {
        self.send(match how {
            Stop::Interrupt => Signal::INT,
            Stop::Terminate => Signal::TERM,
            Stop::Kill => Signal::KILL,
        });
    }

    /// Holds it where it is, and waits until it stands still.
    #[track_caller]
    pub fn pause(&self) {
        self.send(Signal::STOP);
        eventually(SOON, &format!("{} to stand still", self.name), || {
            if is_stopped(self.pid()) { Ok(()) } else { Err("it runs") }
        });
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.send(Signal::CONT);
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It is not reaped before `wait`, so the id is its own; it may have ended already.
        let _ = kill_process(pid.expect("ids of processes are positive"), signal);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// When it has not after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            if Instant::now() > deadline {
                panic!("{} does not end:\n{}", self.name, self.log_tail());
            }
            thread::sleep(LOOK);
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(SHOWN)..];
        format!("--- log of {} (process {})\n{}", self.name, self.pid(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // Errors say that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a log that are shown when a test fails.
const SHOWN: usize = 40;
