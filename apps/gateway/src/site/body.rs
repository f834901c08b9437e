//! Bytes of a drive as the body of an answer: exactly as many as announced, or an error that cuts the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use p2p_api::{ApiError, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// Bodies that may be read ahead at the same time. The others are read as they are taken, so that many slow readers
/// need little memory.
const MAX_READ_AHEAD_BODIES: usize = 32;
/// Pieces that are read ahead of the client.
const PIECES_AHEAD: usize = 4;
/// Bodies below this size are not worth a task.
const READ_AHEAD_FROM_BYTES: u64 = 256 * 1024;

/// Bytes as they come.
pub(crate) type Bytestream = BoxStream<'static, Result<Bytes>>;

/// Makes bodies. Clones share the limit on reading ahead.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    ahead: Arc<Semaphore>,
    patience: Duration,
}

impl Bodies {
    /// Bodies that wait at most `patience` for their next bytes.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { ahead: Arc::new(Semaphore::new(MAX_READ_AHEAD_BODIES)), patience }
    }

    /// The `len` bytes of `stream`; read ahead where that pays.
    pub(crate) fn exactly(&self, stream: Bytestream, len: u64) -> Bytestream {
        let checked = exactly(stream, len, self.patience);
        if len < READ_AHEAD_FROM_BYTES {
            return checked;
        }
        match self.ahead.clone().try_acquire_owned() {
            Ok(permit) => read_ahead(checked, permit),
            Err(_) => checked,
        }
    }
}

fn exactly(stream: Bytestream, len: u64, patience: Duration) -> Bytestream {
    let start = Some((stream, len));
    stream::unfold(start, move |state| async move {
        let (mut stream, missing) = state?;
        let piece = match tokio::time::timeout(patience, stream.next()).await {
            Err(_) => Err(ApiError::new(ErrorKind::TimedOut, format!("no byte came for {} s", patience.as_secs()))),
            Ok(Some(Ok(piece))) => Ok(piece),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) if missing == 0 => return None,
            Ok(None) => Err(ApiError::internal(format!("the content ends {missing} bytes early"))),
        };
        match piece {
            Err(error) => Some((Err(error), None)),
            Ok(piece) => match missing.checked_sub(piece.len() as u64) {
                Some(missing) => Some((Ok(piece), Some((stream, missing)))),
                None => Some((Err(ApiError::internal("the content is longer than announced")), None)),
            },
        }
    })
    .boxed()
}

fn read_ahead(mut stream: Bytestream, permit: OwnedSemaphorePermit) -> Bytestream {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let reading = tokio::spawn(async move {
        while let Some(piece) = stream.next().await {
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                break;
            }
        }
    });
    // The body owns the task: it ends with it.
    let start = (receiver, AbortOnDropHandle::new(reading), permit);
    stream::unfold(start, |(mut receiver, reading, permit)| async move {
        let piece = receiver.recv().await?;
        Some((piece, (receiver, reading, permit)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn pieces(sizes: &[usize]) -> Bytestream {
        let pieces: Vec<_> = sizes.iter().map(|size| Ok(Bytes::from(vec![7; *size]))).collect();
        stream::iter(pieces).boxed()
    }

    async fn read(stream: Bytestream, len: u64) -> Result<usize> {
        let bodies = Bodies::new(Duration::from_secs(30));
        bodies.exactly(stream, len).try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await
    }

    #[tokio::test]
    async fn the_announced_bytes_pass() {
        for sizes in [&[][..], &[0], &[1, 2, 3], &[300_000, 0, 300_000, 300_000]] {
            let len: usize = sizes.iter().sum();
            assert_eq!(read(pieces(sizes), len as u64).await.unwrap(), len);
        }
    }

    #[tokio::test]
    async fn too_few_and_too_many_bytes_are_errors() {
        for (sizes, len) in [(&[5][..], 6), (&[], 1), (&[5, 2], 6), (&[300_000], 300_001), (&[300_000], 299_999)] {
            assert!(read(pieces(sizes), len).await.is_err(), "{sizes:?} for {len}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_never_come_are_an_error() {
        for len in [10, 1_000_000] {
            let stalled = pieces(&[5]).chain(stream::pending()).boxed();
            assert_eq!(read(stalled, len).await.unwrap_err().kind, ErrorKind::TimedOut);
        }
    }
}
