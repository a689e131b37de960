//! A network: a bootstrap peer, a coordinator, and whoever a test adds.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
    rc::Rc,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Cli, Place, SOON, TRAINED, eventually,
    process::{Process, Stop},
    program::program,
};

/// A bootstrap peer and the folder below which all that belongs to its network lies.
#[derive(Debug)]
pub struct Network {
    pub bootstrap: Process,
    pub invite: String,
    pub coordinator_invite: String,
    /// Where the bootstrap peer listens, with its peer id.
    pub address: String,
    arguments: Vec<String>,
    folder: Rc<TempDir>,
    place: Place,
}

/// A peer that a test can kill and start again.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    /// Its id, in the form that the command line prints.
    pub peer: String,
    pub data_dir: PathBuf,
    /// What it printed when it was ready.
    pub ready: Value,
    process: Process,
    arguments: Vec<String>,
    folder: Rc<TempDir>,
    place: Place,
}

impl Network {
    /// A bootstrap peer alone.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::listening_on(name, 0)
    }

    /// The same at a port that was chosen before.
    #[must_use]
    pub fn listening_on(name: &str, port: u16) -> Self {
        Self::at(&Place::default(), name, port)
    }

    /// The same somewhere else; whoever is started without a place is started there too.
    #[must_use]
    pub fn at(place: &Place, name: &str, port: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("cyxwiz-test-").tempdir();
        let folder = Rc::new(folder.expect("there is room for a folder"));
        let config = folder.path().join("config.toml");
        File::create(&config).expect("the new folder can be written to");
        let listen = format!("/ip4/{}/tcp/{port}", place.address);
        let arguments = own(&["--network", name, "--listen", &listen]);
        let (bootstrap, said) = bootstrap(&arguments, folder.path(), place);
        let secret = fs::read_to_string(text(&said["coordinator_invite_file"]));
        Self {
            bootstrap,
            invite: text(&said["invite"]),
            coordinator_invite: secret.expect("the secret invite is there").trim().to_owned(),
            address: text(&said["addresses"][0]),
            arguments,
            folder,
            place: place.clone(),
        }
    }

    /// Starts the bootstrap peer as it was started before.
    #[track_caller]
    pub fn start_bootstrap_again(&mut self) {
        (self.bootstrap, _) = bootstrap(&self.arguments, self.folder.path(), &self.place);
    }

    /// A bootstrap peer, a coordinator that leads, and a peer from which jobs are handed in.
    #[must_use]
    pub fn with_coordinator(name: &str) -> (Self, Node, Node) {
        let network = Self::new(name);
        let coordinator = network.coordinator(&[]);
        let laptop = network.node("laptop", &[]);
        laptop.awaits_coordinator();
        (network, coordinator, laptop)
    }

    #[must_use]
    pub fn coordinator(&self, options: &[&str]) -> Node {
        let invite = ["--coordinator", "--join", &self.coordinator_invite];
        self.start("coordinator", &[&invite, options].concat())
    }

    /// A worker that reports often.
    #[must_use]
    pub fn worker(&self, name: &str, options: &[&str]) -> Node {
        // Also on machines that lack a wall of the sandbox, whose own tests say so.
        let worker = ["--worker", "--report-interval-ms", "100", "--allow-unsandboxed"];
        self.node(name, &[&worker, options].concat())
    }

    /// A peer that joins by the public invite.
    #[must_use]
    pub fn node(&self, name: &str, options: &[&str]) -> Node {
        self.start(name, &[&["--join", &self.invite], options].concat())
    }

    /// A peer that joins as `options` say.
    #[must_use]
    pub fn start(&self, name: &str, options: &[&str]) -> Node {
        self.start_at(&self.place, name, options)
    }

    /// The same somewhere else.
    #[must_use]
    pub fn start_at(&self, place: &Place, name: &str, options: &[&str]) -> Node {
        let (data_dir, arguments) = (self.folder().join(name), own(options));
        let mut process = launch(name, &arguments, &data_dir, self.folder(), place);
        let ready = process.document();
        let folder = Rc::clone(&self.folder);
        let (name, peer, place) = (name.to_owned(), text(&ready["peer"]), place.clone());
        Node { name, peer, data_dir, ready, process, arguments, folder, place }
    }

    /// Starts `node run` without waiting for it to be ready.
    #[must_use]
    pub fn launch(&self, name: &str, options: &[&str]) -> Process {
        launch(name, &own(options), &self.folder().join(name), self.folder(), &self.place)
    }

    /// Below it lies everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Commands that no node answers, unless one is started with that name.
    #[must_use]
    pub fn cli(&self, name: &str) -> Cli {
        Cli::new(self.folder(), &self.folder().join(name)).by(&self.place.visitors)
    }
}

