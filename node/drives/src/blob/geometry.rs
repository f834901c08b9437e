//! The shape of a blob's hash tree: which groups a node covers and where it lies in the outboard.
//!
//! The tree is BLAKE3's own, pruned below 16 KiB: every left subtree is complete and a power of two groups wide. A
//! subtree over `n` groups has `n - 1` parents, which lie together in the outboard: first its own, then all of the
//! left child, then all of the right one. So a child's place follows from its parent's by one addition.

use serde::{Deserialize, Serialize};

/// Bytes of a chunk group, the leaf of the pruned tree (16 chunks of 1,024 bytes).
pub const GROUP_BYTES: u64 = 16 * 1024;
/// Bytes of a parent node: the chaining values of its left and right child.
pub const PARENT_BYTES: u64 = 64;
/// Groups of the largest blob that a u64 size can name (2^64 bytes).
pub const MAX_GROUPS: u64 = 1 << 50;

/// Groups of a blob of `size` bytes. The empty blob has one, empty, group, so that it too can be proven.
pub fn group_count(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES).max(1)
}

/// Bytes of the outboard of a blob of `size` bytes; 0 for a blob of at most one group.
pub fn outboard_len(size: u64) -> u64 {
    (group_count(size) - 1) * PARENT_BYTES
}

/// How much one step of a transfer carries: units of 2^grain groups, from 0 (16 KiB) to 6 (1 MiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Grain(u8);

impl Grain {
    /// 16 KiB: for ranges and the gateway, where a wrong byte must show soon.
    pub const FINE: Self = Self(0);
    /// 256 KiB: for pieces of that size.
    pub const QUARTER: Self = Self(4);
    /// 1 MiB: for whole pieces, where BLAKE3 should run at full speed.
    pub const BULK: Self = Self(6);

    /// Groups in a whole unit, 1 to 64.
    pub fn groups(self) -> u64 {
        1 << self.0
    }

    /// Bytes in a whole unit, 16 KiB to 1 MiB.
    pub fn unit_bytes(self) -> u64 {
        self.groups() * GROUP_BYTES
    }
}

impl TryFrom<u8> for Grain {
    type Error = GrainError;

    fn try_from(grain: u8) -> Result<Self, GrainError> {
        if grain <= Self::BULK.0 { Ok(Self(grain)) } else { Err(GrainError(grain)) }
    }
}

impl From<Grain> for u8 {
    fn from(grain: Grain) -> Self {
        grain.0
    }
}

/// A grain above 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grain is {0}, at most 6")]
pub struct GrainError(pub u8);

/// A node of the tree together with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// First group covered.
    pub start_group: u64,
    /// Groups covered, at least 1. A subtree of one group is a leaf and has no parent node.
    pub groups: u64,
    /// Number, counted in parents, of this subtree's own parent in the outboard. For a leaf: where one would be.
    pub parent_index: u64,
    /// Whether this is the whole blob, whose hash is finalised with BLAKE3's ROOT flag.
    pub is_root: bool,
}

impl Subtree {
    /// The whole tree of a blob of `size` bytes.
    pub fn root(size: u64) -> Self {
        Self { start_group: 0, groups: group_count(size), parent_index: 0, is_root: true }
    }

    /// Both children, or `None` for a leaf.
    pub fn split(&self) -> Option<(Self, Self)> {
        if self.groups < 2 {
            return None;
        }
        let left_groups = self.groups.div_ceil(2).next_power_of_two();
        let left = Self {
            start_group: self.start_group,
            groups: left_groups,
            parent_index: self.parent_index + 1,
            is_root: false,
        };
        let right = Self {
            start_group: self.start_group + left_groups,
            groups: self.groups - left_groups,
            parent_index: self.parent_index + left_groups,
            is_root: false,
        };
        Some((left, right))
    }

    /// The largest subtree of at most `max_groups` groups (at least 1) that covers `group`; `None` beyond the blob's end.
    /// Takes O(log n).
    pub fn covering(size: u64, group: u64, max_groups: u64) -> Option<Self> {
        let mut subtree = Self::root(size);
        if group >= subtree.groups {
            return None;
        }
        while subtree.groups > max_groups.max(1) {
            let (left, right) = subtree.split()?;
            subtree = if group < right.start_group { left } else { right };
        }
        Some(subtree)
    }

    /// First group after this subtree.
    pub fn end_group(&self) -> u64 {
        self.start_group + self.groups
    }

    /// First byte covered.
    pub fn start_byte(&self) -> u64 {
        self.start_group * GROUP_BYTES
    }

    /// Bytes covered in a blob of `size` bytes: the blob's end cuts the last group.
    pub fn byte_len(&self, size: u64) -> u64 {
        // `MAX_GROUPS` whole groups are 2^64 bytes, hence the saturation.
        let end = self.end_group().saturating_mul(GROUP_BYTES).min(size);
        end.saturating_sub(self.start_byte())
    }

    /// Byte offset in the outboard of this subtree's own parent, and so of all parents below it.
    pub fn outboard_offset(&self) -> u64 {
        self.parent_index * PARENT_BYTES
    }

    /// Bytes that this subtree's parents take in the outboard.
    pub fn outboard_len(&self) -> u64 {
        (self.groups - 1) * PARENT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_groups_and_parents() {
        for (size, groups) in
            [(0, 1), (1, 1), (16_384, 1), (16_385, 2), (32_768, 2), (32_769, 3), (u64::MAX, MAX_GROUPS)]
        {
            assert_eq!(group_count(size), groups, "{size}");
            assert_eq!(outboard_len(size), (groups - 1) * 64, "{size}");
        }
    }

    #[test]
    fn parents_of_a_walk_are_numbered_in_pre_order() {
        for groups in 1..200_u64 {
            let mut stack = vec![Subtree::root(groups * GROUP_BYTES)];
            let (mut next_parent, mut next_group) = (0, 0);
            while let Some(subtree) = stack.pop() {
                assert_eq!(subtree.parent_index, next_parent);
                assert_eq!(subtree.start_group, next_group);
                match subtree.split() {
                    Some((left, right)) => {
                        next_parent += 1;
                        assert!(left.groups.is_power_of_two() && left.groups >= right.groups);
                        stack.extend([right, left]);
                    }
                    None => next_group += 1,
                }
            }
            assert_eq!((next_parent, next_group), (groups - 1, groups));
        }
    }

    #[test]
    fn a_unit_is_found_from_any_of_its_groups() {
        let size = 1000 * GROUP_BYTES - 5;
        for group in 0..1000 {
            let unit = Subtree::covering(size, group, 64).expect("inside");
            assert_eq!(unit.start_group, group / 64 * 64);
            assert_eq!(unit.groups, (1000 - unit.start_group).min(64));
        }
        assert_eq!(Subtree::covering(size, 1000, 64), None);
        assert_eq!(Subtree::covering(u64::MAX, MAX_GROUPS - 1, 1).map(|s| s.byte_len(u64::MAX)), Some(GROUP_BYTES - 1));
    }

    #[test]
    fn only_grains_up_to_six_exist() {
        assert_eq!(Grain::try_from(6), Ok(Grain::BULK));
        assert_eq!(Grain::try_from(7), Err(GrainError(7)));
        assert_eq!(Grain::BULK.unit_bytes(), 1 << 20);
        assert!(postcard::from_bytes::<Grain>(&[9]).is_err());
    }
}
