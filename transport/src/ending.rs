//! Streams hear at once that their connection is closed. What stands below tells those that read only when all that was to
//! be sent is away, and where nothing gets away any more that takes minutes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Context;

use futures::task::AtomicWaker;

/// Streams that are remembered before the first look at which of them are gone.
const FIRST_CLEAN: usize = 32;

/// The end of one connection.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    wakers: Vec<Weak<Wakers>>,
    clean_at: usize,
}

#[derive(Debug, Default)]
struct Wakers {
    reading: AtomicWaker,
    writing: AtomicWaker,
}

/// What a stream holds of it.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    wakers: Arc<Wakers>,
}

impl Ending {
    /// For one more stream. The list of streams grows to twice those that live.
    pub(crate) fn watch(&self) -> Watch {
        let wakers = Arc::new(Wakers::default());
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.wakers.len() >= streams.clean_at.max(FIRST_CLEAN) {
            streams.wakers.retain(|waker| waker.strong_count() > 0);
            streams.clean_at = streams.wakers.len() * 2;
        }
        streams.wakers.push(Arc::downgrade(&wakers));
        Watch { shared: self.shared.clone(), wakers }
    }

    /// All streams are over.
    pub(crate) fn end(&self) {
        if self.shared.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        let streams = std::mem::take(&mut *self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner));
        for wakers in streams.wakers.iter().filter_map(Weak::upgrade) {
            wakers.reading.wake();
            wakers.writing.wake();
        }
    }
}

impl Watch {
    /// To be asked when a read would wait: what has come may still be read.
    pub(crate) fn reading(&self, cx: &Context<'_>) -> io::Result<()> {
        self.wakers.reading.register(cx.waker());
        self.check()
    }

    /// To be asked when a write, flush or close would wait.
    pub(crate) fn writing(&self, cx: &Context<'_>) -> io::Result<()> {
        self.wakers.writing.register(cx.waker());
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if self.shared.is_over.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was closed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn readers_and_writers_hear_of_the_end() {
        let ending = Ending::default();
        let (one, two) = (ending.watch(), ending.watch());
        let reader = tokio::spawn(poll_fn(move |cx| match one.reading(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error.kind()),
        }));
        let writer = tokio::spawn(poll_fn(move |cx| match two.writing(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error.kind()),
        }));
        tokio::task::yield_now().await;
        ending.end();
        assert_eq!(reader.await.expect("ends"), io::ErrorKind::ConnectionAborted);
        assert_eq!(writer.await.expect("ends"), io::ErrorKind::ConnectionAborted);
        assert!(ending.watch().check().is_err(), "one that comes late");
    }

    #[test]
    fn the_list_of_streams_stays_as_small_as_the_streams_are() {
        let ending = Ending::default();
        let kept: Vec<Watch> = (0..10).map(|_| ending.watch()).collect();
        for _ in 0..10_000 {
            let _ = ending.watch();
        }
        let length = ending.shared.streams.lock().expect("nobody panicked").wakers.len();
        assert!(length <= FIRST_CLEAN, "{length} for {}", kept.len());
    }
}
