//! Relays that this node may be reached through, and whether it needs them (overlay.md, 8.6 and 8.7).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol, autonat, relay};
use p2p_api::Reachability;
use p2p_transport::{AddressScope, PathKind, RELAY_PROTOCOL, path_kind, scope, with_peer};

use super::Actor;

/// Reservations kept, at different relays.
const WANTED: usize = 2;
/// Reservations kept besides at relays in the local network.
const WANTED_NEAR: usize = 1;
/// Relays over which a peer is called at a time.
const CALLED_OVER: usize = 2;
/// Relays remembered.
const MAX_KNOWN: usize = 32;
/// How long a relay that failed is left alone.
const REST: Duration = Duration::from_secs(60);
/// How often relays are looked for while too few are known.
const SEARCH_EVERY: Duration = Duration::from_secs(10);
/// Failed tests of addresses after which this node counts as not reachable, where none succeeded.
const ENOUGH_FAILURES: u32 = 2;
/// One failure is enough where no other test followed within this time: in a small network there is nobody else to ask.
const LONELY_FAILURE: Duration = Duration::from_secs(10);

/// What is known of relays and of being reached.
#[derive(Default)]
pub(super) struct Relays {
    /// Relays from the settings: asked also where nobody knows whether it is needed.
    configured: Vec<(PeerId, Multiaddr)>,
    /// Peers that serve as relays, with the address at which they were reached.
    known: HashMap<PeerId, Multiaddr>,
    /// Reservations asked for or held.
    listeners: HashMap<ListenerId, PeerId>,
    /// Those that were granted.
    granted: HashSet<PeerId>,
    failed: HashMap<PeerId, Instant>,
    /// A peer dialled an address of ours on purpose, and got through.
    is_tested: bool,
    failures: u32,
    failed_at: Option<Instant>,
    /// When the DHT was last asked for relays.
    searched: Option<Instant>,
    /// Circuits that this node carried as a relay, and those of them that reached a cap.
    carried: u64,
    cut: u64,
}

impl Relays {
    pub(super) fn new(configured: impl IntoIterator<Item = Multiaddr>) -> Self {
        let with_id = |address: Multiaddr| match address.iter().last() {
            Some(Protocol::P2p(peer)) => Some((peer, address)),
            _ => None,
        };
        Self { configured: configured.into_iter().filter_map(with_id).collect(), ..Self::default() }
    }

    /// Relays where others reach this node now.
    pub(super) fn in_use(&self) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = self.granted.iter().copied().collect();
        peers.sort();
        peers
    }

    /// Whether others can dial this node; a tested fact.
    pub(super) fn reachability(&self, was_reached: bool, now: Instant) -> Reachability {
        let is_alone = self.failed_at.is_some_and(|at| now.duration_since(at) >= LONELY_FAILURE);
        if was_reached || self.is_tested {
            Reachability::Public
        } else if self.failures >= ENOUGH_FAILURES || is_alone {
            Reachability::Private
        } else {
            Reachability::Unknown
        }
    }

    /// In another network other relays answer, and what was found out about being reached is to be found out anew.
    pub(super) fn on_moved(&mut self) {
        (self.is_tested, self.failures, self.failed_at, self.searched) = (false, 0, None, None);
        self.failed.clear();
    }

    /// A relay that failed since may have done so only because the way to it was not there yet.
    pub(super) fn on_moved_try(&mut self) {
        self.failed.clear();
    }

    /// This node was asked to be a relay.
    pub(super) fn on_served(&mut self, event: &relay::Event) {
        match event {
            relay::Event::CircuitReqAccepted { .. } => self.carried += 1,
            relay::Event::CircuitClosed { error: Some(error), .. } if is_capped(error) => {
                tracing::debug!(%error, "a circuit was cut");
                self.cut += 1;
            }
            _ => {}
        }
    }

    pub(super) fn counters(&self) -> [(String, u64); 2] {
        [("relay_circuits".into(), self.carried), ("relay_circuits_cut".into(), self.cut)]
    }

    /// Relays for which that holds, with their addresses.
    pub(super) fn connected(&self, is_connected: impl Fn(&PeerId) -> bool) -> Vec<Multiaddr> {
        let all = self.configured.iter().map(|(peer, address)| (peer, address)).chain(&self.known);
        all.filter(|(peer, _)| is_connected(peer)).map(|(_, address)| address.clone()).collect()
    }

    /// Relays to ask next, the user's own first. With `all` those of the world too; one in the local network is asked in any
    /// case: it reaches who is kept apart from this node there.
    fn to_ask(&self, now: Instant, all: bool) -> Vec<(PeerId, Multiaddr)> {
        let asked: HashSet<PeerId> = self.listeners.values().copied().collect();
        let near_asked = asked.iter().filter(|peer| self.is_near(peer)).count();
        let is_free = |peer: &PeerId| {
            let is_resting = self.failed.get(peer).is_some_and(|at| now.duration_since(*at) < REST);
            !asked.contains(peer) && !is_resting
        };
        let (near, far): (Vec<_>, Vec<_>) = self.known.iter().partition(|(peer, _)| self.is_near(peer));
        let known = |(peer, address): (&PeerId, &Multiaddr)| (*peer, address.clone());
        let mut free: Vec<(PeerId, Multiaddr)> = Vec::new();
        for (peer, address) in self.configured.iter().cloned().chain(far.into_iter().filter(|_| all).map(known)) {
            if is_free(&peer) && !free.iter().any(|(other, _)| *other == peer) {
                free.push((peer, address));
            }
        }
        free.truncate(WANTED.saturating_sub(asked.len() - near_asked));
        let near = near.into_iter().filter(|(peer, _)| is_free(peer)).map(known);
        free.extend(near.take(WANTED_NEAR.saturating_sub(near_asked)));
        free
    }

    /// Whether a relay that the user did not name is in the local network.
    fn is_near(&self, peer: &PeerId) -> bool {
        let is_named = self.configured.iter().any(|(named, _)| named == peer);
        !is_named && self.known.get(peer).is_some_and(|address| scope(address) == AddressScope::Local)
    }
}

