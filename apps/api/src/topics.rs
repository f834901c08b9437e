//! Messages to everybody who subscribed to a topic.

use std::sync::Arc;

use bytes::Bytes;
use p2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::node::{Contract, Stream};
use crate::wire::base64;
use crate::{ApiError, Result};

/// Longest name of a topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;
/// Largest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 60 * 1024;

/// A message that somebody published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicMessage {
    /// Who published it; it signed the message.
    #[schema(value_type = String)]
    pub from: PeerId,
    /// The message, in base64 on the socket.
    #[serde(with = "base64")]
    #[schema(value_type = String)]
    pub data: Bytes,
}

/// The answer to a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedMessage {
    /// Connected peers that have subscribed; they pass it on to those behind them. 0: nobody but this node's own
    /// subscribers has it.
    pub peers: u32,
}

/// Checks the name of a topic.
pub fn check_topic(topic: &str) -> Result<()> {
    if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES || topic.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("a topic is a text of 1 to {MAX_TOPIC_BYTES} bytes")));
    }
    Ok(())
}

/// Topics.
#[derive(Clone)]
pub struct Topics {
    pub(crate) contract: Arc<dyn Contract>,
}

impl Topics {
    /// Sends a message of at most 60 KiB to everybody who subscribed, this node's own subscribers included.
    ///
    /// Nobody confirms it: who is away misses it.
    pub async fn publish(&self, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        self.contract.publish_message(topic, data).await
    }

    /// Messages from now on. A reader that is too slow loses the newest. Dropping it ends the subscription.
    pub async fn subscribe(&self, topic: &str) -> Result<Stream<TopicMessage>> {
        self.contract.subscribe(topic).await
    }
}
