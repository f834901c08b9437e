//! What connections strangers may have (overlay.md, section 7). One behaviour, because every rule needs the same
//! table of who is connected from where. Every refusal is counted with its reason.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::address::{ip_of, path_kind, scope};
use crate::{AddressScope, LimitsConfig, PathKind, Profile};
use crate::{DialGuard, TrustedPeers};

/// A burst of the whole node, in seconds of its rate.
const NODE_BURST_SECONDS: f64 = 5.0;
/// A burst of one address group, in seconds of its rate.
const GROUP_BURST_SECONDS: f64 = 8.0;
/// Most address groups whose rate is remembered; when full, all full buckets are dropped.
const MAX_GROUPS: usize = 4_096;
/// How many times as much the profile `server` allows.
const SERVER_FACTOR: u32 = 4;
/// How long a reading of the resident memory is used.
const MEMORY_READING_AGE: Duration = Duration::from_millis(100);
/// Connections from one address group that are let in beyond its limit until it is known who comes: it may be a trusted
/// peer behind the router of a stranger.
const UNTIL_KNOWN: usize = 4;
/// Global addresses of trusted peers that are remembered, so that strangers cannot use up the rates before them.
const MAX_TRUSTED_HOSTS: usize = 256;

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Too many connections in all, in one direction, or under way.
    Total,
    /// Too many to one peer.
    PerPeer,
    /// Too many from one address group.
    PerAddress,
    /// Too many new ones a second.
    Rate,
    /// The process holds too much memory.
    Memory,
}

impl Refusal {
    const ALL: [Self; 5] = [Self::Total, Self::PerPeer, Self::PerAddress, Self::Rate, Self::Memory];

    /// The label of this reason in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::PerPeer => "per_peer",
            Self::PerAddress => "per_address",
            Self::Rate => "rate",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection refused: limit {}", self.as_str())
    }
}

impl std::error::Error for Refusal {}

/// Counters of refused connections, by reason. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<[AtomicU64; 5]>);

impl Refusals {
    /// Every reason with its count.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::ALL.iter().zip(self.0.iter()).map(|(reason, count)| (reason.as_str(), count.load(Ordering::Relaxed)))
    }

    fn count(&self, reason: Refusal) -> ConnectionDenied {
        if let Some((_, count)) = Refusal::ALL.iter().zip(self.0.iter()).find(|(known, _)| **known == reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        ConnectionDenied::new(reason)
    }
}

/// A bucket of tokens that refills at a steady rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(per_second: f64, burst_seconds: f64, now: Instant) -> Self {
        Self { tokens: per_second * burst_seconds, at: now }
    }

    fn take(&mut self, per_second: f64, burst_seconds: f64, now: Instant) -> bool {
        self.refill(per_second, burst_seconds, now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    fn refill(&mut self, per_second: f64, burst_seconds: f64, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.tokens = (self.tokens + gained).min(per_second * burst_seconds);
        self.at = now;
    }
}

/// Addresses that one party may hold many of: IPv4, IPv6 /56 and /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    V4([u8; 4]),
    V6Site([u8; 7]),
    V6Provider([u8; 6]),
}

fn groups_of(address: &Multiaddr) -> Vec<Group> {
    // Through a relay everybody comes from the relay's address.
    if scope(address) != AddressScope::Global || path_kind(address) == PathKind::Relayed {
        return Vec::new();
    }
    match ip_of(address) {
        Some(IpAddr::V4(ip)) => vec![Group::V4(ip.octets())],
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, e, f, g, ..] = ip.octets();
            vec![Group::V6Site([a, b, c, d, e, f, g]), Group::V6Provider([a, b, c, d, e, f])]
        }
        None => Vec::new(),
    }
}

struct Established {
    peer: PeerId,
    inbound: bool,
    relayed: bool,
    groups: Vec<Group>,
}

