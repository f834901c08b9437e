//! Peers behind one router tell each other where they are in its network (overlay.md, section 5, rung 5).
//!
//! A friend that is connected through a relay only, or through the router that both are behind, is asked over that connection,
//! which nobody in between can read, at which addresses it is in its own network. Where both are seen from outside at one
//! IPv4 address, or in one IPv6 /64, each dials the other there. Only contacts and trusted peers ask and are answered.

mod wire;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2p_identity::Transport;
use p2p_transport::{AddressScope, ByteStream, PathKind, Preference, ip_of, is_global_ip, path_kind, scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

use self::wire::{MAX_BYTES, MAX_PLACES, MAX_PUBLIC, Offer, Place};
use super::{Network, Snapshot};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2pnode/near/1");
/// Questions that wait to be answered; further ones are reset.
const QUEUE: usize = 8;
/// Questions answered and asked at a time.
const MAX_TASKS: usize = 16;
/// How long one may take.
const EXCHANGE_TIME: Duration = Duration::from_secs(5);
/// A peer is asked again after so long, where there is still no better way to it.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// When the addresses are dialled, after they were told: again while a hole is being tried, which keeps others from dialling.
const DIALS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(3)];
/// Who was asked waits for so long before it dials as well: two that dial each other over TCP at the same moment get in each
/// other's way.
const ASKED_WAITS: Duration = Duration::from_millis(1_500);

/// Runs until `stop`.
pub(crate) async fn run(network: Network, stop: CancellationToken) {
    let Ok(mut incoming) = network.streams.accept(PROTOCOL, QUEUE).await else { return };
    let mut connections = network.connections();
    let mut asked: HashMap<PeerId, Instant> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            Some(stream) = incoming.recv(), if tasks.len() < MAX_TASKS => {
                // To a stranger this node is nowhere: the stream is reset.
                if network.trusted.contains(&stream.peer) && stream.path != PathKind::Lan {
                    tasks.spawn(answer(network.clone(), stream.peer, stream.stream));
                }
            }
            changed = connections.changed() => {
                if changed.is_err() {
                    break;
                }
                asked.retain(|_, at| at.elapsed() < ASK_AGAIN);
                for peer in far_friends(&network) {
                    if tasks.len() < MAX_TASKS && !asked.contains_key(&peer) {
                        asked.insert(peer, Instant::now());
                        tasks.spawn(ask(network.clone(), peer));
                    }
                }
            }
        }
    }
    tasks.shutdown().await;
}

/// Friends that this node has reached through a relay, or through its own router, and in no better way.
fn far_friends(network: &Network) -> Vec<PeerId> {
    let mut friends = far(&network.snapshot());
    friends.retain(|peer| network.trusted.contains(peer));
    friends
}

fn far(snapshot: &Snapshot) -> Vec<PeerId> {
    let mut best: HashMap<PeerId, (bool, bool)> = HashMap::new();
    for connection in snapshot.connections.values() {
        let is_far = match path_kind(&connection.address) {
            PathKind::Relayed => true,
            PathKind::Direct => ip_of(&connection.address).is_some_and(|ip| snapshot.seen_as.contains(&ip)),
            PathKind::Lan => false,
        };
        let (all_far, is_ours) = best.entry(connection.peer).or_insert((true, false));
        *all_far &= is_far;
        *is_ours |= connection.outbound;
    }
    best.into_iter().filter(|(_, (all_far, is_ours))| *all_far && *is_ours).map(|(peer, _)| peer).collect()
}

async fn ask(network: Network, peer: PeerId) {
    let theirs = async {
        let opened = network.streams.open(peer, PROTOCOL, Preference::Any, EXCHANGE_TIME).await.ok()?;
        if opened.path == PathKind::Lan {
            return None;
        }
        let mut stream = opened.stream.compat();
        write(&mut stream, &own_offer(&network.snapshot())).await?;
        read(&mut stream).await
    };
    if let Ok(Some(theirs)) = tokio::time::timeout(EXCHANGE_TIME, theirs).await {
        dial(&network, peer, &theirs).await;
    }
}

