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

/// Messages that wait for one reader; a slower one loses the newest.
const READER_QUEUE: usize = 64;
/// Readers in all.
const MAX_READERS: usize = 1_024;
/// Messages a second from one neighbour, forwarded ones included; the burst is ten times that.
const RATE: f64 = 200.0;
const BURST: f64 = 10.0 * RATE;

/// Readers by topic.
#[derive(Default)]
pub(super) struct Readers {
    topics: HashMap<TopicHash, Subscription>,
    rates: HashMap<PeerId, (f64, Instant)>,
    /// Messages that a slow reader lost, and neighbours that were dropped for sending too many.
    pub(super) lost: u64,
    pub(super) floods: u64,
}

struct Subscription {
    name: String,
    readers: Vec<mpsc::Sender<TopicMessage>>,
}

impl Readers {
    /// Whether a neighbour may send one more message now.
    fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        let (tokens, at) = self.rates.entry(peer).or_insert((BURST, now));
        let gained = now.saturating_duration_since(*at).as_secs_f64() * RATE;
        *tokens = (*tokens + gained).min(BURST) - 1.0;
        *at = now;
        *tokens >= 0.0
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
            Err(PublishError::AllQueuesFull(_)) => Err(PublishRefused::Busy),
            Err(other) => Err(PublishRefused::Failed(other.to_string())),
        });
    }

    pub(super) fn on_topics(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message, .. } = event else { return };
        if !self.topics.admit(propagation_source, Instant::now()) {
            self.topics.floods += 1;
            tracing::debug!(peer = %propagation_source, "too many messages, disconnected");
            let _ = self.swarm.disconnect_peer_id(propagation_source);
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
        let admitted = (0..5_000).filter(|_| readers.admit(peer, start)).count();
        assert_eq!(admitted, BURST as usize);
        let steady = PeerId::random();
        let step = Duration::from_secs_f64(1.0 / RATE);
        assert!((0..5_000u32).all(|n| readers.admit(steady, start + step * n)));
    }
}
