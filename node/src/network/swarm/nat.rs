//! How the router treats our ports (RFC 4787, sections 4.1 and 5; overlay.md, 8): measured by where peers of the world see
//! this node, and by who gets in unasked.
//!
//! One observer tells little, so further ones are dialled, over the transport that is missing, from the port that is listened
//! on: until three hosts have been asked by each. What they tell is believed only where two of them agree or differ; which
//! router there is changes nothing but whom a hole is tried with, so a liar gains nothing by it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use p2p_api::{NatFiltering, NatInfo, NatMapping, NatTransport};
use p2p_transport::{AddressScope, PathKind, TransportKind, ip_of, path_kind, scope, transport_kind};

use super::super::handle::Measuring;
use super::Actor;

/// Hosts that are asked where they see this node, by each transport.
const WANTED: usize = 3;
/// Connections that are tried for it in one network, by each transport.
const MAX_PROBES: usize = 8;
/// So many peers that are reached by one transport, and did not answer by the other, mean that it does not get out: a single one
/// may just not take it.
const UNANSWERED: u32 = 2;
/// Addresses that holes are tried with in one network, by each transport: a peer that tells another one each time is heard no
/// more.
const MAX_CANDIDATES: u32 = 4;
/// Connections whose observations are kept, by each transport.
const MAX_SEEN: usize = 64;
/// After that a dial that has not ended counts as failed. Longer than a dial may take.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// The transports that routers treat differently.
const TRANSPORTS: [TransportKind; 2] = [TransportKind::Quic, TransportKind::Tcp];

/// Where a peer of the world saw this node, on a connection that is open.
#[derive(Clone, Copy, Debug)]
struct Seen {
    by: IpAddr,
    at: SocketAddr,
}

/// What is known by one transport.
#[derive(Debug, Default)]
struct ByTransport {
    seen: HashMap<ConnectionId, Seen>,
    /// As found when two connections could last be compared, and the address that most of them told.
    mapping: Option<NatMapping>,
    agreed: Option<SocketAddr>,
    /// Somebody came in from a host that nothing was ever sent to.
    is_open: bool,
    /// Somebody who is spoken to came in from another port.
    takes_other_ports: bool,
    /// Somebody who is spoken to could not.
    keeps_ports_out: bool,
    /// The address that holes are tried with.
    candidate: Option<SocketAddr>,
    /// How many there were.
    candidates: u32,
    probing: Option<(ConnectionId, Instant)>,
    probed: Vec<PeerId>,
    /// Peers that are reached by the other transport did not answer by this one.
    unanswered: u32,
}

impl ByTransport {
    fn hosts(&self) -> usize {
        self.seen.values().map(|seen| seen.by).collect::<HashSet<IpAddr>>().len()
    }

    /// What the open connections tell; `own` are the addresses listened on.
    fn compare(&mut self, own: &[SocketAddr]) {
        if self.seen.values().any(|seen| own.contains(&seen.at)) {
            self.mapping = Some(NatMapping::None);
            return;
        }
        let hosts = self.hosts();
        if hosts < 2 {
            return;
        }
        // Hosts, not connections: the second TCP connection to one goes out from another port.
        let agreeing = |at: SocketAddr| {
            let by: HashSet<IpAddr> = self.seen.values().filter(|seen| seen.at == at).map(|seen| seen.by).collect();
            by.len()
        };
        let counted = self.seen.values().map(|seen| (agreeing(seen.at), seen.at)).max_by_key(|(count, _)| *count);
        let Some((most, at)) = counted else { return };
        // Two ways out of this computer, each with a router that keeps the port, tell nothing about either.
        if self.seen.values().all(|seen| seen.at.port() == at.port()) && most < hosts {
            (self.mapping, self.agreed) = (None, None);
            return;
        }
        // A single liar among three is outvoted.
        self.agreed = (most * 2 > hosts).then_some(at);
        self.mapping = Some(match most * 2 > hosts {
            true => NatMapping::EndpointIndependent,
            false => NatMapping::EndpointDependent,
        });
    }

    fn told(&self, is_other_seen: bool) -> NatTransport {
        let filtering = if self.is_open {
            Some(NatFiltering::EndpointIndependent)
        } else if self.takes_other_ports {
            Some(NatFiltering::AddressDependent)
        } else {
            self.keeps_ports_out.then_some(NatFiltering::AddressAndPortDependent)
        };
        let is_used = self.mapping.is_some() || !self.seen.is_empty() || self.is_open || self.takes_other_ports;
        let blocked = self.unanswered >= UNANSWERED && !is_used && is_other_seen;
        let filtering = filtering.filter(|_| !blocked);
        NatTransport { mapping: self.mapping, filtering, blocked, seen_by: self.hosts() as u32 }
    }
}

