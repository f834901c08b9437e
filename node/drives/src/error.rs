//! Why a call on drives failed.

use std::io;
use std::path::PathBuf;

use p2p_identity::{DriveId, KeystoreError, WriterKey};

use crate::store::{CacheError, LedgerError, PackError};

/// Why a call on drives failed. Each variant says what was tried; the hint for people is the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// This node does not know the drive.
    #[error("drive {0} is not known here")]
    UnknownDrive(DriveId),
    /// There is no such path in the drive.
    #[error("there is no {0:?} in this drive")]
    NoSuchPath(String),
    /// The path is a folder, or not a folder, where the other is needed.
    #[error("{path:?} is {is}")]
    WrongKind {
        /// The path.
        path: String,
        /// What it is.
        is: &'static str,
    },
    /// There is no such version, tag or time.
    #[error("{0}")]
    NoSuchVersion(String),
    /// The version was, but nobody who was asked keeps it any more.
    #[error("{0}")]
    VersionNotKept(String),
    /// The version is here, but not what was in that file.
    #[error("what was in {0:?} then is not kept any more")]
    ContentNotKept(String),
    /// Nobody was found who has the drive.
    #[error("no peer was found that has the drive: {0}")]
    NoPeers(String),
    /// Peers were found, but nothing arrived for too long.
    #[error("the transfer stands still: {0}")]
    Stalled(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// This node's writer key has no certificate of the owner, or one that has ended.
    #[error("this node may not write to the drive: the owner has not let in its writer key {0}")]
    NotAWriter(WriterKey),
    /// The target folder is in the way.
    #[error("{} is not empty and not a copy of this drive", .0.display())]
    TargetNotEmpty(PathBuf),
    /// The folder belongs to another drive.
    #[error("{} belongs to the drive {drive} already", .path.display())]
    FolderTaken {
        /// The folder.
        path: PathBuf,
        /// The drive that has it.
        drive: DriveId,
    },
    /// A node keeps one copy of a drive.
    #[error("this node has a copy of the drive in {} already", .path.display())]
    CopiedElsewhere {
        /// Where.
        path: PathBuf,
        /// The drive.
        drive: DriveId,
    },
    /// Something else is being done with the drive.
    #[error("the drive is being imported or copied already")]
    Busy,
    /// Peers had a newer version of this node's own, which is in the folder now: what was read of it before is void.
    #[error(
        "this node had written its version {counter} before, as peers show: it is in the folder now, which is to be read \
         again"
    )]
    Behind {
        /// The counter of that version.
        counter: u64,
    },
    /// A read or write of the disk failed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Stored data is not what it should be.
    #[error("{0}")]
    Corrupt(String),
    /// A newer version of the program is needed.
    #[error("{0}")]
    Unsupported(String),
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The cache failed.
    #[error("the cache failed")]
    Cache(#[from] CacheError),
    /// The packs failed.
    #[error("the packs failed")]
    Packs(#[from] PackError),
    /// The keystore failed.
    #[error("the keystore failed")]
    Keystore(#[from] KeystoreError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl DriveError {
    /// Why a file of an earlier version is left out.
    pub(crate) const NOT_KEPT: &'static str = "what was in it then is not kept by any peer that was asked";

    /// An I/O error with what was tried.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    /// Whether it waits for the keys to be unlocked.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Keystore(KeystoreError::Locked))
    }

    /// Whether the disk is full.
    pub fn is_storage_full(&self) -> bool {
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(current) = error {
            if let Some(io) = current.downcast_ref::<io::Error>()
                && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            {
                return true;
            }
            error = current.source();
        }
        false
    }
}

/// A task that must not be lost was: the runtime is shutting down, or a panic was logged.
impl From<tokio::task::JoinError> for DriveError {
    fn from(error: tokio::task::JoinError) -> Self {
        if error.is_panic() { Self::Corrupt(format!("a task panicked: {error}")) } else { Self::Stopped }
    }
}
