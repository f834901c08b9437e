//! One drive: its link, its state, its files.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use futures::StreamExt;
use maud::{Markup, html};
use p2p_api::wire::encode_component;
use p2p_api::{ApiError, DriveId, DriveInfo, DriveRole, EntryKind, ErrorKind, Open, Result, TreeEntry, TreeQuery};
use serde::Deserialize;

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, parts, past};
use crate::human;

/// Most entries of a folder that are shown.
const MAX_ENTRIES: usize = 1_000;
/// How long a list that comes from other nodes is waited for.
const LIST_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(crate) struct At {
    #[serde(default)]
    path: String,
}

pub(crate) async fn page(
    State(desk): State<Desk>,
    Extension(session): Extension<Session>,
    Path(drive): Path<String>,
    Query(at): Query<At>,
) -> Response {
    match find(&desk, &drive).await {
        Ok(info) => show(&desk, &session, &info, at.path.trim_matches('/'), None).await,
        Err(error) => layout::failed(Section::Drives, "Drive", &error),
    }
}

/// Stops sharing, following or remembering a drive; its files stay.
pub(crate) async fn remove(State(desk): State<Desk>, Path(drive): Path<String>, form: Fields) -> Response {
    let info = match find(&desk, &drive).await {
        Ok(info) => info,
        Err(error) => return layout::failed(Section::Drives, "Drive", &error),
    };
    match desk.node.drives().remove(info.drive).await {
        Ok(_) => Redirect::to("/drives").into_response(),
        Err(error) => show(&desk, &form.session, &info, "", Some(&error)).await,
    }
}

async fn find(desk: &Desk, drive: &str) -> Result<DriveInfo> {
    let id: DriveId = drive.parse().map_err(|error| ApiError::not_found(format!("{error}")))?;
    match desk.node.drives().get(id).await {
        // One that was looked at before the last start is found again, or what is kept of it.
        Err(error) if error.kind == ErrorKind::NotFound => {
            let open = Open { link: id.to_string(), timeout: Some(LIST_TIME) };
            desk.node.drives().open(open).await
        }
        found => found,
    }
}

async fn show(desk: &Desk, session: &Session, info: &DriveInfo, path: &str, failure: Option<&ApiError>) -> Response {
    let title = parts::title(info);
    let files = files(desk, info, path).await;
    let body = html! {
        p.crumbs { a href="/drives" { "Drives" } }
        div.head { h1 { (title) } (parts::role(info.role)) }
        @if let Some(error) = failure { (layout::error(error)) }
        p.actions {
            a.button href=(desk.urls.site(info.drive, "")) target="_blank" rel="noopener" { "Open site" }
        }
        dl.facts #facts data-live { (facts(info)) (traffic(desk, info)) }
        section #files aria-labelledby="files-title" data-live {
            h2 #files-title { "Files" }
            (crumbs(info, &title, path))
            @match files {
                Ok(files) => (list(desk, info, path, files)),
                Err(error) => (layout::error(&error)),
            }
        }
        (past::sections(desk, info).await)
        (removal(info, session))
    };
    layout::page(Section::Drives, &title, &body).into_response()
}

fn facts(info: &DriveInfo) -> Markup {
    html! {
        dt { "Link" } dd { (parts::copyable(&info.link, "the link")) }
        @if let Some(path) = &info.path { dt { "Folder" } dd { code { (path.display()) } } }
        dt { "Version" } dd {
            @if info.version == 0 { (parts::no_version(info.role)) } @else { (human::grouped(info.version)) }
        }
        @if info.version > 0 {
            dt { "Content" } dd { (human::count(info.files, "file", "files")) ", " (human::bytes(info.bytes)) }
        }
        dt { "Here" } dd { (if info.complete { "all of it" } else { "a part of it" }) }
        dt { "Peers" } dd { (human::count(info.peers.into(), "peer", "peers")) " connected for it" }
    }
}

