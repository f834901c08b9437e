//! What happens in the node, told to every open page from one stream of events.

use std::time::Duration;

use futures::StreamExt;
use p2p_api::{Event, EventQuery, Node};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Events that a slow page may be behind. It loses the oldest, and is told that it did.
const BACKLOG: usize = 256;
/// Pause before events are asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// One subscription for all. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct News {
    sender: broadcast::Sender<Arc<Event>>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }

    /// What happens from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }

    /// Whether anybody would hear it.
    pub(crate) fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells what happened inside the gateway itself.
    pub(crate) fn tell(&self, name: &str) {
        let event = Event { id: 0, topic: "gateway".to_owned(), name: name.to_owned(), data: serde_json::Value::Null };
        let _ = self.sender.send(Arc::new(event));
    }

    /// Passes on the node's events until `stop`.
    pub(crate) async fn run(&self, node: &Node, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pass_on(node) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn pass_on(&self, node: &Node) {
        let mut events = match node.events(EventQuery::default()).await {
            Ok(events) => events,
            Err(error) => return debug!(%error, "no events of the node"),
        };
        while let Some(event) = events.next().await {
            match event {
                // Nobody listening is no error.
                Ok(event) => drop(self.sender.send(Arc::new(event))),
                Err(error) => return debug!(%error, "the node's events broke off"),
            }
        }
    }
}
