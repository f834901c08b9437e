//! Reaching peers behind routers (overlay.md, section 8): relays, hole punching, port mapping, and whether anybody reaches
//! this node.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ExpiredListenAddr, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, NewListenAddr};
use libp2p::{Multiaddr, PeerId, relay, upnp};

use crate::config::RelayMode;
use crate::{Behaviour, Config, TrustedPeers};

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
    let is_trusted = move |peer: PeerId, _: &Multiaddr, _| peers.contains(&peer);
    relay::Config {
        reservation_rate_limiters: vec![Box::new(is_trusted)],
        circuit_src_rate_limiters: Vec::new(),
        // 0 bytes are no limit; the time has to fit into 32 bits.
        max_circuit_bytes: 0,
        max_circuit_duration: Duration::from_secs(u64::from(u32::MAX)),
        ..public()
    }
}

/// How long a router has at the end to take back what it gave by UPnP; the library does not tell when it has.
const UPNP_GOODBYE: Duration = Duration::from_secs(1);

impl Behaviour {
    /// This computer has other addresses now, or is in another network: routers are looked for anew, and nothing that was
    /// found out about being reached counts any more. `listening` are the addresses it has now.
    pub fn on_network_change(&mut self, listening: &[Multiaddr]) {
        self.tested.restart();
        if let Some(mapping) = self.port_mapping.as_mut() {
            mapping.on_network_change();
        }
        // The library looks for a router once.
        if self.upnp.is_enabled() {
            let mut upnp = upnp::tokio::Behaviour::default();
            for addr in listening {
                upnp.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id: ListenerId::next(), addr }));
            }
            self.upnp = Some(upnp).into();
        }
    }

    /// An address at which this node may be reached, seen by a peer of the world: it is tested, and holes are tried with it.
    pub fn on_own_candidate(&mut self, addr: &Multiaddr) {
        self.tested.test(addr);
        self.punching.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
    }

    /// Tells peers anew where this node is reached; else they would hear of it within five minutes.
    pub fn tell_addresses(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        self.identify.push(peers);
    }

    /// Gives the ports of routers back: at the end. Half a second at most, or a second where a port is `by_upnp`.
    pub async fn give_ports_back(&mut self, listening: &[Multiaddr], by_upnp: bool) {
        let (mapping, upnp) = (&mut self.port_mapping, &mut self.upnp);
        let by_pcp = async {
            if let Some(mapping) = mapping.as_mut() {
                mapping.close().await;
            }
        };
        let by_upnp = async {
            let Some(upnp) = upnp.as_mut().filter(|_| by_upnp) else { return };
            for addr in listening {
                let gone = ExpiredListenAddr { listener_id: ListenerId::next(), addr };
                upnp.on_swarm_event(FromSwarm::ExpiredListenAddr(gone));
            }
            let goodbye = poll_fn(|cx| {
                while upnp.poll(cx).is_ready() {}
                Poll::<()>::Pending
            });
            let _ = tokio::time::timeout(UPNP_GOODBYE, goodbye).await;
        };
        tokio::join!(by_pcp, by_upnp);
    }
}

/// Asks the router for a port in UPnP.
pub(crate) fn upnp(config: &Config) -> Toggle<upnp::tokio::Behaviour> {
    config.port_mapping.then(upnp::tokio::Behaviour::default).into()
}
