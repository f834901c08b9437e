//! The engine's types as the contract's, and its errors with what to do about them.

use p2p_api::{ApiError, DriveInfo, DriveRole, EntryKind, ErrorKind, Skipped, TreeEntry, WithheldVersion};
use p2p_drives::{DriveError, DriveStatus, Entry, Kind, LeftOut, PathKey, Role, Version};
use p2p_identity::{Link, LinkError};

pub(super) fn drive_info(status: DriveStatus) -> DriveInfo {
    DriveInfo {
        drive: status.id,
        link: status.link.to_string(),
        path: status.folder,
        role: match status.role {
            Role::Owner => DriveRole::Owner,
            Role::Mirror => DriveRole::Mirror,
            Role::Reader => DriveRole::Reader,
        },
        version: status.version,
        head: status.head,
        files: status.files,
        bytes: status.bytes,
        peers: status.peers as u32,
        complete: status.complete,
        title: status.title,
        syncs: status.syncs,
        withheld: status.withheld.iter().map(withheld).collect(),
    }
}

fn withheld(missed: &p2p_drives::Withheld) -> WithheldVersion {
    let p2p_drives::Withheld { writer, counter, held, named_by } = *missed;
    WithheldVersion { writer_key: writer, counter, held, named_by }
}

pub(super) fn tree_entry(entry: &Entry) -> TreeEntry {
    version_entry(entry.key(), entry.shown())
}

/// One version of a path, as if it were shown.
pub(super) fn version_entry(key: &PathKey, shown: &Version) -> TreeEntry {
    TreeEntry {
        path: key.to_path(),
        kind: match shown.kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink => EntryKind::Symlink,
        },
        size: shown.size,
        mtime: shown.mtime_ns,
        mode: shown.mode,
        hash: shown.hash,
    }
}

pub(super) fn left_out(paths: Vec<LeftOut>) -> Vec<Skipped> {
    paths.into_iter().map(|left| Skipped { path: left.path, reason: left.reason }).collect()
}

pub(super) fn parse_link(text: &str) -> Result<Link, ApiError> {
    text.parse::<Link>().map_err(|error| {
        let kind = match &error {
            LinkError::UnknownType(_) | LinkError::PrivateNotSupported => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidInput,
        };
        ApiError::new(kind, error.to_string()).with_hint("copy the link again, whole, from `p2p share` or `p2p shares`")
    })
}

/// What went wrong, with its causes in one sentence, and what to do next.
#[allow(clippy::needless_pass_by_value, reason = "a shape for map_err")]
pub(super) fn api_error(error: DriveError) -> ApiError {
    if error.is_locked() {
        return ApiError::locked();
    }
    let full = error.is_storage_full();
    let message = with_causes(&error);
    if full {
        return ApiError::new(ErrorKind::StorageFull, message)
            .with_hint("free some space and run the same command again");
    }
    let (kind, hint) = match &error {
        DriveError::UnknownDrive(_) => (ErrorKind::NotFound, "open or clone it by its link first"),
        DriveError::NoSuchPath(_) => (ErrorKind::NotFound, "`p2p ls LINK` shows what is there"),
        DriveError::NoSuchVersion(_) => (ErrorKind::NotFound, "`p2p log DRIVE` shows which versions there are"),
        DriveError::VersionNotKept(_) => (
            ErrorKind::NotKept,
            "`p2p log DRIVE` shows which versions are kept: all of a day, hourly for a week, daily for a month, then those \
             with a tag",
        ),
        DriveError::ContentNotKept(_) => (
            ErrorKind::NotKept,
            "of files above 64 MiB, and of those that changed before they could be copied, earlier content is kept only \
             where the file system has reflinks",
        ),
        DriveError::WrongKind { .. } | DriveError::Invalid(_) => (ErrorKind::InvalidInput, ""),
        DriveError::NoPeers(_) => {
            (ErrorKind::NotFound, "check that a node that has it is running; `p2p peers` shows whom this node reaches")
        }
        DriveError::Stalled(_) => (ErrorKind::TimedOut, "run the same command again: it goes on where it was"),
        DriveError::TargetNotEmpty(_) => (ErrorKind::Conflict, "name another folder, or an empty one"),
        DriveError::FolderTaken { .. } => {
            (ErrorKind::Conflict, "name another folder, or `p2p unshare` the other drive")
        }
        DriveError::CopiedElsewhere { .. } => {
            (ErrorKind::Conflict, "bring that copy up to date, or `p2p unshare` it first; its files stay")
        }
        DriveError::NotAWriter(_) => (
            ErrorKind::NotAllowed,
            "the owner of the drive lets it in: p2p writers add DRIVE WRITER_KEY; until then edits stay in this folder",
        ),
        DriveError::Behind { .. } => (ErrorKind::Conflict, "run the same command again"),
        DriveError::Busy => (ErrorKind::Conflict, "wait until the other command is done"),
        DriveError::Corrupt(_) => (ErrorKind::Corrupt, ""),
        DriveError::Unsupported(_) => (ErrorKind::Unsupported, ""),
        DriveError::Stopped => (ErrorKind::NodeStopped, ""),
        _ => (ErrorKind::Io, ""),
    };
    let kind = match &error {
        DriveError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => ErrorKind::NotAllowed,
        DriveError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => kind,
    };
    let error = ApiError::new(kind, message);
    if hint.is_empty() { error } else { error.with_hint(hint) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
