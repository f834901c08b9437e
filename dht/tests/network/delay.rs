//! A connection on which what comes takes a while.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, FutureExt};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that may be under way; more wait at the sender.
const MAX_UNDER_WAY: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;

pub(crate) struct Delayed<T> {
    inner: T,
    delay: Duration,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    has_ended: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Delayed<T> {
    pub(crate) fn new(inner: T, delay: Duration) -> Self {
        Self { inner, delay, under_way: VecDeque::new(), bytes: 0, has_ended: false, timer: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Delayed<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.delay.is_zero() {
            return Pin::new(&mut this.inner).poll_read(cx, buffer);
        }
        while !this.has_ended && this.bytes < MAX_UNDER_WAY {
            let mut chunk = vec![0; CHUNK];
            match Pin::new(&mut this.inner).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(0)) => this.has_ended = true,
                Poll::Ready(Ok(read)) => {
                    chunk.truncate(read);
                    this.bytes += read;
                    this.under_way.push_back((Instant::now() + this.delay, chunk));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let Some((due, first)) = this.under_way.front_mut() else {
            return if this.has_ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        if *due > Instant::now() {
            let due = *due;
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let taken = first.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&first[..taken]);
        first.drain(..taken);
        this.bytes -= taken;
        if first.is_empty() {
            this.under_way.pop_front();
        }
        Poll::Ready(Ok(taken))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Delayed<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }
}
