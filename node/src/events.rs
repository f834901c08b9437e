//! What happened, remembered for a while so that readers can go on where they were (overlay.md, 2.3).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream;
use p2p_api::{Event, EventQuery, EventStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events remembered.
const RING: usize = 65_536;

/// The log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EventLog {
    ring: Arc<Mutex<Ring>>,
    /// Id of the newest event.
    newest: watch::Sender<u64>,
    /// Ends the readers.
    stop: CancellationToken,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Event>,
    next: u64,
}

impl EventLog {
    /// An empty log whose readers end with `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let ring = Ring { events: VecDeque::new(), next: 1 };
        Self { ring: Arc::new(Mutex::new(ring)), newest: watch::Sender::new(0), stop }
    }

    pub(crate) fn push(&self, topic: &str, name: &str, data: serde_json::Value) {
        let id = {
            let mut ring = self.lock();
            let id = ring.next;
            ring.next += 1;
            if ring.events.len() == RING {
                ring.events.pop_front();
            }
            ring.events.push_back(Event { id, topic: topic.to_owned(), name: name.to_owned(), data });
            id
        };
        self.newest.send_replace(id);
    }

    /// Most events that are remembered.
    pub(crate) const MOST: usize = RING;

    /// How many events are remembered.
    pub(crate) fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Events after the one asked for, then those to come.
    pub(crate) fn stream(&self, query: EventQuery) -> EventStream {
        let at = query.after.unwrap_or_else(|| *self.newest.borrow());
        let reader = Reader { log: self.clone(), changed: self.newest.subscribe(), topics: query.topics, at };
        stream::unfold(reader, |mut reader| async {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        })
        .boxed()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    log: EventLog,
    changed: watch::Receiver<u64>,
    topics: Vec<String>,
    /// The last event that was looked at.
    at: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.changed.borrow_and_update();
            if let Some(event) = self.take() {
                return Some(event);
            }
            tokio::select! {
                () = self.log.stop.cancelled() => return None,
                changed = self.changed.changed() => changed.ok()?,
            }
        }
    }

    fn take(&mut self) -> Option<Event> {
        let log = self.log.clone();
        let ring = log.lock();
        let oldest = ring.events.front()?.id;
        if self.at + 1 < oldest {
            let gap = serde_json::json!({ "from": self.at + 1, "to": oldest - 1 });
            self.at = oldest - 1;
            return Some(Event { id: self.at, topic: "node".into(), name: "gap".into(), data: gap });
        }
        let start = (self.at + 1).saturating_sub(oldest) as usize;
        for event in ring.events.range(start.min(ring.events.len())..) {
            self.at = event.id;
            if self.topics.is_empty() || self.topics.contains(&event.topic) {
                return Some(event.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_resume_and_learn_of_gaps() {
        let log = EventLog::new(CancellationToken::new());
        for n in 0..RING as u64 + 10 {
            log.push(if n % 2 == 0 { "a" } else { "b" }, "x", serde_json::json!(n));
        }
        let mut all = log.stream(EventQuery { topics: vec![], after: Some(0) });
        let first = all.next().await.expect("an event").expect("good");
        assert_eq!((first.name.as_str(), first.id), ("gap", 10));
        assert_eq!(all.next().await.expect("an event").expect("good").id, 11);
        let mut some = log.stream(EventQuery { topics: vec!["b".into()], after: Some(RING as u64) });
        assert_eq!(some.next().await.expect("an event").expect("good").id, RING as u64 + 2);
        let mut new = log.stream(EventQuery::default());
        log.push("a", "y", serde_json::Value::Null);
        assert_eq!(new.next().await.expect("an event").expect("good").name, "y");
    }
}
