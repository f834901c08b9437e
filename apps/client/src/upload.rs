//! What a request carries.

use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use p2p_api::{ApiError, Result, Stream};
use serde::Serialize;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The body of a request.
pub enum RequestBody {
    /// None.
    Empty,
    /// JSON text.
    Json(Bytes),
    /// Bytes as they are.
    Bytes(Bytes),
    /// Lines as they come. An error cuts the connection, so that the node never takes the list for complete.
    Lines(BoxStream<'static, Result<Bytes>>),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Json(_) => "Json",
            Self::Bytes(_) => "Bytes",
            Self::Lines(_) => "Lines",
        })
    }
}

impl RequestBody {
    /// A value as JSON.
    pub fn json<T: Serialize>(value: &T) -> Result<Self> {
        let text = serde_json::to_vec(value)
            .map_err(|error| ApiError::invalid(format!("the request cannot be written as JSON: {error}")))?;
        Ok(Self::Json(text.into()))
    }

    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Self::Json(text) | Self::Bytes(text) => Full::new(text).map_err(|never| match never {}).boxed_unsync(),
            Self::Lines(lines) => StreamBody::new(lines.map_ok(Frame::data).map_err(io::Error::other)).boxed_unsync(),
        }
    }
}

/// Where the error that cut an upload is kept: the caller is to see that one, not the broken connection.
#[derive(Clone, Default)]
pub(crate) struct UploadError(Arc<Mutex<Option<ApiError>>>);

impl UploadError {
    /// `values` as lines; the first error is remembered.
    pub(crate) fn lines<T: Serialize + Send + 'static>(&self, values: Stream<T>) -> RequestBody {
        let kept = self.clone();
        let lines = values.map(move |value| {
            let line = value.and_then(|value| line(&value));
            line.inspect_err(|error| *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone()))
        });
        RequestBody::Lines(lines.boxed())
    }

    /// The error that is to be told where `error` was met.
    pub(crate) fn or(&self, error: ApiError) -> ApiError {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(error)
    }
}

fn line<T: Serialize>(value: &T) -> Result<Bytes> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| ApiError::invalid(format!("a line cannot be written as JSON: {error}")))?;
    line.push(b'\n');
    Ok(line.into())
}
