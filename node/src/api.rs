//! The local API: JSON over HTTP on loopback, with a token that only this user can read. The
//! command line, a dashboard and scripts use the same; nothing of it is reachable from outside.

mod confirming;
mod convert;
mod events;
mod jobs;
pub mod view;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cyxwiz_protocol::{
    Command, PeerId, PeerStatus, Reply,
    charter::Invite,
    effects::Unreachable,
    message::query::{Answer, Question},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    driver::{Call, News},
    membership::Membership,
    store::durable,
    tasks::{Inspector, Transfers},
};
use view::{ErrorKind, ErrorView};

/// Where a running node is to be found, for programs of the same user.
pub const FILE_NAME: &str = "api.json";
/// The largest body that is read: a submission.
const BODY_BYTES: usize = 1 << 20;

/// The content of [`FILE_NAME`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub token: String,
    pub pid: u32,
}

/// Why the API did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the local API cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the local API may listen on loopback only, not on {address}")]
    NotLoopback { address: SocketAddr },
    #[error("cannot write {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no randomness from the system: {0}")]
    Random(String),
}

/// What the API needs of the node.
#[derive(Debug)]
pub struct Parts {
    pub id: PeerId,
    pub membership: Membership,
    pub data_dir: PathBuf,
    pub net: cyxwiz_net::Handle,
    pub external: Vec<cyxwiz_net::Multiaddr>,
    pub transfers: Transfers,
    pub inspector: Inspector,
    pub calls: mpsc::Sender<Call>,
    pub news: broadcast::Sender<News>,
}

#[derive(Clone, Debug)]
struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    token: String,
    started_at: u64,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    file: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers nobody any more.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        // A file that stays behind is told apart by its process id.
        let _ = std::fs::remove_file(self.file);
    }
}

/// Listens on `address` and writes where that is into the data directory.
pub async fn start(address: SocketAddr, parts: Parts) -> Result<Server, ApiError> {
    if !address.ip().is_loopback() {
        return Err(ApiError::NotLoopback { address });
    }
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| ApiError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| ApiError::Listen { address, source })?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| ApiError::Random(error.to_string()))?;
    let token = hex::encode(secret);
    let file = announce(&parts.data_dir, address, &token)?;
    let started_at = crate::clock::unix_now().0;
    let api = Api(Arc::new(Shared { parts, token, started_at }));
    let app = router(api);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the local API ended");
        }
    });
    Ok(Server { address, file, task })
}

fn announce(dir: &Path, address: SocketAddr, token: &str) -> Result<PathBuf, ApiError> {
    let endpoint = Endpoint { address, token: token.to_owned(), pid: std::process::id() };
    let text = serde_json::to_vec(&endpoint).expect("an endpoint has a JSON form");
    let path = dir.join(FILE_NAME);
    durable::replace_file(dir, FILE_NAME, &text)
        .map_err(|source| ApiError::File { path: path.clone(), source })?;
    Ok(path)
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/node", get(node))
        .route("/v1/peers", get(peers))
        .route("/v1/workers", get(workers))
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/{job}", get(jobs::show))
        .route("/v1/jobs/{job}/events", get(events::stream))
        .route("/v1/jobs/{job}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{job}/pause", post(jobs::pause))
        .route("/v1/jobs/{job}/resume", post(jobs::resume))
        .route("/v1/jobs/{job}/collect", post(jobs::collect))
        .route("/v1/artifacts/{artifact}", get(jobs::artifact))
        .layer(middleware::from_fn_with_state(api.clone(), authorize))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES))
        .with_state(api)
}

/// Every request shows the token; other users of this machine, and pages in a browser, have none.
async fn authorize(State(api): State<Api>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Compared as hashes, so that timing tells nothing of the token.
    let same = given.is_some_and(|given| {
        cyxwiz_protocol::Digest::of(given.as_bytes())
            == cyxwiz_protocol::Digest::of(api.0.token.as_bytes())
    });
    if same {
        return next.run(request).await;
    }
    Failure::new(ErrorKind::Forbidden, "the token is missing or wrong")
        .hint("it is in api.json of the node's data directory")
        .into_response()
}