async fn answer(network: Network, peer: PeerId, stream: ByteStream) {
    let mut stream = stream.compat();
    let theirs = async {
        let theirs = read(&mut stream).await?;
        write(&mut stream, &own_offer(&network.snapshot())).await?;
        Some(theirs)
    };
    if let Ok(Some(theirs)) = tokio::time::timeout(EXCHANGE_TIME, theirs).await {
        tokio::time::sleep(ASKED_WAITS).await;
        dial(&network, peer, &theirs).await;
    }
}

async fn write(stream: &mut (impl AsyncWriteExt + Unpin), offer: &Offer) -> Option<()> {
    stream.write_all(&offer.encode()).await.ok()?;
    stream.flush().await.ok()
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Offer> {
    let length = usize::from(stream.read_u8().await.ok()?);
    let mut bytes = [0; MAX_BYTES];
    let bytes = bytes.get_mut(..length)?;
    stream.read_exact(bytes).await.ok()?;
    Offer::decode(bytes)
}

/// Dials a friend in the network that it shares with this node; nothing is sent where it does not.
async fn dial(network: &Network, peer: PeerId, theirs: &Offer) {
    let own = own_offer(&network.snapshot());
    if !is_behind_the_same(&own.public, &theirs.public) {
        return;
    }
    let addresses: Vec<Multiaddr> = theirs.places.iter().filter(|place| is_near(place.ip)).map(multiaddr).collect();
    tracing::debug!(%peer, addresses = addresses.len(), "a friend is behind the same router");
    network.with_near(|near| near.same_router = near.same_router.saturating_add(1));
    for pause in DIALS {
        tokio::time::sleep(pause).await;
        let is_far = p2p_transport::our_peer_id(&peer).is_some_and(|peer| !network.near_peers().contains(&peer));
        if !is_far || addresses.is_empty() {
            return;
        }
        network.on_lan_contact(peer, addresses.clone()).await;
    }
}

/// What may be dialled because a friend says so: not this computer, not everybody at once, and of IPv6 what is the same on
/// every link.
fn is_near(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() {
        return false;
    }
    match ip {
        IpAddr::V4(_) => !is_global_ip(ip),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none() && !v6.is_unicast_link_local(),
    }
}

/// One IPv4 address, or one IPv6 /64.
fn is_behind_the_same(own: &[IpAddr], theirs: &[IpAddr]) -> bool {
    let same = |one: &IpAddr, other: &IpAddr| match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one == other,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() >> 64 == other.to_bits() >> 64,
        _ => false,
    };
    own.iter().any(|one| is_global_ip(*one) && theirs.iter().any(|other| same(one, other)))
}

/// Where this node is: as others see it, and within its network.
fn own_offer(snapshot: &Snapshot) -> Offer {
    let own = snapshot.listen.iter().filter(|address| path_kind(address) != PathKind::Relayed);
    let mut public: Vec<IpAddr> = snapshot.seen_as.iter().copied().chain(own.filter_map(ip_of)).collect();
    public.retain(|ip| is_global_ip(*ip));
    public.dedup();
    public.truncate(MAX_PUBLIC);
    let mut places: Vec<Place> =
        snapshot.listen.iter().filter(|own| scope(own) != AddressScope::Loopback).filter_map(place).collect();
    // What a router gave out first, the addresses of containers' bridges last.
    places.retain(|place| is_near(place.ip));
    places.sort_by_key(|place| (place.ip.is_ipv6(), is_of_containers(place.ip), place.transport));
    places.truncate(MAX_PLACES);
    Offer { public, places }
}

/// The block in which Docker makes its networks unless told otherwise.
fn is_of_containers(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 172)
}

fn place(address: &Multiaddr) -> Option<Place> {
    let ip = ip_of(address).filter(|_| path_kind(address) != PathKind::Relayed)?;
    let mut parts = address.iter().skip(1);
    let (transport, port) = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) => (Transport::Tcp, port),
        (Protocol::Udp(port), Some(Protocol::QuicV1)) => (Transport::Quic, port),
        _ => return None,
    };
    Some(Place { transport, ip, port })
}

