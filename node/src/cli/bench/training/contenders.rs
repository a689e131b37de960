//! Programs that train: ours, and those that it is held against. Each is a process that is given
//! a line for every epoch and answers it with a line; see `node/benches` for the rivals.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{super::disk, Model};
use crate::cli::{Context, error::CommandError};

/// How the rows of PyTorch begin.
pub(super) const PYTORCH: &str = "PyTorch";

const SCRIPT: &str = include_str!("../../../../benches/pytorch.py");

/// How to start a contender.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    file: PathBuf,
    /// Before the folder, the model and the threads.
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    is_rival: bool,
}

impl Program {
    pub(super) fn ours() -> Result<Self, CommandError> {
        let file = std::env::current_exe().map_err(|source| {
            CommandError::failure("cannot find this program's own file").because(&source)
        })?;
        Ok(Self {
            name: "CyxWiz CPU".to_owned(),
            file,
            arguments: vec!["__bench-train".to_owned()],
            environment: Vec::new(),
            is_rival: false,
        })
    }

    pub(super) fn is_rival(&self) -> bool {
        self.is_rival
    }
}

/// PyTorch as it is, and once more with threads that sleep while they wait: on a machine that
/// others use, too, the first collapses. Both are made ready in the cache of this account.
pub(super) fn pytorch(context: &Context) -> Result<Vec<Program>, CommandError> {
    let folder = cache()?;
    let (venv, script) = (folder.join("venv"), folder.join("pytorch.py"));
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let version = |python: &Path| {
        let mut ask = Command::new(python);
        ask.args(["-c", "import torch; print(torch.__version__)"]);
        let told = ask.stderr(Stdio::null()).output().ok().filter(|it| it.status.success())?;
        Some(String::from_utf8_lossy(&told.stdout).trim().to_owned())
    };
    let version = match version(&python) {
        Some(version) => version,
        None => {
            context.output.say(&format!("installing PyTorch into {}", venv.display()));
            let hint = "it takes python3 with venv (on Debian: apt install python3-venv), and a \
                        way to PyPI";
            let venv = venv.to_string_lossy();
            finish(Command::new("python3").args(["-m", "venv", &venv]), "python3 -m venv", hint)?;
            let pip = ["-m", "pip", "install", "--quiet", "torch", "numpy"];
            finish(Command::new(&python).args(pip), "pip install torch numpy", hint)?;
            version(&python).ok_or_else(|| {
                CommandError::failure("PyTorch is installed and does not start").hint(hint)
            })?
        }
    };
    std::fs::write(&script, SCRIPT).map_err(|source| {
        CommandError::failure(format!("cannot write {}", script.display())).because(&source)
    })?;
    let variant = |suffix: &str, environment: &[(&'static str, &'static str)]| Program {
        name: format!("{PYTORCH} {version}{suffix}"),
        file: python.clone(),
        arguments: vec![script.to_string_lossy().into_owned()],
        environment: environment.to_vec(),
        is_rival: true,
    };
    Ok(vec![variant("", &[]), variant(", passive", &[("OMP_WAIT_POLICY", "PASSIVE")])])
}

/// burn, built from the checkout that this program was built from; nothing where that is gone.
pub(super) fn burn(context: &Context) -> Result<Option<Program>, CommandError> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/burn");
    let manifest = crate_folder.join("Cargo.toml");
    if !manifest.exists() {
        context.output.say("burn is left out: it is built from a checkout, and there is none");
        return Ok(None);
    }
    let target = cache()?.join("burn");
    context.output.say("building burn, which takes minutes the first time");
    let (manifest, folder) = (manifest.to_string_lossy(), target.to_string_lossy());
    let build = ["build", "--release", "--locked", "--quiet", "--manifest-path", &manifest];
    let mut cargo = Command::new("cargo");
    cargo.args(build).args(["--target-dir", &folder]);
    finish(&mut cargo, "cargo build", "it takes cargo, and a way to its registry")?;
    Ok(Some(Program {
        name: "burn 0.22.1 (flex)".to_owned(),
        file: target.join("release/cyxwiz-bench-burn"),
        arguments: Vec::new(),
        environment: Vec::new(),
        is_rival: true,
    }))
}

/// Where rivals are kept for the next time.
fn cache() -> Result<PathBuf, CommandError> {
    let folders = directories::ProjectDirs::from("", "", "cyxwiz").ok_or_else(|| {
        CommandError::failure("this account has no home directory to keep rivals in")
    })?;
    let folder = folders.cache_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(|source| {
        CommandError::failure(format!("cannot make {}", folder.display())).because(&source)
    })?;
    Ok(folder)
}

/// Runs a command to its good end.
fn finish(command: &mut Command, what: &str, hint: &str) -> Result<(), CommandError> {
    let failed = |why: String| CommandError::failure(format!("{what} failed: {why}")).hint(hint);
    let output =
        command.stdin(Stdio::null()).output().map_err(|source| failed(source.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().last().unwrap_or("it said nothing").to_owned()))
}

/// A process that trains.
#[derive(Debug)]
pub(super) struct Contender {
    name: String,
    began: Instant,
    process: Child,
    turns: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What an epoch took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) loss: f64,
}

/// What a contender says.
#[derive(Debug, Deserialize)]
struct Answer {
    loss: f64,
}

impl Contender {
    pub(super) fn start(
        program: &Program,
        model: Model,
        threads: u32,
        folder: &Path,
    ) -> Result<Self, CommandError> {
        let failed = |source: &std::io::Error| {
            CommandError::failure(format!("cannot start {}", program.name)).because(source)
        };
        let began = Instant::now();
        let mut command = Command::new(&program.file);
        command.args(&program.arguments).arg(folder).arg(model.name()).arg(threads.to_string());
        command.envs(program.environment.iter().copied());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| failed(&source))?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (turns, answers) = pipes.expect("both were asked for");
        let answers = BufReader::new(answers);
        Ok(Self { name: program.name.clone(), began, process, turns, answers })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets it train one epoch.
    pub(super) fn epoch(&mut self) -> Result<Epoch, CommandError> {
        let failed = || CommandError::failure(format!("{} ended without an answer", self.name));
        let (began, used) = (Instant::now(), disk::process_cpu_seconds(self.process.id()));
        writeln!(self.turns, "go").map_err(|_| failed())?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|_| failed())?;
        let answer: Answer = serde_json::from_str(&line).map_err(|_| failed())?;
        Ok(Epoch {
            seconds: began.elapsed().as_secs_f64(),
            cpu_seconds: disk::process_cpu_seconds(self.process.id()) - used,
            loss: answer.loss,
        })
    }

    pub(super) fn peak_memory_mb(&self) -> f64 {
        disk::process_peak_memory_mb(self.process.id())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Errors say that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
