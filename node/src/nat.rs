//! `/p2pnode/nat/1`: how the router on the other side treats its ports, so that both can say why they meet over a relay.
//! Whoever accepts writes four bytes and closes: mapping and filtering for UDP, then for TCP. Nothing is read from whoever asks;
//! bytes after the fourth, and values that are not known, are for later versions.
//!
//! Mapping: 0 not known, 1 none, 2 endpoint-independent, 3 endpoint-dependent, 255 blocked. Filtering: 0 not known,
//! 1 endpoint-independent, 2 address-dependent, 3 address- and port-dependent.

use std::collections::HashMap;
use std::time::Duration;

use p2p_api::{NatFiltering, NatInfo, NatMapping, NatTransport};
use p2p_identity::PeerId;
use p2p_transport::{libp2p_peer_id, our_peer_id};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::network::Network;
use crate::telling;

const PROTOCOL: &str = "/p2pnode/nat/1";
/// What is written.
const BYTES: usize = 4;
/// How long asking one peer may take.
const ASK_TIME: Duration = Duration::from_secs(2);
/// Peers that are asked at once.
const MAX_ASKED: usize = 16;
/// How often it is looked whether somebody is reached through a relay only.
const LOOK: Duration = Duration::from_secs(15);
/// A peer is asked again after so long: it may be in another network, or know more.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// The same where it did not know yet.
const ASK_SOON: Duration = Duration::from_secs(15);

/// Tells whoever asks, until it is stopped.
pub(crate) async fn tell(network: Network, stop: CancellationToken) {
    telling::tell(network, PROTOCOL, |network| encode(&network.nat()), stop).await;
}

/// Asks those that are reached through a relay only, until it is stopped.
pub(crate) async fn ask_relayed(network: Network, stop: CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked: HashMap<PeerId, Instant> = HashMap::new();
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = asking.join_next(), if !asking.is_empty() => {}
            _ = look.tick() => {
                asked.retain(|_, at| at.elapsed() < ASK_AGAIN);
                for (peer, known) in network.relayed_only() {
                    let pause = if known.is_some_and(|nat| nat.is_known()) { ASK_AGAIN } else { ASK_SOON };
                    let is_due = asked.get(&peer).is_none_or(|at| at.elapsed() >= pause);
                    if is_due && asking.len() < MAX_ASKED {
                        asked.insert(peer, Instant::now());
                        let network = network.clone();
                        asking.spawn(async move { ask(&network, peer).await });
                    }
                }
            }
        }
    }
    asking.shutdown().await;
}

/// Asks a peer that is connected, and remembers the answer while it is.
pub(crate) async fn ask(network: &Network, peer: PeerId) -> Option<NatInfo> {
    let asking = async {
        let (_, mut stream) = network.open_stream(peer, PROTOCOL, ASK_TIME).await.ok()?;
        let mut told = [0; BYTES];
        stream.read_exact(&mut told).await.ok()?;
        Some(decode(told))
    };
    let told = tokio::time::timeout(ASK_TIME, asking).await.ok()??;
    network.on_nat_of(libp2p_peer_id(&peer)?, told);
    Some(told)
}

impl Network {
    /// How the router treats this node.
    pub(crate) fn nat(&self) -> NatInfo {
        self.with_snapshot(|snapshot| snapshot.nat)
    }

    /// Peers that are reached through a relay and in no other way, with what they told.
    fn relayed_only(&self) -> Vec<(PeerId, Option<NatInfo>)> {
        self.with_snapshot(|snapshot| {
            let told = |peer: libp2p::PeerId| Some((our_peer_id(&peer)?, snapshot.nat_of.get(&peer).copied()));
            snapshot.relayed_only().into_iter().filter_map(told).collect()
        })
    }

    fn on_nat_of(&self, peer: libp2p::PeerId, told: NatInfo) {
        self.with_snapshot(|snapshot| {
            // As many as there are connections.
            if snapshot.connections.values().any(|connection| connection.peer == peer) {
                snapshot.nat_of.insert(peer, told);
            }
        });
    }
}

fn encode(nat: &NatInfo) -> [u8; BYTES] {
    let [(a, b), (c, d)] = [nat.udp, nat.tcp].map(|side| {
        let mapping = match side.mapping {
            _ if side.blocked => 255,
            None => 0,
            Some(NatMapping::None) => 1,
            Some(NatMapping::EndpointIndependent) => 2,
            Some(NatMapping::EndpointDependent) => 3,
        };
        let filtering = match side.filtering {
            None => 0,
            Some(NatFiltering::EndpointIndependent) => 1,
            Some(NatFiltering::AddressDependent) => 2,
            Some(NatFiltering::AddressAndPortDependent) => 3,
        };
        (mapping, filtering)
    });
    [a, b, c, d]
}

fn decode([a, b, c, d]: [u8; BYTES]) -> NatInfo {
    let side = |mapping: u8, filtering: u8| NatTransport {
        mapping: match mapping {
            1 => Some(NatMapping::None),
            2 => Some(NatMapping::EndpointIndependent),
            3 => Some(NatMapping::EndpointDependent),
            _ => None,
        },
        filtering: match filtering {
            1 => Some(NatFiltering::EndpointIndependent),
            2 => Some(NatFiltering::AddressDependent),
            3 => Some(NatFiltering::AddressAndPortDependent),
            _ => None,
        },
        blocked: mapping == 255,
        seen_by: 0,
    };
    NatInfo { udp: side(a, b), tcp: side(c, d) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_told_is_understood_and_what_is_known_comes_back() {
        for (mapping, filtering) in (0..=255).flat_map(|mapping| (0..=255).map(move |filtering| (mapping, filtering))) {
            let nat = decode([mapping, filtering, filtering, mapping]);
            assert_eq!(decode(encode(&nat)), nat, "{mapping} {filtering}");
            let is_known = (mapping < 4 || mapping == 255) && filtering < 4;
            if is_known {
                assert_eq!(encode(&nat)[..2], [mapping, filtering]);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let udp = NatTransport { mapping: Some(NatMapping::EndpointDependent), ..NatTransport::default() };
        let tcp = NatTransport { blocked: true, ..NatTransport::default() };
        assert_eq!(encode(&NatInfo { udp, tcp }), [3, 0, 255, 0]);
        assert_eq!(encode(&NatInfo::default()), [0; BYTES]);
    }
}
