//! Server or client (overlay.md 6, rule 2): a machine without clock or I/O.
//!
//! An *island* has no DHT server connected directly at a global address: loopback, a LAN, or the first public node.
//! There everybody answers. Otherwise only a node answers that a peer at a global address really dialled at a global
//! address, ten minutes after that; in a small network ten seconds after it, for there nobody else may be left to answer
//! (rule 1.7): two public nodes that meet are islands no more at the same moment.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::kad::Mode;
use libp2p::swarm::ConnectionId;

use crate::ModeSetting;

/// How long an address must have been known as reachable.
const SETTLE: Duration = Duration::from_secs(600);
/// The same in a small network: long enough for a node that joins a large one to see that it is large.
const SETTLE_SMALL: Duration = Duration::from_secs(10);
/// With so many servers in the table a network is small no more: a bucket is full.
const SMALL: usize = 20;

/// What a connection tells the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A peer that speaks the DHT protocol as a server is connected directly at a global address.
    GlobalServer(ConnectionId),
    /// A peer at a global address dialled us at this global, not relayed address.
    DialledAt(Multiaddr),
    /// That connection is gone.
    Closed(ConnectionId),
    /// That address of ours is gone.
    AddressLost(Multiaddr),
    /// So many servers are in the routing table.
    Servers(usize),
}

/// The rule.
#[derive(Debug)]
pub struct ModeRule {
    setting: ModeSetting,
    global_servers: HashSet<ConnectionId>,
    /// With the time from which on it counts.
    reachable: Vec<(Multiaddr, Instant)>,
    is_small: bool,
}

impl ModeRule {
    /// The rule under a setting; an island at first.
    pub fn new(setting: ModeSetting) -> Self {
        Self { setting, global_servers: HashSet::new(), reachable: Vec::new(), is_small: true }
    }

    /// Takes note of what happened.
    pub fn on_observed(&mut self, now: Instant, observed: Observed) {
        match observed {
            Observed::GlobalServer(id) => {
                self.global_servers.insert(id);
            }
            Observed::Closed(id) => {
                self.global_servers.remove(&id);
            }
            Observed::DialledAt(address) => {
                let settled = now + if self.is_small { SETTLE_SMALL } else { SETTLE };
                insert_first(&mut self.reachable, address, settled);
            }
            Observed::AddressLost(address) => self.reachable.retain(|(known, _)| *known != address),
            Observed::Servers(servers) => self.on_size(now, servers < SMALL),
        }
    }

    /// Whether nobody out there is known.
    pub fn is_island(&self) -> bool {
        self.global_servers.is_empty()
    }

    /// What this node should be now.
    pub fn mode(&self, now: Instant) -> Mode {
        match self.setting {
            ModeSetting::Server => Mode::Server,
            ModeSetting::Client => Mode::Client,
            ModeSetting::Auto if self.is_island() => Mode::Server,
            ModeSetting::Auto if self.reachable.iter().any(|(_, settled)| now >= *settled) => Mode::Server,
            ModeSetting::Auto => Mode::Client,
        }
    }

    /// When the answer may change by itself.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.setting != ModeSetting::Auto || self.is_island() {
            return None;
        }
        self.reachable.iter().map(|(_, settled)| *settled).filter(|at| *at > now).min()
    }

    /// Who answers already goes on: if all stopped at once because they are many, they would be few again.
    fn on_size(&mut self, now: Instant, is_small: bool) {
        if self.is_small == is_small {
            return;
        }
        self.is_small = is_small;
        for (_, settled) in self.reachable.iter_mut().filter(|(_, settled)| *settled > now) {
            *settled = if is_small { (*settled).min(now + SETTLE_SMALL) } else { *settled + (SETTLE - SETTLE_SMALL) };
        }
    }

    /// Global addresses at which a peer reached us.
    pub fn reachable(&self) -> impl Iterator<Item = &Multiaddr> {
        self.reachable.iter().map(|(address, _)| address)
    }
}

