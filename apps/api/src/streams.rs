//! Byte streams between apps of two nodes (overlay.md 2.3).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use p2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use utoipa::ToSchema;

use crate::node::Contract;
use crate::{ApiError, ErrorKind, PathKind, Result};

/// What every protocol of an app begins with; the id of the app that accepts it follows.
pub const APP_PROTOCOL_PREFIX: &str = "/app/";
/// Longest name of a protocol, in bytes.
pub const MAX_PROTOCOL_BYTES: usize = 128;
/// Largest datagram, in bytes: its length is a u16.
pub const MAX_DATAGRAM_BYTES: usize = u16::MAX as usize;

/// Which way a stream may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamPath {
    /// The best there is.
    #[default]
    Any,
    /// Not through a relay.
    Direct,
    /// Through others, so that the peer does not learn who asks. Not supported yet.
    Anon,
}

/// `POST /v1/streams/dial`: to whom a stream is to be opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DialStream {
    /// The peer; it is found through LAN and DHT.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// What is spoken: `/app/<id of the app over there>/…`, at most 128 bytes.
    pub protocol: String,
    /// Which way it may take.
    #[serde(default)]
    pub path: StreamPath,
    /// Seconds until it counts as failed; 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// `POST /v1/streams/listen`: what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenStream {
    /// What is spoken: `/app/<id>/…`, at most 128 bytes.
    pub protocol: String,
}

/// Checks the name of an app's protocol, and returns the app's id.
///
/// # Errors
/// It does not begin with `/app/<id>/`, is too long, or has characters other than letters, digits and `/._-`.
pub fn app_of_protocol(protocol: &str) -> Result<&str> {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"/._-".contains(&c);
    let id = protocol.strip_prefix(APP_PROTOCOL_PREFIX).and_then(|rest| rest.split_once('/')).map(|(id, _)| id);
    match id {
        Some(id)
            if !id.is_empty()
                && protocol.len() <= MAX_PROTOCOL_BYTES
                && protocol.bytes().all(is_plain)
                && !protocol.split('/').any(|part| part == "." || part == "..") =>
        {
            Ok(id)
        }
        _ => Err(ApiError::invalid(format!("{protocol:?} is no protocol of an app"))
            .with_hint("it is named like /app/<app id>/<name>/<version>, with letters, digits and ._- only")),
    }
}

/// Reads and writes at once.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream to a peer: full duplex, in order, nothing lost while it lives. Dropping it resets it.
///
/// A protocol carries its own end mark: that one side has finished writing does not always reach the other.
pub struct AppStream {
    /// Who is at the other end; authenticated.
    pub peer: PeerId,
    /// The way it takes.
    pub path: PathKind,
    io: Box<dyn Duplex>,
}

impl AppStream {
    /// A stream over some bytes.
    pub fn new(peer: PeerId, path: PathKind, io: Box<dyn Duplex>) -> Self {
        Self { peer, path, io }
    }
}

impl fmt::Debug for AppStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppStream").field("peer", &self.peer).field("path", &self.path).finish_non_exhaustive()
    }
}

impl AsyncRead for AppStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Datagrams over a stream: each is a u16 length (big-endian) and its bytes.
///
/// They come in order. The socket of a node drops the newest where the other side is too slow, so that nobody waits.
#[derive(Debug)]
pub struct Datagrams<S> {
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Datagrams<S> {
    /// Datagrams over `stream`, whose other end does the same.
    pub fn new(stream: S) -> Self {
        Self { stream }
    }

    /// Sends one. Not cancel safe: a part of it may have been written.
    ///
    /// # Errors
    /// It is larger than 65,535 bytes, or the stream broke.
    pub async fn send(&mut self, datagram: &[u8]) -> Result<()> {
        let length = u16::try_from(datagram.len()).map_err(|_| {
            ApiError::invalid(format!("a datagram of {} bytes, at most {MAX_DATAGRAM_BYTES}", datagram.len()))
        })?;
        let mut frame = BytesMut::with_capacity(2 + datagram.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(datagram);
        let sent = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| broken(&error))
    }

    /// The next one; `None` when the other side has ended. Not cancel safe.
    ///
    /// # Errors
    /// The stream broke, in the middle of a datagram too.
    pub async fn receive(&mut self) -> Result<Option<Bytes>> {
        let mut length = [0; 2];
        // The first byte alone tells an end from a break.
        if self.stream.read(&mut length[..1]).await.map_err(|error| broken(&error))? == 0 {
            return Ok(None);
        }
        let rest = async {
            self.stream.read_exact(&mut length[1..]).await?;
            let mut datagram = BytesMut::zeroed(usize::from(u16::from_be_bytes(length)));
            self.stream.read_exact(&mut datagram).await?;
            Ok(datagram.freeze())
        };
        rest.await.map(Some).map_err(|error| broken(&error))
    }
}

fn broken(error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("the stream broke: {error}"))
}

/// Streams to peers.
#[derive(Clone)]
pub struct Streams {
    pub(crate) contract: Arc<dyn Contract>,
}

impl Streams {
    /// Opens a stream to an app of another node, or of this one.
    pub async fn open(&self, dial: DialStream) -> Result<AppStream> {
        self.contract.dial_stream(dial).await
    }

    /// Waits for the next stream that a peer opens with this protocol. As long as nobody waits at most 32 of them wait,
    /// for a minute; then the protocol is not accepted any more.
    pub async fn accept(&self, protocol: &str) -> Result<AppStream> {
        self.contract.accept_stream(protocol).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_name_their_app() {
        assert_eq!(app_of_protocol("/app/chat/1").unwrap(), "chat");
        assert_eq!(app_of_protocol("/app/org.example.chat/talk/2.0").unwrap(), "org.example.chat");
        for bad in [
            "",
            "/app/",
            "/app/chat",
            "/app//1",
            "/p2pnode/drives/1",
            "app/chat/1",
            "/app/chat/a b",
            "/app/chat/../x/1",
            "/app/ü/1",
        ] {
            assert!(app_of_protocol(bad).is_err(), "{bad}");
        }
        assert!(app_of_protocol(&format!("/app/chat/{}", "x".repeat(200))).is_err());
    }

    #[tokio::test]
    async fn datagrams_keep_their_bounds() {
        let (near, far) = tokio::io::duplex(16);
        let (mut near, mut far) = (Datagrams::new(near), Datagrams::new(far));
        let large = vec![7; MAX_DATAGRAM_BYTES];
        let sending = async {
            near.send(b"").await.unwrap();
            near.send(b"one").await.unwrap();
            near.send(&large).await.unwrap();
            assert!(near.send(&vec![0; MAX_DATAGRAM_BYTES + 1]).await.is_err());
            near.stream.write_all(&[0, 5, 1]).await.unwrap();
            drop(near);
        };
        let receiving = async {
            assert_eq!(far.receive().await.unwrap().unwrap(), "");
            assert_eq!(far.receive().await.unwrap().unwrap(), "one");
            assert_eq!(far.receive().await.unwrap().unwrap(), large);
            assert!(far.receive().await.is_err(), "broken off");
        };
        tokio::join!(sending, receiving);
    }
}
