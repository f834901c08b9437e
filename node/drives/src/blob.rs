//! Content found by its BLAKE3 hash, and streams of it that prove themselves (specs/drives.md, sections 2, 3 and 16.3).
//!
//! A blob is cut into *groups* of 16 KiB, the leaves of its BLAKE3 tree. The *outboard* holds the tree's parent nodes,
//! 64 bytes each, in pre-order: with it any range of the blob can be proven from the hash alone. A *unit* is
//! 2^grain groups: what one step of a transfer carries and checks.
//!
//! Nothing here owns a file, knows a clock or starts a task; only [`hash_file`] uses threads, and joins them.

mod geometry;
mod hash;
mod import;
mod plan;
mod ranges;
mod read_at;
mod stream;
#[cfg(test)]
mod testing;
mod validity;

pub use geometry::{GROUP_BYTES, Grain, GrainError, MAX_GROUPS, PARENT_BYTES, Subtree, group_count, outboard_len};
pub use import::{IMPORT_SUBTREE_BYTES, ImportError, OutboardSink, hash_bytes, hash_file, hash_file_into};
pub use plan::{Parent, Plan, SizeProof, Step, Unit};
pub use ranges::{GroupRanges, MAX_WIRE_RUNS, RangesError};
pub use read_at::ReadAt;
pub use stream::{Decoder, Encoder, ProofError, SIZE_PREFIX_BYTES, SendError};
pub use validity::valid_groups;
