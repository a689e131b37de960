//! The health page: `GET /health` tells a monitor that the peer is up, and whom it serves.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cyxwiz_net::Handle;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

#[derive(Debug, Clone)]
struct Page {
    handle: Handle,
    network: String,
    started: Instant,
}

pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, handle: Handle, network: String) {
    let page = Page { handle, network, started: Instant::now() };
    let router = Router::new().route("/health", get(health)).with_state(page);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the health page is no longer served");
    }
    std::future::pending().await
}

async fn health(State(page): State<Page>) -> (StatusCode, Json<Value>) {
    let Ok(snapshot) = page.handle.snapshot().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "stopping" })));
    };
    let counters: Map<_, _> =
        snapshot.counters.named().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let addresses: Vec<_> = snapshot.addresses.iter().map(ToString::to_string).collect();
    let body = json!({
        "status": "ok",
        "peer_id": snapshot.key.to_string(),
        "network": page.network,
        "uptime_seconds": page.started.elapsed().as_secs(),
        "peers": snapshot.peers.len(),
        "routing_peers": snapshot.routing_peers,
        "addresses": addresses,
        "counters": counters,
    });
    (StatusCode::OK, Json(body))
}
