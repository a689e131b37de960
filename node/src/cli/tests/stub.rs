//! A local API that gives prepared answers and remembers what it was asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tempfile::TempDir;

use crate::cli::client::{API_FILE, Client};
use crate::cli::output::{Format, Ids, Output};
use crate::cli::{Context, Reach};

const TOKEN: &str = "secret";

/// Answers by `METHOD PATH?QUERY`; all that is not prepared is not found. Of several answers to
/// one request each is given once, and the last from then on.
#[derive(Debug, Default)]
pub(super) struct Stub {
    answers: BTreeMap<String, Vec<(u16, Vec<u8>)>>,
}

/// A stub that listens; ends with the value.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) dir: TempDir,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    pub(super) fn answer(mut self, request: &str, status: u16, body: &[u8]) -> Self {
        self.answers.entry(request.to_owned()).or_default().push((status, body.to_vec()));
        self
    }

    pub(super) fn json<T: Serialize>(self, request: &str, body: &T) -> Self {
        self.answer(request, 200, &serde_json::to_vec(body).unwrap())
    }

    pub(super) fn start(self) -> Running {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let asked = Arc::default();
        let state = Arc::new((self, Arc::clone(&asked)));
        let app = Router::new().fallback(serve).with_state(state);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        let dir = TempDir::new().unwrap();
        write_api_file(dir.path(), &address.to_string(), TOKEN, std::process::id());
        Running { dir, asked, _runtime: runtime }
    }
}

impl Running {
    pub(super) fn client(&self) -> Client {
        Client::connect(self.dir.path()).unwrap()
    }

    pub(super) fn context(&self, format: Format) -> Context {
        let output = Output { format, quiet: true, ids: Ids::Short };
        Context { data_dir: self.dir.path().to_owned(), output }
    }

    /// Requests so far, with their bodies.
    pub(super) fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

pub(super) fn here() -> Reach {
    Reach::default()
}

pub(super) fn write_api_file(dir: &Path, address: &str, token: &str, pid: u32) {
    let text = serde_json::json!({ "address": address, "token": token, "pid": pid }).to_string();
    std::fs::write(dir.join(API_FILE), text).unwrap();
}

type Shared = Arc<(Stub, Arc<Mutex<Vec<(String, String)>>>)>;

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (stub, asked) = &*shared;
    let expected = format!("Bearer {TOKEN}");
    let shown = request.headers().get("Authorization").and_then(|value| value.to_str().ok());
    if shown != Some(expected.as_str()) {
        let body = r#"{"kind":"forbidden","message":"the token is wrong","hint":null}"#;
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let what = format!("{} {}", request.method(), request.uri());
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut asked = asked.lock().unwrap();
    let before = asked.iter().filter(|(other, _)| *other == what).count();
    asked.push((what.clone(), String::from_utf8_lossy(&body).into_owned()));
    let answers = stub.answers.get(&what);
    match answers.and_then(|answers| answers.get(before).or(answers.last())) {
        Some((status, body)) => {
            (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response()
        }
        None => {
            let body = r#"{"kind":"not_found","message":"there is no such job","hint":null}"#;
            (StatusCode::NOT_FOUND, body).into_response()
        }
    }
}
