//! One connection for one call.

use std::io;
use std::path::Path;

use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use p2p_api::{ApiError, ErrorKind, Result};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use crate::response::Response;
use crate::upload::RequestBody;

pub(crate) async fn open(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket).await
}

/// Sends a request and waits for the head of the answer. The answer owns the connection: it closes when that is dropped.
pub(crate) async fn send(stream: UnixStream, request: Request<RequestBody>) -> Result<Response> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // What goes wrong here also goes wrong for whoever waits for the answer, and is told there.
        let _ = connection.await;
    }));
    let answer = sender.send_request(request.map(RequestBody::into_body)).await;
    answer.map(|answer| Response::new(answer, connection)).map_err(|error| broken(&error))
}

/// The connection broke in the middle of a call.
pub(crate) fn broken(error: &hyper::Error) -> ApiError {
    if error.is_parse() {
        return ApiError::internal(format!("what answers at the socket does not speak HTTP: {error}"));
    }
    ApiError::new(ErrorKind::NodeStopped, format!("the node cut the connection: {error}"))
        .with_hint("if it still runs, its log says why")
}