/// The behaviour that refuses.
pub struct Limits {
    config: LimitsConfig,
    trusted: TrustedPeers,
    refusals: Refusals,
    pending_in: HashSet<ConnectionId>,
    pending_out: HashSet<ConnectionId>,
    established: HashMap<ConnectionId, Established>,
    /// Connections that make room for newer ones of the same peer.
    replaced: VecDeque<(PeerId, ConnectionId)>,
    node_rate: Bucket,
    group_rates: HashMap<Group, Bucket>,
    trusted_hosts: HashSet<IpAddr>,
    memory_limit: u64,
    memory: (Instant, u64),
    /// Knows which peers the user asked for.
    guard: Option<DialGuard>,
    /// Times as many as configured.
    factor: u32,
}

impl Limits {
    /// Limits as configured; most do not hold for trusted peers.
    pub fn new(config: LimitsConfig, trusted: TrustedPeers) -> Self {
        let now = Instant::now();
        let memory_limit = match config.memory_mib {
            0 => default_memory_limit(),
            mib => mib * 1024 * 1024,
        };
        Self {
            trusted,
            refusals: Refusals::default(),
            pending_in: HashSet::new(),
            pending_out: HashSet::new(),
            established: HashMap::new(),
            replaced: VecDeque::new(),
            node_rate: Bucket::full(f64::from(config.new_per_second), NODE_BURST_SECONDS, now),
            group_rates: HashMap::new(),
            trusted_hosts: HashSet::new(),
            memory_limit,
            memory: (now, resident_bytes()),
            guard: None,
            factor: if config.profile == Profile::Server { SERVER_FACTOR } else { 1 },
            config,
        }
    }

    /// Peers that this guard was told the user, a drive or an app asked for are dialled also where memory is short.
    pub fn heed(&mut self, guard: DialGuard) {
        self.guard = Some(guard);
        self.pass_on_pace();
    }

    /// Whether others reach this node at a global address of its own; decides what the profile `auto` is.
    pub fn on_public(&mut self, is_public: bool) {
        let is_server = match self.config.profile {
            Profile::Auto => is_public,
            Profile::Home => false,
            Profile::Server => true,
        };
        let factor = if is_server { SERVER_FACTOR } else { 1 };
        if std::mem::replace(&mut self.factor, factor) != factor {
            tracing::info!(
                is_server,
                "the limits of connections are those of a {}",
                if is_server { "server" } else { "home" }
            );
            self.pass_on_pace();
        }
    }

    fn pass_on_pace(&self) {
        if let Some(guard) = &self.guard {
            guard.set_new_hosts_per_second(self.scaled(self.config.new_hosts_per_second) as u32);
        }
    }

    /// A configured number under the profile.
    fn scaled(&self, number: u32) -> usize {
        number.saturating_mul(self.factor) as usize
    }

    /// The counters.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// What may grow here: its name, how much it holds, the most that it will hold.
    pub fn rooms(&self) -> Vec<(&'static str, usize, usize)> {
        let scaled = |number| self.scaled(number);
        vec![
            ("connections", self.established.len(), scaled(self.config.established)),
            ("connections that are being made by others", self.pending_in.len(), scaled(self.config.pending_in)),
            ("dials under way", self.pending_out.len(), scaled(self.config.pending_out)),
            ("groups of addresses with a rate of new connections", self.group_rates.len(), MAX_GROUPS),
            ("addresses of trusted peers", self.trusted_hosts.len(), MAX_TRUSTED_HOSTS),
        ]
    }

    /// Whether so much memory is used that idle connections of strangers are to be closed: an eighth above the line at
    /// which new ones are refused.
    pub fn is_short_of_memory(&mut self, now: Instant) -> bool {
        self.resident(now) > self.shed_limit()
    }

