//! Asks the node that runs on this machine, through its local API. Finds it by the file
//! `api.json` in its data directory; what the answers look like is in [`crate::api::view`].

mod events;
mod safe;

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::error::{CommandError, Kind};
use super::output::Output;
use crate::api::view::{
    ErrorView, JobLineView, JobView, NodeView, OrderView, PeerView, ResultView, SubmitAnswer,
    SubmitRequest, WorkerLineView,
};
pub use events::Events;

/// Speaks to one node.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    address: SocketAddr,
    authorization: String,
    data_dir: PathBuf,
    /// Who hears what takes long.
    listener: Option<Output>,
}

/// What a running node leaves in its data directory.
#[derive(Deserialize)]
struct ApiFile {
    address: SocketAddr,
    token: String,
    pid: u32,
}

impl Client {
    /// Finds the node of `data_dir` and sees that it listens.
    pub fn connect(data_dir: &Path) -> Result<Self, CommandError> {
        let path = data_dir.join(API_FILE);
        let file = read_api_file(&path, data_dir)?;
        if !file.address.ip().is_loopback() {
            let message =
                format!("{} names {}, which is not this machine", path.display(), file.address);
            return Err(CommandError::failure(message).hint("stop the node and start it again"));
        }
        // One probe, so that every later failure is about its own request.
        TcpStream::connect_timeout(&file.address, CONNECT)
            .map_err(|error| not_listening(&file, data_dir, &error))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy of the environment must never see the token.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("cyxwiz/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            address: file.address,
            authorization: format!("Bearer {}", file.token),
            data_dir: data_dir.to_owned(),
            listener: None,
        })
    }

    /// Says on `output` what is waited for when something takes long.
    #[must_use]
    pub fn telling(mut self, output: &Output) -> Self {
        self.listener = Some(output.clone());
        self
    }

    pub fn node(&self) -> Result<NodeView, CommandError> {
        self.get("/v1/node")
    }

    pub fn peers(&self) -> Result<Vec<PeerView>, CommandError> {
        self.get("/v1/peers")
    }

    pub fn workers(&self) -> Result<Vec<WorkerLineView>, CommandError> {
        self.get("/v1/workers")
    }

    /// All jobs, newest first, or all of this node's own.
    pub fn jobs(&self, mine: bool) -> Result<Vec<JobLineView>, CommandError> {
        let mut jobs: Vec<JobLineView> = Vec::new();
        for _page in 0..MAX_PAGES {
            let page = self.jobs_after(mine, jobs.last().map(|line| line.job.as_str()))?;
            let last = jobs.last().map(|line| line.job.clone());
            if page.last().map(|line| line.job.clone()) == last || page.is_empty() {
                break;
            }
            jobs.extend(page);
        }
        Ok(jobs)
    }

    /// The newest jobs, or those that follow `after` in the order from new to old.
    pub fn jobs_after(
        &self,
        mine: bool,
        after: Option<&str>,
    ) -> Result<Vec<JobLineView>, CommandError> {
        let after = after.map(|job| format!("&after={job}")).unwrap_or_default();
        self.get(&format!("/v1/jobs?mine={mine}{after}"))
    }

    /// Returns when the job is on the disks of a majority of the committee.
    pub fn submit(&self, request: &SubmitRequest) -> Result<SubmitAnswer, CommandError> {
        // How long it takes to look through the data is for their size to say.
        self.confirmed("/v1/jobs", None, request)
    }

    pub fn job(&self, job: &str) -> Result<JobView, CommandError> {
        self.get(&format!("/v1/jobs/{job}"))
    }

    /// What happens to a job from now on, until its end.
    pub fn events(&self, job: &str) -> Result<Events, CommandError> {
        let path = format!("/v1/jobs/{job}/events");
        let response = self.call(&path, None)?;
        let response = self.accepted(response)?;
        Ok(Events::new(response.into_body().into_reader()))
    }

    /// Asks for the job's end; returns when the coordinator knows, with the job as it stands.
    pub fn cancel(&self, job: &str) -> Result<JobView, CommandError> {
        self.confirmed(&format!("/v1/jobs/{job}/cancel"), Some(ANSWER), &NOTHING)
    }

    /// Wants a job to rest; returns when the coordinator knows, with the job as it stands.
    pub fn pause(&self, job: &str) -> Result<OrderView, CommandError> {
        self.confirmed(&format!("/v1/jobs/{job}/pause"), Some(ANSWER), &NOTHING)
    }

    /// Wants a paused job to go on; returns when the coordinator knows.
    pub fn resume(&self, job: &str) -> Result<OrderView, CommandError> {
        self.confirmed(&format!("/v1/jobs/{job}/resume"), Some(ANSWER), &NOTHING)
    }

    /// Waits until the files of a completed job are on this node.
    pub fn collect(&self, job: &str) -> Result<ResultView, CommandError> {
        self.answer(self.post(&format!("/v1/jobs/{job}/collect"), None, &NOTHING)?)
    }

    /// The bytes of a file by its SHA-256.
    pub fn artifact(&self, sha256: &str) -> Result<impl Read + use<>, CommandError> {
        let response = self.call(&format!("/v1/artifacts/{sha256}"), None)?;
        Ok(self.accepted(response)?.into_body().into_reader())
    }

    /// Asks for what may be asked for twice, until it is confirmed or [`PATIENCE`] is over.
    fn confirmed<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Option<Duration>,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        let deadline = Instant::now() + PATIENCE;
        let mut listener = self.listener.as_ref();
        loop {
            let outcome = self.answer(self.post(path, limit, body)?);
            match outcome {
                Err(error) if error.kind == Kind::Unconfirmed && Instant::now() < deadline => {
                    if let Some(output) = listener.take() {
                        output.say(&format!("{}; still waiting for that", error.message));
                    }
                    thread::sleep(ASK_AGAIN);
                }
                Ok(_) | Err(_) => return outcome,
            }
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        let response = self.call(path, Some(ANSWER))?;
        self.answer(response)
    }

    fn call(&self, path: &str, limit: Option<Duration>) -> Result<Response<Body>, CommandError> {
        let request = self.agent.get(self.url(path)).header("Authorization", &self.authorization);
        let request = request.config().timeout_global(limit).build();
        request.call().map_err(|error| self.unanswered(&error))
    }

    fn post<T: Serialize>(
        &self,
        path: &str,
        limit: Option<Duration>,
        body: &T,
    ) -> Result<Response<Body>, CommandError> {
        let request = self.agent.post(self.url(path)).header("Authorization", &self.authorization);
        let request = request.config().timeout_global(limit).build();
        request.send_json(body).map_err(|error| self.unanswered(&error))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T, CommandError> {
        let mut response = self.accepted(response)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unanswered(&error))?;
        safe::from_slice(&body).map_err(|source| {
            CommandError::failure("the node's answer is not what this program understands")
                .because(&source)
                .hint(ONE_VERSION)
        })
    }

    /// Turns an answer that is not 2xx into the error that it tells.
    fn accepted(&self, mut response: Response<Body>) -> Result<Response<Body>, CommandError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.body_mut().with_config().limit(MAX_ERROR_BYTES).read_to_vec();
        let view = body.ok().and_then(|body| safe::from_slice::<ErrorView>(&body).ok());
        Err(match view {
            Some(view) => view.into(),
            None => CommandError::failure(format!("the node answered with HTTP status {status}"))
                .hint(ONE_VERSION),
        })
    }

    fn unanswered(&self, error: &ureq::Error) -> CommandError {
        let message = format!("the node of {} does not answer", self.data_dir.display());
        let slow = matches!(error, ureq::Error::Timeout(_));
        let hint =
            if slow { "try again; `cyxwiz node status` shows whether it is well" } else { START };
        CommandError::new(Kind::Unreachable, message).because(error).hint(hint)
    }
}

