//! Handlers of the node itself, its peers and the DHT.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use p2p_api::wire::JSON;
use p2p_api::{DialRequest, routes};
use p2p_identity::ContentId;
use serde::Deserialize;

use super::body::{At, JsonBody, id, json, query, timeout};
use super::page::page;
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Deserialize)]
pub(super) struct Wait {
    pub(super) timeout_s: Option<f64>,
}

pub(super) async fn ping_api() -> impl IntoResponse {
    let versions =
        [(routes::VERSION_HEADER, routes::API_VERSION), (routes::MIN_VERSION_HEADER, routes::API_MIN_VERSION)];
    (StatusCode::NO_CONTENT, versions)
}

pub(super) async fn info(State(server): State<Server>) -> Answer {
    json(&server.node.info().await?)
}

pub(super) async fn stop(State(server): State<Server>) -> Answer {
    server.node.stop().await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], p2p_api::openapi_json())
}

pub(super) async fn metrics(State(server): State<Server>) -> Answer {
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], server.node.metrics().await?).into_response())
}

pub(super) async fn health(State(server): State<Server>) -> Answer {
    json(&server.node.health().await?)
}

pub(super) async fn peers(State(server): State<Server>, uri: Uri) -> Answer {
    // A peer may have several connections, each at an address of its own.
    page(&uri, &server.node.peers().list().await?, |peer| format!("{} {}", peer.peer, peer.address))
}

pub(super) async fn dial(State(server): State<Server>, JsonBody(request): JsonBody<DialRequest>) -> Answer {
    let limit = timeout(request.timeout_s)?;
    json(&server.node.peers().dial(&request.target, limit).await?)
}

pub(super) async fn ping(State(server): State<Server>, At(peer): At<String>, uri: Uri) -> Answer {
    let wait: Wait = query(&uri)?;
    json(&server.node.peers().ping(id(&peer)?, timeout(wait.timeout_s)?).await?)
}

pub(super) async fn find_providers(State(server): State<Server>, At(key): At<String>, uri: Uri) -> Answer {
    let wait: Wait = query(&uri)?;
    let providers = server.node.dht().find_providers(key_of(&key)?, timeout(wait.timeout_s)?).await?;
    page(&uri, &providers, |provider| provider.peer.to_string())
}

pub(super) async fn provide(State(server): State<Server>, At(key): At<String>) -> Answer {
    server.node.dht().provide(key_of(&key)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn stop_providing(State(server): State<Server>, At(key): At<String>) -> Answer {
    server.node.dht().stop_providing(key_of(&key)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 64 hexadecimal digits, the text form of a hash.
pub(super) fn key_of(text: &str) -> Result<[u8; 32], Refusal> {
    id::<ContentId>(text).map(|key| *key.as_bytes())
}
