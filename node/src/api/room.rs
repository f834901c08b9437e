//! Room in an app's folder, also while a copy is on its way: a drive may turn out larger than it was said to be, and the app
//! may fill its folder meanwhile.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use p2p_api::{ApiError, ErrorKind, Result, TransferEvent};

/// How often the folder is measured during a copy.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The folder of an app and what may be in it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) app: String,
    pub(super) folder: PathBuf,
    /// Bytes.
    pub(super) quota: u64,
}

impl Room {
    /// Whether `bytes` more fit. Blocks on the disk.
    pub(super) fn require(&self, bytes: u64) -> Result<()> {
        let used = folder_bytes(&self.folder);
        if used.saturating_add(bytes) <= self.quota {
            return Ok(());
        }
        let Self { app, quota, .. } = self;
        let message =
            format!("{bytes} bytes more do not fit: the app {app} uses {used} of {quota} bytes in its folder");
        Err(full(message))
    }

    /// The events of a copy into the folder. It ends with an error, and the copy with it, as soon as more is there, or is to
    /// come, than the quota.
    pub(super) fn watch(
        self,
        events: BoxStream<'static, Result<TransferEvent>>,
    ) -> BoxStream<'static, Result<TransferEvent>> {
        self.watch_every(MEASURE_EVERY, events).boxed()
    }

    fn watch_every(
        self,
        every: Duration,
        events: BoxStream<'static, Result<TransferEvent>>,
    ) -> impl Stream<Item = Result<TransferEvent>> + Send + 'static {
        let due = Instant::now() + every;
        stream::unfold(Some((self, events, due)), move |watched| async move {
            let (room, mut events, due) = watched?;
            let event = events.next().await?;
            let total = match &event {
                Ok(TransferEvent::Progress(progress)) => progress.bytes_total,
                Ok(TransferEvent::Done { bytes, .. }) => *bytes,
                Err(_) => 0,
            };
            let now = Instant::now();
            let is_last = !matches!(event, Ok(TransferEvent::Progress(_)));
            let checked = if total > room.quota {
                let Self { app, quota, .. } = &room;
                Err(full(format!("{total} bytes do not fit: the app {app} may have {quota} bytes in its folder")))
            } else if now >= due && !is_last {
                let measured = room.clone();
                let measured = tokio::task::spawn_blocking(move || measured.require(0)).await;
                measured.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))
            } else {
                return Some((event, Some((room, events, due))));
            };
            // Without its reader the copy stops.
            Some(match checked {
                Ok(()) => (event, Some((room, events, Instant::now() + every))),
                Err(error) => (Err(error), None),
            })
        })
    }
}

fn full(message: String) -> ApiError {
    ApiError::new(ErrorKind::StorageFull, message).with_hint("ask for a larger storage_quota")
}

/// Bytes of the files below a folder; follows no links.
fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(known) if known.is_dir() => folders.push(entry.path()),
                Ok(known) => bytes = bytes.saturating_add(known.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use p2p_api::Progress;

    use super::*;

    fn progress(bytes_total: u64) -> TransferEvent {
        TransferEvent::Progress(Progress { bytes_total, ..Progress::default() })
    }

    fn room(folder: &Path) -> Room {
        Room { app: "chat".into(), folder: folder.to_owned(), quota: 1_000 }
    }

    #[tokio::test]
    async fn a_copy_ends_when_the_drive_is_larger_than_it_was_said_to_be() {
        let dir = tempfile::tempdir().expect("a folder");
        let (gone, mut is_gone) = tokio::sync::oneshot::channel::<()>();
        let events = stream::iter([10, 1_000, 1_001, 5]).map(move |total| {
            let _ = &gone;
            Ok(progress(total))
        });
        let mut events = room(dir.path()).watch(events.boxed());
        assert_eq!(events.next().await.expect("an event").expect("it fits"), progress(10));
        assert_eq!(events.next().await.expect("an event").expect("it just fits"), progress(1_000));
        assert_eq!(events.next().await.expect("an event").expect_err("too much").kind, ErrorKind::StorageFull);
        assert!(events.next().await.is_none());
        assert!(
            is_gone.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Closed),
            "it is stopped"
        );
    }

    #[tokio::test]
    async fn a_copy_ends_when_the_folder_fills_up_meanwhile() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("more");
        let events = stream::iter(0..3).then(move |n| {
            let file = file.clone();
            async move {
                std::fs::write(file, vec![0; n * 700]).expect("written");
                Ok(progress(500))
            }
        });
        let events: Vec<_> = room(dir.path()).watch_every(Duration::ZERO, events.boxed()).collect().await;
        assert_eq!(events.len(), 3);
        assert!(events[0].is_ok() && events[1].is_ok());
        assert_eq!(events[2].as_ref().expect_err("1,400 bytes").kind, ErrorKind::StorageFull);
    }
}
