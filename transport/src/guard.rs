//! Under every dial: no packet goes to a local address that only a stranger named (overlay.md, section 7, "dialling").
//!
//! A peer may claim any address for itself or for others, and Kademlia passes on what it hears; without this a node would
//! knock at doors in its owner's network for anybody. Global addresses pass; local ones where they lie in the subnet of
//! an interface of this computer (loopback is one), or were given by its user a short while ago. Names can lead anywhere,
//! so only those that the user gave are asked for; what they lead to is held to the same rule.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::address::{TransportKind, ip_of, scope};
use crate::dialled::Dialled;
use crate::pace::DialPace;
use crate::{AddressScope, LimitsConfig, TrustedPeers};

/// How long an address that the user gave may be dialled.
const GIVEN_FOR: Duration = Duration::from_secs(600);
/// Most such addresses; the one given first leaves for a new one.
const MAX_GIVEN: usize = 1_024;
/// How long a list of interfaces is used. An interface that has just come up is known soon enough.
const INTERFACES_FOR: Duration = Duration::from_secs(2);

/// How long a peer that the user asked for is dialled without waiting.
const WANTED_FOR: Duration = Duration::from_secs(30);
/// Most such peers; the one asked for first leaves for a new one.
const MAX_WANTED: usize = 64;

/// What may be dialled, and when. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct DialGuard(Arc<Inner>);

struct Inner {
    given: Mutex<HashMap<Host, Instant>>,
    wanted: Mutex<HashMap<PeerId, Instant>>,
    needed: Mutex<HashMap<PeerId, Instant>>,
    trusted: TrustedPeers,
    subnets: Mutex<Option<(Instant, Vec<Subnet>)>>,
    pace: Mutex<DialPace>,
    dialled: Dialled,
    refused: AtomicU64,
    too_many: AtomicU64,
}

impl Default for DialGuard {
    fn default() -> Self {
        Self::new(&LimitsConfig::default(), TrustedPeers::default())
    }
}

/// What an address begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

