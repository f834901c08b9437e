//! How many bytes an app's streams move: a fair share of what all apps may together (specs/overlay.md, 2.5).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes a second of all apps together where nothing else is set.
const TOTAL_PER_SECOND: u64 = 64 * 1024 * 1024;
/// How long an app that moved something counts among those that share.
const ACTIVE_FOR: Duration = Duration::from_secs(1);
/// What an app that was quiet may move at once, in seconds of its share.
const BURST_SECONDS: f64 = 0.25;
/// Longest wait before the share is looked at again: others may have stopped.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// What all apps share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shares(Arc<Common>);

struct Common {
    /// 0: no limit.
    per_second: AtomicU64,
    next_id: AtomicU64,
    /// Apps that moved something lately. At most as many as there are apps with a token.
    active: Mutex<HashMap<u64, Instant>>,
}

impl Default for Shares {
    fn default() -> Self {
        Self(Arc::new(Common {
            per_second: AtomicU64::new(TOTAL_PER_SECOND),
            next_id: AtomicU64::new(0),
            active: Mutex::default(),
        }))
    }
}

impl Shares {
    /// Bytes a second of all apps together; 0 for no limit.
    pub(crate) fn set_total(&self, per_second: u64) {
        self.0.per_second.store(per_second, Ordering::Relaxed);
    }

    /// One app's bandwidth.
    pub(super) fn one(&self) -> Bandwidth {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        Bandwidth { shares: self.clone(), id, moved: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Bytes a second for one of those that move something; `None` for no limit.
    fn share(&self, id: u64, now: Instant) -> Option<f64> {
        let total = self.0.per_second.load(Ordering::Relaxed);
        if total == 0 {
            return None;
        }
        let mut active = lock(&self.0.active);
        active.retain(|_, at| now.saturating_duration_since(*at) < ACTIVE_FOR);
        let others = active.keys().filter(|other| **other != id).count();
        Some(total as f64 / (others + 1) as f64)
    }

    fn on_active(&self, id: u64, now: Instant) {
        lock(&self.0.active).insert(id, now);
    }

    fn forget(&self, id: u64) {
        lock(&self.0.active).remove(&id);
    }
}

/// One app's bandwidth, of all its streams together.
pub(crate) struct Bandwidth {
    shares: Shares,
    id: u64,
    moved: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that may move; below zero: moved already.
    tokens: f64,
    at: Option<Instant>,
    second: Second,
}

/// Bytes of the second that runs, and of the one before.
#[derive(Default)]
struct Second {
    start: Option<Instant>,
    now: u64,
    before: u64,
}

impl Second {
    fn turn(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        let seconds = now.saturating_duration_since(start).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.now } else { 0 };
            self.now = 0;
            self.start = Some(now);
        }
    }
}

impl Bandwidth {
    /// How long the next bytes have to wait; `None` if they need not.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let share = self.shares.share(self.id, now)?;
        let mut state = lock(&self.state);
        state.refill(share, now);
        let seconds = -state.tokens / share;
        (seconds > 0.0).then(|| Duration::from_secs_f64(seconds).clamp(Duration::from_millis(1), MAX_WAIT))
    }

    /// Bytes have moved.
    pub(crate) fn on_moved(&self, bytes: usize, now: Instant) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.shares.on_active(self.id, now);
        let mut state = lock(&self.state);
        state.tokens -= bytes as f64;
        state.second.turn(now);
        state.second.now = state.second.now.saturating_add(bytes as u64);
    }

    /// Bytes since the token is in use.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Bytes of the last whole second.
    pub(super) fn per_second(&self, now: Instant) -> u64 {
        let mut state = lock(&self.state);
        state.second.turn(now);
        state.second.before
    }
}

impl State {
    fn refill(&mut self, share: f64, now: Instant) {
        let burst = share * BURST_SECONDS;
        match self.at {
            Some(at) => {
                let gained = now.saturating_duration_since(at).as_secs_f64() * share;
                self.tokens = (self.tokens + gained).min(burst);
            }
            None => self.tokens += burst,
        }
        self.at = Some(now);
    }
}

impl Drop for Bandwidth {
    fn drop(&mut self) {
        self.shares.forget(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// What each app moves within ten seconds if all always want to, in pieces of 64 KiB.
    fn moved(apps: &[Bandwidth], start: Instant) -> Vec<u64> {
        let before: Vec<u64> = apps.iter().map(Bandwidth::moved).collect();
        for step in 0..10_000 {
            let now = start + Duration::from_millis(step);
            for app in apps {
                while app.wait(now).is_none() {
                    app.on_moved(64 * 1024, now);
                }
            }
        }
        apps.iter().zip(before).map(|(app, before)| app.moved() - before).collect()
    }

    #[test]
    fn one_app_has_everything_and_two_share_it() {
        let shares = Shares::default();
        shares.set_total(10 * MIB);
        let start = Instant::now();
        let mut apps = vec![shares.one()];
        let alone = moved(&apps, start);
        assert!((100..=104).contains(&(alone[0] / MIB)), "{alone:?}");
        apps.push(shares.one());
        let both = moved(&apps, start + Duration::from_secs(20));
        assert!(both.iter().all(|bytes| (49..=53).contains(&(bytes / MIB))), "{both:?}");
        assert_eq!(apps[0].per_second(start + Duration::from_secs(40)), 0, "it is quiet");
        apps.pop();
        let again = moved(&apps, start + Duration::from_secs(50));
        assert!(again[0] / MIB >= 100, "{again:?}");
    }

    #[test]
    fn without_a_limit_nobody_waits_and_all_is_counted() {
        let shares = Shares::default();
        shares.set_total(0);
        let (app, start) = (shares.one(), Instant::now());
        for _ in 0..1_000 {
            assert_eq!(app.wait(start), None);
            app.on_moved(1024 * 1024, start);
        }
        assert_eq!(app.moved(), 1_000 * MIB);
        assert_eq!(app.per_second(start + Duration::from_secs(1)), 1_000 * MIB);
    }
}
