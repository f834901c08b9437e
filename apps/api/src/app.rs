//! What an app is to the daemon that hosts it.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::page::Page;
use crate::wire::{ErrorLine, JSON, MAX_BODY_BYTES, NDJSON, PROBLEM_JSON};
use crate::{ApiError, Node, Problem, Result};

/// Largest body of a request to an app, in bytes (overlay.md 2.2).
pub const MAX_APP_REQUEST_BYTES: usize = MAX_BODY_BYTES;

/// An app that the daemon runs: a task for its whole life, and HTTP routes under `/v1/apps/<name>/`.
///
/// It has no private door: all it gets is a [`Node`].
#[async_trait]
pub trait App: Send + Sync + 'static {
    /// Its name in paths: lower-case letters.
    fn name(&self) -> &'static str;

    /// Lives until `stop`; returns early only with an error, which the daemon logs.
    async fn run(&self, node: Node, stop: CancellationToken) -> Result<()>;

    /// Answers one request of a person or a script.
    async fn handle(&self, node: &Node, request: AppRequest) -> AppResponse;
}

/// A request below `/v1/apps/<name>/`.
#[derive(Clone, Debug)]
pub struct AppRequest {
    /// The method.
    pub method: http::Method,
    /// The path below the app's own, without a leading slash, percent-decoded.
    pub path: String,
    /// The query string without `?`, still percent-encoded.
    pub query: String,
    /// The body, at most [`MAX_APP_REQUEST_BYTES`].
    pub body: Bytes,
}

impl AppRequest {
    /// The first value of `name` in the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        crate::wire::query_value(&self.query, name)
    }

    /// The body as JSON, at most 32 levels deep.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        crate::wire::parse_line(&self.body)
    }
}

/// Bytes of an answer. An error cuts the connection, so a broken answer never looks complete.
pub type AppBody = BoxStream<'static, Result<Bytes>>;

/// An app's answer.
pub struct AppResponse {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Where the next page of a list begins; see [`crate::page`].
    pub next: Option<String>,
    /// The body.
    pub body: AppBody,
}

impl AppResponse {
    /// A list, or the part of it that was asked for.
    pub fn page<T: Serialize>(page: Page<'_, T>) -> Self {
        Self { next: page.next, ..Self::json(&page.items) }
    }

    /// One JSON value.
    pub fn json<T: Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self {
                status: 200,
                content_type: JSON,
                next: None,
                body: stream::iter([Ok(Bytes::from(bytes))]).boxed(),
            },
            Err(error) => Self::problem(ApiError::internal(format!("cannot encode the answer: {error}"))),
        }
    }

    /// One JSON value per line, as they come. An error in the stream becomes a last line `{"error": problem}`.
    pub fn lines<T: Serialize + 'static>(values: BoxStream<'static, Result<T>>) -> Self {
        let body = values.map(|value| {
            let mut line = match value {
                Ok(value) => serde_json::to_vec(&value),
                Err(error) => serde_json::to_vec(&ErrorLine { error: error.into() }),
            }
            .map_err(|error| ApiError::internal(format!("cannot encode a line: {error}")))?;
            line.push(b'\n');
            Ok(Bytes::from(line))
        });
        Self { status: 200, content_type: NDJSON, next: None, body: body.boxed() }
    }

    /// An error.
    pub fn problem(error: ApiError) -> Self {
        let problem = Problem::from(error);
        let status = problem.status;
        let bytes = serde_json::to_vec(&problem).unwrap_or_default();
        Self { status, content_type: PROBLEM_JSON, next: None, body: stream::iter([Ok(Bytes::from(bytes))]).boxed() }
    }
}