fn multiaddr(place: &Place) -> Multiaddr {
    let address = Multiaddr::from(place.ip);
    match place.transport {
        Transport::Tcp => address.with(Protocol::Tcp(place.port)),
        Transport::Quic => address.with(Protocol::Udp(place.port)).with(Protocol::QuicV1),
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ConnectionId;

    use super::super::ConnectionInfo;
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn one_router_is_one_ipv4_address_or_one_ipv6_network() {
        let own = ips(&["198.51.100.7", "2001:db8:1:2::5"]);
        assert!(is_behind_the_same(&own, &ips(&["198.51.100.7"])));
        assert!(is_behind_the_same(&own, &ips(&["198.51.100.8", "2001:db8:1:2:aaaa::1"])));
        assert!(!is_behind_the_same(&own, &ips(&["198.51.100.8", "2001:db8:1:3::5"])));
        assert!(!is_behind_the_same(&ips(&["192.168.1.1"]), &ips(&["192.168.1.1"])), "everybody has that one");
        assert!(!is_behind_the_same(&[], &[]));
    }

    #[test]
    fn who_is_reached_in_no_better_way_is_asked() {
        let connection = |peer: PeerId, address: &str, outbound: bool| ConnectionInfo {
            peer,
            address: address.parse().expect("a multiaddr"),
            outbound,
            from_new_port: false,
            punched: false,
            rtt: None,
            since: std::time::Instant::now(),
        };
        let [relayed, near, asks_us, turned, distant] = [(); 5].map(|()| PeerId::random());
        let through = format!("/ip4/198.51.100.1/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        let all = [
            connection(relayed, &through, true),
            connection(near, &through, true),
            connection(near, "/ip4/192.168.1.9/tcp/1", false),
            connection(asks_us, &through, false),
            connection(turned, "/ip4/198.51.100.7/tcp/1", true),
            connection(distant, "/ip4/198.51.100.8/tcp/1", true),
        ];
        let numbered = (0..).map(ConnectionId::new_unchecked);
        let seen_as = ips(&["198.51.100.7"]);
        let snapshot = Snapshot { connections: numbered.zip(all).collect(), seen_as, ..Snapshot::default() };
        let mut asked = far(&snapshot);
        asked.sort();
        let mut expected = [relayed, turned];
        expected.sort();
        assert_eq!(asked, expected);
    }

    #[test]
    fn this_computer_and_the_world_are_not_dialled_for_a_friend() {
        for text in ["127.0.0.1", "224.0.0.251", "0.0.0.0", "9.9.9.9", "::1", "fe80::1", "ff02::fb", "::ffff:9.9.9.9"] {
            assert!(!is_near(text.parse().expect("an address")), "{text}");
        }
        for text in ["192.168.1.9", "10.0.0.1", "fd00::1", "2001:db8::1"] {
            assert!(is_near(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn a_node_offers_what_is_reached_in_its_network() {
        let listen = [
            "/ip4/127.0.0.1/tcp/4101",
            "/ip4/172.17.0.1/tcp/4101",
            "/ip4/192.168.1.5/udp/4101/quic-v1",
            "/ip4/192.168.1.5/tcp/4101",
            "/ip4/198.51.100.1/tcp/4001/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf/p2p-circuit",
        ];
        let listen = listen.map(|text| text.parse().expect("a multiaddr")).to_vec();
        let offer = own_offer(&Snapshot { listen, seen_as: ips(&["198.51.100.7"]), ..Snapshot::default() });
        assert_eq!(offer.public, ips(&["198.51.100.7"]));
        let told: Vec<String> = offer.places.iter().map(|place| multiaddr(place).to_string()).collect();
        assert_eq!(
            told,
            ["/ip4/192.168.1.5/tcp/4101", "/ip4/192.168.1.5/udp/4101/quic-v1", "/ip4/172.17.0.1/tcp/4101"]
        );
    }
}
