//! Watching a shared folder: says when something in it has changed and is quiet again (specs/drives.md, 14.2).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

/// A change is taken up when nothing more has come for this long …
const QUIET: Duration = Duration::from_millis(300);
/// … or after this long, where changes never end.
const AT_MOST: Duration = Duration::from_secs(2);
/// How often the folder is looked through where the system cannot watch it.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked through although it is watched: watchers lose events.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Most paths that are told apart; after more changes than that the whole folder is looked through.
const MAX_PATHS: usize = 256;

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These paths, as the system names them, and what lies below them.
    Paths(BTreeSet<PathBuf>),
    /// Anything.
    Anything,
}

impl Touched {
    fn nothing() -> Self {
        Self::Paths(BTreeSet::new())
    }

    fn add(&mut self, event: notify::Result<Event>) {
        // An error means that events were lost.
        let paths = match event {
            Ok(event) if !event.need_rescan() && !event.paths.is_empty() => event.paths,
            _ => return *self = Self::Anything,
        };
        if let Self::Paths(known) = self {
            known.extend(paths);
            if known.len() > MAX_PATHS {
                *self = Self::Anything;
            }
        }
    }
}

/// A folder that is watched until this is dropped.
pub(crate) struct Watch {
    touched: Arc<Mutex<Touched>>,
    changed: Arc<Notify>,
    /// `None` where the system cannot watch: then the folder is looked through from time to time.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts watching a folder and everything below it. Blocks for as long as it takes to walk the folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let touched = Arc::new(Mutex::new(Touched::nothing()));
        let (tell, note) = (changed.clone(), touched.clone());
        let started = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, is_change) {
                lock(&note).add(event);
                tell.notify_one();
            }
        })
        .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::Recursive).map(|()| watcher));
        let watcher = match started {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                let seconds = POLL_EVERY.as_secs();
                let hint = match error.kind {
                    notify::ErrorKind::MaxFilesWatch => "; raising fs.inotify.max_user_watches helps",
                    _ => "",
                };
                warn!(
                    folder = %folder.display(), %error,
                    "the folder cannot be watched, it is looked through every {seconds} s{hint}"
                );
                None
            }
        };
        Self { touched, changed, watcher }
    }

    /// Waits until something has changed and is quiet again, or it is time to look anyway; says what. Cancel safe: what is
    /// not taken is told again.
    pub(crate) async fn changed(&self) -> Touched {
        let look = if self.watcher.is_some() { LOOK_EVERY } else { POLL_EVERY };
        if tokio::time::timeout(look, self.changed.notified()).await.is_err() {
            return Touched::Anything;
        }
        let deadline = Instant::now() + AT_MOST;
        while Instant::now() < deadline {
            let until = deadline.min(Instant::now() + QUIET);
            if tokio::time::timeout_at(until, self.changed.notified()).await.is_err() {
                break;
            }
        }
        std::mem::replace(&mut *lock(&self.touched), Touched::nothing())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reading is no change: our own looking through the folder would never end.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether a change is seen within some seconds.
    async fn is_seen(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn writing_renaming_and_removing_are_seen_and_reading_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/a"), "a").unwrap();
        let watch = Watch::start(folder.path());
        fs::write(folder.path().join("deep/a"), "b").unwrap();
        assert!(is_seen(&watch).await, "a write");
        fs::read(folder.path().join("deep/a")).unwrap();
        fs::read_dir(folder.path()).unwrap().for_each(drop);
        let read = tokio::time::timeout(Duration::from_millis(700), watch.changed()).await;
        assert!(read.is_err(), "reading is no change");
        fs::create_dir(folder.path().join("new")).unwrap();
        assert!(is_seen(&watch).await, "a new folder");
        fs::rename(folder.path().join("deep/a"), folder.path().join("new/b")).unwrap();
        assert!(is_seen(&watch).await, "a rename into the new folder");
        fs::remove_file(folder.path().join("new/b")).unwrap();
        assert!(is_seen(&watch).await, "a removal in the new folder");
    }

    #[tokio::test]
    async fn a_folder_that_never_rests_is_taken_up_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::start(folder.path());
        let path = folder.path().join("log");
        let writing = async {
            loop {
                fs::write(&path, "x").unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let begun = Instant::now();
        tokio::select! {
            () = writing => {}
            _ = watch.changed() => {}
        }
        assert!(begun.elapsed() >= QUIET && begun.elapsed() < AT_MOST * 2, "{:?}", begun.elapsed());
    }
}
