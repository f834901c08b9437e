//! What is not as it should be, in sentences, with what to do about it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use p2p_api::doctor::{Facts, Finding, Level, System, findings};

use super::Desk;
use super::layout::{self, Section};
use crate::human;

pub(crate) async fn page(State(desk): State<Desk>) -> Response {
    let drives = desk.node.drives();
    let peers = desk.node.peers();
    // First: what it has measured for that, the others tell.
    let health = desk.node.health().await.ok();
    let (info, all, connected) = match tokio::try_join!(desk.node.info(), drives.list(), peers.list()) {
        Ok(found) => found,
        Err(error) => return layout::failed(Section::Doctor, "Doctor", &error),
    };
    // A node that does not tell what it stores has the other findings all the same.
    let usage = drives.usage().await.ok();
    let facts = Facts { info: &info, peers: &connected, drives: &all, usage: usage.as_ref(), health: health.as_ref() };
    let found = findings(facts, &System::look());
    let troubles = found.iter().filter(|finding| matches!(finding.level, Level::Bad | Level::Warn)).count();
    let body = html! {
        h1 { "Doctor" }
        div #findings data-live {
            p.lead {
                @match troubles {
                    0 => "Nothing needs your attention.",
                    1 => "One thing needs your attention.",
                    more => { (human::grouped(more as u64)) " things need your attention." }
                }
            }
            ul.rows.findings { @for finding in &found { (item(finding)) } }
            p.note {
                "This is what the node has found out by itself and with the peers that it is connected to: they tell where "
                "they see it, try to reach it, and say what time it is."
            }
        }
    };
    layout::page(Section::Doctor, "Doctor", &body).into_response()
}

fn item(finding: &Finding) -> Markup {
    let (class, word) = match finding.level {
        Level::Bad => ("bad", "Broken"),
        Level::Warn => ("warn", "Look at this"),
        Level::Unknown => ("dim", "Not known"),
        Level::Good => ("good", "Good"),
    };
    html! {
        li {
            div.head { h2 { (finding.title) } span.badge.(class) { (word) } }
            p { (finding.sentence()) }
            @if let Some(advice) = finding.advice() { p.note { (advice) } }
        }
    }
}
