//! What every implementation of the contract does. A call is finished when the engine, the client of the socket and the
//! fake all pass.
//!
//! The suite asserts only what holds with and without other peers; it leaves the node running and as empty as it was, but for
//! zones and the identity, which are for ever.

mod content;
mod drives;
mod exchange;
mod names;
mod network;
mod people;
mod scene;

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use crate::{EventQuery, Node};

/// How long anything in the suite may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the whole suite against `node`, which must be able to read and write below `scratch`. Panics where it fails.
pub async fn run(node: Node, scratch: &Path) {
    network::info(&node).await;
    network::metrics(&node).await;
    network::health(&node).await;
    network::peers(&node).await;
    network::dial(&node).await;
    network::ping(&node).await;
    network::providers(&node).await;
    exchange::streams(&node).await;
    exchange::datagrams(&node).await;
    exchange::streams_refused(&node).await;
    exchange::topics(&node).await;
    exchange::values(&node).await;
    exchange::signatures(&node).await;
    drives::create(&node, &scratch.join("create")).await;
    drives::list_and_get(&node, &scratch.join("list")).await;
    drives::storage(&node, &scratch.join("storage")).await;
    drives::open(&node, &scratch.join("open")).await;
    drives::import(&node, &scratch.join("import")).await;
    drives::import_fails_whole(&node, &scratch.join("fails")).await;
    drives::remove(&node, &scratch.join("remove")).await;
    drives::events(&node, &scratch.join("events")).await;
    content::tree(&node, &scratch.join("tree")).await;
    content::read(&node, &scratch.join("read")).await;
    content::read_not_found(&node, &scratch.join("missing")).await;
    content::follow(&node, &scratch.join("follow")).await;
    let zone = names::zones(&node).await;
    names::records(&node).await;
    names::resolution(&node, &zone).await;
    names::names_for_links(&node, &scratch.join("names")).await;
    names::several_zones(&node).await;
    people::identity(&node, &zone).await;
    people::invites(&node).await;
    people::picks(&node).await;
    people::locking(&node).await;
}

/// Stops the node: its streams of events end. To be run last, it needs a node of its own.
pub async fn stop(node: Node) {
    let mut events = node.events(EventQuery::default()).await.expect("events");
    node.stop().await.expect("stop");
    let ended = tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = events.next().await {} }).await;
    assert!(ended.is_ok(), "events go on after the node was stopped");
}
