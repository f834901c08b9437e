//! Events of the fake: all that ever happened, kept in order.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::sync::watch;

use crate::{Event, EventQuery, EventStream};

pub(super) struct Journal {
    events: Arc<Mutex<Vec<Event>>>,
    /// `true` once no more events come; changes with every event.
    closed: watch::Sender<bool>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { events: Arc::default(), closed: watch::Sender::new(false) }
    }

    pub(super) fn write(&self, topic: &str, name: &str, data: Value) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let id = events.last().map_or(0, |event| event.id) + 1;
        events.push(Event { id, topic: topic.to_owned(), name: name.to_owned(), data });
        drop(events);
        self.closed.send_modify(|_| {});
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) fn read(&self, query: EventQuery) -> EventStream {
        let events = self.events.clone();
        let last = events.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |event| event.id);
        let start = (query.after.unwrap_or(last), self.closed.subscribe());
        let topics = query.topics;
        stream::unfold(start, move |(mut after, mut closed)| {
            let (events, topics) = (events.clone(), topics.clone());
            async move {
                loop {
                    let is_closed = *closed.borrow_and_update();
                    let next = {
                        let events = events.lock().unwrap_or_else(PoisonError::into_inner);
                        let is_wanted = |event: &&Event| topics.is_empty() || topics.contains(&event.topic);
                        events.iter().find(|event| event.id > after && is_wanted(event)).cloned()
                    };
                    if let Some(event) = next {
                        after = event.id;
                        return Some((Ok(event), (after, closed)));
                    }
                    if is_closed || closed.changed().await.is_err() {
                        return None;
                    }
                }
            }
        })
        .boxed()
    }
}
