//! From looking to having: once much of a drive was read, the rest of it is fetched too, many files in a request
//! (specs/drives.md, 13.4). Reading on file by file would cost a round trip for each and take longer than all of them.
//!
//! What is fetched lies in the cache of browsed drives and counts towards its quota; a drive that would take more than
//! half of it is read as before. Who reads is not held up: peers answer four bulk requests at a time, and this uses two.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use p2p_identity::ContentId;

use crate::DriveError;
use crate::browse::{Listing, PIECE_BYTES, View};
use crate::browsed::SMALL_BLOB_BYTES;
use crate::entry::{Entry, Kind};
use crate::mirror::DEFAULT_PATIENCE;
use crate::session::{FetchError, Session};
use crate::viewer::Viewer;
use crate::wire::{FileRef, MAX_FILE_BYTES_PER_REQUEST, MAX_FILES_PER_REQUEST};

/// From this part of a drive's bytes on, in percent, lazy reading is slower.
const MUCH_PERCENT: u64 = 30;
/// Requests at a time.
const AT_ONCE: usize = 2;

/// How much of a drive was read in one look.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    bytes: AtomicU64,
    is_fetching: AtomicBool,
}

impl Touched {
    /// Counts bytes of a drive that has so many in all; true once, when they become much of it.
    pub(crate) fn add(&self, bytes: u64, of: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_much = before.saturating_add(bytes).saturating_mul(100) > of.saturating_mul(MUCH_PERCENT);
        is_much && !self.is_fetching.swap(true, Ordering::Relaxed)
    }
}

/// A request's worth of work.
enum Work {
    Small(Vec<FileRef>),
    Large(Entry),
}

/// Fetches what is not here yet of the version that is looked at. Ends early where there is no room, or a peer's answer
/// cannot be had: whoever reads then asks for it.
pub(crate) async fn fetch_rest(view: View, viewer: Arc<Viewer>) {
    // What was read up to now may still be on its way to the disk, and is not to be fetched again.
    view.shared().browsed.settle().await;
    let browsed = view.shared().clone();
    let usage = tokio::task::spawn_blocking(move || browsed.browsed.usage()).await;
    if !usage.is_ok_and(|usage| view.root_bytes() <= usage.quota_bytes / 2) {
        return;
    }
    tracing::debug!(drive = %view.drive(), "much of the drive was read, the rest is fetched");
    let entries = view.clone().entries(Listing::default()).fuse();
    let work = batches(entries).map(|work| async {
        match work? {
            Work::Small(files) => fetch_small(&view, &viewer, files).await,
            Work::Large(entry) => fetch_large(&view, &entry).await,
        }
    });
    let mut done = pin!(work.buffer_unordered(AT_ONCE));
    while let Some(result) = done.next().await {
        if let Err(error) = result {
            return tracing::debug!(drive = %view.drive(), %error, "the rest is not fetched");
        }
        // Gone again, to make room for others: then it is not what people look at now.
        if !view.shared().browsed.grows() || !view.shared().browsed.has_head(&view.drive()) {
            return;
        }
    }
}

/// Files in index order, small ones together.
fn batches(
    entries: impl futures::Stream<Item = Result<Entry, DriveError>> + Unpin + Send,
) -> impl futures::Stream<Item = Result<Work, DriveError>> + Send {
    let begun = (entries, Vec::new(), None::<Entry>);
    futures::stream::unfold(begun, |(mut entries, mut files, mut large): (_, Vec<FileRef>, _)| async move {
        if let Some(entry) = large.take() {
            return Some((Ok(Work::Large(entry)), (entries, files, None)));
        }
        let mut bytes: u64 = files.iter().map(|file| file.size).sum();
        loop {
            let entry = match entries.next().await {
                None if files.is_empty() => return None,
                None => return Some((Ok(Work::Small(files)), (entries, Vec::new(), None))),
                Some(Err(error)) => return Some((Err(error), (entries, files, None))),
                Some(Ok(entry)) => entry,
            };
            let version = entry.shown();
            if version.kind != Kind::File || version.inline.is_some() {
                continue;
            }
            let file = FileRef { hash: version.hash, size: version.size };
            if version.size >= SMALL_BLOB_BYTES {
                if files.is_empty() {
                    return Some((Ok(Work::Large(entry)), (entries, files, None)));
                }
                return Some((Ok(Work::Small(files)), (entries, Vec::new(), Some(entry))));
            }
            if files.len() == MAX_FILES_PER_REQUEST || bytes + file.size > MAX_FILE_BYTES_PER_REQUEST {
                return Some((Ok(Work::Small(files)), (entries, vec![file], None)));
            }
            bytes += file.size;
            files.push(file);
        }
    })
}

async fn fetch_small(view: &View, viewer: &Viewer, files: Vec<FileRef>) -> Result<(), DriveError> {
    let (shared, drive) = (view.shared().clone(), view.drive());
    let missing = tokio::task::spawn_blocking(move || {
        let is_missing = |file: &FileRef| shared.browsed.small(&drive, &file.hash).is_none();
        files.into_iter().filter(is_missing).collect::<Vec<_>>()
    });
    let missing = missing.await?;
    if missing.is_empty() {
        return Ok(());
    }
    let fetch = |session: Arc<Session>| {
        let (missing, shared) = (missing.clone(), view.shared().clone());
        async move {
            let (present, body) = session.many(missing.clone(), &()).await?;
            let (mut body, mut kept) = (Bytes::from(body), Vec::new());
            for (file, _) in missing.iter().zip(present.iter()).filter(|(_, is_present)| *is_present) {
                let bytes = body.split_to(file.size as usize);
                if ContentId::of(&bytes) != file.hash {
                    return Err(FetchError::Lied(format!("content {} with another hash", file.hash.fmt_short())));
                }
                kept.push((file.hash, bytes));
            }
            shared.browsed.keep_small(&drive, kept);
            Ok(())
        }
    };
    viewer.ask(DEFAULT_PATIENCE, fetch).await
}

async fn fetch_large(view: &View, entry: &Entry) -> Result<(), DriveError> {
    let size = entry.shown().size;
    let reader = view.clone().reader(entry);
    let mut at = 0;
    while at < size && reader.is_kept() {
        let end = size.min(at + PIECE_BYTES);
        reader.clone().read(at..end).await?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_once_and_only_when_much_was_read() {
        let touched = Touched::default();
        assert!(!touched.add(20, 100));
        assert!(!touched.add(10, 100), "30 % is not yet more than 30 %");
        assert!(touched.add(1, 100));
        assert!(!touched.add(60, 100), "it goes on already");
        assert!(!Touched::default().add(0, 0), "an empty drive has no rest");
        Touched::default().add(u64::MAX, u64::MAX);
    }
}
