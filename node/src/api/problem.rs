//! Errors as RFC 9457 problem JSON.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use p2p_api::wire::PROBLEM_JSON;
use p2p_api::{ApiError, ErrorKind, Problem};

/// Seconds after which a caller may try again when there was too much at once.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Refusal(Problem);

impl Refusal {
    /// An error with another status than that of its kind.
    pub(super) fn with_status(status: StatusCode, error: ApiError) -> Self {
        Self(Problem { status: status.as_u16(), ..Problem::from(error) })
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if matches!(self.0.code, ErrorKind::Busy | ErrorKind::NodeStopped) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}
