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
/// What the library is told instead. It reads 8 KiB at a time and compares all it has read with the limit, the beginning of
/// the next message included: at 64 KiB the second of two large messages that came together broke the stream, and all
/// that had been read was lost (libp2p-gossipsub 0.50.1).
const MAX_READ_BYTES: usize = MAX_MESSAGE_BYTES + 16 * 1024;
/// Messages that wait for one peer; what is more is not sent to it. As many as a node may publish at once; that many large
/// ones do not come together, as bytes are limited where messages come in.
const QUEUE: usize = 256;
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
        .max_transmit_size(MAX_READ_BYTES)
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