impl Actor {
    /// A peer that may be a relay.
    pub(super) fn on_maybe_relay(&mut self, peer: PeerId, protocols: &[StreamProtocol], address: &Multiaddr) {
        let is_relay = protocols.contains(&RELAY_PROTOCOL) && path_kind(address) != PathKind::Relayed;
        let has_room = self.relays.known.len() < MAX_KNOWN || self.relays.known.contains_key(&peer);
        if is_relay && has_room {
            self.relays.known.insert(peer, with_peer(address.clone(), peer));
        }
        self.keep_relays();
    }

    /// Where a peer is that has a place at a relay that is connected.
    pub(super) fn circuits_to(&self, peer: PeerId) -> Vec<Multiaddr> {
        let relays = self.relays.connected(|relay| *relay != peer && self.swarm.is_connected(relay));
        let circuit = |relay: Multiaddr| relay.with(Protocol::P2pCircuit).with(Protocol::P2p(peer));
        relays.into_iter().take(CALLED_OVER).map(circuit).collect()
    }

    /// Asks for reservations where they are missing, and gives back those that are not needed.
    pub(super) fn keep_relays(&mut self) {
        let was_reached = self.with_snapshot(|snapshot| snapshot.reached);
        let reachability = self.relays.reachability(was_reached, Instant::now());
        if reachability == Reachability::Public {
            let needless: Vec<ListenerId> = self.relays.listeners.keys().copied().collect();
            for id in needless {
                self.swarm.remove_listener(id);
            }
            return;
        }
        // Until somebody has found out otherwise, also on an address of the world: data flows from the first moment. Who is alone
        // needs no relay unless the user names one; who has reached anybody in the world is not, even if nobody there answers
        // for the DHT.
        let has_reached = |(_, address): &(PeerId, Multiaddr)| self.is_from_outside(address);
        let all = !self.swarm.behaviour().dht.is_island() || self.chosen().iter().any(has_reached);
        if all {
            self.find_relays();
        }
        for (peer, address) in self.relays.to_ask(Instant::now(), all) {
            self.guard.give(&address);
            match self.swarm.listen_on(address.clone().with(Protocol::P2pCircuit)) {
                Ok(id) => drop(self.relays.listeners.insert(id, peer)),
                Err(error) => {
                    tracing::debug!(%address, %error, "no reservation can be asked for");
                    self.relays.failed.insert(peer, Instant::now());
                }
            }
        }
    }

    /// Says in the DHT that this node is a relay for anybody.
    pub(super) fn offer_relay(&mut self) {
        self.swarm.behaviour_mut().dht.provide(&relays_key());
    }

    /// Looks for relays in the DHT while too few are known. Who is found is dialled, and tells by identify what it is.
    fn find_relays(&mut self) {
        let now = Instant::now();
        let is_due = self.relays.searched.is_none_or(|at| now.duration_since(at) >= SEARCH_EVERY);
        if self.relays.known.len() < WANTED && is_due {
            self.relays.searched = Some(now);
            self.swarm.behaviour_mut().dht.find_providers(&relays_key());
        }
    }

    /// A relay took us in.
    pub(super) fn on_reservation(&mut self, relay: PeerId, is_renewal: bool) {
        if is_renewal {
            return;
        }
        tracing::info!(%relay, "reachable through a relay");
        self.relays.granted.insert(relay);
        self.event("relay.reserved", &relay, serde_json::Value::Null);
        self.refresh();
    }

    /// An address through a relay is one of ours only while that relay has a place for us; what a peer saw of us through
    /// one, or what was left of a relay that is gone, leads nowhere.
    pub(super) fn check_external(&mut self, address: &Multiaddr) {
        if path_kind(address) != PathKind::Relayed {
            return;
        }
        let relay = address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let is_ours = relay.is_some_and(|relay| self.relays.listeners.values().any(|held| *held == relay));
        let is_at_relay = relay.is_some_and(|relay| {
            let host = address.iter().next();
            let mut connections = self.swarm.behaviour().transport.streams.book().of(&relay).iter();
            connections.any(|known| known.iter().next() == host)
        });
        if !is_ours || !is_at_relay {
            self.swarm.remove_external_address(address);
        }
    }

