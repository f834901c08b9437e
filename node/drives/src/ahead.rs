//! Looking ahead: while somebody who reads a large file takes nothing, what comes next is fetched to the disk
//! (specs/drives.md, 7.4 and 13.3). A film then plays on when the way to its peers is bad for a while.
//!
//! Who reads as fast as bytes come is never in the way of it, nor it in theirs: it works only while nobody waits.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::{BoxStream, StreamExt};
use p2p_identity::{ContentId, DriveId};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::DriveError;
use crate::browse::{PIECE_BYTES, Reader};
use crate::lock::lock;

/// How far ahead of its reader, in bytes.
pub(crate) const LOOK_AHEAD_BYTES: u64 = 32 * 1024 * 1024;
/// Parts of files below this size are fetched by the reader itself soon enough.
pub(crate) const LOOK_AHEAD_FROM_BYTES: u64 = 4 * 1024 * 1024;
/// A reader that took nothing for this long leaves the way free.
const IDLE: Duration = Duration::from_millis(300);
/// Files that are fetched ahead at the same time; a piece of each is in memory.
const MAX_FILES: usize = 4;

/// Files that are being looked ahead in: one reader of each, and few at a time, however many read.
#[derive(Default)]
pub(crate) struct AheadFiles(Mutex<HashSet<(DriveId, ContentId)>>);

impl AheadFiles {
    fn begin(self: &Arc<Self>, file: (DriveId, ContentId)) -> Option<Place> {
        let mut files = lock(&self.0);
        let is_free = files.len() < MAX_FILES && files.insert(file);
        is_free.then(|| Place { files: self.clone(), file })
    }
}

/// A file's place among them, until this is dropped.
struct Place {
    files: Arc<AheadFiles>,
    file: (DriveId, ContentId),
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.files.0).remove(&self.file);
    }
}

/// Where a reader is.
struct Pace {
    /// First byte that it has not taken.
    at: u64,
    /// Whether it waits for bytes now.
    is_waiting: bool,
    /// When it last asked for bytes.
    asked: Instant,
}

impl Pace {
    fn is_idle(&self) -> bool {
        !self.is_waiting && self.asked.elapsed() >= IDLE
    }
}

/// Bytes `start..end` of a file as they are read, with somebody who looks ahead.
pub(crate) fn look_ahead(
    reader: Arc<Reader>,
    start: u64,
    end: u64,
    bytes: BoxStream<'static, Result<Bytes, DriveError>>,
) -> BoxStream<'static, Result<Bytes, DriveError>> {
    let pace = Arc::new(Mutex::new(Pace { at: start, is_waiting: false, asked: Instant::now() }));
    let task = AbortOnDropHandle::new(tokio::spawn(run(reader, end, pace.clone())));
    Watched { bytes, pace, _task: task }.boxed()
}

/// Ends with the file, or with the first piece that cannot be had.
async fn run(reader: Arc<Reader>, end: u64, pace: Arc<Mutex<Pace>>) {
    let mut next = 0;
    let mut place = None;
    loop {
        let (at, is_idle) = {
            let pace = lock(&pace);
            (pace.at, pace.is_idle())
        };
        // From where it stands: what it has asked for itself may never come.
        next = next.max(at / PIECE_BYTES * PIECE_BYTES);
        if next >= end {
            return;
        }
        let is_far = next >= at.saturating_add(LOOK_AHEAD_BYTES);
        if !is_idle || is_far || !reader.is_kept() {
            place = None;
            tokio::time::sleep(IDLE).await;
            continue;
        }
        if place.is_none() {
            place = reader.ahead_files().begin(reader.file());
        }
        if place.is_none() {
            tokio::time::sleep(IDLE).await;
            continue;
        }
        let piece = next..end.min(next + PIECE_BYTES);
        next = piece.end;
        if let Err(error) = reader.clone().read(piece).await {
            return tracing::debug!(%error, "looking ahead ends");
        }
    }
}

/// A stream whose reader is watched.
struct Watched {
    bytes: BoxStream<'static, Result<Bytes, DriveError>>,
    pace: Arc<Mutex<Pace>>,
    _task: AbortOnDropHandle<()>,
}

impl Stream for Watched {
    type Item = Result<Bytes, DriveError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.bytes.poll_next_unpin(cx);
        let mut pace = lock(&self.pace);
        pace.asked = Instant::now();
        pace.is_waiting = polled.is_pending();
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            pace.at += bytes.len() as u64;
        }
        drop(pace);
        polled
    }
}
