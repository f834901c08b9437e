//! What the index says of one path (specs/drives.md, 4.2).

use p2p_identity::ContentId;
use thiserror::Error;

use crate::key::PathKey;

/// Most versions of one entry.
pub const MAX_VERSIONS: usize = 128;
/// Longest content that lies in the entry itself, in bytes.
pub const MAX_INLINE_BYTES: usize = 64;
/// Permission bits that are kept. Never setuid, setgid or sticky.
pub const MODE_MASK: u16 = 0o777;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory. Its hash is that of empty content, its size 0.
    Directory,
    /// A symbolic link; its content is the target text.
    Symlink,
}

/// Who made a version, and in which of the writer's heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The first 8 bytes of the writer's key.
    pub writer: [u8; 8],
    /// The counter of the head, from 1.
    pub counter: u64,
}

/// Content of at most [`MAX_INLINE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inline(Box<[u8]>);

/// One version of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// Who made it.
    pub dot: Dot,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, [`MODE_MASK`] at most.
    pub mode: u16,
    /// Time of last change, in nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
    /// Hybrid logical clock: 48 bits of milliseconds, 16 of counter. Decides only which version is shown.
    pub hlc: u64,
    /// Size of the content, in bytes.
    pub size: u64,
    /// BLAKE3 root of the content.
    pub hash: ContentId,
    /// The content itself, where it is short.
    pub inline: Option<Inline>,
    /// Blob with the extended attributes.
    pub xattr: Option<ContentId>,
    /// BLAKE3 root of the ciphertext: private drives, later.
    pub cipher_root: Option<ContentId>,
}

/// A path and its versions: one, or several after concurrent writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    key: PathKey,
    versions: Vec<Version>,
}

/// Why versions do not make an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// None, or more than [`MAX_VERSIONS`].
    #[error("an entry has {0} versions, 1 to {MAX_VERSIONS} are allowed")]
    VersionCount(usize),
    /// Two versions with one dot.
    #[error("an entry has two versions of one writer and counter")]
    SameDot,
    /// Counters begin at 1.
    #[error("a version has counter 0")]
    CounterZero,
    /// More than permission bits.
    #[error("mode {0:o} has more than permission bits")]
    Mode(u16),
    /// A directory with size or content.
    #[error("a directory has content")]
    DirectoryContent,
    /// Inline content is not what size and hash say.
    #[error("inline content does not match its size and hash")]
    InlineMismatch,
}

impl Inline {
    /// `None` when `content` is longer than [`MAX_INLINE_BYTES`].
    pub fn new(content: &[u8]) -> Option<Self> {
        (content.len() <= MAX_INLINE_BYTES).then(|| Self(content.into()))
    }

    /// The content.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Version {
    /// A directory.
    pub fn directory(dot: Dot, mode: u16, mtime_ns: i64, hlc: u64) -> Self {
        Self::blob(dot, Kind::Directory, mode, mtime_ns, hlc, 0, ContentId::of(b""))
    }

    /// A file or symlink whose content is at hand: short content goes inline.
    pub fn with_content(dot: Dot, kind: Kind, mode: u16, mtime_ns: i64, hlc: u64, content: &[u8]) -> Self {
        let mut version = Self::blob(dot, kind, mode, mtime_ns, hlc, content.len() as u64, ContentId::of(content));
        version.inline = Inline::new(content);
        version
    }

    /// A version whose content lies elsewhere under its hash.
    pub fn blob(dot: Dot, kind: Kind, mode: u16, mtime_ns: i64, hlc: u64, size: u64, hash: ContentId) -> Self {
        let mode = mode & MODE_MASK;
        Self { dot, kind, mode, mtime_ns, hlc, size, hash, inline: None, xattr: None, cipher_root: None }
    }

    /// Whether it is *shown* as the same thing: equal kind, mode and hash are no conflict (specs/drives.md, 5, rule 4).
    pub fn same_value(&self, other: &Self) -> bool {
        (self.kind, self.mode, self.hash) == (other.kind, other.mode, other.hash)
    }

    /// Bytes it adds to the sums of a drive: those of files.
    pub fn file_bytes(&self) -> u64 {
        if self.kind == Kind::File { self.size } else { 0 }
    }

    fn check(&self) -> Result<(), EntryError> {
        if self.dot.counter == 0 {
            return Err(EntryError::CounterZero);
        }
        if self.mode & !MODE_MASK != 0 {
            return Err(EntryError::Mode(self.mode));
        }
        let is_empty = || self.size == 0 && self.inline.is_none() && self.hash == ContentId::of(b"");
        if self.kind == Kind::Directory && !is_empty() {
            return Err(EntryError::DirectoryContent);
        }
        if let Some(inline) = &self.inline {
            let content = inline.as_bytes();
            if content.len() as u64 != self.size || ContentId::of(content) != self.hash {
                return Err(EntryError::InlineMismatch);
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Sorts `versions` by dot and checks them.
    pub fn new(key: PathKey, mut versions: Vec<Version>) -> Result<Self, EntryError> {
        if versions.is_empty() || versions.len() > MAX_VERSIONS {
            return Err(EntryError::VersionCount(versions.len()));
        }
        versions.sort_by_key(|version| version.dot);
        if versions.is_sorted_by(|a, b| a.dot < b.dot) {
            versions.iter().try_for_each(Version::check)?;
            Ok(Self { key, versions })
        } else {
            Err(EntryError::SameDot)
        }
    }

    /// Its path.
    pub fn key(&self) -> &PathKey {
        &self.key
    }

    /// Its versions by dot; at least one.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version people see: greatest clock, then greatest writer, then greatest counter (specs/drives.md, 5, rule 5).
    pub fn shown(&self) -> &Version {
        let shown = self.versions.iter().max_by_key(|version| (version.hlc, version.dot));
        shown.expect("an entry has at least one version")
    }

    /// Whether its versions differ in more than who wrote them and when.
    pub fn is_conflict(&self) -> bool {
        self.versions.iter().any(|version| !version.same_value(self.shown()))
    }

    /// The versions that lost: one for each value that is not shown, itself the one that would be shown among its equals.
    pub fn hidden(&self) -> Vec<&Version> {
        let mut by_rank: Vec<_> = self.versions.iter().collect();
        by_rank.sort_by_key(|version| std::cmp::Reverse((version.hlc, version.dot)));
        let mut distinct: Vec<&Version> = Vec::new();
        for version in by_rank {
            if !distinct.iter().any(|seen| seen.same_value(version)) {
                distinct.push(version);
            }
        }
        distinct.split_off(1)
    }

    /// Takes it apart.
    pub fn into_parts(self) -> (PathKey, Vec<Version>) {
        (self.key, self.versions)
    }

    /// Nominal size, which decides where nodes end (specs/drives.md, 4.3): key length + 64 per version.
    pub(crate) fn nominal_bytes(&self) -> usize {
        nominal_bytes(self.key.as_bytes().len(), self.versions.len())
    }
}

/// Nominal size of an entry with a key of `key_len` bytes and `versions` versions.
pub(crate) fn nominal_bytes(key_len: usize, versions: usize) -> usize {
    key_len + 64 * versions
}

#[cfg(test)]
pub(crate) mod tests;
