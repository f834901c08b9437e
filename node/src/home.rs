//! The directory in which a node keeps its keys and data. One node at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

/// Is there while a node runs, and after one that ended without saying goodbye.
const RUNNING: &str = "running";

/// A home that this process holds.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Another node holds it.
    #[error("the home {} is in use by another node", .0.display())]
    InUse(PathBuf),
    /// It cannot be made or opened.
    #[error("cannot use the home {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Home {
    /// As [`Home::open`], but waits a moment for a holder that is going: a killed process holds its lock until the system
    /// has taken its memory back.
    pub(crate) async fn open_soon(path: &Path) -> Result<Self, HomeError> {
        /// Longer than a process of this size takes to end, shorter than anybody's patience with a plain mistake.
        const TRIES: u32 = 10;
        const PAUSE: Duration = Duration::from_millis(50);
        for _ in 0..TRIES {
            match Self::open(path) {
                Err(HomeError::InUse(_)) => tokio::time::sleep(PAUSE).await,
                result => return result,
            }
        }
        Self::open(path)
    }

    /// Makes the directory (0700) where it is missing, and locks it.
    fn open(path: &Path) -> Result<Self, HomeError> {
        let failed = |source| HomeError::Io { path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(HomeError::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Notes that a node runs here; whether the one before it ended without saying goodbye.
    pub(crate) fn begin_run(&self) -> bool {
        let marker = self.join(RUNNING);
        let was_left = marker.exists();
        if let Err(error) = File::create(&marker) {
            tracing::debug!(%error, "the start is not noted");
        }
        was_left
    }

    /// The node has said goodbye.
    pub(crate) fn end_run(&self) {
        let _ = std::fs::remove_file(self.join(RUNNING));
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_holder_and_is_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("home");
        let held = Home::open(&path).expect("free");
        assert!(matches!(Home::open(&path), Err(HomeError::InUse(_))));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        drop(held);
        Home::open(&path).expect("free again");
    }
}