impl Node {
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::new(self.folder.path(), &self.data_dir).by(&self.place.visitors)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything that it wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends the signal and does not wait.
    pub fn signal(&self, how: Stop) {
        self.process.signal(how);
    }

    /// Ends it and waits until it is gone.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) -> ExitStatus {
        self.process.stop(how)
    }

    /// Holds it where it is: it says and hears nothing until [`Self::resume`].
    #[track_caller]
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Starts it as it was started before, on what it has on disk.
    #[track_caller]
    pub fn start_again(&mut self) {
        let folder = self.folder.path();
        self.process = launch(&self.name, &self.arguments, &self.data_dir, folder, &self.place);
        self.ready = self.process.document();
        assert_eq!(text(&self.ready["peer"]), self.peer, "a peer keeps its key");
    }

    /// Waits until it knows who coordinates.
    #[track_caller]
    pub fn awaits_coordinator(&self) {
        eventually(SOON, "a coordinator that leads", || {
            let status = self.cli().try_json(&["node", "status"])?;
            if status["committee"].is_object() { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Waits until the leader knows of `count` workers.
    #[track_caller]
    pub fn awaits_workers(&self, count: usize) {
        eventually(SOON, &format!("{count} workers"), || {
            let workers = self.cli().try_json(&["node", "workers"])?;
            let known = workers.as_array().map_or(0, Vec::len);
            if known == count { Ok(()) } else { Err(workers.to_string()) }
        });
    }

    /// Waits until the job is in `state`.
    ///
    /// # Panics
    ///
    /// When it comes to another end, or the time is up.
    #[track_caller]
    pub fn awaits(&self, job: &str, state: &str) -> Value {
        let job = eventually(TRAINED, &format!("{state}: job {job}"), || {
            let job = self.cli().try_json(&["job", "status", job])?;
            let here = job["state"] == state;
            if here || job["ended_at"].is_u64() { Ok(job) } else { Err(job.to_string()) }
        });
        assert_eq!(job["state"], state, "{job:#}");
        job
    }

    /// Waits until the process of the job's newest attempt is up.
    #[track_caller]
    pub fn awaits_training(&self, job: &str) -> Value {
        eventually(TRAINED, &format!("job {job} to train"), || {
            let job = self.cli().try_json(&["job", "status", job])?;
            assert!(!job["ended_at"].is_u64(), "it has ended already: {job:#}");
            let trains = job["state"] == "running" && job["started_at"].is_u64();
            if trains { Ok(job) } else { Err(job.to_string()) }
        })
    }
}

/// A port that was free a moment ago, for those who must name one beforehand.
///
/// # Panics
///
/// When the system has none.
#[must_use]
pub fn free_port() -> u16 {
    free_port_of(Ipv4Addr::LOCALHOST)
}

pub(crate) fn free_port_of(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound").port()
}

fn bootstrap(arguments: &[String], folder: &Path, place: &Place) -> (Process, Value) {
    let config = folder.join("config.toml");
    let mut command = program("cyxwiz-bootstrap", &config, &place.prefix);
    command.arg("--json").args(arguments).arg("--data-dir").arg(folder.join("bootstrap"));
    let mut process = Process::start("bootstrap", command, &folder.join("bootstrap.log"));
    let said = process.document();
    assert_eq!(said["event"], "listening", "{said}");
    (process, said)
}

fn launch(
    name: &str,
    options: &[String],
    data_dir: &Path,
    folder: &Path,
    place: &Place,
) -> Process {
    let mut command = program("cyxwiz", &folder.join("config.toml"), &place.prefix);
    command.args(["node", "run", "--output", "jsonl", "--no-mdns"]).args(options);
    if !options.iter().any(|option| option == "--listen") {
        command.arg("--listen").arg(format!("/ip4/{}/tcp/0", place.address));
    }
    command.arg("--data-dir").arg(data_dir);
    Process::start(name, command, &folder.join(format!("{name}.log")))
}

fn own(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text expected, not {value}")).to_owned()
}
