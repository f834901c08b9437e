//! What is stored here and for which drive, and with which settings this node runs.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use p2p_api::{ApiError, BrowsedState, DriveId, DriveRole, DriveUsage, NodeInfo, StorageUsage};

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, parts};
use crate::human;

pub(crate) async fn page(State(desk): State<Desk>, Extension(session): Extension<Session>) -> Response {
    show(&desk, &session, None).await
}

/// Frees what looking at drives has left: of the named one, or of all.
pub(crate) async fn free(State(desk): State<Desk>, form: Fields) -> Response {
    let drive: Option<DriveId> = match form.get("drive") {
        "" => None,
        text => match text.parse() {
            Ok(drive) => Some(drive),
            Err(error) => return show(&desk, &form.session, Some(&ApiError::invalid(format!("{error}")))).await,
        },
    };
    match desk.node.drives().free(drive).await {
        Ok(_) => Redirect::to("/storage").into_response(),
        Err(error) => show(&desk, &form.session, Some(&error)).await,
    }
}

async fn show(desk: &Desk, session: &Session, failure: Option<&ApiError>) -> Response {
    let drives = desk.node.drives();
    let (info, usage) = match tokio::try_join!(desk.node.info(), drives.usage()) {
        Ok(found) => found,
        Err(error) => return layout::failed(Section::Storage, "Storage", &error),
    };
    let (held, seen): (Vec<&DriveUsage>, Vec<&DriveUsage>) =
        usage.drives.iter().filter(|drive| !drive.stopped).partition(|drive| drive.role != DriveRole::Reader);
    let body = html! {
        h1 { "Storage" }
        @if let Some(error) = failure { (layout::error(error)) }
        div #usage data-live { (cards(&held, &usage, &info)) }
        section aria-labelledby="largest" {
            h2 #largest { "In folders" }
            div #by-drive data-live { (by_drive(&held)) }
        }
        section aria-labelledby="cache" {
            h2 #cache { "Only looked at" }
            div #cached data-live { (cached(&usage, &seen, session)) }
        }
        section aria-labelledby="settings" {
            h2 #settings { "Settings" }
            p.note { "They are read when the node starts. " code { "p2pnode config" } " prints all of them." }
            dl.facts {
                dt { "Network" } dd { (info.network) }
                dt { "Version" } dd { (info.version) }
                dt { "Dashboard" } dd { (desk.urls.dashboard_origin()) }
                dt { "Proxy file" } dd {
                    (parts::copyable(&format!("http://localhost:{}{}", desk.urls.port(), crate::proxy::PATH), "the address"))
                    span.note { "for browsers that do not open the addresses of sites by themselves" }
                }
            }
        }
    };
    layout::page(Section::Storage, "Storage", &body).into_response()
}

fn cards(held: &[&DriveUsage], usage: &StorageUsage, info: &NodeInfo) -> Markup {
    let bytes = |role| held.iter().filter(|drive| drive.role == role).map(|drive| drive.bytes).sum::<u64>();
    html! {
        ul.cards.three {
            li {
                span.label { "Shared folders" }
                span.figure { (human::bytes(bytes(DriveRole::Owner))) }
                span.note { "in place, stored once" }
            }
            li {
                span.label { "Copies" }
                span.figure { (human::bytes(bytes(DriveRole::Mirror))) }
                span.note { "of other people’s drives" }
            }
            li {
                span.label { "Index" }
                span.figure { (human::bytes(usage.index_bytes)) }
                span.note { "of both, with proofs" }
            }
            li {
                span.label { "Only looked at" }
                span.figure { (human::bytes(usage.browsed.used_bytes)) }
                span.note {
                    @if usage.browsed.state == BrowsedState::Off { "switched off" }
                    @else { "of at most " (human::bytes(usage.browsed.quota_bytes)) }
                }
            }
            li {
                span.label { "Free on disk" }
                span.figure { @if usage.free_bytes > 0 { (human::bytes(usage.free_bytes)) } @else { "not told" } }
                span.note { "where the node lives" }
            }
            li {
                span.label { "Memory" }
                span.figure { @if info.rss_bytes > 0 { (human::bytes(info.rss_bytes)) } @else { "not told" } }
                span.note { "used by the node" }
            }
        }
    }
}

