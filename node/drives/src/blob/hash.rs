//! Chaining values of subtrees: the one place that calls `blake3::hazmat`.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::geometry::{GROUP_BYTES, PARENT_BYTES, Subtree};

/// Bytes of a chaining value or hash.
pub(super) const VALUE_BYTES: usize = 32;
/// Bytes of a parent, as a length of slices.
pub(super) const PAIR_BYTES: usize = PARENT_BYTES as usize;

/// A non-root chaining value, or the root's hash.
pub(super) type Value = [u8; VALUE_BYTES];

/// The value of one whole subtree, hashed in one go: the fastest way when its outboard is not wanted.
/// `bytes` is exactly what the subtree covers.
pub(super) fn subtree_value(start_byte: u64, bytes: &[u8], is_root: bool) -> Value {
    if is_root {
        return *blake3::hash(bytes).as_bytes();
    }
    Hasher::new().set_input_offset(start_byte).update(bytes).finalize_non_root()
}

/// The value of a parent node from those of its children.
pub(super) fn parent_value(left: &Value, right: &Value, is_root: bool) -> Value {
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

/// Both children's values of a parent as it lies in the outboard.
pub(super) fn split_pair(pair: &[u8; PAIR_BYTES]) -> (Value, Value) {
    let (mut left, mut right) = ([0; VALUE_BYTES], [0; VALUE_BYTES]);
    left.copy_from_slice(&pair[..VALUE_BYTES]);
    right.copy_from_slice(&pair[VALUE_BYTES..]);
    (left, right)
}

/// A parent as it lies in the outboard.
pub(super) fn join_pair(left: &Value, right: &Value) -> [u8; PAIR_BYTES] {
    let mut pair = [0; PAIR_BYTES];
    pair[..VALUE_BYTES].copy_from_slice(left);
    pair[VALUE_BYTES..].copy_from_slice(right);
    pair
}

/// The value of `subtree`, hashed group by group, and its part of the outboard.
///
/// `bytes` is exactly what the subtree covers and `outboard` exactly `subtree.outboard_len()` long. Recurses once per
/// level, so at most 50 deep.
pub(super) fn subtree_with_outboard(subtree: &Subtree, bytes: &[u8], outboard: &mut [u8]) -> Value {
    let Some((left, right)) = subtree.split() else {
        return subtree_value(subtree.start_byte(), bytes, subtree.is_root);
    };
    let (left_bytes, right_bytes) = bytes.split_at((left.groups * GROUP_BYTES) as usize);
    let (own, below) = outboard.split_at_mut(PAIR_BYTES);
    let (left_outboard, right_outboard) = below.split_at_mut(left.outboard_len() as usize);
    let left_value = subtree_with_outboard(&left, left_bytes, left_outboard);
    let right_value = subtree_with_outboard(&right, right_bytes, right_outboard);
    own.copy_from_slice(&join_pair(&left_value, &right_value));
    parent_value(&left_value, &right_value, subtree.is_root)
}
