//! Streams from this node to itself, so that copying a drive that is shared from here takes the same way as copying one
//! from far away.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use p2p_identity::{PeerAddr, PeerId};

use crate::network::{DialError, Dialer, PeerStream};
use crate::serve::Server;

/// Bytes on their way between the two ends.
const PIPE_BYTES: usize = 256 * 1024;

/// A dialer that reaches this node through a pipe, and everybody else as before.
pub(crate) struct Loopback {
    me: PeerId,
    others: Arc<dyn Dialer>,
    server: OnceLock<Weak<Server>>,
}

impl Loopback {
    pub(crate) fn new(me: PeerId, others: Arc<dyn Dialer>) -> Self {
        Self { me, others, server: OnceLock::new() }
    }

    /// Who serves this node's own streams. Only the first call counts.
    pub(crate) fn serve_with(&self, server: &Arc<Server>) {
        let _ = self.server.set(Arc::downgrade(server));
    }
}

#[async_trait]
impl Dialer for Loopback {
    async fn open(&self, peer: PeerId) -> Result<PeerStream, DialError> {
        if peer != self.me {
            return self.others.open(peer).await;
        }
        let server =
            self.server.get().and_then(Weak::upgrade).ok_or_else(|| DialError("the node is stopping".into()))?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move { server.serve(peer, Box::new(far)).await });
        Ok(Box::new(near))
    }

    async fn remember(&self, address: PeerAddr) {
        self.others.remember(address).await;
    }

    async fn remember_through(&self, relay: PeerAddr, peer: PeerId) {
        self.others.remember_through(relay, peer).await;
    }

    fn own_relay(&self) -> Option<PeerAddr> {
        self.others.own_relay()
    }

    fn own_addresses(&self) -> Vec<PeerAddr> {
        self.others.own_addresses()
    }

    fn on_proven(&self, peer: PeerId) {
        self.others.on_proven(peer);
    }
}
