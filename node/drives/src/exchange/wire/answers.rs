//! Answers of the drive protocol (specs/drives.md, section 16.3).

use p2p_identity::ContentId;
use serde::{Deserialize, Serialize};

use super::{Envelope, MAX_FILES_PER_REQUEST, Path};
#[cfg(doc)]
use super::{MAX_NODE_BYTES, MAX_PREFETCH_BYTES};

/// First byte of every answer (section 16.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0: the answer follows.
    Ok,
    /// 1: not held.
    NotFound,
    /// 2: the content changed under us; retry with a newer head.
    Stale,
    /// 3: ask again later; milliseconds follow as a varint.
    Busy {
        /// When, in milliseconds from now.
        retry_ms: u32,
    },
    /// 4: no such session, or not allowed.
    Refused,
    /// 5: unknown or malformed.
    BadRequest,
    /// 6: above a limit.
    TooLarge,
}

impl Status {
    /// The status's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotFound => 1,
            Self::Stale => 2,
            Self::Busy { .. } => 3,
            Self::Refused => 4,
            Self::BadRequest => 5,
            Self::TooLarge => 6,
        }
    }
}

/// What the answers of `Open`, `Changes` and `Heads` consist of, each in a frame of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// 1: a head as received.
    Head(Envelope),
    /// 2: an index node; its bytes follow the frame raw.
    Node {
        /// Their number, 1 to [`MAX_NODE_BYTES`].
        len: u32,
    },
    /// 3: a blob; its bytes follow the frame raw.
    Blob {
        /// Hash of its content.
        hash: ContentId,
        /// Number of bytes, at most [`MAX_PREFETCH_BYTES`].
        size: u32,
    },
    /// 4: the answer is complete.
    End,
    /// 5: a change.
    Change(ChangeRecord),
}

impl Item {
    /// The item's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Head(_) => 1,
            Self::Node { .. } => 2,
            Self::Blob { .. } => 3,
            Self::End => 4,
            Self::Change(_) => 5,
        }
    }
}

/// One line of a publisher's log: a hint, never evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// First 8 bytes of the writer's key.
    pub writer_prefix: [u8; 8],
    /// Counter of the head that made the change.
    pub counter: u64,
    /// The how-manieth change of that head.
    pub ordinal: u32,
    /// What was done.
    pub op: ChangeOp,
    /// Where: a path; for a rename the old prefix.
    pub key: Path,
    /// For `SET` a leaf of the index with the new entry alone, for `RENAME_PREFIX` the new prefix.
    pub value: Option<Path>,
}

/// Kind of a change. Records with a number of a later version are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeOp(pub u8);

impl ChangeOp {
    /// A version was written.
    pub const SET: Self = Self(0);
    /// The entry was removed.
    pub const DELETE: Self = Self(1);
    /// Everything under one prefix now lies under another.
    pub const RENAME_PREFIX: Self = Self(2);
}

/// Which files of a `GetMany` follow: bit `i % 8` of byte `i / 8` stands for file `i`, lowest bit first; spare bits are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    pub(in crate::exchange) present: Vec<bool>,
}

impl Presence {
    /// A bitmap of these files; those beyond [`MAX_FILES_PER_REQUEST`] are left out.
    pub fn new(present: impl IntoIterator<Item = bool>) -> Self {
        Self { present: present.into_iter().take(MAX_FILES_PER_REQUEST).collect() }
    }

    /// Whether file `index` follows.
    pub fn contains(&self, index: usize) -> bool {
        self.present.get(index).copied().unwrap_or(false)
    }

    /// Each file's bit, in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.present.iter().copied()
    }
}
