//! How routers treat the ports of this node and of those that it reaches through a relay only, as it was measured.

use super::{Finding, Level, count, finding};
use crate::{NatFiltering, NatInfo, NatMapping, NatTransport, NodeInfo, PeerInfo, PeerPath};

/// Peers of whom it is told why they are reached through a relay.
const MOST_PEERS: usize = 8;

/// The router of this node for each transport, then what keeps it from others.
pub(super) fn routers(info: &NodeInfo, peers: &[PeerInfo]) -> Vec<Finding> {
    let Some(nat) = info.nat.filter(|_| info.peers > 0) else { return Vec::new() };
    let own = [("UDP", "/udp/", nat.udp, nat.tcp), ("TCP", "/tcp/", nat.tcp, nat.udp)];
    // By what is not listened on nobody comes in, and nothing can be found out.
    let is_heard = |part: &str| info.listen.iter().any(|at| at.contains(part) && !at.contains("/p2p-circuit"));
    let own = own.into_iter().filter(|(_, part, ..)| is_heard(part));
    let mut found: Vec<Finding> = own.filter_map(|(name, _, side, other)| own_router(name, &side, &other)).collect();
    let relayed = peers.iter().filter(|peer| peer.way() == PeerPath::Relayed && peer.nat.is_some());
    found.extend(relayed.take(MOST_PEERS).map(other_router));
    found
}

fn own_router(name: &'static str, side: &NatTransport, other: &NatTransport) -> Option<Finding> {
    let title = if name == "UDP" { "The router, for UDP" } else { "The router, for TCP" };
    if side.blocked {
        let what = format!("{name} does not get out: peers that answer by the other transport do not answer by it");
        let todo = match name {
            "UDP" => {
                "allow outgoing UDP in the router or firewall: until then connections go over TCP, and where both sides \
                      have routers they often stay on a relay"
            }
            _ => "allow outgoing TCP in the router or firewall",
        };
        return Some(finding(Level::Warn, title, what, Some(todo)));
    }
    let filtering = match side.filtering {
        Some(NatFiltering::EndpointIndependent) => "anybody gets in by it",
        Some(NatFiltering::AddressDependent) => {
            "hosts that were written to get in by it, from any port (address-dependent filtering)"
        }
        Some(NatFiltering::AddressAndPortDependent) => {
            "only whom this node has written to gets in by it (address- and port-dependent filtering)"
        }
        None => "who gets in by it is not known yet",
    };
    let seen = match side.seen_by {
        0 => String::new(),
        hosts => format!(", as {}", count(hosts.into(), "host sees it", "hosts see it")),
    };
    Some(match side.mapping {
        None if other.seen_by == 0 && side.seen_by == 0 => return None,
        None => finding(
            Level::Unknown,
            title,
            match side.seen_by {
                0 => format!("no host of the world has told at which {name} port it sees this node; {filtering}"),
                1 => {
                    format!("one host is not enough to tell whether every peer sees the same {name} port; {filtering}")
                }
                _ => format!(
                    "hosts see different addresses with the same {name} port: there are two ways out; {filtering}"
                ),
            },
            Some("connect to further nodes that are reached from everywhere, and ask again"),
        ),
        Some(NatMapping::None) => {
            finding(Level::Good, title, format!("this node has an address of its own{seen}; {filtering}"), None)
        }
        Some(NatMapping::EndpointIndependent) => {
            let what = format!(
                "it gives this node one port for everybody (endpoint-independent mapping){seen}; {filtering}; holes can be made"
            );
            finding(Level::Good, title, what, None)
        }
        Some(NatMapping::EndpointDependent) => {
            let what = format!(
                "it gives this node another port for each peer (endpoint-dependent mapping, a symmetric router){seen}; \
                 {filtering}"
            );
            let level =
                if side.filtering == Some(NatFiltering::EndpointIndependent) { Level::Good } else { Level::Warn };
            let todo = "others get in directly only where theirs lets anybody in: turn on UPnP, PCP or NAT-PMP in it, or \
                        forward the port in transport.listen of config.toml to this computer";
            finding(level, title, what, (level == Level::Warn).then_some(todo))
        }
    })
}

fn other_router(peer: &PeerInfo) -> Finding {
    const TITLE: &str = "Reached through a relay";
    let theirs = peer.nat.as_ref().map(short).unwrap_or_default();
    let name = peer.peer;
    match &peer.why_relayed {
        Some(why) => finding(
            Level::Warn,
            TITLE,
            format!("{name}: {why} (over there: {theirs})"),
            Some(
                "a port that is forwarded or asked for by UPnP on either side makes it direct; until then the relay does",
            ),
        ),
        None => finding(
            Level::Unknown,
            TITLE,
            format!("{name}: it is not known yet why there is no direct connection (over there: {theirs})"),
            None,
        ),
    }
}

