//! Byte streams to peers: open one over the best path, accept those that peers open.
//!
//! One protocol name per stream. The opener chooses by path (LAN before Internet before relay) and transport (TCP
//! before QUIC for bulk); both sides learn which connection carries the stream. Each protocol has a bounded queue of
//! accepted streams: when it is full the stream is reset and counted, never dropped in silence.

mod behaviour;
mod byte_stream;
mod handler;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

pub use self::behaviour::Streams;
pub use self::byte_stream::ByteStream;
use crate::{PathKind, TransportKind};

/// Commands waiting for the behaviour; beyond that callers wait.
const COMMAND_QUEUE: usize = 64;

/// Which path a stream should take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Any connection there is.
    Any,
    /// Much data: a TCP connection if there is one. Where there is none beside QUIC, one is dialled for the streams that follow.
    Bulk,
    /// This connection and no other.
    Connection(ConnectionId),
}

/// A stream that we opened.
#[derive(Debug)]
pub struct OpenedStream {
    /// The bytes.
    pub stream: ByteStream,
    /// The connection it runs on.
    pub connection: ConnectionId,
    /// How that connection runs.
    pub path: PathKind,
    /// What carries it.
    pub transport: TransportKind,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct IncomingStream {
    /// Who opened it; authenticated by the connection.
    pub peer: PeerId,
    /// The connection it runs on.
    pub connection: ConnectionId,
    /// How that connection runs.
    pub path: PathKind,
    /// The bytes.
    pub stream: ByteStream,
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No address of the peer is known, or none answered.
    #[error("cannot reach the peer: {0}")]
    Unreachable(String),
    /// The peer does not speak the protocol, or refuses it now.
    #[error("the peer does not speak {0}")]
    Unsupported(StreamProtocol),
    /// The connection broke while the stream was being opened.
    #[error("the connection broke while the stream was being opened: {0}")]
    Broken(String),
    /// Nothing happened for too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why a protocol cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Somebody accepts it already.
    #[error("{0} is accepted by somebody else")]
    Taken(StreamProtocol),
    /// Enough protocols are accepted.
    #[error("{0} protocols are accepted already, that is the limit")]
    TooMany(usize),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

#[derive(Debug)]
pub(crate) enum Command {
    Open {
        peer: PeerId,
        protocol: StreamProtocol,
        preference: Preference,
        reply: oneshot::Sender<Result<OpenedStream, OpenError>>,
    },
    AddAddress {
        peer: PeerId,
        address: Multiaddr,
    },
    Accept {
        protocol: StreamProtocol,
        queue: usize,
        reply: oneshot::Sender<Result<mpsc::Receiver<IncomingStream>, AcceptError>>,
    },
}

/// Opens streams from anywhere in the program. Cheap to clone.
#[derive(Clone)]
pub struct StreamControl {
    commands: mpsc::Sender<Command>,
}

impl fmt::Debug for StreamControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamControl")
    }
}

impl StreamControl {
    /// Opens a stream, dialling the peer first where there is no connection. Cancel safe.
    pub async fn open(
        &self,
        peer: PeerId,
        protocol: StreamProtocol,
        preference: Preference,
        timeout: Duration,
    ) -> Result<OpenedStream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Open { peer, protocol, preference, reply };
        self.commands.send(command).await.map_err(|_| OpenError::Stopped)?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OpenError::Stopped),
            Err(_) => Err(OpenError::TimedOut(timeout)),
        }
    }

    /// Accepts a protocol from now on, on connections that are open already too, until the receiver is dropped. At most
    /// `queue` streams wait in it; further ones are reset. Cancel safe.
    pub async fn accept(
        &self,
        protocol: StreamProtocol,
        queue: usize,
    ) -> Result<mpsc::Receiver<IncomingStream>, AcceptError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Accept { protocol, queue, reply };
        self.commands.send(command).await.map_err(|_| AcceptError::Stopped)?;
        answer.await.unwrap_or(Err(AcceptError::Stopped))
    }

    /// Remembers an address of a peer for later dials. Cancel safe.
    pub async fn add_address(&self, peer: PeerId, address: Multiaddr) -> Result<(), OpenError> {
        self.commands.send(Command::AddAddress { peer, address }).await.map_err(|_| OpenError::Stopped)
    }
}

/// The protocols that are accepted right now, as the handler of every connection sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepting(Arc<RwLock<Vec<StreamProtocol>>>);

impl Accepting {
    pub(crate) fn list(&self) -> Vec<StreamProtocol> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, protocols: Vec<StreamProtocol>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = protocols;
    }
}

/// Counts of what was refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamCounters {
    /// Inbound streams reset because their protocol's queue was full.
    pub(crate) accept_queue_full: Arc<AtomicU64>,
}
