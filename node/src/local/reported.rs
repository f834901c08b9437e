//! Long jobs that tell how far they are.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use p2p_api::{Result, Stream};

/// How often a long job reports.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Time over which rates are averaged.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Bytes a second over the last moments.
pub(super) struct Rate {
    since: Instant,
    bytes: u64,
    per_second: f64,
}

impl Rate {
    pub(super) fn update(&mut self, bytes: u64) -> f64 {
        let elapsed = self.since.elapsed();
        if elapsed >= RATE_WINDOW || self.per_second == 0.0 && elapsed >= REPORT_EVERY {
            self.per_second = bytes.saturating_sub(self.bytes) as f64 / elapsed.as_secs_f64();
            self.since = Instant::now();
            self.bytes = bytes;
        }
        self.per_second
    }
}

/// A job's results, and reports between them. Dropping the stream drops the job.
pub(super) fn reported<T: Send + 'static>(
    job: Stream<T>,
    mut report: impl FnMut(&mut Rate) -> Option<T> + Send + 'static,
) -> Stream<T> {
    let tick = tokio::time::interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    let steps = stream::unfold((job, tick), |(mut job, mut tick)| async move {
        let step = tokio::select! {
            biased;
            result = job.next() => Step::Result(result?),
            _ = tick.tick() => Step::Report,
        };
        Some((step, (job, tick)))
    });
    let mut rate = Rate { since: Instant::now(), bytes: 0, per_second: 0.0 };
    let told = steps.filter_map(move |step| {
        futures::future::ready(match step {
            Step::Result(result) => Some(result),
            Step::Report => report(&mut rate).map(Ok),
        })
    });
    told.boxed()
}

enum Step<T> {
    Report,
    Result(Result<T>),
}
