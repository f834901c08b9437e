//! The behaviours every node needs to be connected, in one.
#![allow(missing_docs, reason = "the derive makes an event type whose variants are named after the fields")]

use std::collections::HashMap;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, gossipsub, identify, mdns, ping, relay, upnp};
use tokio::sync::mpsc;

use crate::{
    Config, IncomingStream, Limits, PortMapping, StreamControl, Streams, Tested, TrustedPeers, gossip, reach, topics,
};

/// Limits, byte streams, topics, announcements, identify, ways through routers, ping and LAN discovery.
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
    /// Announcements to the whole network.
    pub gossip: gossipsub::Behaviour,
    /// Who the other side is.
    pub identify: identify::Behaviour,
    /// Round-trip times.
    pub ping: ping::Behaviour,
    /// LAN discovery.
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    /// Being reached through relays, and reaching others so.
    pub relay_client: relay::client::Behaviour,
    /// Being a relay.
    pub relay_server: Toggle<relay::Behaviour>,
    /// From a relayed connection to a direct one.
    pub punching: dcutr::Behaviour,
    /// Has others dial our addresses.
    pub tested: Tested,
    /// Dials addresses of others for them.
    pub testing: autonat::v2::server::Behaviour,
    /// A port of the router, by UPnP.
    pub upnp: Toggle<upnp::tokio::Behaviour>,
    /// The same by PCP and NAT-PMP.
    pub port_mapping: Toggle<PortMapping>,
}

/// The behaviours every node needs, and what belongs to them.
pub struct Parts {
    /// The behaviours.
    pub behaviour: Behaviour,
    /// Opens streams.
    pub control: StreamControl,
    /// Streams that peers open, by protocol.
    pub incoming: HashMap<StreamProtocol, mpsc::Receiver<IncomingStream>>,
    /// The transport through relays, for [`crate::build_swarm`].
    pub relays: relay::client::Transport,
}

impl Parts {
    /// The behaviours of a node in `network`, which accepts streams of `protocols`, each with a queue of that length.
    pub fn new(
        keypair: &Keypair,
        config: &Config,
        network: &str,
        protocols: impl IntoIterator<Item = (StreamProtocol, usize)>,
        trusted: &TrustedPeers,
    ) -> Self {
        let (streams, control, incoming) = Streams::new(protocols);
        let identify = identify::Config::new(protocol_version(network), keypair.public())
            .with_agent_version(format!("p2pnode/{}", env!("CARGO_PKG_VERSION")))
            .with_push_listen_addr_updates(true)
            // Addresses are kept in our own book, with our own rules.
            .with_cache_size(0);
        let me = keypair.public().to_peer_id();
        let (relays, relay_client) = relay::client::new(me);
        let mdns = config.mdns.then(|| lan_discovery(keypair)).flatten();
        let behaviour = Behaviour {
            limits: Limits::new(config.limits.clone(), trusted.clone()),
            streams,
            topics: topics::behaviour(keypair),
            gossip: gossip::behaviour(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            mdns: mdns.into(),
            relay_client,
            relay_server: reach::relay_server(keypair, config, trusted),
            punching: dcutr::Behaviour::new(me),
            tested: Tested::default(),
            testing: autonat::v2::server::Behaviour::default(),
            upnp: reach::upnp(config),
            port_mapping: config.port_mapping.then(PortMapping::default).into(),
        };
        Self { behaviour, control, incoming, relays }
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
