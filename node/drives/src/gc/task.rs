//! When the collector runs, and how much of the disk it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Collected, GRAVEYARD, When, collect};
use crate::DriveError;
use crate::engine::Shared;

/// Before the first run: whoever starts a node waits for other things.
const FIRST: Duration = Duration::from_secs(120);
/// Longest rest after a stretch of work.
const MAX_REST: Duration = Duration::from_millis(200);

/// Divides a run into short stretches, between which others have their turn and it may end.
pub(crate) struct Pace {
    stop: CancellationToken,
    is_gentle: bool,
    /// Stretches until it stops by itself.
    #[cfg(test)]
    pub(crate) left: std::sync::atomic::AtomicU64,
}

impl Pace {
    /// Rests as long as it works: for work that nobody waits for.
    pub(crate) fn gentle(stop: CancellationToken) -> Self {
        Self {
            stop,
            is_gentle: true,
            #[cfg(test)]
            left: u64::MAX.into(),
        }
    }

    /// Goes on at once: somebody waits.
    pub(crate) fn brisk(stop: CancellationToken) -> Self {
        Self { is_gentle: false, ..Self::gentle(stop) }
    }

    pub(crate) fn stretch(&self) -> Instant {
        Instant::now()
    }

    /// Ends a stretch and begins the next.
    ///
    /// # Errors
    /// [`DriveError::Stopped`] when it is time to end.
    pub(crate) fn rest(&self, begun: Instant) -> Result<Instant, DriveError> {
        if self.stop.is_cancelled() {
            return Err(DriveError::Stopped);
        }
        #[cfg(test)]
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            self.stop.cancel();
            return Err(DriveError::Stopped);
        }
        if self.is_gentle {
            std::thread::sleep(begun.elapsed().min(MAX_REST));
        }
        Ok(Instant::now())
    }
}

/// Collects every hour in which something was added or dropped, until `stop`. Idle nodes do nothing.
pub(crate) async fn collect_garbage(shared: Arc<Shared>, stop: CancellationToken) {
    let mut next = tokio::time::Instant::now() + FIRST;
    let mut again = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
        }
        // A little more, so that what was condemned in one run is old enough in the next.
        next = tokio::time::Instant::now() + GRAVEYARD + Duration::from_secs(1);
        if !again && !shared.nodes.take_growth() && !shared.registry.take_drops() {
            continue;
        }
        let (working, pace) = (shared.clone(), Pace::gentle(stop.clone()));
        match tokio::task::spawn_blocking(move || collect(&working, When::Later, &pace)).await {
            Ok(Ok(done)) => {
                again = done.waiting_bytes > 0;
                report(&done);
            }
            Ok(Err(DriveError::Stopped)) | Err(_) => return,
            // A drive was taken up again meanwhile.
            Ok(Err(DriveError::Busy)) => again = true,
            Ok(Err(error)) => {
                again = true;
                tracing::warn!(%error, "what is no longer needed cannot be freed");
            }
        }
    }
}

fn report(done: &Collected) {
    if done.nodes > 0 || done.bytes > 0 {
        tracing::info!(nodes = done.nodes, bytes = done.bytes, "what no version needs was freed");
    }
}
