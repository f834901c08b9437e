//! How many bytes travel, by peer and drive.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use p2p_identity::{DriveId, PeerAddr, PeerId};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};

use crate::network::{DialError, Dialer, PeerStream};

/// Most pairs of peer and drive that are remembered; streams that are open count on.
const MAX_FLOWS: usize = 4_096;

/// Bytes between this node and one peer for one drive.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
}

/// A snapshot of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The peer.
    pub peer: PeerId,
    /// The drive.
    pub drive: DriveId,
    /// Bytes sent since the start.
    pub sent: u64,
    /// Bytes received since the start.
    pub received: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    meters: Mutex<HashMap<(PeerId, DriveId), Arc<Meter>>>,
}

impl Traffic {
    /// How many flows are counted, and the most that will be.
    pub(crate) fn room(&self) -> (&'static str, usize, usize) {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        ("flows between a peer and a drive", meters.len(), MAX_FLOWS)
    }

    /// The counters of a peer and a drive.
    pub(crate) fn meter(&self, peer: PeerId, drive: DriveId) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= MAX_FLOWS && !meters.contains_key(&(peer, drive)) {
            meters.retain(|_, meter| Arc::strong_count(meter) > 1);
        }
        if meters.len() >= MAX_FLOWS {
            // All are in use: this one is counted for nobody.
            return meters.get(&(peer, drive)).cloned().unwrap_or_default();
        }
        meters.entry((peer, drive)).or_default().clone()
    }

    /// What has travelled so far.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flows: Vec<Flow> = meters
            .iter()
            .map(|((peer, drive), meter)| Flow {
                peer: *peer,
                drive: *drive,
                sent: meter.sent.load(Ordering::Relaxed),
                received: meter.received.load(Ordering::Relaxed),
            })
            .collect();
        flows.sort_by_key(|flow| (flow.peer, flow.drive));
        flows
    }
}

impl Meter {
    /// From here on what goes through the stream is counted.
    pub(crate) fn watch(self: &Arc<Self>, stream: &mut PeerStream) {
        let inner = std::mem::replace(stream, Box::new(io::empty()));
        *stream = Box::new(Metered { inner, meter: self.clone() });
    }
}

/// Opens streams for one drive, and counts what goes through them.
pub(crate) struct MeteredDialer {
    dialer: Arc<dyn Dialer>,
    traffic: Arc<Traffic>,
    drive: DriveId,
}

impl MeteredDialer {
    pub(crate) fn new(dialer: &Arc<dyn Dialer>, traffic: &Arc<Traffic>, drive: DriveId) -> Self {
        Self { dialer: dialer.clone(), traffic: traffic.clone(), drive }
    }
}

#[async_trait]
impl Dialer for MeteredDialer {
    async fn open(&self, peer: PeerId) -> Result<PeerStream, DialError> {
        let mut stream = self.dialer.open(peer).await?;
        self.traffic.meter(peer, self.drive).watch(&mut stream);
        Ok(stream)
    }

    async fn remember(&self, address: PeerAddr) {
        self.dialer.remember(address).await;
    }

    async fn remember_through(&self, relay: PeerAddr, peer: PeerId) {
        self.dialer.remember_through(relay, peer).await;
    }

    fn own_relay(&self) -> Option<PeerAddr> {
        self.dialer.own_relay()
    }

    fn own_addresses(&self) -> Vec<PeerAddr> {
        self.dialer.own_addresses()
    }

    fn on_proven(&self, peer: PeerId) {
        self.dialer.on_proven(peer);
    }
}

/// A stream whose bytes are counted.
struct Metered {
    inner: PeerStream,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.meter.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.meter.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_are_counted_for_their_peer_and_drive() {
        let traffic = Traffic::default();
        let (peer, drive) = (PeerId::from([1; 32]), DriveId::from([2; 32]));
        let (near, mut far) = io::duplex(64);
        let mut stream: PeerStream = Box::new(near);
        traffic.meter(peer, drive).watch(&mut stream);
        stream.write_all(b"hello").await.unwrap();
        far.write_all(b"you").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(traffic.flows(), [Flow { peer, drive, sent: 5, received: 3 }]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let traffic = Traffic::default();
        let held = traffic.meter(PeerId::from([9; 32]), DriveId::from([9; 32]));
        held.sent.store(7, Ordering::Relaxed);
        for number in 0..MAX_FLOWS as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            traffic.meter(PeerId::from([1; 32]), DriveId::from(id));
        }
        let flows = traffic.flows();
        assert!(flows.len() <= MAX_FLOWS && flows.iter().any(|flow| flow.sent == 7), "{}", flows.len());
    }
}
