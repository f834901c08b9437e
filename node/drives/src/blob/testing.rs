//! Content and sizes that the tests of several files share.

use super::geometry::GROUP_BYTES;

/// Bytes without any repetition that a misplaced block could hide behind.
pub(super) fn content(len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(b"content of tests").finalize_xof().fill(&mut bytes);
    bytes
}

/// Sizes at all edges of chunks, groups, units and import subtrees.
pub(super) fn edge_sizes() -> Vec<u64> {
    const MIB: u64 = 1024 * 1024;
    let mut sizes =
        vec![0, 1, 1023, 1024, 1025, GROUP_BYTES * 3 + 7, GROUP_BYTES * 5, 8 * MIB + GROUP_BYTES, 9 * MIB + 5];
    for edge in [GROUP_BYTES, 2 * GROUP_BYTES, 4 * GROUP_BYTES, MIB, 2 * MIB, 8 * MIB] {
        sizes.extend([edge - 1, edge, edge + 1]);
    }
    sizes
}
