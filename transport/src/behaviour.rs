//! The behaviours every node needs to be connected, in one.
#![allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]

use std::collections::HashMap;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, gossipsub, identify, mdns, ping};
use tokio::sync::mpsc;

use crate::{Config, IncomingStream, Limits, StreamControl, Streams, topics};

/// Limits, byte streams, topics, identify, ping and LAN discovery.
///
/// `limits` stands first: a connection it refuses reaches nobody else.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// Refuses connections.
    pub limits: Limits,
    /// Byte streams.
    pub streams: Streams,
    /// Messages by topic.
    pub topics: gossipsub::Behaviour,
    /// Who the other side is.
    pub identify: identify::Behaviour,
    /// Round-trip times.
    pub ping: ping::Behaviour,
    /// LAN discovery.
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Accept queues, by protocol.
pub(crate) type Incoming = HashMap<StreamProtocol, mpsc::Receiver<IncomingStream>>;

impl Behaviour {
    /// The behaviours of a node in `network`, which accepts streams of `protocols`, each with a queue of that length.
    pub fn new(
        keypair: &Keypair,
        config: &Config,
        network: &str,
        protocols: impl IntoIterator<Item = (StreamProtocol, usize)>,
    ) -> (Self, StreamControl, Incoming) {
        let (streams, control, incoming) = Streams::new(protocols);
        let identify = identify::Config::new(protocol_version(network), keypair.public())
            .with_agent_version(format!("p2pnode/{}", env!("CARGO_PKG_VERSION")))
            .with_push_listen_addr_updates(true)
            // Addresses are kept in our own book, with our own rules.
            .with_cache_size(0);
        let mdns = config.mdns.then(|| lan_discovery(keypair)).flatten();
        let behaviour = Self {
            limits: Limits::new(config.limits.clone()),
            streams,
            topics: topics::behaviour(keypair),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            mdns: mdns.into(),
        };
        (behaviour, control, incoming)
    }
}

/// Identify's protocol version: networks whose names differ do not talk to each other (overlay.md 1.6).
fn protocol_version(network: &str) -> String {
    format!("p2pnode/{network}/1")
}

fn lan_discovery(keypair: &Keypair) -> Option<mdns::tokio::Behaviour> {
    let config = mdns::Config {
        // The library's five minutes let a freshly started neighbour wait too long.
        query_interval: std::time::Duration::from_secs(60),
        ..Default::default()
    };
    mdns::tokio::Behaviour::new(config, keypair.public().to_peer_id())
        .inspect_err(|error| tracing::warn!(%error, "no LAN discovery"))
        .ok()
}
