//! How fast a peer is, and how much of it may be on its way from it at a time (specs/drives.md, 7.3).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Least bytes on their way from one peer.
const MIN_WINDOW: u64 = 512 * 1024;
/// Most bytes on their way from one peer.
const MAX_WINDOW: u64 = 64 * 1024 * 1024;
/// Before anything is known of a peer.
const FIRST_WINDOW: u64 = 4 * 1024 * 1024;
/// Most bytes of one request. Long enough that opening a stream costs nothing and its window can grow. Measured with
/// 4 MiB 2.0 s, with 16 and 32 MiB 1.9 s for 1 GiB over loopback.
pub(super) const MAX_REQUEST: u64 = 16 * 1024 * 1024;
/// Requests that share a window, or there would be a pause between one and the next.
pub(super) const REQUESTS_PER_PEER: usize = 3;
/// What both ends' disks, hashing and encryption take besides the way between them, so a round trip counts as no shorter.
/// On loopback the way takes 0.1 ms, and a window of twice that would hold a disk at 100 MB/s.
pub(super) const PIPELINE: Duration = Duration::from_millis(50);
/// Time over which a rate is taken.
const OVER: Duration = Duration::from_secs(1);
/// Least time that a rate is taken over: the first answer may come in one breath.
const AT_LEAST: Duration = Duration::from_millis(10);

/// What is known of a peer's speed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When bytes came in the last second, and how many.
    came: VecDeque<(Instant, u64)>,
    sum: u64,
    /// Since when it has something to do.
    busy_since: Option<Instant>,
    /// The last rate that was measured, in bytes a second.
    known: Option<u64>,
    round_trip: Option<Duration>,
}

impl Pace {
    /// It was asked for something.
    pub(super) fn on_request(&mut self, now: Instant) {
        self.busy_since.get_or_insert(now);
    }

    /// It has nothing to do any more: what comes later does not count as slow.
    pub(super) fn on_idle(&mut self) {
        self.busy_since = None;
        self.came.clear();
        self.sum = 0;
    }

    /// An answer began so long after its request.
    pub(super) fn on_round_trip(&mut self, took: Duration) {
        self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
    }

    /// Bytes came.
    pub(super) fn on_bytes(&mut self, bytes: u64, now: Instant) {
        /// Bytes that come within this are counted together.
        const TOGETHER: Duration = Duration::from_millis(10);
        match self.came.back_mut() {
            Some((at, sum)) if now.duration_since(*at) < TOGETHER => *sum += bytes,
            _ => self.came.push_back((now, bytes)),
        }
        self.sum += bytes;
        while let Some((at, bytes)) = self.came.front().copied()
            && now.duration_since(at) > OVER
        {
            self.sum -= bytes;
            self.came.pop_front();
        }
        self.known = Some(self.measured(now).unwrap_or_default());
    }

    /// Bytes a second; what the first window would take in a second before anything is known.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        self.measured(now).or(self.known).unwrap_or(FIRST_WINDOW)
    }

    fn measured(&self, now: Instant) -> Option<u64> {
        let (first, _) = self.came.front()?;
        let begun = self.busy_since.unwrap_or(*first).max(now.checked_sub(OVER).unwrap_or(*first));
        let over = now.duration_since(begun).max(AT_LEAST);
        Some((self.sum as f64 / over.as_secs_f64()) as u64)
    }

    /// The shortest time from a request to its answer.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or_default()
    }

    /// Bytes that may be on their way.
    pub(super) fn window(&self, now: Instant) -> u64 {
        if self.known.is_none() {
            return FIRST_WINDOW;
        }
        let over = self.round_trip().max(PIPELINE).as_secs_f64();
        ((self.rate(now) as f64 * over * 2.0) as u64).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// Bytes to ask for at a time.
    pub(super) fn request_bytes(&self, now: Instant) -> u64 {
        (self.window(now) / REQUESTS_PER_PEER as u64).min(MAX_REQUEST)
    }
}
