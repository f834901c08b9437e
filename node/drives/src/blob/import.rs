//! Hashing a file once, on all cores, for its content id and its outboard (specs/drives.md, section 2, rule 4).
//!
//! A large file is cut into aligned subtrees of 8 MiB. Threads take the next one in turn, read it in pieces with
//! `pread`, hash it group by group and hand over its part of the outboard, which is contiguous. What remains above is
//! one parent per 8 MiB.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use p2p_identity::ContentId;

use super::geometry::{GROUP_BYTES, Subtree, group_count, outboard_len};
use super::hash::{Value, join_pair, parent_value, subtree_value, subtree_with_outboard};
use super::read_at::ReadAt;
use crate::lock::lock;

/// Bytes of the subtree that one thread hashes at a time: a power of two groups.
pub const IMPORT_SUBTREE_BYTES: u64 = 8 * 1024 * 1024;
const IMPORT_SUBTREE_GROUPS: u64 = IMPORT_SUBTREE_BYTES / GROUP_BYTES;
/// Bytes of each thread's read buffer: small enough to stay in the second-level cache between reading and hashing.
const READ_BYTES: u64 = 256 * 1024;
/// Most threads one import starts, whatever it is asked for.
const MAX_THREADS: usize = 64;

/// Why a file could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file's length was not, or did not stay, the one given. Stat it again and retry.
    #[error("file changed while it was read: expected {size} bytes")]
    ChangedWhileReading {
        /// The length the caller gave, in bytes.
        size: u64,
    },
    /// The file could not be read.
    #[error("reading a file to hash it")]
    Read(#[source] io::Error),
    /// The outboard could not be written.
    #[error("writing an outboard")]
    WriteOutboard(#[source] io::Error),
}

/// Where the parts of an outboard go, in any order and from several threads.
pub trait OutboardSink: Sync {
    /// Writes `bytes` at `offset` of the outboard.
    ///
    /// # Errors
    /// What the system says.
    fn write_outboard(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

impl OutboardSink for File {
    fn write_outboard(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
}

/// An outboard in memory.
struct MemoryOutboard(Mutex<Vec<u8>>);

impl OutboardSink for MemoryOutboard {
    fn write_outboard(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut all = lock(&self.0);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let part = all.get_mut(start..start.saturating_add(bytes.len())).ok_or(io::ErrorKind::InvalidInput)?;
        part.copy_from_slice(bytes);
        Ok(())
    }
}

/// The content id of bytes in memory, and their outboard if they are more than 16 KiB.
pub fn hash_bytes(bytes: &[u8]) -> (ContentId, Option<Vec<u8>>) {
    let root = Subtree::root(bytes.len() as u64);
    let mut outboard = vec![0; root.outboard_len() as usize];
    let value = subtree_with_outboard(&root, bytes, &mut outboard);
    (ContentId::from(value), (root.groups > 1).then_some(outboard))
}

/// The content id of a file of `size` bytes and its outboard (0.4 % of the size) in memory; `None` up to 16 KiB.
///
/// Uses up to `threads` threads, the caller's among them, and 288 KiB of memory for each beside the outboard.
///
/// A change that keeps the length is not noticed here: compare the file's fingerprint before and after (section 14.1). Should
/// one slip through, validated sending finds it.
///
/// # Errors
/// [`ImportError::ChangedWhileReading`] if the file is not `size` bytes long before and after, or ends early.
pub fn hash_file(file: &File, size: u64, threads: usize) -> Result<(ContentId, Option<Vec<u8>>), ImportError> {
    check_len(file, size)?;
    let len = usize::try_from(outboard_len(size))
        .map_err(|_| ImportError::WriteOutboard(io::ErrorKind::OutOfMemory.into()))?;
    let sink = MemoryOutboard(Mutex::new(vec![0; len]));
    let id = hash_source(file, size, threads, &sink)?;
    check_len(file, size)?;
    let outboard = sink.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((id, (len > 0).then_some(outboard)))
}

/// As [`hash_file`], but writes the outboard to `sink` (a file, say), which gets nothing up to 16 KiB. The sink is not synced.
///
/// # Errors
/// As [`hash_file`]; on error the sink may hold parts of an outboard.
pub fn hash_file_into(
    file: &File,
    size: u64,
    threads: usize,
    sink: &impl OutboardSink,
) -> Result<ContentId, ImportError> {
    check_len(file, size)?;
    let id = hash_source(file, size, threads, sink)?;
    check_len(file, size)?;
    Ok(id)
}

fn check_len(file: &File, size: u64) -> Result<(), ImportError> {
    let len = file.metadata().map_err(ImportError::Read)?.len();
    if len == size { Ok(()) } else { Err(ImportError::ChangedWhileReading { size }) }
}

/// Work shared by the threads of one import.
struct Import<'a, R, S> {
    source: &'a R,
    sink: &'a S,
    size: u64,
    /// The next subtree to take.
    next: AtomicU64,
    /// Set by the first thread that fails.
    stop: AtomicBool,
    /// One value per subtree of 8 MiB, in order.
    values: Mutex<Vec<Value>>,
}

/// Hashes any source. The caller has checked that it is `size` bytes long.
fn hash_source<R: ReadAt + Sync, S: OutboardSink>(
    source: &R,
    size: u64,
    threads: usize,
    sink: &S,
) -> Result<ContentId, ImportError> {
    let subtrees = group_count(size).div_ceil(IMPORT_SUBTREE_GROUPS);
    let count = usize::try_from(subtrees).map_err(|_| ImportError::Read(io::ErrorKind::FileTooLarge.into()))?;
    let import = Import {
        source,
        sink,
        size,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        values: Mutex::new(vec![[0; 32]; count]),
    };
    let helpers = threads.clamp(1, MAX_THREADS).min(count) - 1;
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..helpers).map(|_| scope.spawn(|| import.work())).collect();
        let own = import.work();
        handles.into_iter().fold(own, |result, handle| match handle.join() {
            Ok(other) => result.and(other),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let values = lock(&import.values);
    Ok(ContentId::from(import.join(&Subtree::root(size), &values)?))
}

impl<R: ReadAt, S: OutboardSink> Import<'_, R, S> {
    /// Takes subtrees until there are none left.
    fn work(&self) -> Result<(), ImportError> {
        let mut buf = vec![0; self.size.min(READ_BYTES) as usize];
        let most = (IMPORT_SUBTREE_GROUPS - 1) * 64;
        let mut outboard = vec![0; outboard_len(self.size).min(most) as usize];
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let first = number.saturating_mul(IMPORT_SUBTREE_GROUPS);
            let Some(subtree) = Subtree::covering(self.size, first, IMPORT_SUBTREE_GROUPS) else {
                break;
            };
            if let Err(error) = self.import_subtree(number as usize, &subtree, &mut buf, &mut outboard) {
                self.stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    fn import_subtree(
        &self,
        number: usize,
        subtree: &Subtree,
        buf: &mut [u8],
        outboard: &mut [u8],
    ) -> Result<(), ImportError> {
        let part = &mut outboard[..subtree.outboard_len() as usize];
        let value = self.read_subtree(subtree, buf, part)?;
        if !part.is_empty() {
            self.sink.write_outboard(part, subtree.outboard_offset()).map_err(ImportError::WriteOutboard)?;
        }
        lock(&self.values)[number] = value;
        Ok(())
    }

    /// Reads and hashes `subtree`, in pieces that fit `buf`.
    fn read_subtree(&self, subtree: &Subtree, buf: &mut [u8], outboard: &mut [u8]) -> Result<Value, ImportError> {
        let len = subtree.byte_len(self.size);
        if len <= READ_BYTES {
            let bytes = &mut buf[..len as usize];
            self.source.read_exact_at(bytes, subtree.start_byte()).map_err(|error| self.read_error(error))?;
            return Ok(subtree_with_outboard(subtree, bytes, outboard));
        }
        let Some((left, right)) = subtree.split() else {
            return Ok(subtree_value(subtree.start_byte(), &[], subtree.is_root));
        };
        let (own, below) = outboard.split_at_mut(64);
        let (left_outboard, right_outboard) = below.split_at_mut(left.outboard_len() as usize);
        let left = self.read_subtree(&left, buf, left_outboard)?;
        let right = self.read_subtree(&right, buf, right_outboard)?;
        own.copy_from_slice(&join_pair(&left, &right));
        Ok(parent_value(&left, &right, subtree.is_root))
    }

    /// Computes and writes the parents above the imported subtrees.
    fn join(&self, subtree: &Subtree, values: &[Value]) -> Result<Value, ImportError> {
        if subtree.groups <= IMPORT_SUBTREE_GROUPS {
            return Ok(values[(subtree.start_group / IMPORT_SUBTREE_GROUPS) as usize]);
        }
        let (left, right) = subtree.split().expect("more than one group, checked above");
        let left = self.join(&left, values)?;
        let right = self.join(&right, values)?;
        let pair = join_pair(&left, &right);
        self.sink.write_outboard(&pair, subtree.outboard_offset()).map_err(ImportError::WriteOutboard)?;
        Ok(parent_value(&left, &right, subtree.is_root))
    }

    fn read_error(&self, error: io::Error) -> ImportError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ImportError::ChangedWhileReading { size: self.size }
        } else {
            ImportError::Read(error)
        }
    }
}

#[cfg(test)]
mod tests;
