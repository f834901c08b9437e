//! Whom this node is connected to.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use p2p_api::{ApiError, DEFAULT_TIMEOUT, PeerInfo};

use super::fields::{self, Fields};
use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, parts};

pub(crate) async fn page(State(desk): State<Desk>, Extension(session): Extension<Session>) -> Response {
    show(&desk, &session, "", None).await
}

/// Connects to an address, then shows who is connected.
pub(crate) async fn dial(State(desk): State<Desk>, form: Fields) -> Response {
    let target = form.get("target").trim();
    match desk.node.peers().dial(target, DEFAULT_TIMEOUT).await {
        Ok(_) => Redirect::to("/peers").into_response(),
        Err(error) => show(&desk, &form.session, target, Some(&error)).await,
    }
}

async fn show(desk: &Desk, session: &Session, target: &str, failure: Option<&ApiError>) -> Response {
    let peers = match desk.node.peers().list().await {
        Ok(peers) => peers,
        Err(error) => return layout::failed(Section::Peers, "Peers", &error),
    };
    let body = html! {
        h1 { "Peers" }
        @if let Some(error) = failure { (layout::error(error)) }
        div #peer-list data-live { (list(desk, &peers)) }
        section.panel aria-labelledby="dial" {
            h2 #dial { "Connect to a node" }
            p.note { "Peers find each other by themselves. This is for one that you know." }
            form.line method="post" action="/peers/dial" {
                (fields::token(session))
                label for="target" { "Its id or address" }
                input #target name="target" value=(target) required autocomplete="off" spellcheck="false"
                    placeholder="/ip4/192.0.2.7/tcp/4001/p2p/12D3…";
                button type="submit" { "Connect" }
            }
        }
    };
    let status = failure.map_or(StatusCode::OK, |_| StatusCode::BAD_REQUEST);
    (status, layout::page(Section::Peers, "Peers", &body)).into_response()
}

fn list(desk: &Desk, peers: &[PeerInfo]) -> Markup {
    if peers.is_empty() {
        let text = html! { "They appear here as soon as another node on this network or the Internet is found." };
        return parts::empty("Nobody is connected", &text);
    }
    html! {
        div.table tabindex="0" role="region" aria-label="Connected peers" { table.stack {
            thead { tr {
                th scope="col" { "Peer" } th scope="col" { "Path" } th scope="col" { "Transport" }
                th.number scope="col" { "Round trip" } th.number scope="col" { "Drives" } th scope="col" { "Program" }
            } }
            tbody { @for peer in peers { tr {
                td data-name="Peer" {
                    (parts::short_id(&peer.peer.to_string()))
                    span.note.clip title=(peer.address) { (peer.address) }
                }
                td data-name="Path" { (parts::path_kind(peer.kind)) }
                td data-name="Transport" {
                    span {
                        (peer.transport.to_uppercase()) " "
                        span.note { (if peer.outbound { "dialled" } else { "accepted" }) }
                    }
                }
                td.number data-name="Round trip" { @match peer.rtt_ms {
                    Some(rtt) => { (format!("{rtt:.1} ms")) }
                    None => { span.note { "not measured" } }
                } }
                @let rate = desk.rates.of_peer(&peer.peer);
                td.number data-name="Drives" { span {
                    @if rate.now.is_some() { (parts::rate(rate)) br; }
                    span.note { (parts::total(rate)) }
                } }
                td data-name="Program" { (peer.agent.as_deref().unwrap_or("not told")) }
            } } }
        } }
    }
}
