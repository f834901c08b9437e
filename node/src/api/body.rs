//! What comes in and goes out: parameters of paths and queries, JSON bodies within their limits, streams of lines.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::BoxStream;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use p2p_api::wire::{JSON, MAX_BODY_BYTES, parse_line};
use p2p_api::{ApiError, AppResponse, DEFAULT_TIMEOUT, Result, routes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::problem::Refusal;

/// Longest time a caller can ask us to wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Parameters of the path, decoded.
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(error) => Err(ApiError::invalid(format!("the path is not as expected: {}", error.body_text())).into()),
        }
    }
}

/// A JSON body of at most 1 MiB.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes = read_body(request.into_body()).await?;
        check_requirements(&bytes)?;
        Ok(Self(parse_line(&bytes)?))
    }
}

/// A request may name features that it cannot do without (overlay.md 2.2); there are none yet.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requires: Vec<String>,
}

fn check_requirements(body: &[u8]) -> Result<(), Refusal> {
    let requirements: Requirements = parse_line(body)?;
    match requirements.requires.first() {
        None => Ok(()),
        Some(feature) => Err(ApiError::new(
            p2p_api::ErrorKind::Unsupported,
            format!("this node does not know the feature {feature:?} that the request requires"),
        )
        .into()),
    }
}

/// All of a body of at most 1 MiB; more is refused with status 413, before memory is taken where its length is told.
pub(super) async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let too_large = || {
        let error = ApiError::invalid(format!("the body is larger than {MAX_BODY_BYTES} bytes"));
        Refusal::with_status(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    if HttpBody::size_hint(&body).lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(ApiError::invalid(format!("the body broke off: {error}")).into()),
    }
}

/// The parameters of a query; unknown ones are ignored.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    match Query::try_from_uri(uri) {
        Ok(Query(values)) => Ok(values),
        Err(error) => Err(ApiError::invalid(format!("the query is not as expected: {}", error.body_text())).into()),
    }
}

/// An id in a path.
pub(super) fn id<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| ApiError::invalid(format!("{text:?}: {error}")).into())
}

/// A time limit from a request, between nothing and a day.
pub(super) fn timeout(seconds: Option<f64>) -> Result<Duration, Refusal> {
    let Some(seconds) = seconds else { return Ok(DEFAULT_TIMEOUT) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) => Ok(timeout.min(MAX_TIMEOUT)),
        // With an exponent: some numbers have 309 digits.
        Err(_) => {
            let error = ApiError::invalid(format!("{seconds:e} seconds are no time limit"));
            let hint = format!("say how many seconds to wait, from 0 to {}", MAX_TIMEOUT.as_secs());
            Err(error.with_hint(hint).into())
        }
    }
}

/// One JSON value.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Refusal> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| ApiError::internal(format!("cannot encode the answer: {error}")))?;
    Ok(([(header::CONTENT_TYPE, JSON)], bytes).into_response())
}

/// One JSON value a line, as they come; an error becomes the last line.
pub(super) fn json_lines<T: Serialize + 'static>(values: BoxStream<'static, Result<T>>) -> Response {
    app_response(AppResponse::lines(values))
}

/// An answer that an app made. An error in its body cuts the connection.
pub(super) fn app_response(answer: AppResponse) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from_stream(answer.body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(next) = answer.next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert(routes::NEXT_CURSOR, next);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_bounded() {
        assert_eq!(timeout(None).expect("default"), DEFAULT_TIMEOUT);
        assert_eq!(timeout(Some(0.5)).expect("half a second"), Duration::from_millis(500));
        assert_eq!(timeout(Some(1e18)).expect("very long"), MAX_TIMEOUT);
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e308] {
            assert!(timeout(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_required_feature_is_refused() {
        assert!(check_requirements(br#"{"target": "x"}"#).is_ok());
        assert!(check_requirements(br#"{"requires": []}"#).is_ok());
        assert!(check_requirements(br#"{"requires": ["time-travel"]}"#).is_err());
    }
}
