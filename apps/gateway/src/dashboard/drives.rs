//! All drives, and what can be begun with them.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use p2p_api::{ApiError, DriveInfo, DriveRole, Progress};

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::transfers::{Kind, Standing, Transfer};
use super::{Desk, jobs, parts};
use crate::human;

/// What was typed into a form that could not be done.
#[derive(Default)]
struct Typed<'form> {
    share_path: &'form str,
    share_title: &'form str,
    clone_link: &'form str,
    clone_target: &'form str,
}

pub(crate) async fn page(State(desk): State<Desk>, Extension(session): Extension<Session>) -> Response {
    show(&desk, &session, &Typed::default(), None).await
}

pub(crate) async fn share(State(desk): State<Desk>, form: Fields) -> Response {
    let typed = Typed { share_path: form.get("path"), share_title: form.get("title"), ..Typed::default() };
    match jobs::share(&desk, typed.share_path, typed.share_title).await {
        Ok(()) => Redirect::to("/drives").into_response(),
        Err(error) => show(&desk, &form.session, &typed, Some(&error)).await,
    }
}

pub(crate) async fn clone(State(desk): State<Desk>, form: Fields) -> Response {
    let typed = Typed { clone_link: form.get("link"), clone_target: form.get("target"), ..Typed::default() };
    match jobs::clone(&desk, typed.clone_link, typed.clone_target).await {
        Ok(()) => Redirect::to("/drives").into_response(),
        Err(error) => show(&desk, &form.session, &typed, Some(&error)).await,
    }
}

/// Stops a transfer, or takes one that ended off the list.
pub(crate) async fn dismiss(State(desk): State<Desk>, Path(id): Path<String>, _form: Fields) -> Response {
    if let Ok(id) = id.parse() {
        desk.transfers.dismiss(id);
    }
    Redirect::to("/drives").into_response()
}

async fn show(desk: &Desk, session: &Session, typed: &Typed<'_>, failure: Option<&ApiError>) -> Response {
    let mut drives = match desk.node.drives().list().await {
        Ok(drives) => drives,
        Err(error) => return layout::failed(Section::Drives, "Drives", &error),
    };
    drives.sort_by_cached_key(|drive| (drive.role == DriveRole::Reader, parts::title(drive).to_lowercase()));
    let transfers = desk.transfers.list();
    let body = html! {
        h1 { "Drives" }
        @if let Some(error) = failure { (layout::error(error)) }
        div #transfers data-live {
            @if !transfers.is_empty() {
                h2 { "Transfers" }
                ul.rows { @for one in &transfers { (transfer(one, session)) } }
            }
        }
        div #drive-list data-live { (list(desk, &drives)) }
        div.columns {
            section.panel aria-labelledby="share" {
                h2 #share { "Share a folder" }
                p.note { "Whoever has its link can read it. The files stay where they are." }
                form #share-form method="post" action="/drives/share" {
                    (fields::token(session))
                    label for="share-path" { "Folder on this computer" }
                    input #share-path name="path" value=(typed.share_path) required autocomplete="off"
                        spellcheck="false" placeholder="/home/ada/website" data-drop="share-form"
                        aria-describedby="share-drop";
                    p.note.drop #share-drop hidden role="status" { "Or drop its path, or its file:// address, anywhere here." }
                    label for="share-title" { "Name " span.note { "(optional)" } }
                    input #share-title name="title" value=(typed.share_title) maxlength="255" autocomplete="off";
                    button type="submit" { "Share" }
                }
            }
            section.panel aria-labelledby="clone" {
                h2 #clone { "Copy a drive" }
                p.note { "Fetches all files of a link, and passes them on to others." }
                form method="post" action="/drives/clone" {
                    (fields::token(session))
                    label for="clone-link" { "Link" }
                    input #clone-link name="link" value=(typed.clone_link) required autocomplete="off"
                        spellcheck="false" placeholder="p2p://…";
                    label for="clone-target" { "Into this folder" }
                    input #clone-target name="target" value=(typed.clone_target) required autocomplete="off"
                        spellcheck="false" placeholder="/home/ada/copy";
                    button type="submit" { "Copy" }
                }
            }
        }
    };
    let status = failure.map_or(StatusCode::OK, |_| StatusCode::BAD_REQUEST);
    (status, layout::page(Section::Drives, "Drives", &body)).into_response()
}

