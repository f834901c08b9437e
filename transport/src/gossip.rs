//! Announcements to the whole network (gossipsub), apart from the topics of apps: they carry no author, and a node passes
//! one on only after it said that it is good.

use std::time::Duration;

use libp2p::gossipsub::{self, Message, MessageAuthenticity, MessageId, ValidationMode, Version};

/// The protocol's name.
const PROTOCOL: &str = "/p2pnode/gossip/1";
/// Largest frame, in bytes: announcements are short, and a frame may carry several.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// Frames that wait for one peer; what is more is not sent to it.
const QUEUE: usize = 64;
/// How often meshes are looked after. Long, so that an idle node sleeps; an announcement itself waits for no heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long an announcement is remembered, so that it is not taken twice.
const REMEMBER: Duration = Duration::from_secs(120);

/// A topic; on the wire it stands as it is.
pub type GossipTopic = gossipsub::IdentTopic;

/// The behaviour. Nothing is passed on before `report_message_validation_result` said so.
pub(crate) fn behaviour() -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(PROTOCOL, Version::V1_1)
        .max_transmit_size(MAX_FRAME_BYTES)
        .connection_handler_queue_len(QUEUE)
        .heartbeat_interval(HEARTBEAT)
        .history_length(3)
        .history_gossip(2)
        .duplicate_cache_time(REMEMBER)
        // Who announces is nobody's business, and the bytes prove themselves.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(id)
        .validate_messages()
        .build()
        .expect("constants that fit together");
    gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).expect("anonymous on both sides")
}

/// The same bytes are the same announcement, whoever sends them.
fn id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new_derive_key("p2pnode gossip v1");
    hasher.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
    MessageId::from(hasher.finalize().as_bytes().to_vec())
}
