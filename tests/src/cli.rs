//! One command of `cyxwiz`, from its start to its end.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    program::program,
    waiting::{LOOK, SOON, TRAINED, eventually},
};

/// Runs commands against the node of one data directory.
#[derive(Clone, Debug)]
pub struct Cli {
    data_dir: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    prefix: Vec<String>,
}

/// What a command left.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

/// A command that runs.
#[derive(Debug)]
pub struct Command {
    child: Child,
    line: String,
    stdout: Reader,
    stderr: Reader,
}

/// What a pipe brought so far, read beside so that nobody waits for room in it.
#[derive(Debug)]
struct Reader {
    read: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Cli {
    /// Commands run in `folder`, which also holds the empty configuration file.
    #[must_use]
    pub fn new(folder: &Path, data_dir: &Path) -> Self {
        let config = folder.join("config.toml");
        if !config.exists() {
            File::create(&config).expect("the folder can be written to");
        }
        let (data_dir, folder) = (data_dir.to_owned(), folder.to_owned());
        Self { data_dir, folder, config, prefix: Vec::new() }
    }

    /// Commands run by way of `prefix`.
    pub(crate) fn by(mut self, prefix: &[String]) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// The folder in which commands run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, "")
    }

    /// Runs a command to its end with `input` on its standard input.
    #[track_caller]
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Outcome {
        self.start(arguments, input).wait(TRAINED)
    }

    /// Starts a command.
    #[track_caller]
    pub fn start(&self, arguments: &[&str], input: &str) -> Command {
        let mut command = program("cyxwiz", &self.config, &self.prefix);
        command.args(arguments).arg("--data-dir").arg(&self.data_dir).current_dir(&self.folder);
        // What a command leaves behind lies where the test sees it.
        command.env("TMPDIR", &self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let input = input.to_owned();
        thread::spawn(move || {
            // A command that does not read its input is none the worse.
            let _ = stdin.write_all(input.as_bytes());
        });
        let stdout = Reader::new(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Reader::new(child.stderr.take().expect("standard error is a pipe"));
        Command { child, line: arguments.join(" "), stdout, stderr }
    }

    /// Runs a command with `--output json` and returns its document.
    ///
    /// # Panics
    ///
    /// When it fails or prints something else.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--output", "json"]].concat()).succeeds().json()
    }

    /// The same, but what it said instead when it fails: for conditions that are waited for.
    pub fn try_json(&self, arguments: &[&str]) -> Result<Value, String> {
        let outcome = self.run(&[arguments, &["--output", "json"]].concat());
        if outcome.code == Some(0) { Ok(outcome.json()) } else { Err(outcome.stderr) }
    }

    /// A job as it stands.
    #[track_caller]
    pub fn job(&self, id: &str) -> Value {
        self.json(&["job", "status", id])
    }
}

impl Command {
    /// The command's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It is not reaped before `wait`, so the id is its own; it may have ended already.
        let _ = kill_process(pid.expect("ids of processes are positive"), Signal::INT);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it has not ended after `limit`.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Outcome {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let outcome = self.outcome(None);
                panic!("`cyxwiz {}` takes too long; so far:\n{outcome:?}", self.line);
            }
            thread::sleep(LOOK);
        };
        self.outcome(status.code())
    }

    /// Waits until it has written `count` lines to standard output.
    #[track_caller]
    pub fn awaits_lines(&self, count: usize) {
        eventually(SOON, &format!("{count} lines of `cyxwiz {}`", self.line), || {
            let text = self.stdout.text();
            if text.lines().count() >= count { Ok(()) } else { Err(text) }
        });
    }

    /// Waits until it has written `part` to standard error.
    #[track_caller]
    pub fn awaits_words(&self, part: &str) {
        eventually(SOON, &format!("{part:?} from `cyxwiz {}`", self.line), || {
            let text = self.stderr.text();
            if text.contains(part) { Ok(()) } else { Err(text) }
        });
    }

    fn outcome(&mut self, code: Option<i32>) -> Outcome {
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        Outcome { code, stdout, stderr, line: self.line.clone() }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // Errors say that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// It did what it was asked.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// It ended with this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.told());
        self
    }

    /// Standard error has all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} is said; {}", self.told());
        }
        self
    }

    /// Standard output as one document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}); {}", self.told()))
    }

    /// Standard output as one document a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("no JSON in {line:?} ({error}); {}", self.told()))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The whole story, for a failing assertion.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { code, stdout, stderr, line } = self;
        format!("`cyxwiz {line}` ended with {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Reader {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&read);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // What came until the pipe broke is what there is.
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().expect("no holder panics").extend_from_slice(&buffer[..count]);
            }
        });
        Self { read, thread: Some(thread) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read.lock().expect("no holder panics")).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("reading does not fail");
        }
        self.text()
    }
}