/// What was measured in this network.
#[derive(Debug, Default)]
pub(super) struct Measured {
    udp: ByTransport,
    tcp: ByTransport,
    observed: Option<Instant>,
}

impl Measured {
    /// In another network there is another router.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn side(&mut self, transport: TransportKind) -> Option<&mut ByTransport> {
        match transport {
            TransportKind::Quic => Some(&mut self.udp),
            TransportKind::Tcp => Some(&mut self.tcp),
            TransportKind::Memory => None,
        }
    }

    /// For whom waits for more.
    pub(super) fn measuring(&self, is_known: bool) -> Measuring {
        let is_probing = self.udp.probing.is_some() || self.tcp.probing.is_some();
        Measuring { is_known, is_probing, observed: self.observed }
    }

    /// As it is told, where this node listens by those transports.
    fn told(&self, listens: impl Fn(TransportKind) -> bool) -> NatInfo {
        // By what it does not take nobody can come, as if it were blocked.
        let told = |transport, side: &ByTransport, other: &ByTransport| match listens(transport) {
            true => side.told(!other.seen.is_empty()),
            false => NatTransport { blocked: true, ..NatTransport::default() },
        };
        let (udp, tcp) = (&self.udp, &self.tcp);
        NatInfo { udp: told(TransportKind::Quic, udp, tcp), tcp: told(TransportKind::Tcp, tcp, udp) }
    }

    pub(super) fn on_closed(&mut self, id: ConnectionId) {
        for side in [&mut self.udp, &mut self.tcp] {
            side.seen.remove(&id);
        }
    }

    /// A dial is over: whether it was one of those that ask.
    fn on_probed(&mut self, id: ConnectionId, is_answered: bool) -> bool {
        for side in [&mut self.udp, &mut self.tcp] {
            if side.probing.is_some_and(|(probing, _)| probing == id) {
                side.probing = None;
                side.unanswered += u32::from(!is_answered);
                return true;
            }
        }
        false
    }
}

impl Actor {
    /// A peer of the world that this node has dialled, from the port that it listens on, tells at which address it sees it.
    pub(super) fn on_observed(&mut self, id: ConnectionId, remote: &Multiaddr, observed: &Multiaddr) {
        let (Some(by), Some(at)) = (place(remote), place(observed)) else { return };
        let transport = transport_kind(observed);
        if !by.is_ipv4()
            || !at.is_ipv4()
            || transport != transport_kind(remote)
            || scope(observed) != AddressScope::Global
        {
            return;
        }
        tracing::debug!(%remote, %observed, "a peer sees this node");
        let own = self.own_places(transport);
        self.measured.observed = Some(Instant::now());
        let Some(side) = self.measured.side(transport) else { return };
        if side.seen.len() < MAX_SEEN || side.seen.contains_key(&id) {
            side.seen.insert(id, Seen { by: by.ip(), at });
        }
        side.compare(&own);
        // The library takes a port that is not listened on for one that means nothing, and puts the own one in its place.
        // Behind a router that takes another port, and keeps it, the port that was seen is the one to dial. QUIC always goes out
        // from the port that is listened on, so that one host is enough; TCP may not.
        let is_kept = match side.mapping {
            Some(_) => side.agreed == Some(at),
            None => transport == TransportKind::Quic && side.hosts() == 1,
        };
        let is_new = is_kept && side.candidate != Some(at) && side.candidates < MAX_CANDIDATES;
        if is_new {
            (side.candidate, side.candidates) = (Some(at), side.candidates + 1);
        }
        if is_new && own.iter().all(|own| own.port() != at.port()) {
            self.swarm.behaviour_mut().transport.on_own_candidate(observed);
        }
        if is_new {
            self.on_new_candidate();
        }
    }

