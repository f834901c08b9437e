//! Where a peer is of which nothing but its id is known: the nodes nearest to its id know it, if it answers queries itself.

use libp2p::kad::RecordKey;
use libp2p::swarm::ToSwarm;
use libp2p::{Multiaddr, PeerId};

use super::calls::Ask;
use super::reads::Purpose;
use super::{Dht, Event, QueryNumber};
use crate::store::MAX_ADDRESSES;

impl Dht {
    /// Looks for the addresses of a peer; one event tells them. It ends when the peer itself has answered, or when the nodes
    /// nearest to its id are known. Only nodes that answer queries are known so.
    pub fn find_peer(&mut self, peer: PeerId) -> QueryNumber {
        self.ask(Ask::Peer(peer))
    }

    pub(super) fn start_finding(&mut self, number: QueryNumber, peer: PeerId) {
        self.start_nearest(number, RecordKey::from(peer.to_bytes()), Purpose::Find(peer));
    }

    pub(super) fn on_searched(&mut self, query: QueryNumber, mut addresses: Vec<Multiaddr>) {
        addresses.truncate(MAX_ADDRESSES);
        self.outputs.push_back(ToSwarm::GenerateEvent(Event::Peer { query, addresses }));
    }
}