/// Both transports in a few words.
fn short(nat: &NatInfo) -> String {
    let word = |side: &NatTransport| {
        let mapping = match side.mapping {
            _ if side.blocked => return "blocked".to_owned(),
            None => "mapping not known",
            Some(NatMapping::None) => "an address of its own",
            Some(NatMapping::EndpointIndependent) => "one port for everybody",
            Some(NatMapping::EndpointDependent) => "another port for each peer",
        };
        let filtering = match side.filtering {
            None => "",
            Some(NatFiltering::EndpointIndependent) => ", open to anybody",
            Some(NatFiltering::AddressDependent) => ", open to hosts written to",
            Some(NatFiltering::AddressAndPortDependent) => ", open to whom it wrote to",
        };
        format!("{mapping}{filtering}")
    };
    let (udp, tcp) = (word(&nat.udp), word(&nat.tcp));
    if udp == tcp { format!("UDP and TCP {udp}") } else { format!("UDP {udp}; TCP {tcp}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeNode;
    use crate::{Outlook, PathKind};

    fn side(mapping: NatMapping, filtering: NatFiltering) -> NatTransport {
        NatTransport { mapping: Some(mapping), filtering: Some(filtering), blocked: false, seen_by: 2 }
    }

    #[tokio::test]
    async fn the_own_router_is_told_by_each_transport() {
        let mut node = FakeNode::new().node().info().await.expect("the fake answers");
        node.listen = vec!["/ip4/192.168.1.2/tcp/1".to_owned(), "/ip4/192.168.1.2/udp/1/quic-v1".to_owned()];
        assert!(routers(&node, &[]).is_empty(), "an older node");
        let symmetric = side(NatMapping::EndpointDependent, NatFiltering::AddressAndPortDependent);
        let cone = side(NatMapping::EndpointIndependent, NatFiltering::EndpointIndependent);
        let blocked = NatTransport { blocked: true, ..NatTransport::default() };
        let unknown = NatTransport { seen_by: 1, ..NatTransport::default() };
        (node.nat, node.peers) = (Some(NatInfo::default()), 1);
        assert!(routers(&node, &[]).is_empty(), "nobody in the world told anything");
        for (udp, tcp, levels) in [
            (symmetric, cone, [Level::Warn, Level::Good]),
            (blocked, cone, [Level::Warn, Level::Good]),
            (unknown, NatTransport::default(), [Level::Unknown, Level::Unknown]),
        ] {
            node.nat = Some(NatInfo { udp, tcp });
            let found = routers(&node, &[]);
            assert_eq!(found.iter().map(|finding| finding.level).collect::<Vec<_>>(), levels);
            assert!(found.iter().all(|finding| (finding.level == Level::Good) == finding.todo.is_none()));
        }
        node.listen.truncate(1);
        assert_eq!(routers(&node, &[]).len(), 1, "nothing is said of what is not listened on");
    }

    #[tokio::test]
    async fn a_peer_behind_a_relay_is_told_with_the_reason() {
        let fake = FakeNode::new();
        fake.connect(p2p_identity::PeerId::from([3; 32]), PathKind::Relayed);
        let mut node = fake.node().info().await.expect("the fake answers");
        node.listen = vec!["/ip4/192.168.1.2/tcp/1".to_owned(), "/ip4/192.168.1.2/udp/1/quic-v1".to_owned()];
        let mut peers = fake.node().peers().list().await.expect("peers");
        let symmetric = side(NatMapping::EndpointDependent, NatFiltering::AddressAndPortDependent);
        let both = NatInfo { udp: symmetric, tcp: symmetric };
        node.nat = Some(both);
        assert_eq!(routers(&node, &peers).len(), 2, "the peer has told nothing");
        peers[0].nat = Some(both);
        let told = |peers: &[PeerInfo]| routers(&node, peers).pop().expect("a finding");
        assert_eq!(told(&peers).level, Level::Unknown);
        peers[0].why_relayed = Outlook::new(&both, &both).why_relayed().map(str::to_owned);
        let finding = told(&peers);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.what.contains("both routers") && finding.what.contains("UDP and TCP another port"));
        peers[0].path = Some(PeerPath::Direct);
        assert_eq!(routers(&node, &peers).len(), 2);
    }
}