    /// Somebody connected to this node. Behind a router that says whom it lets in.
    pub(super) fn on_came_in(&mut self, remote: &Multiaddr) {
        let Some(ip) = ip_of(remote).filter(IpAddr::is_ipv4) else { return };
        let transport = transport_kind(remote);
        // Who stands behind the same router comes from its address, if it hands such packets back.
        let is_neighbour = self.with_snapshot(|snapshot| snapshot.seen_as.contains(&ip));
        let is_unasked = !is_neighbour && self.is_from_outside(remote) && !self.guard.has_dialled(transport, ip);
        if let Some(side) = self.measured.side(transport).filter(|_| is_unasked) {
            side.is_open = true;
        }
    }

    /// A peer that is spoken to has tried an address of ours from another port.
    pub(super) fn on_tried(&mut self, address: &Multiaddr, is_reached: bool) {
        let is_v4 = matches!(address.iter().next(), Some(Protocol::Ip4(_)));
        if !is_v4 || scope(address) != AddressScope::Global || path_kind(address) == PathKind::Relayed {
            return;
        }
        if let Some(side) = self.measured.side(transport_kind(address)) {
            side.takes_other_ports |= is_reached;
            side.keeps_ports_out |= !is_reached;
        }
    }

    /// A dial did not come through; whether it was made here.
    pub(super) fn on_probe_failed(&mut self, id: ConnectionId) {
        if self.measured.on_probed(id, false) {
            self.probe_router();
            self.refresh();
        }
    }

    /// A connection is there, by which its peer will tell where it sees us.
    pub(super) fn on_probe_answered(&mut self, id: ConnectionId) {
        self.measured.on_probed(id, true);
    }

    /// Dials peers of the world over the transport by which too few have told where they see this node.
    pub(super) fn probe_router(&mut self) {
        for transport in TRANSPORTS {
            // From another port than the one listened on there is nothing to learn.
            if !self.own_places(transport).is_empty() {
                self.probe_by(transport);
            }
        }
    }

    fn probe_by(&mut self, transport: TransportKind) {
        let Some(side) = self.measured.side(transport) else { return };
        if side.probing.is_some_and(|(_, since)| since.elapsed() > PROBE_TIME) {
            side.probing = None;
        }
        let is_enough = side.mapping == Some(NatMapping::None) || side.hosts() >= WANTED;
        if side.probing.is_some() || is_enough || side.probed.len() >= MAX_PROBES {
            return;
        }
        let (probed, hosts) = (side.probed.clone(), side.seen.values().map(|seen| seen.by).collect::<Vec<_>>());
        // Who was reached at an address of the world, and can be at one of this transport: on the same host.
        let connected = self.chosen();
        // Who is connected by this transport is about to tell by itself.
        let is_connected = |peer: PeerId| {
            connected.iter().any(|(other, remote)| *other == peer && transport_kind(remote) == transport)
        };
        let found = connected.iter().find_map(|(peer, remote)| {
            let peer = *peer;
            let ip = ip_of(remote).filter(IpAddr::is_ipv4)?;
            if !self.is_from_outside(remote) || is_connected(peer) || probed.contains(&peer) || hosts.contains(&ip) {
                return None;
            }
            let known = self.swarm.behaviour().transport.streams.book().of(&peer);
            let is_there = |address: &&Multiaddr| {
                transport_kind(address) == transport
                    && path_kind(address) == PathKind::Direct
                    && place(address).is_some_and(|place| place.ip() == ip)
            };
            known.iter().find(is_there).map(|address| (peer, address.clone()))
        });
        let Some((peer, address)) = found else { return };
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).build();
        let id = opts.connection_id();
        let dialled = self.swarm.dial(opts);
        tracing::debug!(%peer, transport = transport.as_str(), ?dialled, "asked where it sees this node");
        let is_dialled = dialled.is_ok();
        if let Some(side) = self.measured.side(transport) {
            side.probed.push(peer);
            side.probing = is_dialled.then(|| (id, Instant::now()));
        }
    }

    /// How the router treats this node, as far as it was measured.
    pub(super) fn nat(&self) -> NatInfo {
        self.measured.told(|transport| {
            let mut own = self.swarm.listeners().filter(|own| path_kind(own) != PathKind::Relayed);
            own.any(|own| transport_kind(own) == transport)
        })
    }

    /// Where this node listens by that transport, over IPv4.
    fn own_places(&self, transport: TransportKind) -> Vec<SocketAddr> {
        let listening = self.swarm.listeners().filter(|own| transport_kind(own) == transport);
        listening
            .filter(|own| path_kind(own) != PathKind::Relayed)
            .filter_map(place)
            .filter(SocketAddr::is_ipv4)
            .collect()
    }
}

