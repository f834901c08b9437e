//! What happened: a resumable stream of events.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Result;

/// Something that happened in the node.
///
/// Names so far: `peer.connected`, `peer.disconnected`, `listen.changed`, `drive.head`, `drive.stale`, `drive.removed`,
/// `transfer.done`, `value.hidden` (what this node published is found by nobody else, its `key` in hex: someone may be
/// hiding it), `network.changed` (this computer has other addresses now), and `gap` (a slow reader lost the events between its last one and this one; `data` is `from` and
/// `to`, the first and the last id lost). Events of a drive have its id as `drive` in their data, `drive.head` also
/// `version`; events of a peer have `peer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows by at least one with every event while the node runs.
    pub id: u64,
    /// `network`, `drives` or `node`.
    pub topic: String,
    /// What happened, e.g. `peer.connected`.
    pub name: String,
    /// The details; fields are added over time, never renamed.
    pub data: serde_json::Value,
}

/// Which events to stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only these topics; empty for all.
    pub topics: Vec<String>,
    /// Start after this event; `None` starts with what happens from now on.
    pub after: Option<u64>,
}

/// Events in order. Ends when the node stops.
pub type EventStream = BoxStream<'static, Result<Event>>;