fn list(desk: &Desk, drives: &[DriveInfo]) -> Markup {
    if drives.is_empty() {
        let text = html! { "Share a folder of this computer, or copy somebody’s drive by its link." };
        return parts::empty("No drives yet", &text);
    }
    html! {
        ul.drives { @for drive in drives { li {
            div.head {
                a.name href={ "/drives/" (drive.drive) } { (parts::title(drive)) }
                (parts::role(drive.role))
                @if !drive.complete { span.badge.warn { "Incomplete" } }
            }
            p.note {
                @if drive.version == 0 { (parts::no_version(drive.role)) } @else {
                    (human::count(drive.files, "file", "files")) " · " (human::bytes(drive.bytes))
                    " · version " (human::grouped(drive.version))
                }
                @if drive.peers > 0 { " · " (human::count(drive.peers.into(), "peer", "peers")) }
            }
            @let rate = desk.rates.of_drive(&drive.drive);
            @if rate.now.is_some() { p.note { (parts::rate(rate)) } }
            @if let Some(path) = &drive.path { p.note.clip title=(path.display()) { (path.display()) } }
            p.actions {
                a href={ (desk.urls.site(drive.drive, "")) } target="_blank" rel="noopener" { "Open site" }
                a href={ "/drives/" (drive.drive) } { "Files and link" }
            }
        } } }
    }
}

/// One transfer, with its bar while it runs.
pub(crate) fn transfer(transfer: &Transfer, session: &Session) -> Markup {
    let what = match transfer.kind {
        Kind::Share => "Sharing",
        Kind::Clone => "Copying into",
    };
    let (class, word) = match &transfer.standing {
        Standing::Running(_) => ("calm", "Running"),
        Standing::Done(_) => ("good", "Done"),
        Standing::Failed { .. } => ("bad", "Failed"),
        Standing::Stopped => ("dim", "Stopped"),
    };
    html! {
        li.transfer {
            div.head {
                span.name { (what) " " span.path { (transfer.path) } }
                span.badge.(class) { (word) }
                form method="post" action={ "/transfers/" (transfer.id) "/dismiss" } {
                    (fields::token(session))
                    @let name = if transfer.is_running() { "Stop" } else { "Clear" };
                    button.small #{ "dismiss-" (transfer.id) } type="submit"
                        aria-label={ (name) ": " (what) " " (transfer.path) } { (name) }
                }
            }
            @match &transfer.standing {
                Standing::Running(now) => (progress(now)),
                Standing::Done(words) => p.note { (words) },
                Standing::Failed { message, hint } => {
                    p { (human::sentence(message)) }
                    @if let Some(hint) = hint { p.note { (human::sentence(hint)) } }
                }
                Standing::Stopped => p.note { "What is here already will not be fetched again." },
            }
        }
    }
}

fn progress(now: &Progress) -> Markup {
    html! {
        @if now.bytes_total > 0 {
            progress max=(now.bytes_total) value=(now.bytes_done.min(now.bytes_total)) aria-label="Progress" {}
        } @else {
            progress aria-label="Progress" {}
        }
        p.note {
            @if now.bytes_total == 0 && now.files_total == 0 {
                "Looking …"
            } @else {
                (human::bytes(now.bytes_done)) " of " (human::bytes(now.bytes_total)) " · "
                (human::grouped(now.files_done)) " of " (human::count(now.files_total, "file", "files"))
                @if now.bytes_per_second >= 1.0 { " · " (human::bytes(now.bytes_per_second as u64)) "/s" }
                @if now.peers > 0 { " · " (human::count(now.peers.into(), "peer", "peers")) }
            }
        }
    }
}
