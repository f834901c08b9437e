//! Which of our addresses go into links, and how peers are shown.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_identity::{PeerAddr, PeerId, Transport};
use p2p_transport::{AddressScope, scope};

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

fn compact(peer: PeerId, address: &Multiaddr) -> Option<PeerAddr> {
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
