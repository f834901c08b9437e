//! A larger blob of which parts are here: sparse data, the proofs of those parts, and which groups they are.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use bytes::Bytes;
use p2p_identity::ContentId;

use crate::blob::{GroupRanges, PARENT_BYTES, hash_bytes, outboard_len};
use crate::content::{ContentError, read_proven};

/// A parent of the hash tree, and where it lies in the outboard.
pub(crate) type Pair = (u64, [u8; PARENT_BYTES as usize]);

/// A proven part of a blob, as it came: whole groups, and the parents that lead to them.
pub(crate) struct Piece {
    /// The blob.
    pub(crate) hash: ContentId,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// First byte of the first group.
    pub(crate) first: u64,
    /// Whole groups; only the blob's last may be short.
    pub(crate) bytes: Bytes,
    /// In the order in which they came.
    pub(crate) parents: Vec<Pair>,
}

impl Piece {
    /// All of a blob.
    pub(crate) fn whole(hash: ContentId, bytes: Bytes) -> Self {
        Self { hash, size: bytes.len() as u64, first: 0, bytes, parents: Vec::new() }
    }

    /// Bytes it takes, in memory and on disk.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + self.parents.len() * PARENT_BYTES as usize
    }

    fn groups(&self) -> GroupRanges {
        GroupRanges::from_bytes_range(self.first..self.first + self.bytes.len() as u64).clip(self.size)
    }

    fn is_whole(&self) -> bool {
        self.first == 0 && self.bytes.len() as u64 == self.size
    }
}

/// The files of a blob.
pub(super) struct Large {
    hash: ContentId,
    size: u64,
    data: File,
    outboard: File,
    proven: Mutex<GroupRanges>,
}

impl Large {
    /// Opens a blob's files, and makes them if `may_make`; `proven` is what the store says of them.
    ///
    /// # Errors
    /// The files are not there, or the disk failed.
    pub(super) fn open(
        directory: &Path,
        hash: ContentId,
        size: u64,
        proven: &GroupRanges,
        may_make: bool,
    ) -> io::Result<Self> {
        if may_make {
            fs::create_dir_all(directory)?;
        }
        let open = |kind: &str| {
            let path = directory.join(format!("{hash}.{kind}"));
            File::options().read(true).write(true).create(may_make).truncate(false).open(path)
        };
        Ok(Self { hash, size, data: open("data")?, outboard: open("outboard")?, proven: Mutex::new(proven.clip(size)) })
    }

    /// Bytes `start..end`, checked; `None` where not all of them are here.
    ///
    /// # Errors
    /// They were here, and are damaged: they are not any more.
    pub(super) fn read(&self, start: u64, end: u64) -> Result<Option<Bytes>, ContentError> {
        let wanted = GroupRanges::from_bytes_range(start..end).clip(self.size);
        if end > self.size || !wanted.difference(&self.proven()).is_empty() {
            return Ok(None);
        }
        match read_proven(&self.data, &self.outboard, &self.hash, self.size, start, end) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => {
                let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
                *proven = proven.difference(&wanted);
                Err(error)
            }
        }
    }

    /// Writes a piece; returns the bytes by which the blob grew.
    ///
    /// # Errors
    /// The disk failed; then nothing counts as here that was not before.
    pub(super) fn add(&self, piece: &Piece) -> io::Result<u64> {
        let new = piece.groups().difference(&self.proven());
        if new.is_empty() {
            return Ok(0);
        }
        if piece.is_whole() {
            let outboard = hash_bytes(&piece.bytes).1.unwrap_or_default();
            self.outboard.write_all_at(&outboard, 0)?;
        }
        for (offset, pair) in &piece.parents {
            if offset + PARENT_BYTES <= outboard_len(self.size) {
                self.outboard.write_all_at(pair, *offset)?;
            }
        }
        self.data.write_all_at(&piece.bytes, piece.first)?;
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        *proven = proven.union(&piece.groups());
        Ok(new.byte_count(self.size) + piece.parents.len() as u64 * PARENT_BYTES)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn proven(&self) -> GroupRanges {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