    /// Whether the user trusts this peer.
    pub fn is_trusted(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer)
    }

    /// 90 % where the limit is 80 %.
    fn shed_limit(&self) -> u64 {
        self.memory_limit.saturating_add(self.memory_limit / 8)
    }

    fn check_pending_inbound(&mut self, remote: &Multiaddr, now: Instant) -> Result<(), Refusal> {
        if self.pending_in.len() >= self.scaled(self.config.pending_in) {
            return Err(Refusal::Total);
        }
        // Below that line it depends on who comes.
        if self.trusted.is_empty() && self.resident(now) > self.memory_limit || self.is_short_of_memory(now) {
            return Err(Refusal::Memory);
        }
        if scope(remote) != AddressScope::Global {
            return Ok(());
        }
        let groups = groups_of(remote);
        let until_known = if self.trusted.is_empty() { 0 } else { UNTIL_KNOWN };
        if groups.iter().any(|group| self.inbound_from(*group) >= self.limit_of(*group) + until_known) {
            return Err(Refusal::PerAddress);
        }
        if ip_of(remote).is_some_and(|ip| self.trusted_hosts.contains(&ip)) {
            return Ok(());
        }
        let per_group = f64::from(self.config.new_per_second_per_ip);
        if self.group_rates.len() >= MAX_GROUPS {
            self.forget_idle_groups(per_group, now);
        }
        for group in groups {
            let full = Bucket::full(per_group, GROUP_BURST_SECONDS, now);
            let bucket = self.group_rates.entry(group).or_insert(full);
            if !bucket.take(per_group, GROUP_BURST_SECONDS, now) {
                return Err(Refusal::Rate);
            }
        }
        if self.node_rate.take(self.scaled(self.config.new_per_second) as f64, NODE_BURST_SECONDS, now) {
            Ok(())
        } else {
            Err(Refusal::Rate)
        }
    }

    fn check_established(&self, peer: &PeerId, inbound: bool, relayed: bool) -> Result<(), Refusal> {
        let config = &self.config;
        // An inbound one replaces the oldest inbound one, see `make_room`.
        if self.of_peer(peer, relayed).count() >= config.per_peer as usize {
            return Err(Refusal::PerPeer);
        }
        let trusted = self.trusted.contains(peer);
        // A quarter of the slots is kept for trusted peers.
        let total = self.scaled(if trusted { config.established } else { config.established / 4 * 3 });
        if self.established.len() >= total {
            return Err(Refusal::Total);
        }
        let limit = self.scaled(if inbound { config.established_in } else { config.established_out });
        let same_way = self.established.values().filter(|c| c.inbound == inbound).count();
        if !trusted && same_way >= limit {
            return Err(Refusal::Total);
        }
        Ok(())
    }

    /// What could not be judged before it was known who comes.
    fn check_stranger(&mut self, groups: &[Group], now: Instant) -> Result<(), Refusal> {
        if self.resident(now) > self.memory_limit {
            return Err(Refusal::Memory);
        }
        if groups.iter().any(|group| self.inbound_from(*group) >= self.limit_of(*group)) {
            return Err(Refusal::PerAddress);
        }
        Ok(())
    }

    fn is_asked_for(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer) || self.guard.as_ref().is_some_and(|guard| guard.is_needed(peer, Instant::now()))
    }

    fn remember_trusted(&mut self, peer: &PeerId, address: &Multiaddr) {
        let is_host = scope(address) == AddressScope::Global && path_kind(address) == PathKind::Direct;
        if is_host
            && self.trusted.contains(peer)
            && self.trusted_hosts.len() < MAX_TRUSTED_HOSTS
            && let Some(ip) = ip_of(address)
        {
            self.trusted_hosts.insert(ip);
        }
    }

    /// Relayed connections are counted apart: the direct ones that come when a hole was punched must not push out the
    /// one on which everything runs.
    fn of_peer(&self, peer: &PeerId, relayed: bool) -> impl Iterator<Item = (ConnectionId, bool)> + '_ {
        let peer = *peer;
        let of_peer = self.established.iter().filter(move |(_, c)| c.peer == peer && c.relayed == relayed);
        of_peer.map(|(id, c)| (*id, c.inbound))
    }

    /// The peer's newest connection counts: after a crash its old ones look alive here until they time out, and it
    /// must not be locked out by what it no longer has. What this node dialled itself stays.
    fn make_room(&mut self, peer: &PeerId, relayed: bool) {
        while self.of_peer(peer, relayed).count() >= self.config.per_peer as usize
            && let Some((oldest, _)) = self.of_peer(peer, relayed).filter(|(_, inbound)| *inbound).min()
        {
            self.established.remove(&oldest);
            self.replaced.push_back((*peer, oldest));
            self.refusals.count(Refusal::PerPeer);
        }
    }

    fn limit_of(&self, group: Group) -> usize {
        match group {
            Group::V4(_) => self.config.per_ipv4 as usize,
            Group::V6Site(_) => self.config.per_ipv6_56 as usize,
            Group::V6Provider(_) => self.config.per_ipv6_48 as usize,
        }
    }

    fn inbound_from(&self, group: Group) -> usize {
        self.established.values().filter(|c| c.inbound && c.groups.contains(&group)).count()
    }

    fn forget_idle_groups(&mut self, per_second: f64, now: Instant) {
        self.group_rates.retain(|_, bucket| {
            bucket.refill(per_second, GROUP_BURST_SECONDS, now);
            bucket.tokens < per_second * GROUP_BURST_SECONDS
        });
        if self.group_rates.len() >= MAX_GROUPS {
            self.group_rates.clear();
        }
    }

    fn resident(&mut self, now: Instant) -> u64 {
        if now.saturating_duration_since(self.memory.0) > MEMORY_READING_AGE {
            self.memory = (now, resident_bytes());
        }
        self.memory.1
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell, which switches the limit off.
pub(crate) fn resident_bytes() -> u64 {
    /// Size of a page on every platform that has `/proc/self/statm` and that we build for.
    const PAGE_BYTES: u64 = 4_096;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |pages| pages * PAGE_BYTES)
}

