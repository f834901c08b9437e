//! Messages to everybody who subscribed to a topic (gossipsub), within bounds.
//!
//! Messages are signed by their author and checked by every node that passes them on. On the wire a topic is the SHA-256
//! of its name, so those who only pass by do not learn it.

use std::time::Duration;

use libp2p::gossipsub::{self, MessageAuthenticity, ValidationMode, Version};
use libp2p::identity::Keypair;

/// The protocol's name.
const PROTOCOL: &str = "/p2pnode/topics/1";
/// Largest message, in bytes, envelope included.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Messages that wait for one peer; what is more is not sent to it.
const QUEUE: usize = 64;
/// How often meshes are looked after. Longer than usual, so that an idle node sleeps.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long a message is remembered, so that it is not taken twice.
const REMEMBER: Duration = Duration::from_secs(60);

/// A topic as it is spoken of on the wire.
pub type Topic = gossipsub::Sha256Topic;

/// The behaviour; its author is `keypair`.
pub(crate) fn behaviour(keypair: &Keypair) -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(PROTOCOL, Version::V1_1)
        .max_transmit_size(MAX_MESSAGE_BYTES)
        .connection_handler_queue_len(QUEUE)
        .heartbeat_interval(HEARTBEAT)
        .history_length(3)
        .history_gossip(2)
        .duplicate_cache_time(REMEMBER)
        .validation_mode(ValidationMode::Strict)
        .build()
        .expect("constants that fit together");
    gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config).expect("signed and strict")
}
