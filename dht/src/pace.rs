//! How fast this node asks others, so that it stays below the rate at which they would disconnect it (`rate.rs`).
//!
//! In a small network every lookup asks the same few peers: whoever publishes a zone of a thousand labels, or lets an app
//! look up a hundred values a second, sends each of them thousands of requests. In a large one they spread by themselves,
//! and the pace grows with the table.

use std::time::{Duration, Instant};

/// Requests a second that one peer gets from this node, and at once: three quarters of what it takes, as Kademlia sends
/// some of its own.
const PER_SECOND: f64 = 15.0;
const BURST: f64 = 75.0;
/// Peers that one lookup asks, about.
const PEERS_ASKED: usize = 20;

/// Tokens, each good for one request to each of the peers asked.
#[derive(Debug)]
pub(crate) struct Pace {
    tokens: f64,
    at: Instant,
    factor: f64,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now, factor: 1.0 }
    }

    /// Whether something that costs every peer so many requests may start now.
    pub(crate) fn take(&mut self, now: Instant, requests: u32) -> bool {
        self.refill(now);
        let is_enough = self.tokens >= f64::from(requests);
        if is_enough {
            self.tokens -= f64::from(requests);
        }
        is_enough
    }

    /// When that will be.
    pub(crate) fn ready_at(&self, requests: u32) -> Instant {
        let missing = (f64::from(requests) - self.tokens).max(0.0);
        self.at + Duration::from_secs_f64(missing / (PER_SECOND * self.factor))
    }

    /// There are so many peers in the table.
    pub(crate) fn on_table(&mut self, now: Instant, peers: usize) {
        self.refill(now);
        self.factor = (peers / PEERS_ASKED).max(1) as f64;
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND * self.factor;
        self.tokens = (self.tokens + gained).min(BURST * self.factor);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_a_steady_pace_that_grows_with_the_network() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut started = |now| (0..1_000).take_while(|_| pace.take(now, 3)).count();
        assert_eq!(started(start), 25);
        assert_eq!(started(start + Duration::from_secs(1)), 5);
        pace.on_table(start + Duration::from_secs(1), 200);
        let mut started = |now| (0..10_000).take_while(|_| pace.take(now, 1)).count();
        assert_eq!(started(start + Duration::from_secs(2)), 150);
    }

    #[test]
    fn it_says_when_the_next_one_may_start() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        while pace.take(start, 3) {}
        let at = pace.ready_at(3);
        assert!(at > start && at <= start + Duration::from_millis(201));
        assert!(pace.take(at + Duration::from_millis(1), 3));
    }
}