/// 80 % of the smaller of 256 MiB and an eighth of the memory.
fn default_memory_limit() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(u64::MAX, |kib| kib * 1024);
    (total / 8).min(256 * 1024 * 1024) / 10 * 8
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check_pending_inbound(remote, Instant::now()).map_err(|reason| self.refusals.count(reason))?;
        self.pending_in.insert(id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.pending_in.remove(&id);
        let relayed = path_kind(local) == PathKind::Relayed || path_kind(remote) == PathKind::Relayed;
        let groups = groups_of(remote);
        if !self.trusted.contains(&peer) {
            self.check_stranger(&groups, Instant::now()).map_err(|reason| self.refusals.count(reason))?;
        }
        self.make_room(&peer, relayed);
        self.check_established(&peer, true, relayed).map_err(|reason| self.refusals.count(reason))?;
        self.remember_trusted(&peer, remote);
        self.established.insert(id, Established { peer, inbound: true, relayed, groups });
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Without a peer it is an address that the user gave. What nobody asked for are mostly lookups.
        if peer.is_some_and(|peer| !self.is_asked_for(&peer)) && self.resident(Instant::now()) > self.memory_limit {
            return Err(self.refusals.count(Refusal::Memory));
        }
        if self.pending_out.len() >= self.scaled(self.config.pending_out) {
            return Err(self.refusals.count(Refusal::Total));
        }
        self.pending_out.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.pending_out.remove(&id);
        let relayed = path_kind(address) == PathKind::Relayed;
        self.check_established(&peer, false, relayed).map_err(|reason| self.refusals.count(reason))?;
        self.remember_trusted(&peer, address);
        self.established.insert(id, Established { peer, inbound: false, relayed, groups: Vec::new() });
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(event) => {
                self.established.remove(&event.connection_id);
            }
            FromSwarm::DialFailure(event) => {
                self.pending_out.remove(&event.connection_id);
                self.established.remove(&event.connection_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.pending_in.remove(&event.connection_id);
                self.established.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.replaced.pop_front() {
            Some((peer_id, id)) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn a_burst_from_one_global_address_is_refused_and_counted() {
        let mut limits = Limits::new(LimitsConfig::default(), TrustedPeers::default());
        let from = address("/ip4/1.2.3.4/tcp/4001");
        let outcomes: Vec<bool> = (0..20)
            .map(|n| {
                let id = ConnectionId::new_unchecked(n);
                limits.handle_pending_inbound_connection(id, &address("/ip4/5.6.7.8/tcp/1"), &from).is_ok()
            })
            .collect();
        assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 8);
        assert!(limits.refusals().counts().any(|(reason, count)| reason == "rate" && count == 12));
    }

    fn inbound(limits: &mut Limits, n: usize, peer: PeerId, from: &Multiaddr) -> bool {
        let (id, local) = (ConnectionId::new_unchecked(n), address("/ip4/5.6.7.8/tcp/1"));
        limits.handle_pending_inbound_connection(id, &local, from).is_ok()
            && limits.handle_established_inbound_connection(id, peer, &local, from).is_ok()
    }

    /// Limits that do not hold for the peers that the settings trust.
    fn trusting(config: LimitsConfig) -> Limits {
        let trusted = TrustedPeers::new(config.trusted());
        Limits::new(config, trusted)
    }

    fn refused(limits: &Limits, wanted: &str) -> u64 {
        limits.refusals().counts().find(|(reason, _)| *reason == wanted).map_or(0, |(_, count)| count)
    }

    #[test]
    fn a_trusted_peer_behind_the_router_of_strangers_gets_in() {
        let friend = PeerId::random();
        let config = LimitsConfig {
            trusted_peers: vec![friend.to_string()],
            new_per_second: 1_000,
            new_per_second_per_ip: 1_000,
            ..LimitsConfig::default()
        };
        let mut limits = trusting(config);
        let from = address("/ip4/1.2.3.4/tcp/4001");
        assert_eq!((0..30).filter(|n| inbound(&mut limits, *n, PeerId::random(), &from)).count(), 8);
        assert_eq!(refused(&limits, "per_address"), 22);
        assert!(inbound(&mut limits, 100, friend, &from));
    }

    #[test]
    fn strangers_do_not_use_up_the_rate_of_the_host_of_a_trusted_peer() {
        let friend = PeerId::random();
        let trusted_peers = vec![friend.to_string()];
        let mut limits = trusting(LimitsConfig { trusted_peers, per_ipv4: 1_000, ..LimitsConfig::default() });
        let from = address("/ip4/1.2.3.4/tcp/4001");
        assert!(inbound(&mut limits, 0, friend, &from));
        for n in 1..200 {
            inbound(&mut limits, n, PeerId::random(), &address(&format!("/ip4/9.9.{n}.1/tcp/1")));
        }
        assert!(refused(&limits, "rate") > 100);
        assert!(inbound(&mut limits, 300, friend, &from));
    }

    #[test]
    fn a_quarter_of_the_places_is_kept_for_trusted_peers() {
        let friends: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        let trusted_peers = friends.iter().map(ToString::to_string).collect();
        let mut limits = trusting(LimitsConfig { trusted_peers, established: 16, ..LimitsConfig::default() });
        let from = address("/ip4/127.0.0.1/tcp/4001");
        assert_eq!((0..30).filter(|n| inbound(&mut limits, *n, PeerId::random(), &from)).count(), 12);
        assert_eq!(refused(&limits, "total"), 18);
        assert!(friends.iter().enumerate().all(|(n, friend)| inbound(&mut limits, 100 + n, *friend, &from)));
        assert!(!inbound(&mut limits, 200, friends[0], &from), "there are no more places than there are");
    }

    #[test]
    fn with_little_memory_left_only_trusted_peers_get_in_and_with_none_nobody() {
        let friend = PeerId::random();
        let trusted_peers = vec![friend.to_string()];
        let mut limits = trusting(LimitsConfig { trusted_peers, memory_mib: 80, ..LimitsConfig::default() });
        let from = address("/ip4/127.0.0.1/tcp/4001");
        let mib = 1024 * 1024;
        // A reading from the future is not taken again.
        let later = Instant::now() + Duration::from_secs(3_600);
        let mut at = |mib_used: u64, peer: PeerId, n: usize| {
            limits.memory = (later, mib_used * mib);
            inbound(&mut limits, n, peer, &from)
        };
        assert!(at(79, PeerId::random(), 0));
        assert!(!at(85, PeerId::random(), 1));
        assert!(at(85, friend, 2));
        assert!(!at(91, friend, 3), "else nothing would be left to shed");
        assert_eq!(refused(&limits, "memory"), 2);
        assert!(limits.is_short_of_memory(Instant::now()));
    }

    #[test]
    fn with_little_memory_left_only_peers_are_dialled_that_somebody_asked_for() {
        let (friend, wanted, stranger) = (PeerId::random(), PeerId::random(), PeerId::random());
        let trusted = TrustedPeers::new([friend]);
        let config = LimitsConfig { memory_mib: 80, ..LimitsConfig::default() };
        let guard = DialGuard::new(&config, trusted.clone());
        guard.want(wanted);
        let opened = PeerId::random();
        guard.need(opened);
        let mut limits = Limits::new(config, trusted);
        limits.heed(guard);
        let later = Instant::now() + Duration::from_secs(3_600);
        let mut dials = |mib_used: u64, peer: Option<PeerId>, n: usize| {
            limits.memory = (later, mib_used * 1024 * 1024);
            let id = ConnectionId::new_unchecked(n);
            limits.handle_pending_outbound_connection(id, peer, &[], Endpoint::Dialer).is_ok()
        };
        assert!(dials(79, Some(stranger), 0));
        assert!(!dials(85, Some(stranger), 1));
        assert!(
            dials(85, Some(friend), 2)
                && dials(85, Some(wanted), 3)
                && dials(85, Some(opened), 4)
                && dials(85, None, 5)
        );
        assert_eq!(refused(&limits, "memory"), 1);
    }

    #[test]
    fn a_node_at_a_public_address_serves_four_times_as_many() {
        let count = |profile, is_public| {
            let config = LimitsConfig { profile, established_in: 5, ..LimitsConfig::default() };
            let guard = DialGuard::new(&config, TrustedPeers::default());
            let mut limits = Limits::new(config, TrustedPeers::default());
            limits.heed(guard.clone());
            limits.on_public(is_public);
            let from = address("/ip4/127.0.0.1/tcp/4001");
            let held = (0..40).filter(|n| inbound(&mut limits, *n, PeerId::random(), &from)).count();
            (held, guard.new_hosts_per_second())
        };
        assert_eq!(count(Profile::Auto, false), (5, 8));
        assert_eq!(count(Profile::Auto, true), (20, 32));
        assert_eq!(count(Profile::Home, true), (5, 8));
        assert_eq!(count(Profile::Server, false), (20, 32));
    }

    #[test]
    fn local_addresses_have_no_rate() {
        let mut limits = Limits::new(LimitsConfig::default(), TrustedPeers::default());
        for n in 0..60 {
            let id = ConnectionId::new_unchecked(n);
            let from = address("/ip4/127.0.0.1/tcp/4001");
            assert!(limits.handle_pending_inbound_connection(id, &address("/ip4/127.0.0.1/tcp/1"), &from).is_ok());
        }
    }

    #[test]
    fn a_fifth_connection_of_a_peer_replaces_its_first() {
        let mut limits = Limits::new(LimitsConfig::default(), TrustedPeers::default());
        let peer = PeerId::random();
        let from = address("/ip4/127.0.0.1/tcp/4001");
        let open = |limits: &mut Limits, n| {
            limits.handle_established_inbound_connection(ConnectionId::new_unchecked(n), peer, &from, &from).is_ok()
        };
        assert!((0..5).all(|n| open(&mut limits, n)));
        assert_eq!(limits.replaced, [(peer, ConnectionId::new_unchecked(0))]);
        assert_eq!(limits.of_peer(&peer, false).count(), 4);
        let outbound = limits.handle_established_outbound_connection(
            ConnectionId::new_unchecked(9),
            peer,
            &from,
            Endpoint::Dialer,
            PortUse::Reuse,
        );
        assert!(outbound.is_err(), "a dial of ours does not push out what is there");
        let relayed = address("/ip4/127.0.0.1/tcp/1/p2p-circuit");
        let id = ConnectionId::new_unchecked(10);
        assert!(limits.handle_established_inbound_connection(id, peer, &relayed, &relayed).is_ok());
        assert!(open(&mut limits, 11) && limits.of_peer(&peer, true).count() == 1, "a relayed one stays");
    }
}
