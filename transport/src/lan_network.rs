//! Which local networks this computer is in, so that what was met there can be found there again (overlay.md, section 5,
//! rung 3).
//!
//! A network is known by the hardware address of its gateway and its prefix; without a gateway by the prefix alone. The name
//! of a wireless network is not asked for: the kernel tells it over nl80211 only. IPv4, and Linux: elsewhere the prefix alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};

use if_addrs::{IfAddr, Interface};

/// Most networks of one computer that are looked at.
const MAX_NETWORKS: usize = 16;
/// Beginnings of the names of interfaces behind which no other computer is: bridges of containers and virtual machines,
/// tunnels.
const VIRTUAL: [&str; 17] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "vmnet",
    "vboxnet",
    "lxc",
    "lxd",
    "podman",
    "cni",
    "flannel",
    "tun",
    "tap",
    "wg",
    "tailscale",
    "zt",
    "ham",
];
/// A port that nobody has to answer at (discard).
const NO_PORT: u16 = 9;

/// By what a network is known again.
pub type NetworkId = [u8; 16];

/// A local network that this computer is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanNetwork {
    /// By what it is known again.
    pub id: NetworkId,
    /// The interface.
    pub interface: String,
    /// This computer's address there.
    pub ip: Ipv4Addr,
    /// Length of the prefix in bits, 1 to 30.
    pub prefix: u8,
    /// The gateway, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway has not told its hardware address yet: the id will be another one as soon as it has.
    pub is_pending: bool,
}

impl LanNetwork {
    /// Whether an address is in this network, and not this computer's own.
    pub fn has_neighbour(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        ip != self.ip && network_of(ip, self.prefix) == network_of(self.ip, self.prefix)
    }
}

/// The networks of this computer, without loopback and those in which no other computer is. Reads files of the system.
pub fn lan_networks() -> Vec<LanNetwork> {
    let interfaces = if_addrs::get_if_addrs().inspect_err(|error| tracing::debug!(%error, "no list of interfaces"));
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    networks(&interfaces.unwrap_or_default(), &read("/proc/net/route"), &read("/proc/net/arp"))
}

/// The interfaces left out there, but for loopback. Reads files of the system.
pub fn virtual_interfaces() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut names: Vec<String> = interfaces.into_iter().filter(is_virtual).map(|interface| interface.name).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(MAX_NETWORKS);
    names
}

fn is_virtual(interface: &Interface) -> bool {
    interface.is_p2p || VIRTUAL.iter().any(|name| interface.name.starts_with(name))
}

/// Makes the system ask a gateway for its hardware address. The answer comes within a few milliseconds, or not at all.
pub fn wake_gateway(gateway: Ipv4Addr) {
    let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.send_to(&[], SocketAddrV4::new(gateway, NO_PORT)));
    if let Err(error) = sent {
        tracing::debug!(%error, "the gateway is not reached");
    }
}

fn networks(interfaces: &[Interface], routes: &str, neighbours: &str) -> Vec<LanNetwork> {
    let mut found: Vec<LanNetwork> = Vec::new();
    for interface in interfaces {
        let IfAddr::V4(v4) = &interface.addr else { continue };
        // A network of one or two addresses has nobody to be found by chance.
        let is_small = !(1..=30).contains(&v4.prefixlen);
        if v4.ip.is_loopback() || is_virtual(interface) || is_small || found.len() == MAX_NETWORKS {
            continue;
        }
        let gateway = routes.lines().find_map(|line| gateway_of(line, &interface.name));
        let hardware = gateway.and_then(|gateway| {
            neighbours.lines().find_map(|line| hardware_address_of(line, gateway, &interface.name))
        });
        let id = id_of(hardware.as_deref().unwrap_or_default(), v4.ip, v4.prefixlen);
        if !found.iter().any(|known| known.id == id) {
            let is_pending = gateway.is_some() && hardware.is_none();
            let (interface, ip, prefix) = (interface.name.clone(), v4.ip, v4.prefixlen);
            found.push(LanNetwork { id, interface, ip, prefix, gateway, is_pending });
        }
    }
    found
}