fn insert_first<K: Eq + Hash>(list: &mut Vec<(K, Instant)>, key: K, now: Instant) {
    /// A node has few addresses; more would be somebody's invention.
    const MAX_ADDRESSES: usize = 16;
    if list.len() < MAX_ADDRESSES && !list.iter().any(|(known, _)| *known == key) {
        list.push((key, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn an_island_answers_until_the_world_appears_and_again_when_it_is_gone() {
        let now = Instant::now();
        let mut rule = ModeRule::new(ModeSetting::Auto);
        assert_eq!(rule.mode(now), Mode::Server);
        rule.on_observed(now, Observed::GlobalServer(id(1)));
        assert_eq!(rule.mode(now), Mode::Client);
        rule.on_observed(now, Observed::Closed(id(1)));
        assert_eq!(rule.mode(now), Mode::Server);
    }

    #[test]
    fn a_reachable_node_answers_after_ten_minutes() {
        let now = Instant::now();
        let address: Multiaddr = "/ip4/1.1.1.1/tcp/1".parse().expect("a multiaddr");
        let mut rule = ModeRule::new(ModeSetting::Auto);
        rule.on_observed(now, Observed::GlobalServer(id(1)));
        rule.on_observed(now, Observed::Servers(SMALL));
        rule.on_observed(now, Observed::DialledAt(address.clone()));
        assert_eq!(rule.mode(now), Mode::Client);
        assert_eq!(rule.next_timeout(now), Some(now + SETTLE));
        assert_eq!(rule.mode(now + SETTLE), Mode::Server);
        rule.on_observed(now, Observed::AddressLost(address));
        assert_eq!(rule.mode(now + SETTLE), Mode::Client);
    }

    #[test]
    fn in_a_small_network_it_answers_soon_until_the_network_shows_to_be_large() {
        let now = Instant::now();
        let mut rule = ModeRule::new(ModeSetting::Auto);
        rule.on_observed(now, Observed::GlobalServer(id(1)));
        rule.on_observed(now, Observed::Servers(1));
        assert_eq!(rule.mode(now + SETTLE_SMALL), Mode::Client, "nobody reached it");
        rule.on_observed(now, Observed::DialledAt("/ip4/1.1.1.1/tcp/1".parse().expect("a multiaddr")));
        assert_eq!((rule.mode(now), rule.next_timeout(now)), (Mode::Client, Some(now + SETTLE_SMALL)));
        assert_eq!(rule.mode(now + SETTLE_SMALL), Mode::Server);
        rule.on_observed(now + SETTLE_SMALL, Observed::Servers(SMALL));
        assert_eq!(rule.mode(now + SETTLE_SMALL), Mode::Server, "who answers goes on");
    }

    #[test]
    fn who_sees_in_time_that_the_network_is_large_waits_as_long_as_that_takes() {
        let now = Instant::now();
        let mut rule = ModeRule::new(ModeSetting::Auto);
        rule.on_observed(now, Observed::GlobalServer(id(1)));
        rule.on_observed(now, Observed::DialledAt("/ip4/1.1.1.1/tcp/1".parse().expect("a multiaddr")));
        rule.on_observed(now + SETTLE_SMALL / 2, Observed::Servers(SMALL));
        assert_eq!((rule.mode(now + SETTLE_SMALL), rule.next_timeout(now)), (Mode::Client, Some(now + SETTLE)));
        rule.on_observed(now + SETTLE_SMALL, Observed::Servers(SMALL - 1));
        assert_eq!(rule.next_timeout(now + SETTLE_SMALL), Some(now + 2 * SETTLE_SMALL));
    }

    #[test]
    fn a_setting_beats_the_rule() {
        let now = Instant::now();
        assert_eq!(ModeRule::new(ModeSetting::Client).mode(now), Mode::Client);
        let mut rule = ModeRule::new(ModeSetting::Server);
        rule.on_observed(now, Observed::GlobalServer(id(1)));
        assert_eq!(rule.mode(now), Mode::Server);
    }
}