fn by_drive(held: &[&DriveUsage]) -> Markup {
    if held.is_empty() {
        return parts::empty(
            "Nothing is stored",
            &html! { "Shared folders and copies are listed here by their size." },
        );
    }
    let largest = held.iter().map(|drive| drive.bytes).max().unwrap_or(1).max(1);
    html! {
        div.table tabindex="0" role="region" aria-label="Storage by drive" { table {
            thead { tr {
                th scope="col" { "Drive" } th.bar scope="col" { "Part" } th.number scope="col" { "Files" }
                th.number scope="col" { "Size" }
            } }
            tbody { @for drive in held { tr {
                td { a href={ "/drives/" (drive.drive) } { (title(drive)) } }
                td.bar { progress max=(largest) value=(drive.bytes) aria-hidden="true" {} }
                td.number { (human::grouped(drive.files)) }
                td.number { (human::bytes(drive.bytes)) }
            } } }
        } }
    }
}

/// The cache of drives that were only looked at.
fn cached(usage: &StorageUsage, seen: &[&DriveUsage], session: &Session) -> Markup {
    let browsed = &usage.browsed;
    if browsed.state == BrowsedState::Off {
        let text = html! { "Sites that you visit are fetched anew each time. The setting " code { "browse_cache" } " switches it on." };
        return parts::empty("Nothing is kept", &text);
    }
    html! {
        @match browsed.state {
            BrowsedState::Full => div.alert.warn role="status" { p {
                "What is being looked at needs more than the quota. The rest is read from others and not kept; the setting "
                code { "browse_cache" } " raises the quota."
            } },
            BrowsedState::DiskFull => div.alert.bad role="status" { p {
                "The disk is full. What is looked at is read from others and not kept until there is room again."
            } },
            BrowsedState::Growing | BrowsedState::Off => {}
        }
        p.note {
            "Parts of drives that you visited, so that they need not travel again. When the room is used up, the drive "
            "that was not looked at for longest goes first. Shared folders and copies never do."
        }
        progress max=(browsed.quota_bytes.max(1)) value=(browsed.used_bytes.min(browsed.quota_bytes))
            aria-label={ (human::bytes(browsed.used_bytes)) " of " (human::bytes(browsed.quota_bytes)) } {}
        @if !seen.is_empty() {
            div.table tabindex="0" role="region" aria-label="Drives that were looked at" { table.stack {
                thead { tr {
                    th scope="col" { "Drive" } th scope="col" { "Last looked at" } th.number scope="col" { "Size" }
                    th scope="col" { span.unseen { "Free" } }
                } }
                tbody { @for drive in seen { tr {
                    td data-name="Drive" { a href={ "/drives/" (drive.drive) } { (title(drive)) } }
                    td data-name="Last looked at" { (ago(drive.looked_at)) }
                    td.number data-name="Size" { (human::bytes(drive.cached_bytes)) }
                    td.side {
                        form method="post" action="/storage/free" {
                            (fields::token(session))
                            input type="hidden" name="drive" value=(drive.drive);
                            button.small type="submit" aria-label={ "Free " (title(drive)) } { "Free" }
                        }
                    }
                } } }
            } }
            form.after method="post" action="/storage/free" {
                (fields::token(session))
                button.small type="submit" { "Free all of it" }
            }
        }
    }
}

fn ago(looked_at: Option<u64>) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match looked_at {
        Some(time) if time > 0 => format!("{} ago", human::span(now.saturating_sub(time))),
        _ => "not known".to_owned(),
    }
}

fn title(drive: &DriveUsage) -> String {
    let folder =
        drive.path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let named = Some(drive.title.clone()).filter(|title| !title.is_empty());
    named.or(folder).unwrap_or_else(|| drive.drive.fmt_short())
}
