//! Topics: who here reads which, and what comes in.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::gossipsub::{self, PublishError, TopicHash};
use p2p_api::TopicMessage;
use p2p_transport::Topic;
use tokio::sync::{mpsc, oneshot};

use super::super::handle::PublishRefused;
use super::Actor;

/// Messages that wait for one reader; a slower one loses the newest. As many as one node publishes at once.
const READER_QUEUE: usize = 256;
/// Readers in all.
const MAX_READERS: usize = 1_024;
/// Bytes a second from one neighbour, forwarded messages included, and at once. Messages are remembered for a while, so this
/// bounds memory as well.
const FROM_NEIGHBOUR: Rate = Rate { per_second: 1024.0 * 1024.0, burst: 8.0 * 1024.0 * 1024.0 };
/// Bytes a second that this node publishes, and at once: topics are for short messages, and what queues up for a peer is
/// thrown away after a while.
const OWN: Rate = Rate { per_second: 512.0 * 1024.0, burst: 1024.0 * 1024.0 };
/// What a message costs at least, in bytes.
const MIN_COST: usize = 4 * 1024;

/// How much may come.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// What is left of a rate.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, rate: Rate, bytes: usize, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        self.tokens = (self.tokens + gained).min(rate.burst);
        self.at = now;
        let cost = bytes.max(MIN_COST) as f64;
        let is_enough = self.tokens >= cost;
        if is_enough {
            self.tokens -= cost;
        }
        is_enough
    }
}

/// Readers by topic.
#[derive(Default)]
pub(super) struct Readers {
    topics: HashMap<TopicHash, Subscription>,
    rates: HashMap<PeerId, Bucket>,
    own: Option<Bucket>,
    /// Messages that a slow reader lost, and neighbours that were dropped for sending too many.
    pub(super) lost: u64,
    pub(super) floods: u64,
}

struct Subscription {
    name: String,
    readers: Vec<mpsc::Sender<TopicMessage>>,
}

impl Readers {
    /// See [`super::Snapshot::rooms`].
    pub(super) fn room(&self) -> (&'static str, usize, usize) {
        let readers = self.topics.values().map(|topic| topic.readers.len()).sum();
        ("readers of topics", readers, MAX_READERS)
    }

    /// Whether a neighbour may send a message of so many bytes now.
    pub(super) fn admit(&mut self, peer: PeerId, bytes: usize, now: Instant) -> bool {
        let full = Bucket { tokens: FROM_NEIGHBOUR.burst, at: now };
        self.rates.entry(peer).or_insert(full).take(FROM_NEIGHBOUR, bytes, now)
    }

    /// Whether this node may publish so many bytes now.
    fn admit_own(&mut self, bytes: usize, now: Instant) -> bool {
        self.own.get_or_insert(Bucket { tokens: OWN.burst, at: now }).take(OWN, bytes, now)
    }

    fn tell(&mut self, topic: &TopicHash, message: &TopicMessage) {
        let Some(subscription) = self.topics.get(topic) else { return };
        for reader in &subscription.readers {
            if let Err(mpsc::error::TrySendError::Full(_)) = reader.try_send(message.clone()) {
                self.lost += 1;
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: &PeerId) {
        self.rates.remove(peer);
    }
}

impl Actor {
    pub(super) fn subscribe(&mut self, name: String, reply: oneshot::Sender<Option<mpsc::Receiver<TopicMessage>>>) {
        self.drop_unread_topics();
        let readers: usize = self.topics.topics.values().map(|topic| topic.readers.len()).sum();
        if readers >= MAX_READERS {
            let _ = reply.send(None);
            return;
        }
        let topic = Topic::new(name.as_str());
        let (sender, receiver) = mpsc::channel(READER_QUEUE);
        if self.swarm.behaviour_mut().transport.topics.subscribe(&topic).is_err() {
            let _ = reply.send(None);
            return;
        }
        let subscription =
            self.topics.topics.entry(topic.hash()).or_insert_with(|| Subscription { name, readers: Vec::new() });
        subscription.readers.push(sender);
        let _ = reply.send(Some(receiver));
    }

    /// To this node's own readers, and to peers.
    pub(super) fn publish(&mut self, name: &str, data: Bytes, reply: oneshot::Sender<Result<usize, PublishRefused>>) {
        // Before anything is kept of it.
        if !self.topics.admit_own(data.len(), Instant::now()) {
            let _ = reply.send(Err(PublishRefused::Busy));
            return;
        }
        let topic = Topic::new(name).hash();
        if let Some(me) = p2p_transport::our_peer_id(self.swarm.local_peer_id()) {
            self.topics.tell(&topic, &TopicMessage { from: me, data: data.clone() });
        }
        let topics = &mut self.swarm.behaviour_mut().transport.topics;
        let peers = topics.all_peers().filter(|(_, subscribed)| subscribed.contains(&&topic)).count();
        let _ = reply.send(match topics.publish(topic, Vec::from(data)) {
            Ok(_) => Ok(peers),
            Err(PublishError::NoPeersSubscribedToTopic) => Ok(0),
            Err(PublishError::MessageTooLarge) => Err(PublishRefused::TooLarge),
            Err(PublishError::AllQueuesFull(_)) => Err(PublishRefused::QueuesFull),
            Err(other) => Err(PublishRefused::Failed(other.to_string())),
        });
    }

    pub(super) fn on_topics(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message, .. } = event else { return };
        if !self.topics.admit(propagation_source, message.data.len(), Instant::now()) {
            self.topics.floods += 1;
            tracing::debug!(peer = %propagation_source, "too many messages, disconnected");
            let _ = self.swarm.disconnect_peer_id(propagation_source);
            return;
        }
        if message.data.len() > p2p_api::MAX_MESSAGE_BYTES {
            self.topics.lost += 1;
            return;
        }
        let Some(from) = message.source.as_ref().and_then(p2p_transport::our_peer_id) else { return };
        self.topics.tell(&message.topic, &TopicMessage { from, data: message.data.into() });
    }

    /// Unsubscribes from topics that nobody here reads any more.
    pub(super) fn drop_unread_topics(&mut self) {
        let topics = &mut self.swarm.behaviour_mut().transport.topics;
        self.topics.topics.retain(|_, subscription| {
            subscription.readers.retain(|reader| !reader.is_closed());
            if subscription.readers.is_empty() {
                topics.unsubscribe(&Topic::new(subscription.name.as_str()));
            }
            !subscription.readers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_neighbour_that_floods_is_noticed_and_a_steady_one_is_not() {
        let mut readers = Readers::default();
        let (peer, start) = (PeerId::random(), Instant::now());
        let admitted = (0..5_000).filter(|_| readers.admit(peer, 100, start)).count();
        assert_eq!(admitted, FROM_NEIGHBOUR.burst as usize / MIN_COST);
        let steady = PeerId::random();
        let step = Duration::from_secs(1);
        assert!((0..5_000u32).all(|n| readers.admit(steady, 1024 * 1024, start + step * n)));
        let large = (0..100).filter(|_| readers.admit_own(60 * 1024, start)).count();
        assert_eq!(large, 17, "1 MiB at once");
    }
}
