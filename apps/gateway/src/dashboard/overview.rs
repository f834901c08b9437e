//! What this node is, and how it is reached.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use p2p_api::{DhtMode, NodeInfo, Reachability};

use super::layout::{self, Section};
use super::sessions::Session;
use super::{Desk, drives, parts};
use crate::human;

pub(crate) async fn page(State(desk): State<Desk>, Extension(session): Extension<Session>) -> Response {
    let info = match desk.node.info().await {
        Ok(info) => info,
        Err(error) => return layout::failed(Section::Overview, "Overview", &error),
    };
    let transfers = desk.transfers.list();
    let running: Vec<_> = transfers.iter().filter(|transfer| transfer.is_running()).collect();
    let body = html! {
        h1 { "Overview" }
        div #notices data-live { (notices(&info)) }
        div #cards data-live { (cards(&info)) }
        p.lead #words data-live { (in_words(&info)) }
        div #running data-live {
            @if !running.is_empty() {
                h2 { "Running now" }
                ul.rows { @for transfer in running { (drives::transfer(transfer, &session)) } }
            }
        }
        div.columns {
            section aria-labelledby="identity" {
                h2 #identity { "This node" }
                dl.facts #facts data-live { (facts(&info)) }
            }
            section aria-labelledby="addresses" {
                h2 #addresses { "How it is reached" }
                div #reached data-live { (reached(&info)) }
            }
        }
    };
    layout::page(Section::Overview, "Overview", &body).into_response()
}

fn notices(info: &NodeInfo) -> Markup {
    html! {
        @for notice in &info.notices {
            div.alert.warn role="status" { p { (human::sentence(notice)) } }
        }
    }
}

fn cards(info: &NodeInfo) -> Markup {
    let (class, word, meaning) = match info.reachability {
        Reachability::Public => ("good", "Reachable", "Other nodes can connect to this one."),
        Reachability::Private => ("warn", "Behind a router", "Other nodes cannot begin a connection to this one."),
        Reachability::Unknown => ("dim", "Not known yet", "No other node has tried to connect so far."),
    };
    html! {
        ul.cards {
            li.wide {
                span.label { "Reachability" }
                span.figure { span.dot.(class) {} (word) }
                span.note { (meaning) }
            }
            li { a href="/peers" {
                span.label { "Peers" }
                span.figure { (human::grouped(info.peers.into())) }
                span.note { "connected now" }
            } }
            li { a href="/drives" {
                span.label { "Drives" }
                span.figure { (human::grouped(info.drives.into())) }
                span.note { "known here" }
            } }
            li.last {
                span.label { "Running for" }
                span.figure { (human::span(info.uptime_s)) }
                span.note { "version " (info.version) }
            }
        }
    }
}

/// What this node is and does, without a technical word.
fn in_words(info: &NodeInfo) -> String {
    let shares = match info.drives {
        0 => "This computer shares nothing yet.".to_owned(),
        drives => format!("This computer knows {}.", human::count(drives.into(), "drive", "drives")),
    };
    let reached = match (info.reachability, info.peers) {
        (Reachability::Public, _) => "People anywhere can fetch what it shares, directly from here, while it is on.",
        (_, 0) => "Nobody is connected at the moment, so nobody can fetch anything from it right now.",
        (Reachability::Private, _) => "Those who are connected can fetch from it; others cannot begin a connection.",
        (Reachability::Unknown, _) => {
            "Those who are connected can fetch from it; whether others can reach it has not been seen yet."
        }
    };
    format!("{shares} {reached} There is no server in between, and nothing is stored anywhere else by itself.")
}

fn facts(info: &NodeInfo) -> Markup {
    let dht = match info.dht_mode {
        DhtMode::Server => "Helps others to find things",
        DhtMode::Client => "Only asks",
    };
    html! {
        dt { "Id" } dd { (parts::copyable(&info.peer_id.to_string(), "the id of this node")) }
        dt { "Network" } dd { (info.network) }
        dt { "Directory" } dd { (dht) ", knows " (human::count(info.dht_peers.into(), "node", "nodes")) }
    }
}

fn reached(info: &NodeInfo) -> Markup {
    html! {
        (addresses("From outside", &info.external, "No address that works from outside is known yet."))
        (addresses("Listening at", &info.listen, "This node listens nowhere; it can only connect to others."))
        @if !info.relays.is_empty() { (addresses("Through relays", &info.relays, "")) }
    }
}

fn addresses(title: &str, addresses: &[String], none: &str) -> Markup {
    html! {
        h3.label { (title) }
        @if addresses.is_empty() {
            p.note { (none) }
        } @else {
            ul.addresses { @for address in addresses { li { (parts::copyable(address, "this address")) } } }
        }
    }
}
