//! Announcements to the whole network: handed to who judges them, and passed on when they were found good.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError, TopicHash};
use p2p_transport::GossipTopic;
use tokio::sync::mpsc;

use super::super::handle::{Announcement, Judged};
use super::Actor;

/// Announcements that wait to be judged; further ones are not passed on.
const JUDGE_QUEUE: usize = 64;

/// Who judges what.
#[derive(Default)]
pub(super) struct Judges {
    topics: HashMap<TopicHash, mpsc::Sender<Announcement>>,
    /// Announcements that nobody had time for.
    pub(super) lost: u64,
}

impl Actor {
    /// Announcements of a topic from now on; each has to be judged. One judge a topic, the last one.
    pub(super) fn judge_topic(&mut self, topic: &str) -> mpsc::Receiver<Announcement> {
        let topic = GossipTopic::new(topic);
        let (sender, receiver) = mpsc::channel(JUDGE_QUEUE);
        if let Err(error) = self.swarm.behaviour_mut().transport.gossip.subscribe(&topic) {
            tracing::warn!(%error, "no announcements will come in");
        }
        self.judges.topics.insert(topic.hash(), sender);
        receiver
    }

    /// To every neighbour that listens.
    pub(super) fn announce(&mut self, topic: &str, data: Bytes) {
        let topic = GossipTopic::new(topic).hash();
        match self.swarm.behaviour_mut().transport.gossip.publish(topic, Vec::from(data)) {
            Ok(_) | Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => tracing::debug!(%error, "not announced"),
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source: from, message_id: id, message } = event else { return };
        if !self.topics.admit(from, message.data.len(), Instant::now()) {
            self.topics.floods += 1;
            tracing::debug!(peer = %from, "too many announcements, disconnected");
            self.on_judged(Judged { id, from, verdict: MessageAcceptance::Ignore });
            let _ = self.swarm.disconnect_peer_id(from);
            return;
        }
        let Some(judge) = self.judges.topics.get(&message.topic) else { return };
        let announcement = Announcement { from, id, data: message.data.into() };
        if let Err(unheard) = judge.try_send(announcement) {
            self.judges.lost += 1;
            let Announcement { from, id, .. } = unheard.into_inner();
            self.on_judged(Judged { id, from, verdict: MessageAcceptance::Ignore });
        }
    }

    /// Passed on, or forgotten.
    pub(super) fn on_judged(&mut self, judged: Judged) {
        let Judged { id, from, verdict } = judged;
        self.swarm.behaviour_mut().transport.gossip.report_message_validation_result(&id, &from, verdict);
    }
}
