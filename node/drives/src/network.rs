//! What drives need of the network. The engine serves these traits with the DHT and the transport; tests with pipes.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use p2p_identity::{PeerAddr, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes to and from one peer.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream to one peer.
pub type PeerStream = Box<dyn Duplex>;

/// Why a peer could not be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(pub String);

/// Opens streams of the protocol [`crate::wire::PROTOCOL`].
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Opens a stream, connecting first if need be. Cancel safe.
    async fn open(&self, peer: PeerId) -> Result<PeerStream, DialError>;

    /// Takes in an address of a peer, given by a link.
    async fn remember(&self, address: PeerAddr);

    /// Takes in that a peer is reached through a relay, given by a link.
    async fn remember_through(&self, relay: PeerAddr, peer: PeerId) {
        let _ = (relay, peer);
    }

    /// Addresses at which others reach this node, the best first, for links.
    fn own_addresses(&self) -> Vec<PeerAddr>;

    /// A relay through which this node is reached, for links; none where it needs none.
    fn own_relay(&self) -> Option<PeerAddr> {
        None
    }

    /// The peer proved that it may read a drive: it is no stranger any more.
    fn on_proven(&self, peer: PeerId);
}

/// Finds peers that have a topic, and is found.
#[async_trait]
pub trait Providers: Send + Sync + 'static {
    /// Peers that say they provide `topic`. Ends when no more will come.
    fn find(&self, topic: [u8; 32]) -> BoxStream<'static, PeerId>;

    /// Says that this node provides `topic`, and again until withdrawn.
    async fn announce(&self, topic: [u8; 32]);

    /// Stops saying so.
    async fn withdraw(&self, topic: [u8; 32]);

    /// Peers that are connected or near: worth asking by topic.
    fn neighbours(&self) -> Vec<PeerId>;
}

impl fmt::Debug for dyn Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplex")
    }
}
