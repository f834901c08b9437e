//! Peers as they show themselves: on the LAN, and by identify.

use std::collections::HashSet;

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify};
use p2p_dht::IdentifiedPeer;
use p2p_transport::{AddressScope, PathKind, dialable_from, path_kind, scope, with_peer};

use super::{Actor, MAX_LAN_PEERS};

impl Actor {
    pub(super) fn on_lan_peers(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut peers = HashSet::new();
        for (peer, address) in found {
            // The answer came over the link itself.
            self.guard.give(&address);
            self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address);
            peers.insert(peer);
        }
        for peer in peers {
            let near = self.with_snapshot(|snapshot| {
                snapshot.connections.values().filter(|c| path_kind(&c.address) == PathKind::Lan).count()
            });
            if near < MAX_LAN_PEERS && !self.swarm.is_connected(&peer) {
                let _ = self.swarm.dial(peer);
            }
        }
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
        let Some(remote) =
            self.with_snapshot(|s| s.connections.get(&connection).map(|c| (c.address.clone(), c.outbound)))
        else {
            return;
        };
        let mut addresses: Vec<Multiaddr> =
            info.listen_addrs.into_iter().filter(|claimed| dialable_from(&remote.0, claimed)).take(8).collect();
        if remote.1 {
            addresses.insert(0, remote.0.clone());
        }
        for address in &addresses {
            let address = with_peer(address.clone(), peer);
            self.swarm.behaviour_mut().transport.streams.book_mut().add(peer, address);
        }
        self.seek_direct(peer, remote.1, &addresses);
        if remote.1 {
            self.on_maybe_relay(peer, &info.protocols, &remote.0);
        }
        // Only a peer that we dialled is known to be reached there: whoever comes to us through a router is a server in its
        // own eyes until it has met one.
        let is_global = remote.1 && self.is_from_outside(&remote.0);
        let identified = IdentifiedPeer {
            peer,
            protocols: info.protocols,
            addresses,
            global_connections: is_global.then_some(connection).into_iter().collect(),
        };
        self.swarm.behaviour_mut().dht.on_identified(&identified);
        let mut agent = info.agent_version;
        agent.truncate(agent.char_indices().nth(64).map_or(agent.len(), |(at, _)| at));
        self.with_snapshot(|snapshot| drop(snapshot.agents.insert(peer, agent)));
        self.refresh();
    }

    /// A peer that is connected through a relay only, and names addresses of the world, may be dialled there: no hole needs
    /// to be punched. Where both have such addresses only one of them dials.
    fn seek_direct(&mut self, peer: PeerId, is_outbound: bool, addresses: &[Multiaddr]) {
        let is_in_the_world =
            self.swarm.listeners().any(|own| scope(own) == AddressScope::Global && path_kind(own) == PathKind::Direct);
        if is_outbound && is_in_the_world {
            return;
        }
        let is_relayed_only = self.with_snapshot(|snapshot| {
            let mut known = snapshot.connections.values().filter(|connection| connection.peer == peer);
            known.all(|connection| path_kind(&connection.address) == PathKind::Relayed)
        });
        if !is_relayed_only {
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
        scope(address) == AddressScope::Global
            && path_kind(address) == PathKind::Direct
            && !self.swarm.listeners().any(|own| own.iter().next() == host)
    }
}
