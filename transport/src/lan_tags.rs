//! Contacts find each other on a local network without telling strangers who is there (specs/overlay.md, section 5).
//!
//! Beside the open discovery, and in its place where that is off. Sent and heard at the group of mDNS over IPv4.

mod wire;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use p2p_identity::LanTag;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

pub use wire::{LanPorts, MAX_LAN_TAGS};

/// The group and port of mDNS (RFC 6762, section 3).
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// No router passes it on, whatever it says; this is what mDNS demands.
const HOPS: u32 = 255;
/// Most addresses of this computer at which is announced and listened.
const MAX_INTERFACES: usize = 16;
/// Packets looked at in a second; more are dropped.
const MAX_PACKETS_PER_SECOND: u32 = 64;
/// A contact that was just recognised at an address is not told of again for so long: a packet can be repeated by anybody.
const QUIET: Duration = Duration::from_secs(5);
/// Contacts remembered for that.
const MAX_QUIET: usize = 256;

/// Hears and sends announcements.
#[derive(Debug)]
pub struct LanTags {
    socket: UdpSocket,
    joined: BTreeSet<Ipv4Addr>,
    recent: HashMap<(PeerId, Ipv4Addr), Instant>,
    second: Instant,
    packets: u32,
}

/// The tags by which contacts are recognised, each with whose it is.
pub type KnownTags = HashMap<[u8; 8], (PeerId, LanTag)>;

impl LanTags {
    /// Takes the socket. Must be called inside a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Other programs, and other nodes, listen there too.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // At the group's address: what is sent to this computer alone is for its own responder.
        socket.bind(&SocketAddr::V4(GROUP).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let now = Instant::now();
        Ok(Self { socket, joined: BTreeSet::new(), recent: HashMap::new(), second: now, packets: 0 })
    }

    /// Listens at addresses that have come, forgets those that have gone; whether one has come.
    pub fn join(&mut self, addresses: &BTreeSet<Ipv4Addr>) -> bool {
        self.joined.retain(|address| addresses.contains(address));
        let mut has_new = false;
        for address in addresses {
            if self.joined.contains(address) {
                continue;
            }
            match self.socket.join_multicast_v4(*GROUP.ip(), *address) {
                Ok(()) => has_new |= self.joined.insert(*address),
                // Two addresses of one interface: the group is joined once.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => has_new |= self.joined.insert(*address),
                Err(error) => tracing::debug!(%address, %error, "does not hear what is announced here"),
            }
        }
        has_new
    }

    /// Announces `tags` at every address that is joined. Never waits.
    pub fn announce(&self, tags: &[LanTag], ports: LanPorts) {
        for address in &self.joined {
            let random = |bytes: &mut [u8]| {
                // Without random numbers the entry is one of nobody all the same.
                let _ = getrandom::fill(bytes);
            };
            let packet = wire::encode(tags, ports, random);
            if let Err(error) = send_from(*address, &packet) {
                tracing::debug!(%address, %error, "not announced here");
            }
        }
    }

    /// The next contact that announces itself, with the addresses at which it may be dialled. Cancel safe.
    pub async fn heard(&mut self, known: &KnownTags) -> (PeerId, Vec<Multiaddr>) {
        let mut buffer = [0; wire::MAX_BYTES + 1];
        loop {
            let (length, from) = match self.socket.recv_from(&mut buffer).await {
                Ok((length, SocketAddr::V4(from))) => (length, *from.ip()),
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, "an announcement was lost");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let now = Instant::now();
            if !self.admit(now) {
                continue;
            }
            let Some(entries) = buffer.get(..length).and_then(wire::decode) else { continue };
            let recognised = entries.iter().find_map(|entry| {
                let (peer, tag) = known.get(&entry.tag)?;
                Some((*peer, entry.ports(tag)))
            });
            let Some((peer, ports)) = recognised else { continue };
            if self.is_new((peer, from), now) {
                return (peer, addresses(from, ports));
            }
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.packets) = (now, 0);
        }
        self.packets = self.packets.saturating_add(1);
        self.packets <= MAX_PACKETS_PER_SECOND
    }

    fn is_new(&mut self, sign: (PeerId, Ipv4Addr), now: Instant) -> bool {
        self.recent.retain(|_, at| now.duration_since(*at) < QUIET);
        if self.recent.contains_key(&sign) || self.recent.len() >= MAX_QUIET {
            return false;
        }
        self.recent.insert(sign, now);
        true
    }
}

/// Addresses of this computer in networks where others may be: no loopback, and not of links between two.
pub fn lan_addresses() -> BTreeSet<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own = interfaces.into_iter().filter_map(|interface| match (interface.is_loopback(), interface.ip()) {
        (false, IpAddr::V4(ip)) => Some(ip),
        _ => None,
    });
    own.take(MAX_INTERFACES).collect()
}

/// From the address itself: the system sends it out where that address is.
fn send_from(address: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    socket.set_multicast_if_v4(&address)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.send_to(packet, &SocketAddr::V4(GROUP).into()).map(drop)
}

fn addresses(ip: Ipv4Addr, ports: LanPorts) -> Vec<Multiaddr> {
    let quic = ports.quic.map(|port| format!("/ip4/{ip}/udp/{port}/quic-v1"));
    let tcp = ports.tcp.map(|port| format!("/ip4/{ip}/tcp/{port}"));
    quic.into_iter().chain(tcp).filter_map(|text| text.parse().ok()).collect()
}