    /// A reservation ended: the relay is gone, refused, or is not needed any more.
    pub(super) fn on_listener_closed(&mut self, id: ListenerId, is_error: bool) {
        let Some(relay) = self.relays.listeners.remove(&id) else { return };
        let was_granted = self.relays.granted.remove(&relay);
        let left: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        left.iter().for_each(|address| self.check_external(address));
        if is_error {
            self.relays.failed.insert(relay, Instant::now());
        }
        if was_granted {
            tracing::info!(%relay, "no longer reachable through a relay");
            self.event("relay.lost", &relay, serde_json::Value::Null);
        }
        self.keep_relays();
        self.refresh();
    }

    /// Somebody dialled an address of ours because we asked for it.
    pub(super) fn on_tested(&mut self, event: autonat::v2::client::Event) {
        let address = event.tested_addr;
        self.on_tried(&address, event.result.is_ok());
        match event.result {
            // Within a local network or through a relay it says nothing about the world.
            Ok(()) if scope(&address) == AddressScope::Global && path_kind(&address) == PathKind::Direct => {
                tracing::info!(%address, server = %event.server, "reachable: a peer dialled this address");
                self.relays.is_tested = true;
                self.swarm.behaviour_mut().dht.on_reached(address);
            }
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%address, server = %event.server, %error, "a peer could not dial this address");
                self.relays.failures = self.relays.failures.saturating_add(1);
                self.relays.failed_at.get_or_insert_with(Instant::now);
            }
        }
        self.keep_relays();
        self.refresh();
    }
}

/// Whether a circuit ended because it had carried enough; a side that is gone has errors of other kinds.
fn is_capped(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::Other | std::io::ErrorKind::TimedOut)
}

/// Where relays for anybody say that they are.
fn relays_key() -> [u8; 32] {
    blake3::derive_key("p2pnode relays v1", &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_relays_are_asked_the_user_s_own_first() {
        let address =
            |n: u8, peer: PeerId| format!("/ip4/198.51.100.{n}/tcp/1/p2p/{peer}").parse::<Multiaddr>().unwrap();
        let [own, one, two] = [(); 3].map(|()| PeerId::random());
        let mut relays = Relays::new([address(1, own), "/ip4/198.51.100.9/tcp/1".parse().unwrap()]);
        let now = Instant::now();
        assert_eq!(relays.to_ask(now, false), [(own, address(1, own))]);
        relays.known.insert(one, address(2, one));
        relays.known.insert(two, address(3, two));
        let asked = relays.to_ask(now, true);
        assert_eq!((asked.len(), asked[0].0), (WANTED, own));
        relays.failed.insert(own, now);
        assert!(relays.to_ask(now, true).iter().all(|(peer, _)| *peer != own));
        assert_eq!(relays.to_ask(now + REST, false).len(), 1);
    }

    #[test]
    fn a_relay_in_the_local_network_is_asked_on_an_island_too() {
        let at = |text: &str, peer: PeerId| format!("{text}/tcp/1/p2p/{peer}").parse::<Multiaddr>().unwrap();
        let [near, other, here, far] = [(); 4].map(|()| PeerId::random());
        let mut relays = Relays::default();
        relays.known.insert(here, at("/ip4/127.0.0.1", here));
        relays.known.insert(far, at("/ip4/198.51.100.1", far));
        let now = Instant::now();
        assert!(relays.to_ask(now, false).is_empty());
        relays.known.insert(near, at("/ip4/192.168.1.9", near));
        assert_eq!(relays.to_ask(now, false), [(near, at("/ip4/192.168.1.9", near))]);
        relays.known.insert(other, at("/ip4/192.168.1.8", other));
        assert_eq!(relays.to_ask(now, false).len(), WANTED_NEAR);
        let all: HashSet<PeerId> = relays.to_ask(now, true).into_iter().map(|(peer, _)| peer).collect();
        assert!(all.len() == 3 && all.contains(&far) && all.contains(&here), "the near one takes no place of another");
        relays.failed.insert(near, now);
        relays.failed.insert(other, now);
        assert!(relays.to_ask(now, false).is_empty());
    }

    #[test]
    fn reachable_is_what_was_tested() {
        let now = Instant::now();
        let mut relays = Relays::default();
        assert_eq!(relays.reachability(false, now), Reachability::Unknown);
        (relays.failures, relays.failed_at) = (1, Some(now));
        assert_eq!(relays.reachability(false, now), Reachability::Unknown);
        assert_eq!(relays.reachability(false, now + LONELY_FAILURE), Reachability::Private);
        relays.failures = ENOUGH_FAILURES;
        assert_eq!(relays.reachability(false, now), Reachability::Private);
        relays.is_tested = true;
        assert_eq!(relays.reachability(false, now), Reachability::Public);
        relays.on_moved();
        assert_eq!(relays.reachability(false, now + LONELY_FAILURE), Reachability::Unknown);
        assert_eq!(Relays::default().reachability(true, now), Reachability::Public);
    }
}
