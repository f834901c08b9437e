//! Streams of which only the first half was wanted: what was said is heard also where nobody waits for an answer.
//!
//! The name of a protocol goes out with the first bytes, and who opened the stream may drop it as soon as these are sent (a
//! DHT's announcement has no answer). Over QUIC, dropping it tells the other side to stop writing; its agreement to the
//! protocol then fails, and with it everything that was said. So such a stream is read until the other side is done with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt};

/// Streams that linger at a time; further ones are dropped at once.
const MAX_LINGERING: usize = 1_024;
/// How long the other side has. It answers within a round trip.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes read of what nobody wants; the agreement to a protocol is far shorter.
const MAX_BYTES: u64 = 4_096;

/// Counts the streams that linger. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lingering(Arc<AtomicUsize>);

impl Lingering {
    /// Reads a stream until the other side ends it, in a task of its own.
    pub(crate) fn read_out(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let lingering = self.clone();
        if lingering.0.fetch_add(1, Ordering::Relaxed) >= MAX_LINGERING {
            lingering.0.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        runtime.spawn(async move {
            let mut rest = stream.take(MAX_BYTES);
            // However it ends: there is nobody who would want to know.
            let _ = tokio::time::timeout(LINGER, futures::io::copy(&mut rest, &mut futures::io::sink())).await;
            lingering.0.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_lingers_takes_the_answer_and_ends_with_the_other_side() {
        let lingering = Lingering::default();
        let (near, mut far) = tokio::io::duplex(16);
        lingering.read_out(near.compat());
        assert_eq!(lingering.0.load(Ordering::Relaxed), 1);
        far.write_all(&[0; 1_000]).await.expect("it is read");
        far.shutdown().await.expect("closed");
        assert_eq!(far.read(&mut [0; 1]).await.expect("the other side has gone"), 0);
        while lingering.0.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_more_linger_than_there_is_room_for() {
        let lingering = Lingering::default();
        let mut open = Vec::new();
        for _ in 0..MAX_LINGERING + 10 {
            let (near, far) = tokio::io::duplex(16);
            lingering.read_out(near.compat());
            open.push(far);
        }
        assert_eq!(lingering.0.load(Ordering::Relaxed), MAX_LINGERING);
        let mut last = open.pop().expect("a stream");
        assert_eq!(last.read(&mut [0; 1]).await.expect("dropped at once"), 0);
    }
}
