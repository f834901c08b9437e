//! Topics: this node's subscribers, and finding those of other nodes.
//!
//! Who subscribes says so in the DHT, under a key made from the topic's name, and looks there for others: so subscribers
//! find each other without knowing anybody.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use p2p_api::{ApiError, ErrorKind, MAX_MESSAGE_BYTES, PublishedMessage, Result, TopicMessage, check_topic};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::network::{Network, PublishRefused};

/// How often others are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(120);

/// Subscriptions by topic, each with the task that looks for others.
type Subscribed = Arc<Mutex<HashMap<String, (usize, Arc<AbortOnDropHandle<()>>)>>>;

/// The topics of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Topics {
    network: Network,
    subscribed: Subscribed,
}

impl Topics {
    pub(crate) fn new(network: Network) -> Self {
        Self { network, subscribed: Arc::default() }
    }

    pub(crate) async fn publish(&self, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        check_topic(topic)?;
        if data.len() > MAX_MESSAGE_BYTES {
            return Err(ApiError::invalid(format!("a message of {} bytes, at most {MAX_MESSAGE_BYTES}", data.len())));
        }
        match self.network.publish_message(topic, data).await {
            Ok(peers) => Ok(PublishedMessage { peers: u32::try_from(peers).unwrap_or(u32::MAX) }),
            Err(PublishRefused::TooLarge) => Err(ApiError::invalid("the message is too large")),
            Err(PublishRefused::Busy) => Err(ApiError::new(
                ErrorKind::Busy,
                "more is published than topics are made for: 1 MiB at once, 512 KiB a second, a message counting as 4 KiB \
                 at least",
            )
            .with_hint("publish again in a second; streams carry large amounts")),
            Err(PublishRefused::QueuesFull) => Err(ApiError::new(
                ErrorKind::Busy,
                "nobody who subscribed takes messages as fast as they come",
            )
            .with_hint("publish again in a moment")),
            Err(PublishRefused::Stopping) => Err(ApiError::stopped()),
            Err(PublishRefused::Failed(reason)) => Err(ApiError::internal(reason)),
        }
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> Result<p2p_api::Stream<TopicMessage>> {
        check_topic(topic)?;
        let messages = self.network.subscribe(topic).await.map_err(|_| ApiError::stopped())?;
        let messages = messages.ok_or_else(|| ApiError::new(ErrorKind::Busy, "too many subscriptions"))?;
        let held = Held { topics: self.clone(), topic: topic.to_owned() };
        let looking = self.network.clone();
        let key = key_of(topic);
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = subscribed
            .entry(topic.to_owned())
            .or_insert_with(|| (0, Arc::new(AbortOnDropHandle::new(tokio::spawn(look_for_others(looking, key))))));
        entry.0 += 1;
        Ok(Messages { messages, _held: held }.boxed())
    }
}

/// Where the subscribers of a topic say that they are.
fn key_of(topic: &str) -> [u8; 32] {
    blake3::derive_key("p2pnode topic v1", topic.as_bytes())
}

/// Those that are found are connected to by the network itself.
async fn look_for_others(network: Network, key: [u8; 32]) {
    loop {
        if network.provide(key).await.is_err() {
            return;
        }
        let mut found = network.find_with_addresses(key);
        while found.next().await.is_some() {}
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Messages {
    messages: mpsc::Receiver<TopicMessage>,
    _held: Held,
}

impl futures::Stream for Messages {
    type Item = Result<TopicMessage>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.poll_recv(cx).map(|message| message.map(Ok))
    }
}

/// One subscription; the last one of a topic takes back what was said in the DHT.
struct Held {
    topics: Topics,
    topic: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut subscribed = self.topics.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, _)) = subscribed.get_mut(&self.topic) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        subscribed.remove(&self.topic);
        let (network, key) = (self.topics.network.clone(), key_of(&self.topic));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { network.stop_providing(key).await });
        }
    }
}
