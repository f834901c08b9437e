//! Handlers of drives, but not of the bytes in them.

use axum::extract::{Request, State};
use axum::response::Response;
use futures::{StreamExt, stream};
use http::Uri;
use p2p_api::{ApiError, DriveId, ErrorKind, Follow, Import, Link, NewDrive, Open, Target, TreeQuery};
use serde::Deserialize;

use super::body::{At, JsonBody, id, json, json_lines, query};
use super::caller::Caller;
use super::history::OfVersion;
use super::page::page;
use super::problem::Refusal;
use super::router::Server;
use super::upload::Upload;

type Answer = Result<Response, Refusal>;

pub(super) async fn list(State(server): State<Server>, caller: Caller, uri: Uri) -> Answer {
    caller.require_drive_read(None)?;
    page(&uri, &server.node.drives().list().await?, |drive| drive.drive.to_string())
}

pub(super) async fn create(State(server): State<Server>, caller: Caller, JsonBody(new): JsonBody<NewDrive>) -> Answer {
    caller.require_drive_write(None)?;
    if let Some(path) = &new.path {
        caller.require_own_path(path)?;
    }
    json(&server.node.drives().create(new).await?)
}

pub(super) async fn open(State(server): State<Server>, caller: Caller, JsonBody(open): JsonBody<Open>) -> Answer {
    caller.require_drive_read(drive_of(&open.link))?;
    json(&server.node.drives().open(open).await?)
}

pub(super) async fn usage(State(server): State<Server>) -> Answer {
    json(&server.node.drives().usage().await?)
}

#[derive(Deserialize)]
struct FreeParameters {
    drive: Option<String>,
}

pub(super) async fn free(State(server): State<Server>, uri: Uri) -> Answer {
    let FreeParameters { drive } = query(&uri)?;
    json(&server.node.drives().free(drive.map(|drive| id(&drive)).transpose()?).await?)
}

pub(super) async fn repair(State(server): State<Server>) -> Answer {
    Ok(json_lines(server.node.drives().repair().await?))
}

pub(super) async fn traffic(State(server): State<Server>) -> Answer {
    json(&server.node.drives().traffic().await?)
}

pub(super) async fn local_names(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    page(&uri, &server.node.drives().local_names(id(&drive)?).await?, |name| name.path.clone())
}

pub(super) async fn get(State(server): State<Server>, At(drive): At<String>) -> Answer {
    json(&server.node.drives().get(id(&drive)?).await?)
}

pub(super) async fn remove(State(server): State<Server>, At(drive): At<String>) -> Answer {
    json(&server.node.drives().remove(id(&drive)?).await?)
}

pub(super) async fn follow(
    State(server): State<Server>,
    caller: Caller,
    uri: Uri,
    JsonBody(follow): JsonBody<Follow>,
) -> Answer {
    let OfVersion { at } = query(&uri)?;
    if matches!(caller, Caller::App(_)) {
        caller.require_drive_read(drive_of(&follow.link))?;
        caller.require_own_path(&follow.target)?;
        // A link that leaves the folder, or a version that comes later, would lead the node out of what was checked here.
        if follow.allow_external_links || follow.stay {
            let message = "an app copies one version at a time, and without links that leave its folder";
            return Err(ApiError::new(ErrorKind::NotAllowed, message)
                .with_hint("leave out stay and allow_external_links; an event tells of every new version")
                .into());
        }
        let open = Open { link: follow.link.clone(), timeout: follow.timeout };
        if let Some(room) = caller.room() {
            room.require(server.node.drives().open(open).await?.bytes)?;
        }
    }
    let events = match at {
        Some(at) => server.node.history().copy(follow, &at).await?,
        None => server.node.drives().follow(follow).await?,
    };
    Ok(json_lines(match caller.room() {
        Some(room) => room.watch(events),
        None => events,
    }))
}

pub(super) async fn import(State(server): State<Server>, At(drive): At<String>, request: Request) -> Answer {
    let drive = id(&drive)?;
    let how: Import = query(request.uri())?;
    let upload = Upload::new(request.into_body());
    match server.node.drives().import(drive, how, upload.changes()).await {
        Ok(events) => {
            let rest = stream::once(upload.drain()).filter_map(|()| async { None });
            Ok(json_lines(events.chain(rest).boxed()))
        }
        Err(error) => {
            upload.drain().await;
            Err(error.into())
        }
    }
}

/// The drive that a link names by its id; a name may lead anywhere.
fn drive_of(link: &str) -> Option<DriveId> {
    match link.parse::<Link>().ok()?.target {
        Target::Drive(drive) => Some(drive),
        _ => None,
    }
}

#[derive(Deserialize)]
struct TreeParameters {
    #[serde(default)]
    prefix: String,
    depth: Option<u32>,
    at: Option<String>,
}

pub(super) async fn tree(State(server): State<Server>, At(drive): At<String>, uri: Uri) -> Answer {
    let TreeParameters { prefix, depth, at } = query(&uri)?;
    let (drive, wanted) = (id(&drive)?, TreeQuery { prefix, depth });
    Ok(json_lines(match at {
        Some(at) => server.node.history().tree(drive, wanted, &at).await?,
        None => server.node.drives().tree(drive, wanted).await?,
    }))
}
