//! Drives as apps see them: folders with one stable link.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use p2p_identity::{ContentId, DriveId, WriterKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Result;

/// What this node does for a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriveRole {
    /// Holds the drive's key: its word is the drive.
    Owner,
    /// Holds a copy in a folder and serves it.
    Mirror,
    /// Only looked at it.
    Reader,
}

/// A drive known to this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveInfo {
    /// The drive's id.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// Its link, with hints where this node has addresses.
    pub link: String,
    /// The folder it is shared from or copied to.
    #[schema(value_type = Option<String>)]
    pub path: Option<PathBuf>,
    /// What this node does for it.
    pub role: DriveRole,
    /// The owner's counter: 1, 2, 3 …; 0 before the first version.
    pub version: u64,
    /// Hash of that version's head, by which a link can name it; none before the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub head: Option<ContentId>,
    /// Files in that version.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Peers with an open session for it.
    pub peers: u32,
    /// Whether everything of that version is here.
    pub complete: bool,
    /// What the owner calls it.
    #[serde(default)]
    pub title: String,
    /// Whether edits in a copy's folder go back to the drive.
    #[serde(default)]
    pub syncs: bool,
    /// Newer versions of writers that exist, by the word of other writers, and that nobody here offers: what is seen of
    /// those writers is older.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<WithheldVersion>,
}

/// A newer version of a writer that nobody here offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WithheldVersion {
    /// Whose version it is.
    #[schema(value_type = String)]
    pub writer_key: WriterKey,
    /// Its counter; there may be newer ones still.
    pub counter: u64,
    /// The counter of that writer's newest version here; 0 for none.
    pub held: u64,
    /// The writer whose version says so.
    #[schema(value_type = String)]
    pub named_by: WriterKey,
}

/// How to make a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewDrive {
    /// Absolute path of the folder it is shared from. The same folder always gives the same drive.
    #[schema(value_type = Option<String>)]
    pub path: Option<PathBuf>,
    /// What people call it, at most 255 bytes.
    pub title: String,
}

/// What an entry of a drive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link; its content is the target's text.
    Symlink,
}

/// One line of an import: a path of the drive whose file, folder or symlink the node reads by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Path in the drive, components joined by `/`.
    pub path: String,
    /// The path below the folder, where a name on disk is not the one in the drive: another Unicode form, or the escape of
    /// a name that the file system cannot hold. Of a name that is no text, its escape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<PathBuf>,
    /// What the line stands for; only where a part is imported.
    #[serde(default, skip_serializing_if = "Named::is_entry")]
    pub named: Named,
}

/// What a line of a partial import stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// The path alone.
    #[default]
    Entry,
    /// The path, and everything below it: what lies there in the drive and is not named by other lines is deleted.
    Everything,
    /// Nothing is there any more: the path and everything below it is deleted.
    Gone,
}

impl Named {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
    fn is_entry(&self) -> bool {
        *self == Self::Entry
    }
}

/// Most lines of a partial import.
pub const MAX_PART_LINES: usize = 20_000;

/// A name that lies otherwise in a drive's folder than it is called in the drive, because the file system cannot hold it,
/// or has it in another form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LocalName {
    /// The path in the drive.
    pub path: String,
    /// The path below the folder.
    pub local: String,
}

/// How to import. The lines name everything there is, in path order (a folder, then what is below it, names compared
/// byte by byte): what is not named is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Import {
    /// A sentence kept with the version, at most 1 KiB.
    pub message: String,
    /// Only what the lines name is looked at, at most [`MAX_PART_LINES`] of them in any order; all else stays as it is. For
    /// whoever watches a folder and knows what changed. Refused for a drive without a version.
    pub part: bool,
}

/// A path that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The path in the drive.
    pub path: String,
    /// Why, in words.
    pub reason: String,
}

/// How far a long job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Files done.
    pub files_done: u64,
    /// Files in all, as far as known.
    pub files_total: u64,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes in all, as far as known.
    pub bytes_total: u64,
    /// Rate of the last second or so.
    pub bytes_per_second: f64,
    /// Peers that take part.
    #[serde(default)]
    pub peers: u32,
}

/// What an import reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ImportEvent {
    /// Work goes on.
    Progress(Progress),
    /// A signed version stands, and is on disk.
    Published {
        /// The owner's counter.
        version: u64,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Whether anything differed from the version before; if not, no new version was made.
        changed: bool,
        /// What was left out.
        skipped: Vec<Skipped>,
    },
}

/// How to open a drive that may have to be found first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Open {
    /// The link, or a bare id.
    pub link: String,
    /// How long to look for peers.
    #[serde(default, with = "opt_seconds", rename = "timeout_s")]
    #[schema(value_type = Option<f64>)]
    pub timeout: Option<Duration>,
}

impl Open {
    /// Open `link` with the default time limit.
    pub fn new(link: impl Into<String>) -> Self {
        Self { link: link.into(), timeout: None }
    }
}

/// Which entries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TreeQuery {
    /// Only this path and what is below it; empty for everything.
    pub prefix: String,
    /// Levels below the prefix; `None` for all, 1 for one folder.
    pub depth: Option<u32>,
}

/// An entry of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreeEntry {
    /// The path in the drive.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// Permission bits.
    pub mode: u16,
    /// BLAKE3 of the content.
    #[schema(value_type = String)]
    pub hash: ContentId,
}

/// Which bytes of a file: from `start`, `end` not included; `None` is the file's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadRange {
    /// First byte.
    pub start: u64,
    /// First byte not wanted.
    pub end: Option<u64>,
}

/// Verified bytes of a file.
pub struct Content {
    /// The entry that is read.
    pub entry: TreeEntry,
    /// First byte that is streamed.
    pub start: u64,
    /// Bytes that are streamed.
    pub len: u64,
    /// The bytes; every chunk was verified before it got here. An error ends the stream.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// How to copy a drive into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Follow {
    /// The link, or a bare id.
    pub link: String,
    /// Absolute path of the folder; made if it is not there.
    #[schema(value_type = String)]
    pub target: PathBuf,
    /// Whether symlinks that leave the folder are made too.
    #[serde(default)]
    pub allow_external_links: bool,
    /// Whether to stay and apply new versions as they come; else the copy ends with the first.
    #[serde(default)]
    pub stay: bool,
    /// How long to look for peers without any progress.
    #[serde(default, with = "opt_seconds", rename = "timeout_s")]
    #[schema(value_type = Option<f64>)]
    pub timeout: Option<Duration>,
}

/// What a copy reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TransferEvent {
    /// Work goes on.
    Progress(Progress),
    /// Everything of a version is in place and on disk.
    Done {
        /// The drive.
        #[schema(value_type = String)]
        drive: DriveId,
        /// The owner's counter.
        version: u64,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Content bytes that had to travel.
        bytes_fetched: u64,
        /// Peers that sent something.
        peers: u32,
        /// What was left out.
        skipped: Vec<Skipped>,
    },
}

/// What `remove` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// The drive.
    #[schema(value_type = String)]
    pub drive: DriveId,
    /// Its folder, which keeps its files.
    #[schema(value_type = Option<String>)]
    pub path: Option<PathBuf>,
}

mod opt_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|d| d.as_secs_f64()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        seconds.map(|s| Duration::try_from_secs_f64(s).map_err(serde::de::Error::custom)).transpose()
    }
}