impl Api {
    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Has the driver do something and waits for its answer.
    async fn command(&self, command: Command) -> Result<Reply, Failure> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Command { command, reply }).await?;
        answer.await.map_err(|_gone| Failure::ending())
    }

    async fn status(&self) -> Result<PeerStatus, Failure> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Status { reply }).await?;
        answer.await.map_err(|_gone| Failure::ending())
    }

    async fn call(&self, call: Call) -> Result<(), Failure> {
        self.parts().calls.send(call).await.map_err(|_gone| Failure::ending())
    }

    /// Asks the leader.
    async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let reply = self.command(Command::Ask(question)).await?;
        if let Reply::Answer(answer) = reply {
            return Ok(*answer);
        }
        Err(Failure::unexpected(reply))
    }
}

/// `GET /v1/node`
async fn node(State(api): State<Api>) -> Result<Json<view::NodeView>, Failure> {
    let status = api.status().await?;
    let parts = api.parts();
    let snapshot = parts.net.snapshot().await.map_err(|error| Failure::internal(&error))?;
    let listening: Vec<String> =
        snapshot.addresses.iter().map(|address| parts.net.key().at(address).to_string()).collect();
    let invite = Invite {
        network: parts.membership.network.clone(),
        addresses: crate::node::told_addresses(&parts.net, snapshot.addresses, &parts.external),
        ticket: None,
    };
    let counters = snapshot.counters;
    let traffic = view::TrafficView {
        bytes_in: counters.frame_bytes_in,
        bytes_out: counters.frame_bytes_out,
    };
    Ok(Json(convert::node(status, parts, listening, &invite, traffic, api.0.started_at)))
}

/// `GET /v1/peers`
async fn peers(State(api): State<Api>) -> Result<Json<Vec<view::PeerView>>, Failure> {
    let snapshot = api.parts().net.snapshot().await.map_err(|error| Failure::internal(&error))?;
    let peers = snapshot.peers.into_iter().map(|peer| view::PeerView {
        peer: peer.key.to_string(),
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        agent: Some(peer.agent).filter(|agent| !agent.is_empty()),
        rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
    });
    Ok(Json(peers.collect()))
}

/// `GET /v1/workers`
async fn workers(State(api): State<Api>) -> Result<Json<Vec<view::WorkerLineView>>, Failure> {
    match api.ask(Question::Workers).await? {
        Answer::Workers(workers) => {
            Ok(Json(workers.into_iter().map(convert::worker_line).collect()))
        }
        Answer::Job(_) | Answer::Jobs(_) => Err(Failure::confused()),
    }
}

/// An answer that is not 2xx.
#[derive(Debug)]
struct Failure(ErrorView);

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(ErrorView { kind, message: message.into(), hint: None })
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }

    fn ending() -> Self {
        Self::new(ErrorKind::Internal, "the node is ending")
    }

    fn confused() -> Self {
        Self::new(ErrorKind::Internal, "the coordinator answered another question")
    }

    fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("{what} is not known"))
    }

    fn unreachable(why: Unreachable) -> Self {
        let failure = Self::new(ErrorKind::Unreachable, why.to_string());
        match why {
            Unreachable::NoCommittee => failure.hint(
                "is a coordinator running (`cyxwiz node run --coordinator`) and reachable? \
                 `cyxwiz node peers` shows who is connected",
            ),
            Unreachable::Silent(_) => {
                failure.hint("it may be restarting: try again, or look at its log")
            }
        }
    }

    /// A reply that is not the one hoped for.
    fn unexpected(reply: Reply) -> Self {
        match reply {
            Reply::Unreachable(why) => Self::unreachable(why),
            Reply::Refused { refusal, .. } => convert::refusal(&refusal),
            Reply::Order { result: Err(refusal), .. } => convert::order_refusal(refusal),
            Reply::Busy(text) => Self::new(ErrorKind::Busy, text),
            Reply::CollectFailed(text) => Self::new(ErrorKind::Unreachable, text)
                .hint("the files stay with the coordinator and the worker: try again"),
            Reply::Accepted { .. }
            | Reply::CancelNoted { .. }
            | Reply::Order { .. }
            | Reply::Answer(_)
            | Reply::Collected
            | Reply::Done => Self::confused(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ErrorKind::Usage => StatusCode::BAD_REQUEST,
            ErrorKind::Forbidden => StatusCode::UNAUTHORIZED,
            ErrorKind::Unreachable | ErrorKind::Unconfirmed => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::NotCompleted | ErrorKind::NotFinished => StatusCode::CONFLICT,
            ErrorKind::NobodyCould | ErrorKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}
