//! What an app does while it runs: counts, and the limits of specs/overlay.md 2.5.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use p2p_api::{ApiError, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::bandwidth::{Bandwidth, Shares};

/// Streams of one app at a time, waiting ones included. Each has two buffers of 64 KiB, 8 MiB in all.
const MAX_STREAMS: usize = 64;
/// Requests of one app in a second.
const MAX_REQUESTS_PER_SECOND: u32 = 100;

/// One life of a token.
pub(crate) struct Live {
    requests: AtomicU64,
    refused: AtomicU64,
    /// Of all its streams together.
    pub(crate) bandwidth: Bandwidth,
    second: Mutex<Second>,
    streams: Arc<Semaphore>,
    /// Ends what runs under this token.
    pub(crate) revoked: CancellationToken,
}

/// Requests of the second that runs, and of the one before.
struct Second {
    start: Instant,
    now: u32,
    before: u32,
}

/// A stream's place; free again when it is dropped.
pub(crate) struct StreamPlace {
    _permit: OwnedSemaphorePermit,
}

impl Live {
    /// A new life, with a share of the bandwidth.
    pub(super) fn new(shares: &Shares) -> Self {
        Self {
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            bandwidth: shares.one(),
            second: Mutex::new(Second { start: Instant::now(), now: 0, before: 0 }),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            revoked: CancellationToken::new(),
        }
    }

    /// One more request, if the app has not made too many.
    pub(crate) fn admit(&self, now: Instant) -> Result<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        second.turn(now);
        if second.now >= MAX_REQUESTS_PER_SECOND {
            let message =
                format!("the app has made {MAX_REQUESTS_PER_SECOND} requests within a second, that is the limit");
            return Err(ApiError::new(ErrorKind::Busy, message));
        }
        second.now += 1;
        Ok(())
    }

    pub(crate) fn on_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A place for one more stream.
    pub(crate) fn stream(&self) -> Result<StreamPlace> {
        let permit = self.streams.clone().try_acquire_owned().map_err(|_| {
            let message = format!("the app has {MAX_STREAMS} streams open, that is the limit");
            ApiError::new(ErrorKind::Busy, message).with_hint("close some first")
        })?;
        Ok(StreamPlace { _permit: permit })
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn stream_bytes(&self) -> u64 {
        self.bandwidth.moved()
    }

    pub(super) fn bytes_per_second(&self) -> u64 {
        self.bandwidth.per_second(Instant::now())
    }

    pub(super) fn streams(&self) -> u32 {
        (MAX_STREAMS - self.streams.available_permits()) as u32
    }

    pub(super) fn requests_per_second(&self) -> u32 {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        second.turn(Instant::now());
        second.before
    }
}

impl Second {
    fn turn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.now } else { 0 };
            self.now = 0;
            self.start = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn requests_and_streams_are_bounded() {
        let live = Live::new(&Shares::default());
        let start = Instant::now();
        for _ in 0..MAX_REQUESTS_PER_SECOND {
            live.admit(start).expect("within the limit");
        }
        assert_eq!(live.admit(start).expect_err("one too many").kind, ErrorKind::Busy);
        live.admit(start + Duration::from_secs(1)).expect("a new second");
        let places: Vec<_> = (0..MAX_STREAMS).map(|_| live.stream().expect("a place")).collect();
        assert!(live.stream().is_err());
        assert_eq!(live.streams() as usize, MAX_STREAMS);
        drop(places);
        assert!(live.stream().is_ok());
    }
}
