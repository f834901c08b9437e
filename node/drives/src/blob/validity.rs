//! What of a partial blob is really proven on disk, found out again after a crash (specs/drives.md, section 3, rule 4).

use std::io;

use p2p_identity::ContentId;

use super::geometry::{Grain, Subtree};
use super::hash::{PAIR_BYTES, Value, parent_value, split_pair, subtree_value, subtree_with_outboard};
use super::ranges::GroupRanges;
use super::read_at::ReadAt;

/// Those of `ranges` whose content and whole path to the root, down to the group, are right on disk.
///
/// Reads at most what `ranges` covers, a unit of 1 MiB at a time where all of it is asked for. Files that end early, or
/// have holes, are no errors: what is missing is just not valid.
///
/// # Errors
/// What the system says when reading fails for another reason than the end of a file.
pub fn valid_groups(
    data: &impl ReadAt,
    outboard: &impl ReadAt,
    size: u64,
    hash: &ContentId,
    ranges: &GroupRanges,
) -> io::Result<GroupRanges> {
    let mut check = Check {
        data,
        outboard,
        size,
        ranges: ranges.clip(size),
        valid: GroupRanges::empty(),
        content: Vec::new(),
        computed: Vec::new(),
        stored: Vec::new(),
    };
    check.subtree(&Subtree::root(size), hash.as_bytes())?;
    Ok(check.valid)
}

struct Check<'a, D, O> {
    data: &'a D,
    outboard: &'a O,
    size: u64,
    ranges: GroupRanges,
    valid: GroupRanges,
    /// Buffers used again and again, each at most one unit or its parents.
    content: Vec<u8>,
    computed: Vec<u8>,
    stored: Vec<u8>,
}

impl<D: ReadAt, O: ReadAt> Check<'_, D, O> {
    /// Checks a subtree that must have the value `expected`. Recurses once per level, so at most 50 deep.
    fn subtree(&mut self, subtree: &Subtree, expected: &Value) -> io::Result<()> {
        let groups = subtree.start_group..subtree.end_group();
        if !self.ranges.intersects(groups.clone()) {
            return Ok(());
        }
        let whole = subtree.groups <= Grain::BULK.groups() && self.ranges.contains_all(groups.clone());
        if whole && self.is_whole_valid(subtree, expected)? {
            self.valid.insert(groups);
            return Ok(());
        }
        let Some((left, right)) = subtree.split() else {
            return Ok(());
        };
        let mut pair = [0; PAIR_BYTES];
        if !read_or_missing(self.outboard, &mut pair, subtree.outboard_offset())? {
            return Ok(());
        }
        let (left_value, right_value) = split_pair(&pair);
        if parent_value(&left_value, &right_value, subtree.is_root) != *expected {
            return Ok(());
        }
        self.subtree(&left, &left_value)?;
        self.subtree(&right, &right_value)
    }

    /// Whether the content of a small subtree and all parents in it are right.
    fn is_whole_valid(&mut self, subtree: &Subtree, expected: &Value) -> io::Result<bool> {
        self.content.resize(subtree.byte_len(self.size) as usize, 0);
        if !read_or_missing(self.data, &mut self.content, subtree.start_byte())? {
            return Ok(false);
        }
        if subtree.groups == 1 {
            return Ok(subtree_value(subtree.start_byte(), &self.content, subtree.is_root) == *expected);
        }
        let parents = subtree.outboard_len() as usize;
        self.computed.resize(parents, 0);
        self.stored.resize(parents, 0);
        if !read_or_missing(self.outboard, &mut self.stored, subtree.outboard_offset())? {
            return Ok(false);
        }
        let value = subtree_with_outboard(subtree, &self.content, &mut self.computed);
        Ok(value == *expected && self.computed == self.stored)
    }
}

/// Reads; false if the source ends before.
fn read_or_missing(source: &impl ReadAt, buf: &mut [u8], offset: u64) -> io::Result<bool> {
    match source.read_exact_at(buf, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
