//! Handlers of earlier versions.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use p2p_api::{LogQuery, NewTag, Restore};
use serde::Deserialize;

use super::body::{At, JsonBody, id, json, json_lines, query};
use super::problem::Refusal;
use super::router::Server;

type Answer = Result<Response, Refusal>;

/// Which version a call is about; part of several queries.
#[derive(Deserialize)]
pub(super) struct OfVersion {
    pub(super) at: Option<String>,
}

pub(super) async fn log(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    let asked: LogQuery = query(&uri)?;
    json(&server.node.history().log(id(&drive)?, asked).await?)
}

#[derive(Deserialize)]
struct DiffParameters {
    from: String,
    to: Option<String>,
}

pub(super) async fn diff(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    let DiffParameters { from, to } = query(&uri)?;
    Ok(json_lines(server.node.history().diff(id(&drive)?, &from, to.as_deref()).await?))
}

pub(super) async fn restore(
    State(server): State<Server>,
    At(drive): At<String>,
    JsonBody(restore): JsonBody<Restore>,
) -> Answer {
    json(&server.node.history().restore(id(&drive)?, restore).await?)
}

pub(super) async fn tags(State(server): State<Server>, At(drive): At<String>) -> Answer {
    json(&server.node.history().tags(id(&drive)?).await?)
}

pub(super) async fn set_tag(
    State(server): State<Server>,
    At(drive): At<String>,
    JsonBody(tag): JsonBody<NewTag>,
) -> Answer {
    json(&server.node.history().set_tag(id(&drive)?, tag).await?)
}

#[derive(Deserialize)]
struct TagName {
    name: String,
}

pub(super) async fn remove_tag(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    let TagName { name } = query(&uri)?;
    server.node.history().remove_tag(id(&drive)?, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
