//! Peers as they show themselves: on the LAN, and by identify.

use std::collections::{HashMap, HashSet};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, identify};
use p2p_dht::IdentifiedPeer;
use p2p_transport::{AddressScope, PathKind, dialable_from, ip_of, is_global_ip, path_kind, scope, with_peer};

use super::{Actor, MAX_FOUND, MAX_LAN_PEERS};

/// Addresses of one peer in the local network.
const MAX_NEAR_ADDRESSES: usize = 8;

impl Actor {
    pub(super) fn on_lan_peers(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut peers: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
        for (peer, address) in found {
            // The answer came over the link itself.
            self.guard.give(&address);
            self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address.clone());
            peers.entry(peer).or_default().push(address);
        }
        for (peer, addresses) in peers {
            let near: HashSet<PeerId> = self.with_snapshot(|snapshot| {
                let near = snapshot.connections.values().filter(|c| path_kind(&c.address) == PathKind::Lan);
                near.map(|connection| connection.peer).collect()
            });
            if near.len() >= MAX_LAN_PEERS || near.contains(&peer) {
                continue;
            }
            // One that is reached from afar only, while it is near, is worth a better way: also while others are tried.
            let opts = DialOpts::peer_id(peer);
            let opts: DialOpts = match self.swarm.is_connected(&peer) {
                true => opts.condition(PeerCondition::Always).addresses(addresses).build(),
                false => opts.condition(PeerCondition::NotDialing).build(),
            };
            let id = opts.connection_id();
            if self.swarm.dial(opts).is_ok() {
                self.near_dials.insert(id, peer);
            }
        }
    }

    /// A neighbour does not answer where it should be.
    pub(super) fn on_no_neighbour(&mut self, peer: PeerId, error: &DialError) {
        // The kinds of errors lie deep in those of the transports, which all show them.
        let is_refused = format!("{error:?}").contains("ConnectionRefused");
        tracing::debug!(%peer, is_refused, "a neighbour does not answer");
        self.with_snapshot(|snapshot| {
            let (to, from) = match is_refused {
                true => (&mut snapshot.refusing, &mut snapshot.silent),
                false => (&mut snapshot.silent, &mut snapshot.refusing),
            };
            from.remove(&peer);
            if to.len() < MAX_FOUND {
                to.insert(peer);
            }
        });
    }

    pub(super) fn on_identified(&mut self, peer: PeerId, info: identify::Info, connection: ConnectionId) {
        let ours = format!("p2pnode/{}", self.network);
        if info.protocol_version.rsplit_once('/').is_none_or(|(name, _)| name != ours) {
            tracing::debug!(%peer, version = %info.protocol_version, "a peer of another network");
            let behaviour = self.swarm.behaviour_mut();
            behaviour.transport.streams.book_mut().forget(&peer);
            behaviour.dht.forget(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let Some(remote) = self.with_snapshot(|snapshot| snapshot.connections.get(&connection).cloned()) else {
            return;
        };
        let mut addresses: Vec<Multiaddr> =
            info.listen_addrs.into_iter().filter(|claimed| dialable_from(&remote.address, claimed)).take(8).collect();
        if remote.outbound {
            addresses.insert(0, remote.address.clone());
        }
        self.on_near(peer, &remote.address, &addresses);
        if remote.outbound && self.is_from_outside(&remote.address) {
            self.on_seen_as(&info.observed_addr);
            if !remote.from_new_port {
                self.on_observed(connection, &remote.address, &info.observed_addr);
            }
        }
        for address in &addresses {
            let address = with_peer(address.clone(), peer);
            self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address);
        }
        self.probe_router();
        self.seek_direct(peer, remote.outbound, &addresses);
        // Who came from the local network is dialled where it listens there.
        let near = self.with_snapshot(|snapshot| snapshot.near.get(&peer).and_then(|near| near.last().cloned()));
        let relay_at = if remote.outbound { Some(remote.address.clone()) } else { near };
        let protocols = info.protocols.clone();
        // Only a peer that we dialled is known to be reached there: whoever comes to us through a router is a server in its
        // own eyes until it has met one.
        let is_global = remote.outbound && self.is_from_outside(&remote.address);
        let identified = IdentifiedPeer {
            peer,
            protocols: info.protocols,
            addresses,
            global_connections: is_global.then_some(connection).into_iter().collect(),
        };
        self.swarm.behaviour_mut().dht.on_identified(&identified);
        // After the DHT has heard of it: only then is this node known to be on no island.
        if let Some(address) = relay_at {
            self.on_maybe_relay(peer, &protocols, &address);
        }
        let mut agent = info.agent_version;
        agent.truncate(agent.char_indices().nth(64).map_or(agent.len(), |(at, _)| at));
        self.with_snapshot(|snapshot| drop(snapshot.agents.insert(peer, agent)));
        self.refresh();
    }

    /// Peers that this node has dialled of its own choice, and where: not those that asked to have an address tested.
    pub(super) fn chosen(&self) -> Vec<(PeerId, Multiaddr)> {
        self.with_snapshot(|snapshot| {
            let chosen = snapshot.connections.values().filter(|known| known.outbound && !known.from_new_port);
            chosen.map(|known| (known.peer, known.address.clone())).collect()
        })
    }

    /// A peer of the local network tells where it can be dialled there: at the host at which it is, and no other.
    fn on_near(&mut self, peer: PeerId, remote: &Multiaddr, addresses: &[Multiaddr]) {
        if path_kind(remote) != PathKind::Lan || scope(remote) != AddressScope::Local {
            return;
        }
        let bare = |address: &Multiaddr| address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        let there: Vec<Multiaddr> =
            addresses.iter().filter(|address| address.iter().next() == remote.iter().next()).map(bare).collect();
        self.with_snapshot(|snapshot| {
            let known = snapshot.near.entry(peer).or_default();
            known.extend(there);
            known.sort();
            known.dedup();
            known.truncate(MAX_NEAR_ADDRESSES);
        });
        self.near_news.notify_one();
    }

    /// A peer in the world tells at which address it sees this node.
    fn on_seen_as(&mut self, address: &Multiaddr) {
        let Some(ip) = ip_of(address) else { return };
        if is_global_ip(ip) {
            self.with_snapshot(|snapshot| {
                // One of each family: what is told last counts.
                snapshot.seen_as.retain(|known| known.is_ipv4() != ip.is_ipv4());
                snapshot.seen_as.push(ip);
            });
        }
    }

    /// A peer that is connected through a relay only, and names addresses of the world, may be dialled there: no hole needs
    /// to be punched. Where both have such addresses only one of them dials.
    fn seek_direct(&mut self, peer: PeerId, is_outbound: bool, addresses: &[Multiaddr]) {
        let is_in_the_world =
            self.swarm.listeners().any(|own| scope(own) == AddressScope::Global && path_kind(own) == PathKind::Direct);
        if is_outbound && is_in_the_world {
            return;
        }
        if !self.with_snapshot(|snapshot| snapshot.is_relayed_only(&peer)) {
            return;
        }
        let is_direct =
            |address: &&Multiaddr| scope(address) == AddressScope::Global && path_kind(address) == PathKind::Direct;
        let direct: Vec<Multiaddr> = addresses.iter().filter(is_direct).cloned().collect();
        if !direct.is_empty() {
            let opts = DialOpts::peer_id(peer).addresses(direct).condition(PeerCondition::Always).build();
            let _ = self.swarm.dial(opts);
        }
    }

    /// Whether an address belongs to the world: global, direct, and not one of this computer's own. Two nodes on one
    /// server are an island as two on one laptop are.
    pub(super) fn is_from_outside(&self, address: &Multiaddr) -> bool {
        let host = address.iter().next();
        // Where a relay takes calls for this node is the relay's own address.
        let mut own = self.swarm.listeners().filter(|own| path_kind(own) != PathKind::Relayed);
        scope(address) == AddressScope::Global
            && path_kind(address) == PathKind::Direct
            && !own.any(|own| own.iter().next() == host)
    }
}
