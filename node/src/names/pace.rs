//! How fast labels are published that nobody waits for: a zone of 100,000 labels is to be out within half a day, and neither
//! this node nor those that store it are to notice. In a large network a label is 40 to 80 messages to as many nodes, most of
//! them small: at this pace 200 to 400 a second, which hardly ever meet the same node twice in a second.

use std::time::{Duration, Instant};

/// Labels at once, as many as most zones have.
const BURST: f64 = 100.0;
/// Labels a second after that: 100,000 take five and a half hours, and are due again after twelve.
const PER_SECOND: f64 = 5.0;
/// Labels in a row that nobody stored, until there is a break: who stores them takes no more from one peer for a while.
const MAX_FAILURES: u32 = 32;
/// The first break; each that follows is twice as long, up to the longest.
const FIRST_BREAK: Duration = Duration::from_secs(60);
const LONGEST_BREAK: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    left: f64,
    at: Instant,
    failures: u32,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, at: now, failures: 0, pause: FIRST_BREAK, paused_until: None }
    }

    /// How long the next label has to wait.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.left, self.at) = ((self.left + gained).min(BURST), now);
        let missing = Duration::from_secs_f64((1.0 - self.left).max(0.0) / PER_SECOND);
        let paused = self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        missing.max(paused)
    }

    /// A label is on its way.
    pub(super) fn take(&mut self) {
        self.left -= 1.0;
    }

    /// Somebody stores a label.
    pub(super) fn on_stored(&mut self) {
        (self.failures, self.pause, self.paused_until) = (0, FIRST_BREAK, None);
    }

    /// There are others, and none of them stores it.
    pub(super) fn on_refused(&mut self, now: Instant) {
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            self.failures = 0;
            self.paused_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_BREAK);
        }
    }

    /// There are others than before.
    pub(super) fn on_new_peers(&mut self) {
        self.on_stored();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are published until then, when they take no time.
    fn published(pace: &mut Pace, from: Instant, time: Duration) -> u32 {
        let (mut now, mut count) = (from, 0);
        while now < from + time {
            match pace.wait(now) {
                Duration::ZERO => {
                    pace.take();
                    count += 1;
                }
                wait => now += wait.max(Duration::from_millis(1)),
            }
        }
        count
    }

    #[test]
    fn a_large_zone_is_out_within_half_a_day_and_a_small_one_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(published(&mut pace, start, Duration::from_millis(1)), 100);
        let half_a_day = published(&mut pace, start, Duration::from_secs(6 * 3600));
        assert!((100_000..110_000).contains(&half_a_day), "{half_a_day} in six hours");
    }

    #[test]
    fn who_is_refused_takes_breaks_that_grow_and_goes_on_when_somebody_comes() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            for _ in 0..MAX_FAILURES {
                assert_eq!(pace.wait(now), Duration::ZERO);
                pace.take();
                pace.on_refused(now);
            }
            assert_eq!(pace.wait(now), Duration::from_secs(minutes * 60));
            now += pace.wait(now);
        }
        for _ in 0..MAX_FAILURES {
            pace.on_refused(now);
        }
        assert!(pace.wait(now) > Duration::ZERO);
        pace.on_new_peers();
        assert_eq!(pace.wait(now), Duration::ZERO);
    }
}
