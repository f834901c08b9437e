//! What is stored here, and with which settings this node runs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use p2p_api::{DriveInfo, DriveRole, NodeInfo};

use super::layout::{self, Section};
use super::{Desk, parts};
use crate::human;

pub(crate) async fn page(State(desk): State<Desk>) -> Response {
    let (info, drives) = match tokio::try_join!(desk.node.info(), async { desk.node.drives().list().await }) {
        Ok(found) => found,
        Err(error) => return layout::failed(Section::Storage, "Storage", &error),
    };
    let mut held: Vec<&DriveInfo> = drives.iter().filter(|drive| drive.role != DriveRole::Reader).collect();
    held.sort_by_key(|drive| std::cmp::Reverse(drive.bytes));
    let body = html! {
        h1 { "Storage" }
        div #usage data-live { (usage(&held, &info)) }
        section aria-labelledby="largest" {
            h2 #largest { "By drive" }
            div #by-drive data-live { (by_drive(&held)) }
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

fn usage(held: &[&DriveInfo], info: &NodeInfo) -> Markup {
    let bytes = |role| held.iter().filter(|drive| drive.role == role).map(|drive| drive.bytes).sum::<u64>();
    html! {
        ul.cards {
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
            li.last {
                span.label { "Memory" }
                span.figure { @if info.rss_bytes > 0 { (human::bytes(info.rss_bytes)) } @else { "not told" } }
                span.note { "used by the node" }
            }
        }
    }
}

fn by_drive(held: &[&DriveInfo]) -> Markup {
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
                td { a href={ "/drives/" (drive.drive) } { (parts::title(drive)) } }
                td.bar { progress max=(largest) value=(drive.bytes) aria-hidden="true" {} }
                td.number { (human::grouped(drive.files)) }
                td.number { (human::bytes(drive.bytes)) }
            } } }
        } }
    }
}
