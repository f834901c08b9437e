//! Addresses of peers that we may want to dial: given by a link, a person, the LAN, or remembered.

use std::collections::{HashMap, VecDeque};

use libp2p::{Multiaddr, PeerId};

/// Most peers in the book; the one added longest ago leaves first.
const MAX_PEERS: usize = 1_024;
/// Most addresses of one peer; the one added longest ago leaves first.
const MAX_ADDRESSES_PER_PEER: usize = 8;

/// A bounded address book.
#[derive(Debug, Default)]
pub struct AddressBook {
    addresses: HashMap<PeerId, Vec<Multiaddr>>,
    order: VecDeque<PeerId>,
}

impl AddressBook {
    /// Adds an address of a peer; knows it already if this returns `false`.
    pub fn add(&mut self, peer: PeerId, address: Multiaddr) -> bool {
        let known = self.addresses.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            Vec::new()
        });
        if known.contains(&address) {
            return false;
        }
        if known.len() == MAX_ADDRESSES_PER_PEER {
            known.remove(0);
        }
        known.push(address);
        if self.order.len() > MAX_PEERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.addresses.remove(&oldest);
        }
        true
    }

    /// Its name, how many peers are in it, and the most that will be.
    pub fn room(&self) -> (&'static str, usize, usize) {
        ("peers in the address book", self.addresses.len(), MAX_PEERS)
    }

    /// Forgets a peer.
    pub fn forget(&mut self, peer: &PeerId) {
        if self.addresses.remove(peer).is_some() {
            self.order.retain(|known| known != peer);
        }
    }

    /// Addresses of a peer, oldest first.
    pub fn of(&self, peer: &PeerId) -> &[Multiaddr] {
        self.addresses.get(peer).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_forgets_the_oldest_and_stays_bounded() {
        let mut book = AddressBook::default();
        let first = PeerId::random();
        for port in 0..20u16 {
            book.add(first, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("a multiaddr"));
        }
        assert_eq!(book.of(&first).len(), MAX_ADDRESSES_PER_PEER);
        for _ in 0..MAX_PEERS {
            book.add(PeerId::random(), "/ip4/127.0.0.1/tcp/1".parse().expect("a multiaddr"));
        }
        assert!(book.of(&first).is_empty());
        assert_eq!(book.addresses.len(), MAX_PEERS);
    }
}
