//! Accepting connections, and ending them.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::entrance::Entrance;
use crate::socket::{Cut, guarded};

/// Largest block of request line and headers, in bytes. Any site can set cookies for the parent of all sites, and so
/// make the requests to the others large: see [`crate::shield::without_cookies`].
const MAX_HEADER_BYTES: usize = MAX_BUFFER_BYTES;
/// Most header lines of a request.
const MAX_HEADERS: usize = 100;
/// How long a client may take to send a request's headers, or its next request.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// Bytes that one connection may have waiting, read or written. Small, so that many slow readers stay cheap.
const MAX_BUFFER_BYTES: usize = 128 * 1024;
/// How long answers may go on after the end was asked for.
const GOODBYE_TIME: Duration = Duration::from_secs(1);
/// Pause after a failed accept: most often there are no file descriptors left, and trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers connections until `shutdown`; then finishes answers for at most a second and cuts what is left. When this
/// returns, nothing of it runs any more.
pub(crate) async fn serve(listeners: &[TcpListener], entrance: &Arc<Entrance>, shutdown: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(entrance.settings.max_connections));
    let stopping = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = accept(listeners, &permits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(connection(stream, entrance.clone(), stopping.clone(), permit));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection of a browser");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    stopping.cancel();
    let goodbye = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(GOODBYE_TIME, goodbye).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(listeners: &[TcpListener], permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let mut next: FuturesUnordered<_> = listeners.iter().map(TcpListener::accept).collect();
    match next.next().await {
        Some(accepted) => accepted.map(|(stream, _)| (stream, permit)),
        None => std::future::pending().await,
    }
}

async fn connection(
    stream: TcpStream,
    entrance: Arc<Entrance>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection was gone at once");
        return;
    }
    let cut = Cut::default();
    let io = TokioIo::new(guarded(stream, entrance.settings.write_timeout, cut.clone()));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_BUFFER_BYTES)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    let service = service_fn(move |request| {
        let entrance = entrance.clone();
        async move { Ok::<_, std::convert::Infallible>(entrance.answer(request).await) }
    });
    let mut answering = pin!(server.serve_connection(io, service));
    let ended = tokio::select! {
        ended = &mut answering => ended,
        () = stopping.cancelled() => {
            answering.as_mut().graceful_shutdown();
            answering.await
        }
    };
    if let Err(error) = ended {
        // The connection is dropped after this, and reset: neither a body nor a reader has to be waited for.
        if error.is_user() || error.is_body_write_aborted() {
            cut.set();
        }
        debug!(%error, "a connection of a browser broke off");
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "an answer of the gateway panicked; please report this");
    }
}
