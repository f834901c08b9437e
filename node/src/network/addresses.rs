//! Which of our addresses go into links, and how peers are shown.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_identity::{PeerAddr, PeerId, Transport};
use p2p_transport::{AddressScope, PathKind, our_peer_id, path_kind, relay_of, scope};

/// Addresses for a link: reachable from far away first, TCP before QUIC.
pub(crate) fn for_links(me: PeerId, addresses: &[Multiaddr]) -> Vec<PeerAddr> {
    let mut found: Vec<(u8, PeerAddr)> = Vec::new();
    for address in addresses {
        let rank = match scope(address) {
            AddressScope::Global => 0,
            AddressScope::Local => 1,
            AddressScope::Loopback => 2,
        };
        if let Some(address) = compact(me, address)
            && !found.iter().any(|(_, known)| *known == address)
        {
            found.push((rank, address));
        }
    }
    found.sort_by_key(|(rank, address)| (*rank, address.ip.is_ipv6(), address.transport == Transport::Quic));
    found.into_iter().map(|(_, address)| address).collect()
}

/// The relay of one of these addresses of ours, for a link: one that is reached from far away first.
pub(crate) fn relay_for_links(addresses: &[Multiaddr]) -> Option<PeerAddr> {
    let relays = addresses.iter().filter(|address| path_kind(address) == PathKind::Relayed);
    let found = relays.filter_map(|address| {
        let relay = our_peer_id(&relay_of(address)?)?;
        let at: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
        Some((scope(&at).is_local(), place(relay, &at)?))
    });
    found.min_by_key(|(is_local, at)| (*is_local, at.transport == Transport::Quic)).map(|(_, at)| at)
}

/// An address at which this node itself is; where a relay is, it is not.
fn compact(peer: PeerId, address: &Multiaddr) -> Option<PeerAddr> {
    if path_kind(address) == PathKind::Relayed { None } else { place(peer, address) }
}

fn place(peer: PeerId, address: &Multiaddr) -> Option<PeerAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) if ip.is_unicast_link_local() => return None,
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let (transport, port) = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None | Some(Protocol::P2p(_))) => (Transport::Tcp, port),
        (Protocol::Udp(port), Some(Protocol::QuicV1)) => (Transport::Quic, port),
        _ => return None,
    };
    Some(PeerAddr { peer, transport, ip, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_told_as_a_relay_and_never_as_this_node() {
        let relay = PeerId::from([8; 32]);
        let me = PeerId::from([7; 32]);
        let addresses: Vec<Multiaddr> = ["/ip4/192.168.1.9/tcp/4", "/ip4/9.9.9.9/udp/4/quic-v1", "/ip4/9.9.9.9/tcp/4"]
            .map(|at| format!("{at}/p2p/{relay}/p2p-circuit/p2p/{me}").parse().expect("a multiaddr"))
            .to_vec();
        assert!(for_links(me, &addresses).is_empty());
        let told = relay_for_links(&addresses).expect("a relay");
        assert_eq!(told.to_multiaddr_string(), format!("/ip4/9.9.9.9/tcp/4/p2p/{relay}"));
        assert_eq!(relay_for_links(&["/ip4/9.9.9.9/tcp/4".parse().expect("a multiaddr")]), None);
    }

    #[test]
    fn far_reaching_tcp_addresses_come_first() {
        let me = PeerId::from([7; 32]);
        let addresses: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.168.1.2/udp/1/quic-v1",
            "/ip4/192.168.1.2/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip4/9.9.9.9/udp/1/quic-v1",
            "/memory/5",
        ]
        .map(|text| text.parse().expect("a multiaddr"))
        .to_vec();
        let shown: Vec<String> =
            for_links(me, &addresses).iter().map(|a| format!("{} {:?}", a.ip, a.transport)).collect();
        assert_eq!(shown, ["9.9.9.9 Quic", "192.168.1.2 Tcp", "192.168.1.2 Quic", "127.0.0.1 Tcp"]);
    }
}