fn traffic(desk: &Desk, info: &DriveInfo) -> Markup {
    let rate = desk.rates.of_drive(&info.drive);
    html! {
        dt { "Traffic" } dd {
            @if rate.now.is_some() { (parts::rate(rate)) " · " }
            span.inline { (parts::total(rate)) } " since the node started"
        }
    }
}

/// Entries of a folder, and whether there are more.
async fn files(desk: &Desk, info: &DriveInfo, path: &str) -> Result<(Vec<TreeEntry>, bool)> {
    if info.version == 0 && info.role == DriveRole::Owner {
        return Ok((Vec::new(), false));
    }
    let list = async {
        let query = TreeQuery { prefix: path.to_owned(), depth: Some(1) };
        let mut entries = desk.node.drives().tree(info.drive, query).await?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if entry.path == path {
                continue;
            }
            if found.len() == MAX_ENTRIES {
                return Ok((found, true));
            }
            found.push(entry);
        }
        found.sort_by_key(|entry| entry.kind != EntryKind::Directory);
        Ok((found, false))
    };
    let late = || ApiError::new(ErrorKind::TimedOut, "nobody has sent the list of files yet");
    tokio::time::timeout(LIST_TIME, list).await.unwrap_or_else(|_| Err(late().with_hint("load the page again")))
}

fn crumbs(info: &DriveInfo, title: &str, path: &str) -> Markup {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    html! {
        @if !parts.is_empty() {
            p.crumbs {
                a href={ "/drives/" (info.drive) } { (title) }
                @for (index, part) in parts.iter().enumerate() {
                    " / "
                    @let above = parts.iter().take(index + 1).copied().collect::<Vec<_>>().join("/");
                    @if index + 1 == parts.len() { (part) } @else { (folder_link(info, &above, part)) }
                }
            }
        }
    }
}

fn folder_link(info: &DriveInfo, path: &str, name: &str) -> Markup {
    html! { a href={ "/drives/" (info.drive) "?path=" (encode_component(path)) } { (name) } }
}

fn list(desk: &Desk, info: &DriveInfo, path: &str, (files, is_cut): (Vec<TreeEntry>, bool)) -> Markup {
    if files.is_empty() {
        let text = html! { (if path.is_empty() { "Nothing was published yet." } else { "This folder is empty." }) };
        return parts::empty("No files", &text);
    }
    html! {
        div.table tabindex="0" role="region" aria-label="Files" { table {
            thead { tr { th scope="col" { "Name" } th.number scope="col" { "Size" } } }
            tbody { @for entry in &files { tr {
                @let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
                td { @match entry.kind {
                    EntryKind::Directory => { (folder_link(info, &entry.path, name)) "/" }
                    EntryKind::File => a href=(desk.urls.site(info.drive, &entry.path)) target="_blank" rel="noopener" {
                        (name)
                    },
                    EntryKind::Symlink => { (name) " " span.note { "(link)" } }
                } }
                td.number { @if entry.kind == EntryKind::File { (human::bytes(entry.size)) } }
            } } }
        } }
        @if is_cut { p.note { "Only the first " (human::grouped(MAX_ENTRIES as u64)) " entries are shown." } }
    }
}

fn removal(info: &DriveInfo, session: &Session) -> Markup {
    let (verb, meaning) = match info.role {
        DriveRole::Owner => {
            ("Stop sharing", "Nobody can fetch it from this node any more. The files stay in their folder.")
        }
        DriveRole::Mirror => ("Stop following", "It gets no new versions and is no longer passed on. The files stay."),
        DriveRole::Reader => ("Forget", "It disappears from this list. It can be visited again at any time."),
    };
    html! {
        details.danger {
            summary { (verb) " …" }
            p { (meaning) }
            form method="post" action={ "/drives/" (info.drive) "/remove" } {
                (fields::token(session))
                button.bad type="submit" { (verb) }
            }
        }
    }
}