fn read_api_file(path: &Path, data_dir: &Path) -> Result<ApiFile, CommandError> {
    let text = fs::read_to_string(path).map_err(|source| {
        if source.kind() != io::ErrorKind::NotFound {
            let message = format!("cannot read {}", path.display());
            return CommandError::failure(message).because(&source);
        }
        let message = format!("no node is running with the data directory {}", data_dir.display());
        CommandError::new(Kind::Unreachable, message).hint(START)
    })?;
    serde_json::from_str(&text).map_err(|source| {
        CommandError::failure(format!("{} is damaged", path.display()))
            .because(&source)
            .hint("restart the node, which writes it anew")
    })
}

/// `api.json` is there and nobody listens where it says: the node was killed, or hangs.
fn not_listening(file: &ApiFile, data_dir: &Path, error: &io::Error) -> CommandError {
    let dir = data_dir.display();
    let pid = file.pid;
    if is_alive(pid) {
        let address = file.address;
        let message = format!("the node of {dir} (process {pid}) does not answer at {address}");
        return CommandError::new(Kind::Unreachable, message)
            .because(error)
            .hint("it may be starting or stopping; try again, or stop that process");
    }
    let message = format!("the node of {dir} is gone: its process {pid} has ended");
    CommandError::new(Kind::Unreachable, message).hint(START)
}

/// Whether the process exists, another account's included.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

pub(crate) const API_FILE: &str = "api.json";
const START: &str = "start one with `cyxwiz node run --join ADDRESS`, name another with \
    --data-dir, or join for this one command with --join ADDRESS";
const ONE_VERSION: &str = "node and command line must be of one version; restart the node";
const NOTHING: serde_json::Value = serde_json::Value::Null;
const CONNECT: Duration = Duration::from_secs(2);
/// An order may take the node 15 s; then it says so itself.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a coordinator that is there may take to confirm something. Disks that need longer will
/// not be done with it soon.
const PATIENCE: Duration = Duration::from_secs(90);
/// The node has waited before it says that nothing is confirmed; this bounds one that has not.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A job with the decisions of all its attempts is far smaller.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const MAX_ERROR_BYTES: u64 = 64 * 1024;
/// The lists of a node are bounded; this ends a list that is not.
const MAX_PAGES: usize = 1_000;
