//! What the node answered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Incoming};
use p2p_api::wire::{MAX_ANSWER_LINE_BYTES, json_lines, lines};
use p2p_api::{ApiError, ErrorKind, Problem, Result};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::connection::broken;

/// Largest answer that is taken in one piece, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// An answer whose body may still be on its way. Dropping it closes the connection and stops the work behind it.
#[derive(Debug)]
#[must_use = "dropping it stops the work behind it"]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytestream,
}

impl Response {
    pub(crate) fn new(answer: http::Response<Incoming>, connection: AbortOnDropHandle<()>) -> Self {
        let (parts, body) = answer.into_parts();
        let body = Bytestream { body, _connection: connection };
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The answer itself if its status says success; the error in its body if not.
    pub async fn ok(self) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status;
        let body = self.bytes().await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => problem.into(),
            Err(_) => ApiError::new(kind_of(status), format!("the node answered with status {status}")),
        })
    }

    /// The whole body, at most 64 MiB.
    pub async fn bytes(self) -> Result<Bytes> {
        let mut body = self.body;
        let mut all = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece?;
            if all.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
                return Err(ApiError::internal(format!("the answer is larger than {MAX_ANSWER_BYTES} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The whole body as one JSON value.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::internal(format!("the node's answer is not what was expected: {error}")))
    }

    /// The body as one JSON value a line, as they come. An error line becomes an error and ends the stream.
    pub fn lines<T: DeserializeOwned + Send + 'static>(self) -> p2p_api::Stream<T> {
        json_lines(lines(self.body, MAX_ANSWER_LINE_BYTES))
    }

    /// The body as it comes.
    pub fn into_stream(self) -> Bytestream {
        self.body
    }
}

/// Bytes of an answer as they come. A connection that is cut is an error, never a short end.
#[derive(Debug)]
pub struct Bytestream {
    body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl Stream for Bytestream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
                // Trailers say nothing to us.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

/// The kind of an error that carries no problem document.
fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        404 => ErrorKind::NotFound,
        403 => ErrorKind::NotAllowed,
        400..500 => ErrorKind::InvalidInput,
        503 => ErrorKind::NodeStopped,
        504 => ErrorKind::TimedOut,
        _ => ErrorKind::Internal,
    }
}
