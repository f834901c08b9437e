//! The index of a drive: a prolly tree (specs/drives.md, section 4).
//!
//! Entries lie in leaves in key order, leaves under interior nodes. Where a node ends depends on the entries alone, so the
//! same set of entries has the same root whoever built it and in whatever order. Everything here is pure: nodes come from a
//! [`NodeSource`] and go to a callback.

mod boundary;
mod builder;
mod codec;
mod cursor;
mod diff;
mod node;
mod update;
mod walk;

pub use builder::{BuildError, BuiltNode, Root, TreeBuilder};
pub use diff::{Change, Diff};
pub use node::{Child, Expected, Node, NodeError, NodeId};
pub use update::{UpdateError, update};
pub use walk::{Listed, NodeSource, Range, Sum, Tree, WalkError};

/// Smallest nominal size at which a node may end by the hash of its last key, in bytes.
const MIN_NOMINAL_BYTES: usize = 4 * 1024;
/// Largest nominal size of a node, in bytes.
const MAX_NOMINAL_BYTES: usize = 48 * 1024;
/// Largest encoded node that is read or made, in bytes.
pub const MAX_NODE_BYTES: usize = 192 * 1024;
/// Most levels, leaves included.
pub const MAX_LEVELS: u8 = 8;

#[cfg(test)]
mod tests;
