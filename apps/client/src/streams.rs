//! A connection that becomes a stream.

use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use p2p_api::wire::{STREAM_PATH, STREAM_PEER, UPGRADE_STREAM};
use p2p_api::{ApiError, AppStream, PathKind, Result};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use crate::client::stopped;
use crate::connection::broken;
use crate::response::Response;
use crate::{Client, RequestBody, connection};

impl Client {
    /// Asks for a stream; the connection becomes the stream.
    pub(crate) async fn upgrade<T: Serialize + Sync>(&self, path: &str, value: &T) -> Result<AppStream> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, UPGRADE_STREAM)
            .body(RequestBody::json(value)?)
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        let request = self.prepared(request);
        let stream = connection::open(self.socket()).await.map_err(|error| stopped(self.socket(), &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // What goes wrong here also goes wrong for whoever waits for the answer, and is told there.
            let _ = connection.with_upgrades().await;
        }));
        let mut answer =
            sender.send_request(request.map(RequestBody::into_body)).await.map_err(|error| broken(&error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let refused = Response::new(answer, connection).ok().await;
            return Err(refused.err().unwrap_or_else(|| ApiError::internal("the node answered, but with no stream")));
        }
        let (peer, path) = other_end(answer.headers())?;
        let upgrading: OnUpgrade = hyper::upgrade::on(&mut answer);
        let upgraded = upgrading.await.map_err(|error| broken(&error))?;
        Ok(AppStream::new(peer, path, Box::new(TokioIo::new(upgraded))))
    }
}

/// Who is there, and by which way.
fn other_end(headers: &HeaderMap) -> Result<(p2p_api::PeerId, PathKind)> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default();
    let path = match text(STREAM_PATH) {
        "lan" => Some(PathKind::Lan),
        "direct" => Some(PathKind::Direct),
        "relayed" => Some(PathKind::Relayed),
        _ => None,
    };
    match (text(STREAM_PEER).parse(), path) {
        (Ok(peer), Some(path)) => Ok((peer, path)),
        _ => Err(ApiError::internal("the node did not say whom the stream leads to")),
    }
}
