//! Groups of addresses: what somebody who rents a rack or a network gets many of, and so must not count many times.
//! Local addresses have no group: behind one router everybody has the same ones.

use std::net::{IpAddr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// A group. An IPv4 address and an IPv6 address are never in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Group(u8, [u8; 6]);

/// How wide groups are: as prefixes of IPv4 and of IPv6, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// /24 and /48: what one customer has.
    Customer,
    /// /16 and /32: what one provider has.
    Provider,
    /// /6 and /12: a sixty-fourth of the world. IPv6 has hardly such parts; an eighth of what is in use then.
    World,
}

/// The group of a global address; local ones have none.
pub(crate) fn group_of(address: &Multiaddr, width: Width) -> Option<Group> {
    let ip = match address.iter().next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        _ => return None,
    };
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let is_shared = a == 100 && (b & 0xc0) == 64;
            let is_many = ip.is_multicast() || ip.is_broadcast();
            let is_local = ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared
                || is_many;
            let prefix = match width {
                Width::Customer => [a, b, c, 0, 0, 0],
                Width::Provider => [a, b, 0, 0, 0, 0],
                Width::World => [a & 0xfc, 0, 0, 0, 0, 0],
            };
            (!is_local).then_some(Group(4, prefix))
        }
        IpAddr::V6(ip) => (!is_local_v6(ip)).then(|| {
            let [a, b, c, d, e, f, ..] = ip.octets();
            let prefix = match width {
                Width::Customer => [a, b, c, d, e, f],
                Width::Provider => [a, b, c, d, 0, 0],
                Width::World => [a, b & 0xf0, 0, 0, 0, 0],
            };
            Group(6, prefix)
        }),
    }
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str, width: Width) -> Option<Group> {
        group_of(&text.parse().expect("an address"), width)
    }

    #[test]
    fn neighbours_share_a_group_and_local_addresses_have_none() {
        use Width::{Customer, Provider, World};
        let same = |a: &str, b: &str, width| group(a, width).is_some() && group(a, width) == group(b, width);
        assert!(same("/ip4/9.9.9.1/tcp/1", "/ip4/9.9.9.200/udp/7/quic-v1", Customer));
        assert!(!same("/ip4/9.9.9.1/tcp/1", "/ip4/9.9.8.1/tcp/1", Customer));
        assert!(same("/ip4/9.9.9.1/tcp/1", "/ip4/9.9.8.1/tcp/1", Provider));
        assert!(!same("/ip4/9.9.9.1/tcp/1", "/ip4/9.8.8.1/tcp/1", Provider));
        assert!(same("/ip4/9.9.9.1/tcp/1", "/ip4/8.8.8.1/tcp/1", World));
        assert!(same("/ip6/2606:4700:1:1::1/tcp/1", "/ip6/2606:4700:1:2::1/tcp/1", Customer));
        assert!(!same("/ip6/2606:4700:1:1::1/tcp/1", "/ip6/2606:4700:2:1::1/tcp/1", Customer));
        assert!(same("/ip6/::ffff:9.9.9.9/tcp/1", "/ip4/9.9.9.1/tcp/1", Customer));
        for local in ["/ip4/10.1.1.1/tcp/1", "/ip4/100.64.3.3/tcp/1", "/ip6/fe80::1/tcp/1", "/memory/5"] {
            assert_eq!(group(local, Customer), None, "{local}");
        }
        assert!(group("/ip4/198.18.0.1/tcp/1", Customer).is_some(), "benchmarking blocks are global here");
    }
}
