//! How many streams a peer may hold open that proved nothing yet (overlay.md, section 7, "Windows").
//!
//! A stream that is open but not read holds up to its receive window in memory, and nobody outside the muxer can count
//! those bytes. So strangers are kept small by the number of their streams: 16 times yamux's first window of 256 KiB is
//! 4 MiB a connection. On QUIC they can fill the connection's window, as windows are set per endpoint there.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::TrustedPeers;
use crate::ending::{Ending, Watch};
use crate::lingering::Lingering;

/// Inbound streams that a peer which proved nothing may have open on one connection; further ones are reset.
const MAX_UNPROVEN_STREAMS: usize = 16;
/// How long closing a connection may take: what is not away by then goes nowhere, and its streams must not wait for it.
const CLOSE_TIME: Duration = Duration::from_millis(300);
/// Streams reset in one go before others get their turn.
const MAX_RESETS_AT_ONCE: usize = 32;

/// Peers that may open as many streams as the transport allows: those that proved a drive, and those the user trusts.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProvenPeers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    trusted: TrustedPeers,
    proven: RwLock<HashSet<PeerId>>,
    refused: AtomicU64,
    lingering: Lingering,
}

impl ProvenPeers {
    /// Nobody but those who are trusted.
    pub fn new(trusted: TrustedPeers) -> Self {
        let shared = Shared { trusted, ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The peer proved something; holds until [`Self::forget`].
    pub fn prove(&self, peer: PeerId) {
        if !self.contains(&peer) {
            self.shared.proven.write().unwrap_or_else(PoisonError::into_inner).insert(peer);
        }
    }

    /// To be called when the last connection to a peer is gone, so that the set stays as small as the connections are.
    pub fn forget(&self, peer: &PeerId) {
        self.shared.proven.write().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }

    /// Whether the peer may open as many streams as the transport allows.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.shared.trusted.contains(peer)
            || self.shared.proven.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    /// Streams of strangers that were reset because they had too many open.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// A muxer that counts the streams that the other side opens.
    pub(crate) fn around<M>(&self, peer: PeerId, muxer: M) -> Counted<M> {
        let lingering = self.shared.lingering.clone();
        let (open, ending) = (Arc::default(), Ending::default());
        Counted { muxer, peer, peers: self.clone(), open, lingering, ending, closing: None }
    }
}

/// A muxer that resets streams beyond the limit while its peer has proved nothing, and closes in a bounded time.
pub(crate) struct Counted<M> {
    muxer: M,
    peer: PeerId,
    peers: ProvenPeers,
    open: Arc<AtomicUsize>,
    lingering: Lingering,
    /// Tells the streams.
    ending: Ending,
    /// When closing has taken long enough.
    closing: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<M> Counted<M> {
    /// A place for one more inbound stream.
    fn admit(&self) -> Option<Place> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.open.clone());
        if before < MAX_UNPROVEN_STREAMS || self.peers.contains(&self.peer) {
            return Some(place);
        }
        self.peers.shared.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl<M> StreamMuxer for Counted<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: AsyncRead + Unpin + Send + 'static,
{
    type Substream = CountedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        for _ in 0..MAX_RESETS_AT_ONCE {
            let stream = ready!(Pin::new(&mut self.muxer).poll_inbound(cx))?;
            if let Some(place) = self.admit() {
                let watch = self.ending.watch();
                let stream = CountedStream { stream: Some(stream), one_way: None, watch, _place: Some(place) };
                return Poll::Ready(Ok(stream));
            }
            // Dropping a stream resets it.
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.muxer).poll_outbound(cx))?;
        let one_way = Some(OneWay { is_closed: false, lingering: self.lingering.clone() });
        let watch = self.ending.watch();
        Poll::Ready(Ok(CountedStream { stream: Some(stream), one_way, watch, _place: None }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ending.end();
        if let Poll::Ready(result) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(result);
        }
        let closing = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIME)));
        closing.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

/// Frees its place when the stream ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that is counted while it lives.
pub(crate) struct CountedStream<S: AsyncRead + Unpin + Send + 'static> {
    /// There until it is dropped.
    stream: Option<S>,
    /// A stream that this side opened, while nothing has come back on it.
    one_way: Option<OneWay>,
    watch: Watch,
    _place: Option<Place>,
}

/// What is done with a stream on which nothing came back.
struct OneWay {
    /// All was said.
    is_closed: bool,
    lingering: Lingering,
}

impl<S: AsyncRead + Unpin + Send + 'static> CountedStream<S> {
    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What came of reading; waiting for more is over with the connection.
    fn read(&mut self, polled: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.one_way = None;
        }
        or_over(polled, || self.watch.reading(cx))
    }

    /// What came of writing, likewise.
    fn written<T>(&self, polled: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        or_over(polled, || self.watch.writing(cx))
    }
}

fn or_over<T>(polled: Poll<io::Result<T>>, is_over: impl FnOnce() -> io::Result<()>) -> Poll<io::Result<T>> {
    match polled {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => is_over().map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Drop for CountedStream<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(OneWay { is_closed: true, lingering })) = (self.stream.take(), self.one_way.take()) {
            lingering.read_out(stream);
        }
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> AsyncRead for CountedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_read(cx, buffer);
        self.read(polled, cx)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_read_vectored(cx, buffers);
        self.read(polled, cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for CountedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_write_vectored(cx, pieces);
        self.written(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.stream()?.poll_flush(cx);
        self.written(polled, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.stream()?.poll_close(cx);
        if let (Poll::Ready(Ok(())), Some(one_way)) = (&polled, &mut self.one_way) {
            one_way.is_closed = true;
        }
        self.written(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_few_places_and_proven_peers_all() {
        let (stranger, friend) = (PeerId::random(), PeerId::random());
        let peers = ProvenPeers::new(TrustedPeers::new([friend]));
        let muxer = peers.around(stranger, ());
        let places: Vec<_> = (0..MAX_UNPROVEN_STREAMS).map(|_| muxer.admit().unwrap()).collect();
        assert!(muxer.admit().is_none());
        assert_eq!(peers.refused(), 1);
        peers.prove(stranger);
        let more: Vec<_> = (0..100).map(|_| muxer.admit().unwrap()).collect();
        peers.forget(&stranger);
        assert!(muxer.admit().is_none());
        drop((places, more));
        assert!(muxer.admit().is_some());
        let muxer = peers.around(friend, ());
        assert!((0..100).map(|_| muxer.admit()).collect::<Option<Vec<_>>>().is_some());
        peers.forget(&friend);
        assert!(peers.contains(&friend));
    }
}
