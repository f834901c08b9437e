//! Handlers of earlier versions.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use p2p_api::page::{Cursor, PageQuery};
use p2p_api::{DEFAULT_LOG, LogQuery, MAX_LOG, NewTag, Restore};
use serde::Deserialize;

use super::body::{At, JsonBody, id, json, json_lines, query};
use super::page::{page, put_next};
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
    let PageQuery { cursor, .. } = query(&uri)?;
    let count = asked.limit.unwrap_or(DEFAULT_LOG).min(MAX_LOG) as usize;
    let drive = id(&drive)?;
    let mut versions = match &cursor {
        None => server.node.history().log(drive, asked).await?,
        Some(cursor) => {
            let cursor = Cursor::parse(cursor)?;
            let from = LogQuery { limit: Some(MAX_LOG), before: Some(cursor.at.saturating_add(1)) };
            let versions = server.node.history().log(drive, from).await?;
            let last = versions.iter().position(|version| cursor.is_after(&version.head));
            let rest = versions.into_iter().skip(last.map_or(0, |last| last + 1));
            rest.filter(|version| last.is_some() || version.time < cursor.at).collect()
        }
    };
    versions.truncate(count);
    let mut answer = json(&versions)?;
    if let Some(last) = versions.last()
        && versions.len() == count
    {
        put_next(Cursor::new(last.time, &last.head), &mut answer)?;
    }
    Ok(answer)
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

pub(super) async fn tags(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    page(&uri, &server.node.history().tags(id(&drive)?).await?, |tag| tag.name.clone())
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
