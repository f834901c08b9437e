//! The sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use p2p_api::{ApiError, App, AppRequest, AppResponse, ErrorKind, Node, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answer::{Via, answer};
use crate::upstream::Upstream;

/// Questions over UDP that are answered at once; more are dropped, and asked again.
const MAX_QUESTIONS: usize = 256;
/// Connections over TCP at once.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Largest question, in bytes; over TCP a longer one ends the connection.
const MAX_QUESTION_BYTES: usize = 4_096;

/// Why the listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Not an address.
    #[error("dns = {0:?} is no place to listen on")]
    NoAddress(String),
    /// Not a resolver.
    #[error("dns_forward = {0:?} is neither an IP address nor off")]
    NoResolver(String),
    /// It would ask itself for ever.
    #[error("dns_forward = {0} is this listener itself")]
    Itself(SocketAddr),
    /// Others could ask there, and use this node to answer whom they like.
    #[error("dns = {0}: names are answered on loopback only")]
    NotLoopback(SocketAddr),
    /// Another program has it, or the system refuses.
    #[error("cannot listen at {at}")]
    Taken {
        /// Where.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The app.
#[derive(Debug)]
pub struct Dns {
    /// Taken when it runs.
    sockets: Mutex<Vec<(UdpSocket, TcpListener)>>,
    address: SocketAddr,
    upstream: Option<Upstream>,
}

impl Dns {
    /// Takes the sockets: `localhost:PORT` for both families, or an address with its port.
    pub fn bind(place: &str) -> std::result::Result<Self, BindError> {
        let first = match place.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => place.parse().map_err(|_| BindError::NoAddress(place.to_owned()))?,
        };
        if !first.ip().is_loopback() {
            return Err(BindError::NotLoopback(first));
        }
        let sockets = sockets(first)?;
        let address = sockets.0.local_addr().map_err(|source| BindError::Taken { at: first, source })?;
        let mut all = vec![sockets];
        if place.starts_with("localhost:") {
            // Not every computer has IPv6; the other family is enough.
            all.extend(self::sockets(SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))).ok());
        }
        Ok(Self { sockets: Mutex::new(all), address, upstream: None })
    }

    /// Has questions for names of others answered by a resolver: an IP address, with a port if it is not 53. Names below
    /// `.alt`, and those of zTLDs, never go there.
    pub fn forwarding_to(mut self, resolver: &str) -> std::result::Result<Self, BindError> {
        let upstream = Upstream::parse(resolver).ok_or_else(|| BindError::NoResolver(resolver.to_owned()))?;
        let to = upstream.address();
        if to.port() == self.address.port() && (to.ip().is_loopback() || to.ip().is_unspecified()) {
            return Err(BindError::Itself(to));
        }
        self.upstream = Some(upstream);
        Ok(self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// UDP and TCP at the same port.
fn sockets(at: SocketAddr) -> std::result::Result<(UdpSocket, TcpListener), BindError> {
    let taken = |source| BindError::Taken { at, source };
    let udp = UdpSocket::bind(at).map_err(taken)?;
    let tcp = TcpListener::bind(udp.local_addr().map_err(taken)?).map_err(taken)?;
    udp.set_nonblocking(true).map_err(taken)?;
    tcp.set_nonblocking(true).map_err(taken)?;
    Ok((udp, tcp))
}

#[async_trait]
impl App for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    async fn run(&self, node: Node, stop: CancellationToken) -> Result<()> {
        let sockets = std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        let failed = |error: io::Error| ApiError::new(ErrorKind::Io, format!("the DNS listener failed: {error}"));
        let mut servers = JoinSet::new();
        for (udp, tcp) in sockets {
            let udp = tokio::net::UdpSocket::from_std(udp).map_err(failed)?;
            let tcp = tokio::net::TcpListener::from_std(tcp).map_err(failed)?;
            servers.spawn(serve_udp(node.clone(), self.upstream, Arc::new(udp)));
            servers.spawn(serve_tcp(node.clone(), self.upstream, tcp));
        }
        stop.cancelled().await;
        servers.shutdown().await;
        Ok(())
    }

    async fn handle(&self, _: &Node, request: AppRequest) -> AppResponse {
        AppResponse::problem(ApiError::not_found(format!("the DNS listener has no {:?}", request.path)))
    }
}

async fn serve_udp(node: Node, upstream: Option<Upstream>, socket: Arc<tokio::net::UdpSocket>) {
    let mut questions = JoinSet::new();
    let mut buffer = [0; MAX_QUESTION_BYTES];
    loop {
        tokio::select! {
            Some(_) = questions.join_next(), if !questions.is_empty() => {}
            received = socket.recv_from(&mut buffer) => {
                let (len, from) = match received {
                    Ok(received) => received,
                    Err(error) => {
                        // An asker that went away is reported here on some systems.
                        tracing::debug!(%error, "a question over UDP was lost");
                        tokio::task::yield_now().await;
                        continue;
                    }
                };
                if questions.len() >= MAX_QUESTIONS {
                    continue;
                }
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                let (node, socket) = (node.clone(), socket.clone());
                questions.spawn(async move {
                    if let Some(bytes) = answer(&node, upstream.as_ref(), &bytes, Via::Udp).await {
                        let _ = socket.send_to(&bytes, from).await;
                    }
                });
            }
        }
    }
}

async fn serve_tcp(node: Node, upstream: Option<Upstream>, listener: tokio::net::TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(node.clone(), upstream, stream))),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Question after question, each behind its length.
async fn connection(node: Node, upstream: Option<Upstream>, mut stream: tokio::net::TcpStream) {
    loop {
        let question = tokio::time::timeout(IDLE, async {
            let len = usize::from(stream.read_u16().await?);
            if len > MAX_QUESTION_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut bytes = vec![0; len];
            stream.read_exact(&mut bytes).await?;
            Ok::<_, io::Error>(bytes)
        });
        let Ok(Ok(question)) = question.await else { return };
        let Some(bytes) = answer(&node, upstream.as_ref(), &question, Via::Tcp).await else { return };
        let Ok(len) = u16::try_from(bytes.len()) else { return };
        let framed = [&len.to_be_bytes(), bytes.as_slice()].concat();
        if !matches!(tokio::time::timeout(IDLE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}
