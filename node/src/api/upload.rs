//! A body of lines that an import reads while it answers.
//!
//! The rest of the body is read and thrown away when the import fails early: else the client, still writing, would see a
//! broken pipe in place of the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use p2p_api::wire::{MAX_LINE_BYTES, lines, parse_line};
use p2p_api::{ApiError, Change, Result};

/// Most bytes that are thrown away for the sake of an answer.
const MAX_DRAIN_BYTES: usize = 64 * 1024 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The body; whoever has a clone can read on.
#[derive(Clone)]
pub(super) struct Upload {
    body: Arc<Mutex<BodyDataStream>>,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(body.into_data_stream())) }
    }

    /// The changes, one a line of at most 64 KiB.
    pub(super) fn changes(&self) -> p2p_api::Stream<Change> {
        lines(self.clone(), MAX_LINE_BYTES).map(|line| parse_line(&line?)).boxed()
    }

    /// Reads what is left, within limits.
    pub(super) async fn drain(mut self) {
        let read = async {
            let mut left = MAX_DRAIN_BYTES;
            while let Some(Ok(bytes)) = self.next().await {
                let Some(rest) = left.checked_sub(bytes.len()) else { return };
                left = rest;
            }
        };
        // A client that is slower than that loses its answer, no more.
        let _ = tokio::time::timeout(DRAIN_TIME, read).await;
    }

    fn body(&self) -> MutexGuard<'_, BodyDataStream> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Upload {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let next = ready!(self.body().poll_next_unpin(cx));
        Poll::Ready(next.map(|bytes| bytes.map_err(|error| ApiError::invalid(format!("the list broke off: {error}")))))
    }
}