/// Host and port of an address.
fn place(address: &Multiaddr) -> Option<SocketAddr> {
    match address.iter().nth(1)? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(SocketAddr::new(ip_of(address)?, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "192.168.1.2:4101";

    fn side(seen: &[(&str, &str)]) -> ByTransport {
        let mut side = ByTransport::default();
        for (number, (by, at)) in seen.iter().enumerate() {
            let seen = Seen { by: by.parse().unwrap(), at: at.parse().unwrap() };
            side.seen.insert(ConnectionId::new_unchecked(number), seen);
            side.compare(&[OWN.parse().unwrap()]);
        }
        side
    }

    #[test]
    fn two_hosts_tell_the_mapping_and_one_does_not() {
        use NatMapping::{EndpointDependent, EndpointIndependent};
        let one = ("9.9.9.1", "8.8.8.8:4101");
        assert_eq!(side(&[one, ("9.9.9.1", "8.8.8.8:5000")]).mapping, None, "one host, twice");
        assert_eq!(side(&[one, ("9.9.9.2", "8.8.8.8:4101")]).mapping, Some(EndpointIndependent));
        assert_eq!(side(&[one, ("9.9.9.2", "8.8.8.8:4102")]).mapping, Some(EndpointDependent));
        assert_eq!(side(&[one, ("9.9.9.2", "8.8.4.4:4101")]).mapping, None, "two ways out");
        let lied = side(&[one, ("9.9.9.2", "8.8.8.8:4102"), ("9.9.9.3", "8.8.8.8:4101")]);
        assert_eq!((lied.mapping, lied.hosts()), (Some(EndpointIndependent), 3));
        assert_eq!(lied.agreed, one.1.parse().ok(), "and not what the liar told");
        assert_eq!(side(&[("9.9.9.1", OWN)]).mapping, Some(NatMapping::None));
    }

    #[test]
    fn what_was_found_stays_when_the_observers_are_gone() {
        let mut measured =
            Measured { udp: side(&[("9.9.9.1", "8.8.8.8:1"), ("9.9.9.2", "8.8.8.8:2")]), ..Measured::default() };
        for number in 0..2 {
            measured.on_closed(ConnectionId::new_unchecked(number));
        }
        let told = measured.told(|_| true).udp;
        assert_eq!((told.mapping, told.seen_by), (Some(NatMapping::EndpointDependent), 0));
        measured.forget();
        assert_eq!(measured.told(|_| true), NatInfo::default());
        let told = measured.told(|transport| transport == TransportKind::Quic);
        assert!(told.tcp.blocked && !told.udp.blocked, "nobody comes by what is not listened on");
    }

    #[test]
    fn who_gets_in_tells_the_filtering() {
        let mut side = side(&[("9.9.9.1", "8.8.8.8:4101")]);
        assert_eq!(side.told(true).filtering, None);
        side.keeps_ports_out = true;
        assert_eq!(side.told(true).filtering, Some(NatFiltering::AddressAndPortDependent));
        side.takes_other_ports = true;
        assert_eq!(side.told(true).filtering, Some(NatFiltering::AddressDependent));
        side.is_open = true;
        assert_eq!(side.told(true).filtering, Some(NatFiltering::EndpointIndependent));
    }

    #[test]
    fn a_transport_is_blocked_where_the_other_one_is_answered() {
        let mut measured = Measured { tcp: side(&[("9.9.9.1", "8.8.8.8:4101")]), ..Measured::default() };
        let id = ConnectionId::new_unchecked(7);
        assert!(!measured.told(|_| true).udp.blocked, "nobody tried");
        measured.udp.probing = Some((id, Instant::now()));
        assert!(measured.on_probed(id, false) && !measured.on_probed(id, false));
        assert!(!measured.told(|_| true).udp.blocked, "that peer may not take it");
        measured.udp.probing = Some((id, Instant::now()));
        assert!(measured.on_probed(id, false));
        assert!(measured.told(|_| true).udp.blocked && !measured.told(|_| true).tcp.blocked);
        measured.tcp.seen.clear();
        assert!(!measured.told(|_| true).udp.blocked, "without anybody in reach nothing is known");
        measured.udp.seen.insert(id, Seen { by: "9.9.9.1".parse().unwrap(), at: "8.8.8.8:1".parse().unwrap() });
        measured.tcp = side(&[("9.9.9.1", "8.8.8.8:4101")]);
        assert!(!measured.told(|_| true).udp.blocked);
    }
}
