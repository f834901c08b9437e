//! Reaching peers behind routers (overlay.md, section 8): relays, hole punching, port mapping, and whether anybody reaches
//! this node.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{relay, upnp};

use crate::config::RelayMode;
use crate::{Config, TrustedPeers};

/// What a relay's side of the protocol is called; who speaks it may be asked for a reservation.
pub use libp2p::relay::HOP_PROTOCOL_NAME as RELAY_PROTOCOL;

/// Reservations a public relay holds.
const MAX_RESERVATIONS: usize = 128;
/// Circuits a public relay carries at a time.
const MAX_CIRCUITS: usize = 32;
/// Reservations and circuits of one peer.
const MAX_PER_PEER: usize = 4;
/// Bytes that one circuit of a public relay carries, each way.
const MAX_CIRCUIT_BYTES: u64 = 256 * 1024 * 1024;
/// How long one circuit of a public relay lives.
const MAX_CIRCUIT_TIME: Duration = Duration::from_secs(3_600);
/// How long a reservation lives; it is renewed before.
const RESERVATION_TIME: Duration = Duration::from_secs(3_600);

/// The relay of this node, if it is one.
pub(crate) fn relay_server(keypair: &Keypair, config: &Config, friends: &TrustedPeers) -> Toggle<relay::Behaviour> {
    let limits = match config.relay {
        RelayMode::Off => return None.into(),
        RelayMode::Public => public(),
        RelayMode::Trusted => trusted(friends.clone()),
    };
    let mut relay = relay::Behaviour::new(keypair.public().to_peer_id(), limits);
    // By itself it would wait for an address that was tested from outside: a relay in a local network never has one.
    relay.set_status(Some(relay::Status::Enable));
    Some(relay).into()
}

/// Anybody, within caps.
fn public() -> relay::Config {
    let per_peer = NonZeroU32::new(30).expect("30 is not 0");
    let per_ip = NonZeroU32::new(60).expect("60 is not 0");
    let config = relay::Config {
        max_reservations: MAX_RESERVATIONS,
        max_reservations_per_peer: MAX_PER_PEER,
        reservation_duration: RESERVATION_TIME,
        reservation_rate_limiters: Vec::new(),
        max_circuits: MAX_CIRCUITS,
        max_circuits_per_peer: MAX_PER_PEER,
        max_circuit_duration: MAX_CIRCUIT_TIME,
        max_circuit_bytes: MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    config
        .reservation_rate_per_peer(per_peer, Duration::from_secs(120))
        .reservation_rate_per_ip(per_ip, Duration::from_secs(60))
        .circuit_src_per_peer(per_peer, Duration::from_secs(120))
        .circuit_src_per_ip(per_ip, Duration::from_secs(60))
}

/// Peers the user trusts, without caps on bytes and time. Whoever reaches one of them may be a stranger to the relay.
fn trusted(peers: TrustedPeers) -> relay::Config {
    let is_trusted = move |peer: PeerId, _: &libp2p::Multiaddr, _| peers.contains(&peer);
    relay::Config {
        reservation_rate_limiters: vec![Box::new(is_trusted)],
        circuit_src_rate_limiters: Vec::new(),
        // 0 bytes are no limit; the time has to fit into 32 bits.
        max_circuit_bytes: 0,
        max_circuit_duration: Duration::from_secs(u64::from(u32::MAX)),
        ..public()
    }
}

/// Asks the router for a port.
pub(crate) fn port_mapping(config: &Config) -> Toggle<upnp::tokio::Behaviour> {
    config.port_mapping.then(upnp::tokio::Behaviour::default).into()
}
