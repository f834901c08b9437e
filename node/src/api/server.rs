//! Accepting connections, and ending them.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use p2p_api::wire::MAX_HEADER_BYTES;
use p2p_api::{App, Node};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::access::Access;
use super::gate::Process;
use super::router::{Server, StreamTasks, router};

/// Open connections; more wait in the listener's queue. 1,000 readers of events and room for calls (overlay.md 10).
const MAX_CONNECTIONS: usize = 2048;
/// As many over TCP.
const MAX_TCP_CONNECTIONS: usize = 256;
/// Most header lines of a request.
const MAX_HEADERS: usize = 100;
/// How long a client may take to send a request's headers.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long answers may go on after the end was asked for.
const GOODBYE_TIME: Duration = Duration::from_secs(2);
/// Pause after a failed accept: most often there are no file descriptors left, and trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the API is served.
#[derive(Debug)]
pub struct Listeners {
    /// The local socket.
    pub socket: UnixListener,
    /// A loopback address as well, where every call needs a token.
    pub tcp: Option<TcpListener>,
}

impl From<UnixListener> for Listeners {
    fn from(socket: UnixListener) -> Self {
        Self { socket, tcp: None }
    }
}

/// Serves the API on `listeners` until `shutdown`; then finishes answers for at most two seconds and cuts what is left.
///
/// The user of this process may do everything; apps with a token what they were granted; all others get status 403. When
/// this returns, nothing of it runs any more; dropped midway it cuts all connections.
pub async fn serve(
    listeners: impl Into<Listeners>,
    node: Node,
    apps: Vec<Arc<dyn App>>,
    access: Access,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let streams = StreamTasks::default();
    let apps = apps.into_iter().map(|app| (app.name(), app)).collect();
    let server = Server { node, apps: Arc::new(apps), access, streams: streams.clone() };
    let listeners = listeners.into();
    let router_of = |process| router(server.clone()).layer(Extension(process));
    let (own, foreign) = (router_of(Process::Own), router_of(Process::Foreign));
    let tcp_port = listeners.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()).map_or(0, |address| address.port());
    let over_tcp = router_of(Process::Tcp(tcp_port));
    let permits = Permits {
        socket: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        tcp: Arc::new(Semaphore::new(MAX_TCP_CONNECTIONS)),
    };
    let mut connections = Connections::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.one_ended() => continue,
            accepted = accept(&listeners, &permits) => accepted,
        };
        match accepted {
            Ok((Accepted::Socket(stream), permit)) => {
                let router = own_or_foreign(&stream, &own, &foreign).clone();
                connections.answer(stream, router, permit);
            }
            Ok((Accepted::Tcp(stream), permit)) => connections.answer(stream, over_tcp.clone(), permit),
            Err(error) => {
                warn!(%error, "cannot accept a connection on the local socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    streams.stopping.cancel();
    streams.tasks.close();
    let ended = connections.goodbye();
    // Both have the same time.
    let _ = tokio::join!(ended, tokio::time::timeout(GOODBYE_TIME, streams.tasks.wait()));
    Ok(())
}

/// Whose process is at the other end decides which of two routers answers it.
pub(super) fn own_or_foreign<'a>(stream: &UnixStream, own: &'a Router, foreign: &'a Router) -> &'a Router {
    let me = rustix::process::getuid().as_raw();
    if stream.peer_cred().is_ok_and(|peer| peer.uid() == me) { own } else { foreign }
}

/// Connections that are being answered.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    stopping: CancellationToken,
}

impl Connections {
    /// Answers everybody at the socket, each with the router that `router_of` names. Runs until it is dropped.
    pub(super) async fn accept_at(&mut self, socket: &UnixListener, router_of: impl Fn(&UnixStream) -> Router) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = async {
                let permit = places.clone().acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((socket.accept().await?.0, permit))
            };
            let accepted = tokio::select! {
                biased;
                () = self.one_ended() => continue,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let router = router_of(&stream);
                    self.answer(stream, router, permit);
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection on the local socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn answer(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        router: Router,
        permit: OwnedSemaphorePermit,
    ) {
        self.tasks.spawn(connection(stream, router, self.stopping.clone(), permit));
    }

    /// Resolves when one has ended; never while there is none.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => log_panic(ended),
            None => std::future::pending().await,
        }
    }

    /// Finishes answers for at most two seconds and cuts what is left.
    pub(super) async fn goodbye(mut self) {
        self.stopping.cancel();
        let goodbye = async {
            while let Some(ended) = self.tasks.join_next().await {
                log_panic(ended);
            }
        };
        if tokio::time::timeout(GOODBYE_TIME, goodbye).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

enum Accepted {
    Socket(UnixStream),
    Tcp(TcpStream),
}

/// Places for connections: strangers at the TCP port take none from the socket.
struct Permits {
    socket: Arc<Semaphore>,
    tcp: Arc<Semaphore>,
}

async fn accept(listeners: &Listeners, permits: &Permits) -> io::Result<(Accepted, OwnedSemaphorePermit)> {
    let over_tcp = async {
        let Some(tcp) = &listeners.tcp else { return std::future::pending().await };
        let permit = permits.tcp.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok((Accepted::Tcp(tcp.accept().await?.0), permit))
    };
    let at_socket = async {
        let permit = permits.socket.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok((Accepted::Socket(listeners.socket.accept().await?.0), permit))
    };
    tokio::select! {
        accepted = at_socket => accepted,
        accepted = over_tcp => accepted,
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    let answering = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut answering = pin!(answering.with_upgrades());
    let ended = tokio::select! {
        ended = &mut answering => ended,
        () = stopping.cancelled() => {
            answering.as_mut().graceful_shutdown();
            answering.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection on the local socket broke off");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a handler of the local API panicked; please report this");
    }
}
