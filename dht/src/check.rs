//! Whether values that were put can be found by others: each is looked for once more from another side. What cannot,
//! again and again, somebody hides; it goes to a larger region from then on, and the user is told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::kad::RecordKey;

/// Publications in a row that nobody else would have found.
const FAILURES: u32 = 3;
/// Failures within this time count once: a value that changes each minute is not hidden after three.
const PERIOD: Duration = Duration::from_secs(3600);
/// How much larger the region of such a key becomes.
const WIDER: f64 = 4.0;
/// Keys with a failure that are remembered; when there are more, the oldest are forgotten.
const MAX_KEYS: usize = 4_096;

/// Checks that nobody waits for begin at most this often: of a zone of 100,000 labels each is looked at now and then.
const EVERY: Duration = Duration::from_secs(2);

/// Keys whose last check failed.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// When the next check may begin.
    next: Option<Instant>,
    failed: HashMap<RecordKey, Failed>,
}

#[derive(Debug)]
struct Failed {
    times: u32,
    last: Instant,
}

impl Checks {
    /// Whether a value that was put is to be looked for: not too often, but always where it was not found the last time.
    pub(crate) fn may_begin(&mut self, now: Instant, key: &RecordKey) -> bool {
        let is_time = self.next.is_none_or(|next| now >= next);
        if is_time {
            self.next = Some(now + EVERY);
        }
        is_time || self.failed.contains_key(key)
    }

    /// Takes note of a check. True: the value counts as hidden from now on.
    pub(crate) fn on_checked(&mut self, now: Instant, key: &RecordKey, is_found: bool) -> bool {
        if is_found {
            self.failed.remove(key);
            return false;
        }
        if self.failed.len() >= MAX_KEYS && !self.failed.contains_key(key) {
            let oldest = self.failed.iter().min_by_key(|(_, failed)| failed.last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.failed.remove(&oldest));
        }
        let Some(known) = self.failed.get_mut(key) else {
            self.failed.insert(key.clone(), Failed { times: 1, last: now });
            return false;
        };
        if now.saturating_duration_since(known.last) < PERIOD {
            return false;
        }
        known.times = known.times.saturating_add(1);
        known.last = now;
        known.times == FAILURES
    }

    /// How much larger than usual the region of a key is to be.
    pub(crate) fn factor(&self, key: &RecordKey) -> f64 {
        if self.failed.get(key).is_some_and(|failed| failed.times >= FAILURES) { WIDER } else { 1.0 }
    }

    /// How many keys are remembered, and the most that will be.
    pub(crate) fn room(&self) -> (&'static str, usize, usize) {
        ("own values that were not found again", self.failed.len(), MAX_KEYS)
    }

    /// Keys that seem to be hidden.
    pub(crate) fn hidden(&self) -> usize {
        self.failed.values().filter(|failed| failed.times >= FAILURES).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_fails_three_periods_in_a_row_goes_to_a_larger_region_until_it_is_found() {
        let (mut checks, now, key) = (Checks::default(), Instant::now(), RecordKey::from(vec![1; 32]));
        assert!(!checks.on_checked(now, &key, false));
        for _ in 0..10 {
            assert!(!checks.on_checked(now, &key, false), "all of one period");
        }
        assert!(!checks.on_checked(now + PERIOD, &key, false));
        assert_eq!((checks.factor(&key), checks.hidden()), (1.0, 0));
        assert!(checks.on_checked(now + 2 * PERIOD, &key, false));
        assert!(!checks.on_checked(now + 3 * PERIOD, &key, false), "the user is told once");
        assert_eq!((checks.factor(&key), checks.hidden()), (4.0, 1));
        assert!(!checks.on_checked(now + 4 * PERIOD, &key, true));
        assert_eq!((checks.factor(&key), checks.hidden()), (1.0, 0));
        assert!(!checks.on_checked(now + 5 * PERIOD, &key, false), "it starts anew");
    }

    #[test]
    fn many_values_at_once_are_not_all_looked_for_but_suspicious_ones_are() {
        let (mut checks, now, key) = (Checks::default(), Instant::now(), RecordKey::from(vec![1; 32]));
        let other = RecordKey::from(vec![2; 32]);
        assert!(checks.may_begin(now, &key) && !checks.may_begin(now, &key));
        checks.on_checked(now, &key, false);
        assert!(checks.may_begin(now, &key) && !checks.may_begin(now, &other));
        assert!(checks.may_begin(now + EVERY, &other));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let (mut checks, now) = (Checks::default(), Instant::now());
        for n in 0..MAX_KEYS + 10 {
            checks.on_checked(now, &RecordKey::from(n.to_be_bytes().to_vec()), false);
        }
        assert_eq!(checks.failed.len(), MAX_KEYS);
    }
}
