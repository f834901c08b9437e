//! What a peer may cost us in an hour.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Over what is counted.
const WINDOW: Duration = Duration::from_secs(3600);
/// Revocations that were not known and turned out to be worth nothing; a good one cost its maker days, and does not count.
pub(super) const MAX_UNKNOWN: u32 = 10;
/// Exchanges that a peer may begin.
pub(super) const MAX_EXCHANGES: u32 = 60;
/// Peers remembered, the latest ones.
const MAX_PEERS: usize = 4_096;

/// What each peer has cost.
#[derive(Debug, Default)]
pub(super) struct Budget {
    peers: HashMap<PeerId, Spent>,
}

#[derive(Debug)]
struct Spent {
    since: Instant,
    unknown: u32,
    exchanges: u32,
}

impl Budget {
    /// Whether one more unknown revocation of this peer may be judged.
    pub(super) fn take_unknown(&mut self, peer: PeerId, now: Instant) -> bool {
        let spent = self.of(peer, now);
        let is_left = spent.unknown < MAX_UNKNOWN;
        spent.unknown += u32::from(is_left);
        is_left
    }

    /// The revocation was good.
    pub(super) fn give_back(&mut self, peer: PeerId, now: Instant) {
        let spent = self.of(peer, now);
        spent.unknown = spent.unknown.saturating_sub(1);
    }

    /// Whether the peer may begin one more exchange.
    pub(super) fn take_exchange(&mut self, peer: PeerId, now: Instant) -> bool {
        let spent = self.of(peer, now);
        let is_left = spent.exchanges < MAX_EXCHANGES;
        spent.exchanges += u32::from(is_left);
        is_left
    }

    fn of(&mut self, peer: PeerId, now: Instant) -> &mut Spent {
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            self.peers.retain(|_, spent| now.saturating_duration_since(spent.since) < WINDOW);
            let oldest = self.peers.iter().min_by_key(|(_, spent)| spent.since).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| self.peers.len() >= MAX_PEERS) {
                self.peers.remove(&oldest);
            }
        }
        let new = || Spent { since: now, unknown: 0, exchanges: 0 };
        let spent = self.peers.entry(peer).or_insert_with(new);
        if now.saturating_duration_since(spent.since) >= WINDOW {
            *spent = new();
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_bad_ones_an_hour_and_good_ones_do_not_count() {
        let (mut budget, peer, start) = (Budget::default(), PeerId::random(), Instant::now());
        for _ in 0..100 {
            assert!(budget.take_unknown(peer, start));
            budget.give_back(peer, start);
        }
        let judged = (0..100).filter(|_| budget.take_unknown(peer, start)).count();
        assert_eq!(judged, 10);
        assert!(budget.take_unknown(PeerId::random(), start), "others are not concerned");
        assert!(!budget.take_unknown(peer, start + WINDOW - Duration::from_secs(1)));
        assert!(budget.take_unknown(peer, start + WINDOW));
    }

    #[test]
    fn peers_without_end_are_not_remembered() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        for n in 0..MAX_PEERS as u32 + 100 {
            assert!(budget.take_exchange(PeerId::random(), start + Duration::from_millis(u64::from(n))));
        }
        assert_eq!(budget.peers.len(), MAX_PEERS);
    }
}
