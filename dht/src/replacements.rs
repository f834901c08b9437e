//! Servers for which a bucket had no room (overlay.md 6, rule 4): one of them may have the place of a peer that is gone. Who
//! is in the table and alive stays there, however many come later.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId};

/// Servers that wait for a place in one bucket; the one heard of longest ago leaves for a new one.
const PER_BUCKET: usize = 10;
/// Most that wait.
pub(crate) const MAX_REPLACEMENTS: usize = PER_BUCKET * 256;

/// Who waits, by bucket; who was heard of last is last.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    buckets: HashMap<u32, Vec<(PeerId, Vec<Multiaddr>)>>,
}

impl Replacements {
    /// A server found no room.
    pub(crate) fn add(&mut self, bucket: u32, peer: PeerId, addresses: Vec<Multiaddr>) {
        let waiting = self.buckets.entry(bucket).or_default();
        waiting.retain(|(known, _)| *known != peer);
        if waiting.len() >= PER_BUCKET {
            waiting.remove(0);
        }
        waiting.push((peer, addresses));
    }

    /// It has a place, or is no server any more.
    pub(crate) fn remove(&mut self, bucket: u32, peer: &PeerId) {
        let Some(waiting) = self.buckets.get_mut(&bucket) else { return };
        waiting.retain(|(known, _)| known != peer);
        if waiting.is_empty() {
            self.buckets.remove(&bucket);
        }
    }

    /// Takes out the one of those that are connected that was heard of longest ago.
    pub(crate) fn take_connected(
        &mut self,
        bucket: u32,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let waiting = self.buckets.get_mut(&bucket)?;
        let at = waiting.iter().position(|(peer, _)| is_connected(peer))?;
        Some(waiting.remove(at))
    }

    /// Takes out the one that was heard of last: of those that may be gone it is the likeliest to answer.
    pub(crate) fn take_newest(&mut self, bucket: u32) -> Option<(PeerId, Vec<Multiaddr>)> {
        self.buckets.get_mut(&bucket)?.pop()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.buckets.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wait_for_a_bucket_and_who_came_last_is_kept() {
        let mut replacements = Replacements::default();
        let peers: Vec<PeerId> = std::iter::repeat_with(PeerId::random).take(30).collect();
        for peer in peers.iter().chain(&peers[25..]) {
            replacements.add(3, *peer, Vec::new());
            replacements.add(4, peers[0], Vec::new());
        }
        assert_eq!(replacements.len(), PER_BUCKET + 1);
        let connected = replacements.take_connected(3, |peer| *peer == peers[22] || *peer == peers[23]);
        assert_eq!(connected.map(|(peer, _)| peer), Some(peers[22]), "the older one");
        replacements.remove(3, &peers[29]);
        assert_eq!(replacements.take_newest(3).map(|(peer, _)| peer), Some(peers[28]));
        assert_eq!(replacements.take_connected(3, |_| false), None);
        assert_eq!(replacements.take_newest(5), None);
    }
}