fn network_of(ip: Ipv4Addr, prefix: u8) -> u32 {
    ip.to_bits() & u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

fn id_of(hardware: &str, ip: Ipv4Addr, prefix: u8) -> NetworkId {
    let mut hasher = blake3::Hasher::new_derive_key("p2pnode local network v1");
    hasher.update(&network_of(ip, prefix).to_be_bytes()).update(&[prefix]).update(hardware.as_bytes());
    let mut id = NetworkId::default();
    hasher.finalize_xof().fill(&mut id);
    id
}

/// The gateway of a line of `/proc/net/route` that is the default route of an interface.
fn gateway_of(line: &str, interface: &str) -> Option<Ipv4Addr> {
    let mut fields = line.split_whitespace();
    let (name, destination, gateway) = (fields.next()?, fields.next()?, fields.next()?);
    if name != interface || destination != "00000000" {
        return None;
    }
    // In the byte order of the computer, which is little-endian wherever this runs.
    let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.swap_bytes());
    (!gateway.is_unspecified()).then_some(gateway)
}

/// The hardware address of a line of `/proc/net/arp` that is about this neighbour and complete.
fn hardware_address_of(line: &str, of: Ipv4Addr, interface: &str) -> Option<String> {
    const COMPLETE: u32 = 2;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [ip, _, flags, hardware, _, device] = fields.as_slice() else { return None };
    let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
    let is_it = ip.parse() == Ok(of) && *device == interface && flags & COMPLETE != 0;
    is_it.then(|| hardware.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfOperStatus, Ifv4Addr};

    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0132A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0032A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const NEIGHBOURS: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
        192.168.50.1     0x1         0x2         AA:bb:cc:dd:ee:01     *        eth0\n\
        192.168.50.9     0x1         0x0         00:00:00:00:00:00     *        eth0\n";

    fn interface(name: &str, ip: [u8; 4], prefix: u8) -> Interface {
        let ip = Ipv4Addr::from(ip);
        let v4 = Ifv4Addr { ip, netmask: Ipv4Addr::UNSPECIFIED, prefixlen: prefix, broadcast: None };
        Interface { name: name.into(), addr: IfAddr::V4(v4), index: None, oper_status: IfOperStatus::Up, is_p2p: false }
    }

    #[test]
    fn a_network_is_known_by_its_gateway_and_its_prefix() {
        let at = |last: u8| [interface("lo", [127, 0, 0, 1], 8), interface("eth0", [192, 168, 50, last], 24)];
        let [one] = networks(&at(2), ROUTES, NEIGHBOURS).try_into().expect("one network");
        let [other] = networks(&at(3), ROUTES, NEIGHBOURS).try_into().expect("one network");
        assert_eq!(one.id, other.id, "the same for all who are in it");
        assert_eq!((one.gateway, one.is_pending), (Some([192, 168, 50, 1].into()), false));
        let elsewhere = NEIGHBOURS.replace("AA:bb", "aa:00");
        assert_ne!(networks(&at(2), ROUTES, &elsewhere)[0].id, one.id, "another router");
        let early = &networks(&at(2), ROUTES, "")[0];
        assert!(early.is_pending && early.id != one.id);
        assert!(!networks(&at(2), "", NEIGHBOURS)[0].is_pending, "there is no gateway");
        assert!(one.has_neighbour([192, 168, 50, 9].into()) && !one.has_neighbour([192, 168, 51, 9].into()));
        assert!(!one.has_neighbour([192, 168, 50, 2].into()), "that is this computer");
    }

    #[test]
    fn bridges_of_containers_are_no_networks() {
        let all = [interface("docker0", [172, 17, 0, 1], 16), interface("br-0a1b2c", [172, 18, 0, 1], 16)];
        assert!(networks(&all, ROUTES, NEIGHBOURS).is_empty());
        assert!(networks(&[interface("eth0", [10, 0, 0, 1], 32)], "", "").is_empty());
    }

    #[test]
    fn damaged_lines_of_the_system_are_passed_over() {
        for text in ["", "eth0", "eth0 00000000 xyz", "eth0 00000000 0132A8C0FF", "eth0\t00000000\t00000000", "\u{0}"] {
            assert_eq!(
                networks(&[interface("eth0", [10, 0, 0, 1], 24)], text, NEIGHBOURS)[0].gateway,
                None,
                "{text:?}"
            );
        }
        for text in
            ["", "192.168.50.1", "192.168.50.1 0x1 2 aa * eth0", "192.168.50.1 0x1 0xzz aa * eth0", "a b c d e f"]
        {
            assert!(networks(&[interface("eth0", [192, 168, 50, 2], 24)], ROUTES, text)[0].is_pending, "{text:?}");
        }
    }
}
