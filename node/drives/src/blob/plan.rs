//! The order of a verified stream: which parents and units go over the wire, and where each belongs
//! (specs/drives.md, section 16.3).
//!
//! Sender and receiver compute the same plan from size, ranges and grain, so the stream carries no framing. The tree is
//! walked in pre-order, down to units; what holds nothing selected is left out together with its parents.

use super::geometry::{GROUP_BYTES, Grain, PARENT_BYTES, Subtree, group_count};
use super::ranges::GroupRanges;

/// Whether a stream must prove the blob's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeProof {
    /// Send what is asked for.
    No,
    /// Send the last unit as well, which alone proves the size.
    Yes,
}

/// What comes next in a verified stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A parent node, 64 bytes.
    Parent(Parent),
    /// Content, up to one unit.
    Unit(Unit),
}

/// A parent node on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Where its 64 bytes lie in the outboard.
    pub outboard_offset: u64,
    /// Whether it is the root of the blob.
    pub is_root: bool,
    /// Whether anything below its left child follows.
    pub left: bool,
    /// Whether anything below its right child follows.
    pub right: bool,
}

/// A unit on the wire: 2^grain groups, fewer at the blob's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The subtree that the unit is.
    pub subtree: Subtree,
    /// Where its content starts in the blob, in bytes.
    pub start_byte: u64,
    /// Bytes of content, at most 1 MiB; 0 only for the empty blob.
    pub len: usize,
    /// Whether this is the end of the blob.
    pub is_last: bool,
}

/// The steps of one verified stream, in wire order. Memory is the (clipped) ranges and a stack of at most 64 subtrees.
#[derive(Clone, Debug)]
pub struct Plan {
    size: u64,
    grain: Grain,
    ranges: GroupRanges,
    stack: Vec<Subtree>,
}

impl Plan {
    /// A plan for the units of a blob of `size` bytes that hold any of `ranges`.
    ///
    /// Ranges beyond the blob's end select nothing: the plan may be empty, and an empty stream proves nothing.
    pub fn new(size: u64, ranges: &GroupRanges, grain: Grain, size_proof: SizeProof) -> Self {
        let groups = group_count(size);
        let mut ranges = ranges.clip(size);
        if size_proof == SizeProof::Yes {
            ranges.insert(groups - 1..groups);
        }
        let ranges = ranges.widen(grain).clip(size);
        let mut stack = Vec::with_capacity(64);
        if !ranges.is_empty() {
            stack.push(Subtree::root(size));
        }
        Self { size, grain, ranges, stack }
    }

    /// Size of the blob, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The groups whose content the whole stream carries: whole units within the blob.
    pub fn ranges(&self) -> &GroupRanges {
        &self.ranges
    }

    /// Bytes that the rest of the stream takes: parents and content. O(runs x log size).
    pub fn bytes_left(&self) -> u64 {
        self.stack.iter().fold(0, |sum: u64, subtree| sum.saturating_add(self.cost(subtree)))
    }

    /// Bytes on the wire for a subtree. Recurses once per level, so at most 50 deep.
    fn cost(&self, subtree: &Subtree) -> u64 {
        let groups = subtree.start_group..subtree.end_group();
        if !self.ranges.intersects(groups.clone()) {
            return 0;
        }
        if self.ranges.contains_all(groups) {
            let parents = subtree.groups.div_ceil(self.grain.groups()) - 1;
            return (parents * PARENT_BYTES).saturating_add(subtree.byte_len(self.size));
        }
        match subtree.split() {
            Some((left, right)) => PARENT_BYTES.saturating_add(self.cost(&left)).saturating_add(self.cost(&right)),
            None => 0,
        }
    }

    fn is_selected(&self, subtree: &Subtree) -> bool {
        self.ranges.intersects(subtree.start_group..subtree.end_group())
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let subtree = self.stack.pop()?;
        let unit_groups = self.grain.groups();
        if let Some((left, right)) = subtree.split().filter(|_| subtree.groups > unit_groups) {
            let parent = Parent {
                outboard_offset: subtree.outboard_offset(),
                is_root: subtree.is_root,
                left: self.is_selected(&left),
                right: self.is_selected(&right),
            };
            self.stack.extend(parent.right.then_some(right));
            self.stack.extend(parent.left.then_some(left));
            return Some(Step::Parent(parent));
        }
        Some(Step::Unit(Unit {
            subtree,
            start_byte: subtree.start_group * GROUP_BYTES,
            len: subtree.byte_len(self.size) as usize,
            is_last: subtree.end_group() == group_count(self.size),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_starts(size: u64, ranges: &GroupRanges, grain: u8, proof: SizeProof) -> Vec<u64> {
        Plan::new(size, ranges, Grain::try_from(grain).expect("valid"), proof)
            .filter_map(|step| match step {
                Step::Unit(unit) => Some(unit.subtree.start_group),
                Step::Parent(_) => None,
            })
            .collect()
    }

    #[test]
    fn ranges_are_widened_to_aligned_units() {
        let ranges = GroupRanges::from_groups(5..6).union(&GroupRanges::from_groups(9..10));
        assert_eq!(unit_starts(20 * GROUP_BYTES, &ranges, 0, SizeProof::No), [5, 9]);
        assert_eq!(unit_starts(20 * GROUP_BYTES, &ranges, 2, SizeProof::No), [4, 8]);
        assert_eq!(unit_starts(20 * GROUP_BYTES, &ranges, 3, SizeProof::Yes), [0, 8, 16]);
    }

    #[test]
    fn a_blob_of_one_unit_has_no_parents() {
        let steps: Vec<_> =
            Plan::new(GROUP_BYTES * 64, &GroupRanges::from_groups(3..4), Grain::BULK, SizeProof::No).collect();
        assert!(matches!(steps[..], [Step::Unit(Unit { len: 0x10_0000, is_last: true, .. })]), "{steps:?}");
    }

    #[test]
    fn ranges_beyond_the_end_select_nothing_but_the_size_proof() {
        let beyond = GroupRanges::from_groups(4..9);
        assert!(unit_starts(4 * GROUP_BYTES, &beyond, 0, SizeProof::No).is_empty());
        assert_eq!(unit_starts(4 * GROUP_BYTES, &beyond, 0, SizeProof::Yes), [3]);
    }

    #[test]
    fn the_largest_size_is_walked_without_overflow() {
        let plan = Plan::new(u64::MAX, &GroupRanges::from_groups(7..8), Grain::FINE, SizeProof::Yes);
        let expected = plan.bytes_left();
        let mut sum = 0;
        let mut walk = plan;
        while let Some(step) = walk.next() {
            sum += match step {
                Step::Parent(_) => 64,
                Step::Unit(unit) => unit.len as u64,
            };
            assert!(walk.stack.len() <= 64);
        }
        assert_eq!(sum, expected);
        assert_eq!(sum, 2 * GROUP_BYTES - 1 + 64 * 99);
    }
}
