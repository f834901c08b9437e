//! Handlers of several writers.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use p2p_api::{Follow, NewWriter, Open};

use super::body::{At, JsonBody, id, json, json_lines};
use super::page::page;
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

pub(super) async fn list(State(server): State<Server>, At(drive): At<String>) -> Answer {
    json(&server.node.writers().list(id(&drive)?).await?)
}

pub(super) async fn own_key(State(server): State<Server>, JsonBody(open): JsonBody<Open>) -> Answer {
    json(&server.node.writers().own_key(open).await?)
}

pub(super) async fn add(
    State(server): State<Server>,
    At(drive): At<String>,
    JsonBody(new): JsonBody<NewWriter>,
) -> Answer {
    json(&server.node.writers().add(id(&drive)?, new).await?)
}

pub(super) async fn remove(State(server): State<Server>, At((drive, writer)): At<(String, String)>) -> Answer {
    json(&server.node.writers().remove(id(&drive)?, id(&writer)?).await?)
}

pub(super) async fn sync(State(server): State<Server>, JsonBody(follow): JsonBody<Follow>) -> Answer {
    Ok(json_lines(server.node.writers().sync(follow).await?))
}

pub(super) async fn write_conflicts(State(server): State<Server>, At(drive): At<String>) -> Answer {
    json(&server.node.writers().write_conflicts(id(&drive)?).await?)
}

pub(super) async fn conflicts(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    page(&uri, &server.node.writers().conflicts(id(&drive)?).await?, |conflict| conflict.path.clone())
}
