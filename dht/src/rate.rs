//! How many requests a peer may send within a second (overlay.md, section 7, "kad requests").
//!
//! Kademlia answers every request before anybody is asked, so a single one cannot be refused: a peer over its rate is
//! disconnected. What it used up is remembered, so that coming back does not help.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use crate::group::{Group, Width, group_of};

/// A burst, in seconds of its rate.
const BURST_SECONDS: f64 = 5.0;
/// Peers and groups whose rate is remembered; when there are more, those whose bucket is full are forgotten, then all.
const MAX_COUNTED: usize = 4_096;

/// Why a peer was disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverRate {
    /// It sent too much itself.
    Peer,
    /// It, and others at neighbouring addresses, sent too much.
    Group,
}

/// Peers disconnected so far, by reason. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Floods(Arc<[AtomicU64; 2]>);

impl Floods {
    /// Every reason with its count.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        let [peer, group] = &*self.0;
        [("peer_rate", peer.load(Ordering::Relaxed)), ("group_rate", group.load(Ordering::Relaxed))]
    }

    pub(crate) fn count(&self, reason: OverRate) {
        let [peer, group] = &*self.0;
        let counter = match reason {
            OverRate::Peer => peer,
            OverRate::Group => group,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whom the user trusts; contacts come and go, so it is asked each time.
pub type Trusted = Arc<dyn Fn(&PeerId) -> bool + Send + Sync>;

/// Requests by peer and by group of addresses.
pub(crate) struct RequestRates {
    trusted: Trusted,
    peers: Rates<PeerId>,
    groups: Rates<Group>,
}

struct Rates<K> {
    /// 0: no limit.
    per_second: f64,
    by: HashMap<K, Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RequestRates {
    /// How many peers and groups are counted, and the most that will be.
    pub(crate) fn rooms(&self) -> [(&'static str, usize, usize); 2] {
        [
            ("peers with a rate of requests", self.peers.by.len(), MAX_COUNTED),
            ("address groups with a rate of requests", self.groups.by.len(), MAX_COUNTED),
        ]
    }

    pub(crate) fn new(per_peer: u32, per_group: u32, trusted: Trusted) -> Self {
        let rates = |per_second: u32| f64::from(per_second);
        Self {
            trusted,
            peers: Rates { per_second: rates(per_peer), by: HashMap::new() },
            groups: Rates { per_second: rates(per_group), by: HashMap::new() },
        }
    }

    /// Counts a request of a peer that is connected at these addresses.
    pub(crate) fn take<'a>(
        &mut self,
        now: Instant,
        peer: &PeerId,
        at: impl Iterator<Item = &'a Multiaddr>,
    ) -> Result<(), OverRate> {
        if (self.trusted)(peer) {
            return Ok(());
        }
        if !self.peers.take(now, *peer) {
            return Err(OverRate::Peer);
        }
        let mut groups: Vec<_> = at.filter_map(|at| group_of(at, Width::Customer)).collect();
        groups.sort_unstable();
        groups.dedup();
        let is_within = groups.into_iter().all(|group| self.groups.take(now, group));
        if is_within { Ok(()) } else { Err(OverRate::Group) }
    }
}

impl<K: Copy + Eq + Hash> Rates<K> {
    fn take(&mut self, now: Instant, key: K) -> bool {
        if self.per_second <= 0.0 {
            return true;
        }
        let (rate, burst) = (self.per_second, self.per_second * BURST_SECONDS);
        if self.by.len() >= MAX_COUNTED && !self.by.contains_key(&key) {
            self.by.retain(|_, bucket| bucket.refill(rate, burst, now) < burst);
            if self.by.len() >= MAX_COUNTED {
                self.by.clear();
            }
        }
        let bucket = self.by.entry(key).or_insert(Bucket { tokens: burst, at: now });
        let is_enough = bucket.refill(rate, burst, now) >= 1.0;
        if is_enough {
            bucket.tokens -= 1.0;
        }
        is_enough
    }
}

impl Bucket {
    fn refill(&mut self, rate: f64, burst: f64, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(burst);
        self.at = now;
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rates(trusted: &[PeerId]) -> RequestRates {
        let trusted = trusted.to_vec();
        RequestRates::new(20, 50, Arc::new(move |peer| trusted.contains(peer)))
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_peer_has_a_hundred_at_once_and_twenty_a_second() {
        let (friend, peer) = (PeerId::random(), PeerId::random());
        let (mut rates, start) = (rates(&[friend]), Instant::now());
        let mut sent = |peer, now| (0..1_000).take_while(|_| rates.take(now, peer, std::iter::empty()).is_ok()).count();
        assert_eq!(sent(&peer, start), 100);
        assert_eq!(sent(&peer, start), 0, "it is remembered");
        assert_eq!(sent(&peer, start + Duration::from_secs(1)), 20);
        assert_eq!(sent(&friend, start), 1_000, "whom the user trusts has no rate");
    }

    #[test]
    fn many_peers_at_neighbouring_global_addresses_share_a_rate() {
        let (mut rates, now) = (rates(&[]), Instant::now());
        let mut sent = |text: &dyn Fn(u32) -> String| {
            let at: Vec<Multiaddr> = (0..100).map(|n| address(&text(n))).collect();
            let outcomes = at.iter().flat_map(|at| {
                let peer = PeerId::random();
                (0..10).map(move |_| (at, peer))
            });
            let outcomes: Vec<_> = outcomes.map(|(at, peer)| rates.take(now, &peer, std::iter::once(at))).collect();
            assert!(outcomes.iter().all(|outcome| *outcome != Err(OverRate::Peer)));
            outcomes.iter().filter(|outcome| outcome.is_ok()).count()
        };
        assert_eq!(sent(&|n| format!("/ip4/9.9.9.{n}/tcp/1")), 250);
        assert_eq!(sent(&|n| format!("/ip6/2606:4700:1:{n}::1/tcp/1")), 250);
        assert_eq!(sent(&|n| format!("/ip4/192.168.7.{n}/tcp/1")), 1_000, "local addresses are no group");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let (mut rates, now) = (rates(&[]), Instant::now());
        for _ in 0..2 * MAX_COUNTED {
            let _ = rates.take(now, &PeerId::random(), std::iter::empty());
        }
        assert!(rates.peers.by.len() <= MAX_COUNTED);
    }
}