impl Host {
    fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name) => {
                Some(Self::Name(name.to_ascii_lowercase()))
            }
            _ => ip_of(address).map(|ip| Self::Ip(ip.to_canonical())),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    fn contains(self, other: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            let shift = bits.saturating_sub(u32::from(self.prefix));
            // A prefix of nothing would make the whole world local.
            self.prefix > 0 && own.checked_shr(shift) == other.checked_shr(shift)
        };
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl DialGuard {
    /// Nothing was given yet.
    pub fn new(limits: &LimitsConfig, trusted: TrustedPeers) -> Self {
        Self(Arc::new(Inner {
            given: Mutex::default(),
            wanted: Mutex::default(),
            needed: Mutex::default(),
            trusted,
            subnets: Mutex::default(),
            pace: Mutex::new(DialPace::new(limits.new_hosts_per_second)),
            dialled: Dialled::default(),
            refused: AtomicU64::default(),
            too_many: AtomicU64::default(),
        }))
    }

    /// The user asked for this peer: for half a minute its addresses are dialled without waiting for a turn. Which of them
    /// may be dialled at all stays as it is.
    pub fn want(&self, peer: PeerId) {
        note(&self.0.wanted, peer);
    }

    /// A drive or an app opens a stream to this peer: it may be dialled also where memory is short. Its turn it waits for,
    /// as it may be a stranger that the DHT named.
    pub fn need(&self, peer: PeerId) {
        note(&self.0.needed, peer);
    }

    /// Whether the user asked for this peer lately.
    fn is_wanted(&self, peer: &PeerId, now: Instant) -> bool {
        lock(&self.0.wanted).get(peer).is_some_and(|at| now.duration_since(*at) < WANTED_FOR)
    }

    /// Whether the user, a drive or an app asked for this peer lately.
    pub(crate) fn is_needed(&self, peer: &PeerId, now: Instant) -> bool {
        self.is_wanted(peer, now)
            || lock(&self.0.needed).get(peer).is_some_and(|at| now.duration_since(*at) < WANTED_FOR)
    }

    /// The user gave this address (a flag, the configuration, `p2p dial`, a link), or it came from the local link itself:
    /// it may be dialled for ten minutes.
    pub fn give(&self, address: &Multiaddr) {
        let Some(host) = Host::of(address) else { return };
        let mut given = lock(&self.0.given);
        if given.len() >= MAX_GIVEN
            && !given.contains_key(&host)
            && let Some(first) = given.iter().min_by_key(|(_, at)| **at).map(|(host, _)| host.clone())
        {
            given.remove(&first);
        }
        given.insert(host, Instant::now());
    }

    /// Changes how many new hosts are dialled a second; 0 is no limit.
    pub(crate) fn set_new_hosts_per_second(&self, number: u32) {
        lock(&self.0.pace).set_per_second(number);
    }

    #[cfg(test)]
    pub(crate) fn new_hosts_per_second(&self) -> usize {
        lock(&self.0.pace).per_second()
    }

    /// Whether this node has dialled anything on that host since [`Self::forget_dialled`]; once there are too many to remember,
    /// yes.
    pub fn has_dialled(&self, transport: TransportKind, host: IpAddr) -> bool {
        self.0.dialled.contains(transport, host)
    }

    /// This computer is in another network, whose router has let nothing out yet.
    pub fn forget_dialled(&self) {
        self.0.dialled.forget();
    }

    /// Dials to local addresses refused so far.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Dials refused so far because too many new hosts were dialled.
    pub fn too_many(&self) -> u64 {
        self.0.too_many.load(Ordering::Relaxed)
    }

    /// What may grow here: its name, how much it holds, the most that it will hold.
    pub fn rooms(&self) -> [(&'static str, usize, usize); 5] {
        [
            ("addresses that a person or a link named", lock(&self.0.given).len(), MAX_GIVEN),
            ("peers that the user asked for", lock(&self.0.wanted).len(), MAX_WANTED),
            ("peers that a drive or an app asked for", lock(&self.0.needed).len(), MAX_WANTED),
            lock(&self.0.pace).room(),
            ("hosts that were dialled in this network", self.0.dialled.len(), Dialled::MOST),
        ]
    }

    pub(crate) fn count_too_many(&self) {
        self.0.too_many.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pace(&self) -> &Mutex<DialPace> {
        &self.0.pace
    }

    /// The host of an address if it has to wait for a turn: a global address, not given or asked for by the user. Names
    /// are dialled only where the user gave them.
    pub(crate) fn host_with_a_turn(&self, address: &Multiaddr, now: Instant) -> Option<IpAddr> {
        let Some(Host::Ip(ip)) = Host::of(address) else { return None };
        let is_given = || lock(&self.0.given).get(&Host::Ip(ip)).is_some_and(|at| now.duration_since(*at) < GIVEN_FOR);
        let is_wanted = |peer: &PeerId| self.0.trusted.contains(peer) || self.is_wanted(peer, now);
        let is_free = scope(address) != AddressScope::Global
            || matches!(address.iter().last(), Some(Protocol::P2p(peer)) if is_wanted(&peer))
            || is_given();
        (!is_free).then_some(ip)
    }

    fn allows(&self, address: &Multiaddr, now: Instant) -> bool {
        // Else in memory: no network at all.
        let Some(host) = Host::of(address) else { return true };
        let is_given = || lock(&self.0.given).get(&host).is_some_and(|at| now.duration_since(*at) < GIVEN_FOR);
        let ip = match &host {
            Host::Name(_) => return is_given(),
            Host::Ip(_) if scope(address) == AddressScope::Global => return true,
            Host::Ip(ip) => *ip,
        };
        if ip.is_multicast() || ip.is_unspecified() {
            return false;
        }
        is_given() || ip.is_loopback() || self.subnets(now).iter().any(|subnet| subnet.contains(ip))
    }

    fn subnets(&self, now: Instant) -> Vec<Subnet> {
        let mut known = lock(&self.0.subnets);
        match &*known {
            Some((at, subnets)) if now.duration_since(*at) < INTERFACES_FOR => subnets.clone(),
            _ => {
                let subnets = own_subnets();
                *known = Some((now, subnets.clone()));
                subnets
            }
        }
    }

    /// A transport whose dials are guarded.
    pub(crate) fn around<T>(&self, transport: T) -> Guarded<T> {
        Guarded { transport, guard: self.clone() }
    }
}

fn own_subnets() -> Vec<Subnet> {
    let interfaces = if_addrs::get_if_addrs().inspect_err(|error| tracing::debug!(%error, "no list of interfaces"));
    let subnet = |interface: if_addrs::Interface| match interface.addr {
        if_addrs::IfAddr::V4(v4) => Subnet { ip: v4.ip.into(), prefix: v4.prefixlen },
        if_addrs::IfAddr::V6(v6) => Subnet { ip: v6.ip.into(), prefix: v6.prefixlen },
    };
    interfaces.unwrap_or_default().into_iter().map(subnet).collect()
}

/// Remembers a peer; the one noted first leaves for a new one.
fn note(peers: &Mutex<HashMap<PeerId, Instant>>, peer: PeerId) {
    let mut peers = lock(peers);
    if peers.len() >= MAX_WANTED
        && !peers.contains_key(&peer)
        && let Some(first) = peers.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer)
    {
        peers.remove(&first);
    }
    peers.insert(peer, Instant::now());
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See [`DialGuard::around`].
pub(crate) struct Guarded<T> {
    transport: T,
    guard: DialGuard,
}

impl<T: Transport + Unpin> Transport for Guarded<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        // A dial from a new port is one that AutoNAT makes for a peer: it is to test what the world reaches.
        let is_for_a_peer = options.port_use == PortUse::New;
        let is_allowed = !is_for_a_peer || scope(&address) == AddressScope::Global;
        if is_allowed && self.guard.allows(&address, Instant::now()) {
            self.guard.0.dialled.add(&address);
            return self.transport.dial(address, options);
        }
        tracing::debug!(%address, "not dialled: a local address that only a stranger named");
        self.guard.0.refused.fetch_add(1, Ordering::Relaxed);
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.transport).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::dummy::DummyTransport;

    use super::*;
    use crate::pace::{Paced, PacedError};

    #[tokio::test]
    async fn strangers_addresses_wait_for_their_turn_and_the_users_do_not() {
        let (friend, wanted, stranger) = (PeerId::random(), PeerId::random(), PeerId::random());
        let guard = DialGuard::new(&LimitsConfig::default(), TrustedPeers::new([friend]));
        let mut transport = Paced::new(DummyTransport::<()>::new(), guard.clone());
        let mut refused = |text: String| {
            let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
            matches!(transport.dial(address(&text), options), Err(TransportError::Other(PacedError::TooMany)))
        };
        let count = (0..100).filter(|n| refused(format!("/ip4/9.9.9.{n}/tcp/1/p2p/{stranger}"))).count();
        assert_eq!((count, guard.too_many()), (76, 76), "eight at once and sixteen waiting");
        guard.give(&address("/ip4/9.9.8.1/tcp/1"));
        guard.want(wanted);
        assert!(refused("/ip4/9.9.8.2/tcp/1".into()));
        assert!(!refused("/ip4/9.9.8.1/tcp/1".into()), "given by the user");
        assert!(!refused(format!("/ip4/9.9.8.3/tcp/1/p2p/{wanted}")), "asked for by the user");
        assert!(!refused(format!("/ip4/9.9.8.4/tcp/1/p2p/{friend}")), "trusted by the user");
        assert!(!refused("/ip4/192.168.1.1/tcp/1".into()) && !refused("/ip4/127.0.0.1/tcp/1".into()), "local");
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    fn guard() -> DialGuard {
        let guard = DialGuard::default();
        let own = [("192.168.7.20", 24), ("fd00::5", 64), ("127.0.0.1", 8), ("10.0.0.1", 0)];
        let subnets = own.map(|(ip, prefix)| Subnet { ip: ip.parse().expect("an address"), prefix });
        // Far in the future, so that the test's own interfaces are never asked for.
        *lock(&guard.0.subnets) = Some((Instant::now() + Duration::from_secs(3_600), subnets.to_vec()));
        guard
    }

    #[test]
    fn local_addresses_of_strangers_are_refused_and_counted_and_nothing_is_dialled() {
        let guard = guard();
        let mut transport = guard.around(DummyTransport::<()>::new());
        for (text, passes) in [
            ("/ip4/9.9.9.9/tcp/1", true),
            ("/ip4/127.0.0.1/tcp/1", true),
            ("/ip4/192.168.7.99/tcp/1", true),
            ("/ip4/192.168.8.1/tcp/1", false),
            ("/ip4/10.0.0.1/tcp/22", false),
            ("/ip4/172.16.0.1/udp/1/quic-v1", false),
            ("/ip4/100.64.0.1/tcp/1", false),
            ("/ip4/169.254.169.254/tcp/80", false),
            ("/ip4/224.0.0.251/udp/1/quic-v1", false),
            ("/ip4/0.0.0.0/tcp/1", false),
            ("/ip6/::ffff:10.1.2.3/tcp/1", false),
            ("/ip6/fd00::9/tcp/1", true),
            ("/ip6/fd01::9/tcp/1", false),
            ("/ip6/fe80::1/tcp/1", false),
            ("/ip6/2606:4700::1111/tcp/1", true),
            ("/dns4/localhost/tcp/22", false),
            ("/dnsaddr/example.org", false),
            ("/memory/7", true),
        ] {
            assert_eq!(guard.allows(&address(text), Instant::now()), passes, "{text}");
        }
        let before = guard.refused();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let refused = transport.dial(address("/ip4/10.9.9.9/tcp/22"), options);
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(_))));
        assert_eq!(guard.refused(), before + 1);
        // What is given or near is not for peers to have dialled.
        for (text, passes) in [("/ip4/127.0.0.1/tcp/1", false), ("/ip4/9.9.9.9/tcp/1", true)] {
            let before = guard.refused();
            let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let _ = transport.dial(address(text), options);
            assert_eq!(guard.refused() == before, passes, "{text}");
        }
    }

    #[test]
    fn what_the_user_gave_may_be_dialled_for_a_while() {
        let guard = guard();
        let far = address("/ip4/10.9.9.9/tcp/4001");
        guard.give(&far);
        let now = Instant::now();
        assert!(guard.allows(&far, now));
        assert!(guard.allows(&address("/ip4/10.9.9.9/udp/4001/quic-v1"), now), "the same computer");
        assert!(!guard.allows(&address("/ip4/10.9.9.8/tcp/4001"), now), "not its neighbour");
        assert!(!guard.allows(&far, now + GIVEN_FOR));
        guard.give(&address("/dns4/Nas.example/tcp/4001"));
        let now = Instant::now();
        assert!(guard.allows(&address("/dns4/nas.example/udp/4001/quic-v1"), now));
        assert!(!guard.allows(&address("/dns4/other.example/tcp/4001"), now));
        for n in 0..2 * MAX_GIVEN as u32 {
            guard.give(&address(&format!("/ip4/10.{}.{}.1/tcp/1", n / 256, n % 256)));
        }
        assert!(lock(&guard.0.given).len() <= MAX_GIVEN);
    }
}
