//! Pieces of a version, numbered in index order; both sides of a session count alike (specs/drives.md, 7.1 and 7.2).

use std::ops::Range;

use crate::blob::{GROUP_BYTES, Grain};
use crate::content::WHOLE_FILE_BYTES;
use crate::wire::{MAX_FILE_BYTES_PER_REQUEST, MAX_FILES_PER_REQUEST};

/// Files below this many bytes are cut into small pieces.
const SMALL_PIECES_BELOW: u64 = 16 * 1024 * 1024;
/// Files above this many bytes are cut into large pieces.
const LARGE_PIECES_ABOVE: u64 = 16 * 1024 * 1024 * 1024;

/// Groups in each piece of a file of this size: 256 KiB, 1 MiB or 4 MiB of them.
pub(super) fn piece_groups(size: u64) -> u64 {
    let bytes = match size {
        ..SMALL_PIECES_BELOW => 256 * 1024,
        SMALL_PIECES_BELOW..=LARGE_PIECES_ABOVE => 1024 * 1024,
        _ => 4 * 1024 * 1024,
    };
    bytes / GROUP_BYTES
}

/// The grain at which pieces of a file of this size are asked for: none is wider than a piece.
pub(super) fn piece_grain(size: u64) -> Grain {
    if size < SMALL_PIECES_BELOW { Grain::QUARTER } else { Grain::BULK }
}

/// Counts the pieces of a version. Each entry with content of its own is given in index order: files that are sent whole
/// are put together up to 512 files or 1 MiB, larger ones are cut.
#[derive(Debug, Default)]
pub(super) struct PieceCounter {
    next: u64,
    files: usize,
    bytes: u64,
}

impl PieceCounter {
    /// The pieces that hold content of this size: one that it shares with its neighbours, or its own.
    pub(super) fn add(&mut self, size: u64) -> Range<u64> {
        let is_whole = size <= WHOLE_FILE_BYTES;
        let is_full = self.files == MAX_FILES_PER_REQUEST || self.bytes + size > MAX_FILE_BYTES_PER_REQUEST;
        if self.files > 0 && (is_full || !is_whole) {
            (self.files, self.bytes) = (0, 0);
            self.next += 1;
        }
        let first = self.next;
        if is_whole {
            self.files += 1;
            self.bytes += size;
            return first..first + 1;
        }
        self.next += size.div_ceil(piece_groups(size) * GROUP_BYTES);
        first..self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn small_files_share_a_piece_and_large_ones_are_cut() {
        let mut pieces = PieceCounter::default();
        assert_eq!(pieces.add(1_000), 0..1);
        assert_eq!(pieces.add(MIB - 1_000), 0..1);
        assert_eq!(pieces.add(1), 1..2, "the first is full");
        assert_eq!(pieces.add(MIB + 1), 2..7, "five quarters");
        assert_eq!(pieces.add(16 * MIB), 7..23);
        assert_eq!(pieces.add(0), 23..24);
        assert_eq!(pieces.add(16 * 1024 * MIB + 1), 24..24 + 4 * 1024 + 1);
        let mut many = PieceCounter::default();
        let numbers: Vec<u64> = (0..1_025).map(|_| many.add(0).start).collect();
        assert_eq!((numbers[511], numbers[512], numbers[1_024]), (0, 1, 2));
    }
}
