//! What a drive was and who makes it: versions, writers, and what several wrote at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use p2p_api::{ConflictInfo, DriveInfo, DriveRole, LogQuery, Result, VersionInfo, Writers};

use super::Desk;
use crate::human;

/// Versions shown.
const MAX_VERSIONS: u32 = 20;
/// Conflicts shown.
const MAX_CONFLICTS: usize = 50;
/// How long each list is waited for: it comes from this node's own disk.
const WAIT: Duration = Duration::from_secs(2);

/// The sections of a drive that is held here; none of one that is only looked at, for that would ask the network.
pub(crate) async fn sections(desk: &Desk, info: &DriveInfo) -> Markup {
    if info.role == DriveRole::Reader || info.version == 0 {
        return html! {};
    }
    let (history, of_writers) = (desk.node.history(), desk.node.writers());
    let query = LogQuery { limit: Some(MAX_VERSIONS), before: None };
    let (versions, writers, conflicts) = tokio::join!(
        soon(history.log(info.drive, query)),
        soon(of_writers.list(info.drive)),
        soon(of_writers.conflicts(info.drive)),
    );
    html! {
        @if let Some(conflicts) = conflicts.filter(|conflicts| !conflicts.is_empty()) { (conflict_list(&conflicts)) }
        @if let Some(writers) = writers.filter(|writers| !writers.writers.is_empty()) { (writer_list(&writers)) }
        @if let Some(versions) = versions.filter(|versions| !versions.is_empty()) { (version_list(desk, info, &versions)) }
    }
}

/// What a node cannot say, or not at once, is left out.
async fn soon<T>(asked: impl Future<Output = Result<T>>) -> Option<T> {
    tokio::time::timeout(WAIT, asked).await.ok()?.ok()
}

fn conflict_list(conflicts: &[ConflictInfo]) -> Markup {
    html! {
        section aria-labelledby="conflicts-title" {
            h2 #conflicts-title { "Written by several at once" }
            p.note { "The version that is shown came last. Write the file again to settle it; " code { "p2p conflicts" }
                " writes the others beside it." }
            ul.rows { @for conflict in conflicts.iter().take(MAX_CONFLICTS) {
                li { (conflict.path) " " span.note { (human::count(conflict.versions.len() as u64, "version", "versions")) } }
            } }
            @if conflicts.len() > MAX_CONFLICTS { p.note { "and " (conflicts.len() - MAX_CONFLICTS) " more" } }
        }
    }
}

fn writer_list(writers: &Writers) -> Markup {
    html! {
        section aria-labelledby="writers-title" {
            h2 #writers-title { "Writers" }
            ul.rows { @for writer in &writers.writers {
                li {
                    @if let Some(contact) = &writer.contact { (contact) " " }
                    code { (writer.writer_key.to_string().chars().take(12).collect::<String>()) "…" }
                    @if Some(&writer.writer_key) == writers.own.as_ref() { " (this node)" }
                    " " span.note {
                        @if writer.prefix.is_empty() { "writes everywhere" } @else { "writes under " (writer.prefix) "/" }
                    }
                }
            } }
        }
    }
}

fn version_list(desk: &Desk, info: &DriveInfo, versions: &[VersionInfo]) -> Markup {
    html! {
        section aria-labelledby="versions-title" {
            h2 #versions-title { "Versions" }
            div.table tabindex="0" role="region" aria-label="Versions" { table.stack {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "When" } th.number scope="col" { "Size" } th scope="col" { "" }
                } }
                tbody { @for version in versions { tr {
                    td data-name="Version" { a href={ (desk.urls.site(info.drive, "")) "?v=" (version.head) } target="_blank" rel="noopener" {
                        @match version.version { Some(number) => (human::grouped(number)), None => "by a writer" }
                    } }
                    td.flow data-name="When" { (ago(version.time)) }
                    td.number data-name="Size" { (human::bytes(version.bytes)) }
                    td data-name="" {
                        (version.message)
                        @for tag in &version.tags { " " span.badge.dim { (tag) } }
                        @if version.not_kept.is_some_and(|files| files > 0) { " " span.note { "not all of its content is kept" } }
                    }
                } } }
            } }
        }
    }
}

fn ago(milliseconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.saturating_sub(Duration::from_millis(milliseconds)).as_secs();
    if seconds == 0 { "just now".to_owned() } else { format!("{} ago", human::span(seconds)) }
}
