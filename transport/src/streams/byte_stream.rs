//! The stream itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};

/// How many streams of this kind a connection carries: one is open for each clone but the first.
pub(super) type InUse = Arc<()>;

/// A stream to a peer (`futures` I/O traits). Dropping it without closing resets it. While it lives its connection is in
/// use.
#[derive(Debug)]
pub struct ByteStream {
    stream: libp2p::Stream,
    /// It failed, and is asked nothing any more: one that failed while its protocol was being agreed on would panic.
    is_broken: bool,
    _in_use: InUse,
}

impl ByteStream {
    pub(super) fn new(stream: libp2p::Stream, in_use: InUse) -> Self {
        Self { stream, is_broken: false, _in_use: in_use }
    }

    /// Asks the stream, unless it has failed before.
    fn ask<T>(&mut self, ask: impl FnOnce(Pin<&mut libp2p::Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let polled = ask(Pin::new(&mut self.stream));
        self.is_broken = matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.ask(|stream| stream.poll_read(cx, buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ask(|stream| stream.poll_read_vectored(cx, bufs))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.ask(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ask(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|stream| stream.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|stream| stream.poll_close(cx))
    }
}
