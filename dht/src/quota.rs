//! How much a peer may store here within an hour (overlay.md 6, rule 8).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::Reject;
use crate::group::{Group, Width, group_of};

/// Bytes of values that one peer may store within an hour.
pub(crate) const MAX_BYTES_PER_PEER: usize = 1024 * 1024;
/// The same for one group of addresses: an IPv4 /24 or an IPv6 /48.
pub(crate) const MAX_BYTES_PER_GROUP: usize = 4 * 1024 * 1024;
/// Counted for each value beside its bytes, so that small ones are not free.
const OVERHEAD_BYTES: usize = 256;
/// The time over which bytes are counted.
const WINDOW: Duration = Duration::from_secs(3600);
/// Peers and groups remembered; when there are more, those whose hour is over are forgotten, then all.
const MAX_COUNTED: usize = 4096;

/// What was stored by whom.
pub(crate) struct Quotas {
    peers: Counts<PeerId>,
    groups: Counts<Group>,
}

struct Counts<K> {
    max_bytes: usize,
    by: HashMap<K, (Instant, usize)>,
}

impl Quotas {
    pub(crate) fn new() -> Self {
        Self {
            peers: Counts { max_bytes: MAX_BYTES_PER_PEER, by: HashMap::new() },
            groups: Counts { max_bytes: MAX_BYTES_PER_GROUP, by: HashMap::new() },
        }
    }

    /// How many peers and groups are counted, and the most that will be, under these names.
    pub(crate) fn rooms(&self, names: [&'static str; 2]) -> [(&'static str, usize, usize); 2] {
        let [peers, groups] = names;
        [(peers, self.peers.by.len(), MAX_COUNTED), (groups, self.groups.by.len(), MAX_COUNTED)]
    }

    /// Counts a value of a peer that is connected at these addresses, or refuses it.
    pub(crate) fn take<'a>(
        &mut self,
        now: Instant,
        peer: PeerId,
        at: impl Iterator<Item = &'a Multiaddr>,
        bytes: usize,
    ) -> Result<(), Reject> {
        let bytes = bytes.saturating_add(OVERHEAD_BYTES);
        let mut groups: Vec<_> = at.filter_map(|at| group_of(at, Width::Customer)).collect();
        groups.sort_unstable();
        groups.dedup();
        if !self.peers.has_room(now, &peer, bytes)
            || !groups.iter().all(|group| self.groups.has_room(now, group, bytes))
        {
            return Err(Reject::OverQuota);
        }
        self.peers.add(now, peer, bytes);
        groups.into_iter().for_each(|group| self.groups.add(now, group, bytes));
        Ok(())
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn has_room(&self, now: Instant, key: &K, bytes: usize) -> bool {
        match self.by.get(key) {
            Some((since, used)) if now.duration_since(*since) < WINDOW => used.saturating_add(bytes) <= self.max_bytes,
            _ => true,
        }
    }

    fn add(&mut self, now: Instant, key: K, bytes: usize) {
        if self.by.len() >= MAX_COUNTED && !self.by.contains_key(&key) {
            self.by.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if self.by.len() >= MAX_COUNTED {
                self.by.clear();
            }
        }
        let (since, used) = self.by.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *used) = (now, 0);
        }
        *used = used.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PeerId {
        let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
        bytes.extend_from_slice(&[byte; 32]);
        PeerId::from_bytes(&bytes).expect("a peer id")
    }

    #[test]
    fn a_peer_stores_a_mebibyte_an_hour() {
        let (mut quotas, now) = (Quotas::new(), Instant::now());
        let mut stored = 0;
        while quotas.take(now, peer(1), std::iter::empty(), 8_320).is_ok() {
            stored += 8_320;
        }
        assert!((1_000_000..=MAX_BYTES_PER_PEER).contains(&stored), "{stored}");
        assert!(quotas.take(now, peer(2), std::iter::empty(), 8_320).is_ok(), "others have their own");
        assert!(quotas.take(now + WINDOW, peer(1), std::iter::empty(), 8_320).is_ok(), "after an hour it may again");
    }

    #[test]
    fn many_peers_at_one_address_share_four() {
        let (mut quotas, now) = (Quotas::new(), Instant::now());
        let near: Multiaddr = "/ip4/9.9.9.1/tcp/1".parse().expect("an address");
        let local: Multiaddr = "/ip4/192.168.0.1/tcp/1".parse().expect("an address");
        let mut fill = |address: &Multiaddr| {
            let peers = (0..40).flat_map(|byte| std::iter::repeat_n(byte, 100));
            peers.filter(|byte| quotas.take(now, peer(*byte), [address].into_iter(), 8_000).is_ok()).count()
        };
        assert!(fill(&near) <= MAX_BYTES_PER_GROUP / 8_000);
        assert!(fill(&local) > 2_000, "local addresses are no group");
    }
}
