//! The routes of the `files` app as far as the commands need them, over any node.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use p2p_api::files::{CloneEvent, CloneRequest, ShareEvent, ShareRequest};
use p2p_api::{
    ApiError, App, AppRequest, AppResponse, Change, Follow, Import, ImportEvent, NewDrive, Node, Progress, Result,
    Skipped, Stream, TransferEvent,
};
use tokio_util::sync::CancellationToken;

/// A stand-in for the app that shares folders. Files whose name begins with `skip` are left out.
pub(crate) struct Files;

#[async_trait]
impl App for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(&self, _node: Node, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, node: &Node, request: AppRequest) -> AppResponse {
        answer(node, request).await.unwrap_or_else(AppResponse::problem)
    }
}

async fn answer(node: &Node, request: AppRequest) -> Result<AppResponse> {
    match (&request.method, request.path.as_str()) {
        (&Method::GET, "shares") => Ok(AppResponse::json(&node.drives().list().await?)),
        (&Method::POST, "shares") => Ok(AppResponse::lines(share(node, request.json()?).await?)),
        (&Method::DELETE, "shares") => {
            let which = request.query_value("which").unwrap_or_default();
            let drives = node.drives().list().await?;
            let is_meant = |path: &PathBuf| path.as_path() == Path::new(&which);
            let found = drives.iter().find(|d| d.drive.to_string() == which || d.path.as_ref().is_some_and(is_meant));
            let drive = found.ok_or_else(|| ApiError::not_found(format!("{which} is not shared")))?.drive;
            Ok(AppResponse::json(&node.drives().remove(drive).await?))
        }
        (&Method::POST, "clones") => Ok(AppResponse::lines(clone(node, request.json()?).await?)),
        _ => Err(ApiError::not_found("no such path")),
    }
}

async fn share(node: &Node, request: ShareRequest) -> Result<Stream<ShareEvent>> {
    let new = NewDrive { path: Some(request.path.clone()), title: request.title };
    let info = node.drives().create(new).await?;
    let (mut changes, mut skipped) = (Vec::new(), Vec::new());
    scan(&request.path, "", &mut changes, &mut skipped);
    changes.sort_by_key(|change| change.path.replace('/', "\u{1}"));
    let changes = stream::iter(changes.into_iter().map(Ok)).boxed();
    let events: Vec<ImportEvent> =
        node.drives().import(info.drive, Import::default(), changes).await?.try_collect().await?;
    let Some(ImportEvent::Published { version, files, bytes, .. }) = events.into_iter().next_back() else {
        return Err(ApiError::internal("no version"));
    };
    let (link, drive) = (info.link, info.drive);
    let published = ShareEvent::Published {
        link: link.clone(),
        drive,
        browser: None,
        version,
        files,
        bytes,
        seconds: 0.1,
        skipped,
    };
    let events = [ShareEvent::Link { link, drive }, ShareEvent::Progress(Progress::default()), published];
    Ok(stream::iter(events.map(Ok)).boxed())
}

fn scan(folder: &Path, prefix: &str, changes: &mut Vec<Change>, skipped: &mut Vec<Skipped>) {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = format!("{prefix}{name}");
        if name.starts_with("skip") {
            skipped.push(Skipped { path, reason: "not wanted".to_owned() });
            continue;
        }
        let place = folder.join(&name);
        changes.push(Change { path: path.clone(), ..Change::default() });
        if place.is_dir() {
            scan(&place, &format!("{path}/"), changes, skipped);
        }
    }
}

async fn clone(node: &Node, request: CloneRequest) -> Result<Stream<CloneEvent>> {
    let follow = Follow {
        link: request.link,
        target: request.target,
        allow_external_links: request.allow_external_links,
        stay: request.follow,
        timeout: None,
    };
    let events = node.drives().follow(follow).await?.map_ok(|event| match event {
        TransferEvent::Progress(progress) => CloneEvent::Progress(progress),
        TransferEvent::Done { drive, version, files, bytes, bytes_fetched, peers, skipped } => {
            CloneEvent::Done { drive, version, files, bytes, bytes_fetched, seconds: 0.1, peers, skipped }
        }
    });
    Ok(events.boxed())
}
