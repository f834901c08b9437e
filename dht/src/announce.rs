//! What this node provides and when it says so again: a machine without clock or I/O.
//!
//! Announcements are repeated every 12 h; on top of that soon after the addresses of this node changed, and while the
//! network is so small that each new peer may be one of the holders.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::config::REPUBLISH;

/// Changes within this time lead to one repetition.
const SETTLE: Duration = Duration::from_millis(300);
/// After the addresses changed everything is said once more: an announcement has no answer, and one on a connection that is
/// just beginning, such as that of a test of an address, may get lost.
const ONCE_MORE: Duration = Duration::from_secs(4);
/// Announcements under way at once; each is a lookup and up to 20 messages.
const MAX_RUNNING: usize = 8;

/// The machine. `K` is a key.
#[derive(Debug)]
pub(crate) struct Announcements<K> {
    provided: HashSet<K>,
    queue: VecDeque<K>,
    running: usize,
    repeat_at: Option<Instant>,
    /// The second repetition after a change of addresses.
    once_more_at: Option<Instant>,
    /// When everything is announced again in any case.
    republish_at: Instant,
}

impl<K: Clone + Eq + std::hash::Hash> Announcements<K> {
    pub(crate) fn new(now: Instant) -> Self {
        let republish_at = now + REPUBLISH;
        let (provided, queue) = (HashSet::new(), VecDeque::new());
        Self { provided, queue, running: 0, repeat_at: None, once_more_at: None, republish_at }
    }

    pub(crate) fn on_provide(&mut self, key: K) {
        self.provided.insert(key.clone());
        self.enqueue(key);
    }

    pub(crate) fn on_stop(&mut self, key: &K) {
        self.provided.remove(key);
        self.queue.retain(|queued| queued != key);
    }

    /// The addresses under which this node is announced changed.
    pub(crate) fn on_new_addresses(&mut self, now: Instant) {
        self.on_change(now);
        self.once_more_at = Some(now + ONCE_MORE);
    }

    /// Addresses may have changed, or a peer joined a small network.
    pub(crate) fn on_change(&mut self, now: Instant) {
        if !self.provided.is_empty() && self.repeat_at.is_none() {
            self.repeat_at = Some(now + SETTLE);
        }
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.repeat_at = None;
            self.once_more_at = self.once_more_at.filter(|at| *at > now);
            self.republish_at = now + REPUBLISH;
            let all: Vec<K> = self.provided.iter().cloned().collect();
            for key in all {
                self.enqueue(key);
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.provided.is_empty() {
            return None;
        }
        [self.repeat_at, self.once_more_at, Some(self.republish_at)].into_iter().flatten().min()
    }

    /// Whether a key waits and may be announced.
    pub(crate) fn is_ready(&self) -> bool {
        self.running < MAX_RUNNING && !self.queue.is_empty()
    }

    /// The next key to announce; its end is told by [`Self::on_finished`].
    pub(crate) fn poll_start(&mut self) -> Option<K> {
        if !self.is_ready() {
            return None;
        }
        let key = self.queue.pop_front()?;
        self.running += 1;
        Some(key)
    }

    pub(crate) fn on_finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    fn enqueue(&mut self, key: K) {
        if !self.queue.contains(&key) {
            self.queue.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_lead_to_one_repetition() {
        let now = Instant::now();
        let mut machine = Announcements::new(now);
        machine.on_provide(1);
        assert_eq!(machine.poll_start(), Some(1));
        machine.on_finished();
        machine.on_change(now);
        machine.on_change(now + SETTLE / 2);
        machine.on_timeout(now + SETTLE / 2);
        assert_eq!(machine.poll_start(), None);
        machine.on_timeout(now + SETTLE);
        assert_eq!(machine.poll_start(), Some(1));
        assert_eq!(machine.poll_start(), None);
        assert_eq!(machine.next_timeout(), Some(now + SETTLE + REPUBLISH));
        machine.on_timeout(now + SETTLE + REPUBLISH);
        machine.on_finished();
        assert_eq!(machine.poll_start(), Some(1), "others forget it otherwise");
        machine.on_stop(&1);
        assert_eq!(machine.next_timeout(), None);
    }

    #[test]
    fn new_addresses_are_told_twice_also_for_what_is_provided_in_between() {
        let now = Instant::now();
        let mut machine = Announcements::new(now);
        machine.on_new_addresses(now);
        assert_eq!(machine.next_timeout(), None, "there is nothing to tell");
        machine.on_provide(1);
        assert_eq!(machine.poll_start(), Some(1));
        machine.on_finished();
        assert_eq!(machine.next_timeout(), Some(now + ONCE_MORE));
        machine.on_timeout(now + ONCE_MORE);
        assert_eq!(machine.poll_start(), Some(1));
        assert_eq!(machine.next_timeout(), Some(now + ONCE_MORE + REPUBLISH));
        machine.on_new_addresses(now);
        assert_eq!(machine.next_timeout(), Some(now + SETTLE));
        machine.on_timeout(now + SETTLE);
        assert_eq!(machine.next_timeout(), Some(now + ONCE_MORE));
    }

    #[test]
    fn few_announcements_run_at_once_and_stopped_ones_are_not_repeated() {
        let mut machine = Announcements::new(Instant::now());
        for key in 0..20 {
            machine.on_provide(key);
        }
        let started: Vec<i32> = std::iter::from_fn(|| machine.poll_start()).collect();
        assert_eq!(started.len(), MAX_RUNNING);
        machine.on_stop(&8);
        machine.on_finished();
        assert_eq!(machine.poll_start(), Some(9));
    }
}
