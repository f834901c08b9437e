//! How fast things travel now, by peer and by drive: the difference of two looks at the node's counters.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use p2p_api::{DriveId, Flow, Node, PeerId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::news::News;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Bytes, or bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Both {
    pub(crate) received: f64,
    pub(crate) sent: f64,
}

impl Both {
    fn add(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }

    /// Whether anything worth telling.
    pub(crate) fn is_some(self) -> bool {
        self.received >= 1.0 || self.sent >= 1.0
    }
}

/// A peer's or a drive's traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Bytes since the node started.
    pub(crate) total: Both,
    /// Bytes a second, in the last two seconds.
    pub(crate) now: Both,
}

/// All of them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    flows: HashMap<(PeerId, DriveId), Rate>,
}

impl Rates {
    pub(crate) fn of_peer(&self, peer: &PeerId) -> Rate {
        self.sum(|(of, _)| of == peer)
    }

    pub(crate) fn of_drive(&self, drive: &DriveId) -> Rate {
        self.sum(|(_, of)| of == drive)
    }

    fn sum(&self, is_wanted: impl Fn(&(PeerId, DriveId)) -> bool) -> Rate {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Rate::default();
        for (_, rate) in state.flows.iter().filter(|(key, _)| is_wanted(key)) {
            sum.total.add(rate.total);
            sum.now.add(rate.now);
        }
        sum
    }

    /// Takes in the counters; true where something moved, or just stopped moving.
    fn update(&self, now: Instant, flows: &[Flow]) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = state.looked.map(|looked| now.duration_since(looked).as_secs_f64()).filter(|time| *time > 0.0);
        let mut is_news = false;
        let mut fresh = HashMap::with_capacity(flows.len());
        for flow in flows {
            let before = state.flows.get(&(flow.peer, flow.drive)).copied().unwrap_or_default();
            let total = Both { received: flow.received_bytes as f64, sent: flow.sent_bytes as f64 };
            let speed = |total: f64, before: f64| elapsed.map_or(0.0, |time| (total - before).max(0.0) / time);
            let now = Both {
                received: speed(total.received, before.total.received),
                sent: speed(total.sent, before.total.sent),
            };
            is_news |= now.is_some() || before.now.is_some();
            fresh.insert((flow.peer, flow.drive), Rate { total, now });
        }
        state.looked = Some(now);
        state.flows = fresh;
        is_news
    }

    /// Looks while somebody watches, until `stop`.
    pub(crate) async fn run(&self, node: &Node, news: &News, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if !news.has_listeners() {
                continue;
            }
            // A node that does not count has no rates, and the pages show none.
            if let Ok(traffic) = node.drives().traffic().await
                && self.update(Instant::now(), &traffic.flows)
            {
                news.tell("traffic");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_are_differences_and_end() {
        let rates = Rates::default();
        let (peer, drive, other) = (PeerId::from([1; 32]), DriveId::from([2; 32]), DriveId::from([3; 32]));
        let flow = |drive, sent_bytes, received_bytes| Flow { peer, drive, sent_bytes, received_bytes };
        assert!(!rates.update(Instant::now(), &[flow(drive, 100, 0)]), "one look is no rate");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(rates.update(Instant::now(), &[flow(drive, 100, 4_000), flow(other, 10, 0)]));
        assert_eq!(rates.of_drive(&drive).now, Both { received: 2_000.0, sent: 0.0 });
        assert_eq!(rates.of_peer(&peer).now, Both { received: 2_000.0, sent: 5.0 });
        assert_eq!(rates.of_peer(&peer).total, Both { received: 4_000.0, sent: 110.0 });
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(rates.update(Instant::now(), &[flow(drive, 100, 4_000)]), "that it ended is news");
        assert!(!rates.update(Instant::now(), &[flow(drive, 100, 4_000)]));
        assert_eq!(rates.of_drive(&other), Rate::default());
    }
}
