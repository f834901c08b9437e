//! One index node in memory, and what its parent promises of it.

use std::fmt;

use bytes::Bytes;
use p2p_identity::{CodecError, ContentId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_LEVELS, MAX_NODE_BYTES, MAX_NOMINAL_BYTES, codec};
use crate::{
    entry::{Entry, EntryError},
    key::{PathKey, PathKeyError},
};

/// The address of an index node: BLAKE3 of its bytes. Text form: hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId([u8; 32]);

/// What an interior node says of one node below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The last key under it.
    pub last_key: PathKey,
    /// Its address.
    pub id: NodeId,
    /// Entries under it.
    pub entries: u64,
    /// Bytes of the files under it, as they are shown.
    pub bytes: u64,
}

/// A decoded index node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Level 0: entries by key. Only the root of an empty drive has none.
    Leaf(Vec<Entry>),
    /// Level 1 and up: the nodes one level below, in order; at least one.
    Interior {
        /// Levels below it.
        level: u8,
        /// The nodes below.
        children: Vec<Child>,
    },
}

/// What is known of a node before it is read; [`Expected::check`] refuses one that is different. A root is known by its address
/// and perhaps its sums, any other node by all that its parent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its address.
    pub id: NodeId,
    /// Its level; `None` for a root that nothing is known of.
    pub level: Option<u8>,
    /// All its keys are above this one.
    pub after: Option<PathKey>,
    /// Its last key.
    pub last_key: Option<PathKey>,
    /// Entries and file bytes under it.
    pub sums: Option<(u64, u64)>,
}

/// Why bytes are not the node they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// More than [`MAX_NODE_BYTES`].
    #[error("node is {0} bytes, at most {MAX_NODE_BYTES}")]
    TooLarge(usize),
    /// A format that this version does not know.
    #[error("node has format {0}, which needs a newer version of p2pnode")]
    UnknownFormat(u8),
    /// A node of a private drive.
    #[error("node is sealed (seal {0}), which needs a newer version of p2pnode")]
    Sealed(u8),
    /// More than [`MAX_LEVELS`] levels.
    #[error("node is at level {0}, a tree has at most {MAX_LEVELS} levels")]
    TooDeep(u8),
    /// More than a node may hold.
    #[error("node holds more than {MAX_NOMINAL_BYTES} nominal bytes")]
    TooFull,
    /// Keys do not rise.
    #[error("keys are not in order")]
    Unsorted,
    /// One of several ways to write the same thing, but not the one that is allowed.
    #[error("{0} is not written in the one allowed way")]
    NotCanonical(&'static str),
    /// An interior node without children.
    #[error("interior node without children")]
    NoChildren,
    /// A kind of entry that this version does not know.
    #[error("entry of kind {0}, which needs a newer version of p2pnode")]
    UnknownKind(u8),
    /// Flags that this version does not know.
    #[error("entry with flags {0:#04x}, which need a newer version of p2pnode")]
    UnknownFlags(u8),
    /// Sums beyond 64 bits.
    #[error("sums are too large")]
    SumOverflow,
    /// A key that no path can have.
    #[error("bad key")]
    Key(#[from] PathKeyError),
    /// An entry that cannot be.
    #[error("bad entry")]
    Entry(#[from] EntryError),
    /// Bytes that do not decode.
    #[error("bad encoding")]
    Codec(#[from] CodecError),
    /// BLAKE3 gives another address.
    #[error("the bytes have another hash")]
    WrongHash,
    /// The level is not one below the parent's.
    #[error("node is at level {found}, its parent says {expected}")]
    WrongLevel {
        /// What the parent says.
        expected: u8,
        /// What the node says.
        found: u8,
    },
    /// A key is outside what the parent says.
    #[error("keys are not those that the parent says")]
    WrongKeys,
    /// Sums differ from what the parent or the head says.
    #[error("counts or sizes are not those that the parent says")]
    WrongSums,
}

impl NodeId {
    /// The address of a node with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first ten characters of the text form, for logs.
    pub fn fmt_short(&self) -> String {
        ContentId::from(self.0).fmt_short()
    }
}

impl From<[u8; 32]> for NodeId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<ContentId> for NodeId {
    fn from(hash: ContentId) -> Self {
        Self(hash.into())
    }
}

impl From<NodeId> for ContentId {
    fn from(id: NodeId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ContentId::from(self.0).fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.fmt_short())
    }
}

impl Node {
    /// Reads a node from anywhere. It is consistent in itself; whether it is the right one only [`Expected::decode`] can say.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        codec::decode(bytes)
    }

    /// Its bytes: one node has exactly one encoding.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Leaf(entries) => codec::encode_leaf(entries),
            Self::Interior { level, children } => codec::encode_interior(*level, children),
        }
    }

    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Interior { level, .. } => *level,
        }
    }

    /// Entries or children.
    pub fn item_count(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Interior { children, .. } => children.len(),
        }
    }

    /// The last key in it; `None` for the empty leaf.
    pub fn last_key(&self) -> Option<&PathKey> {
        match self {
            Self::Leaf(entries) => entries.last().map(Entry::key),
            Self::Interior { children, .. } => children.last().map(|child| &child.last_key),
        }
    }

    /// Entries and file bytes under it; `None` when they exceed 64 bits.
    pub fn sums(&self) -> Option<(u64, u64)> {
        let add = |(entries, bytes): (u64, u64), more: (u64, u64)| {
            Some((entries.checked_add(more.0)?, bytes.checked_add(more.1)?))
        };
        match self {
            Self::Leaf(entries) => entries.iter().map(|entry| (1, entry.shown().file_bytes())).try_fold((0, 0), add),
            Self::Interior { children, .. } => {
                children.iter().map(|child| (child.entries, child.bytes)).try_fold((0, 0), add)
            }
        }
    }

    /// The child under which `key` is, or the next key above it; `None` in a leaf and when `key` is above everything.
    pub fn child_index_for(&self, key: &[u8]) -> Option<usize> {
        let Self::Interior { children, .. } = self else {
            return None;
        };
        let index = children.partition_point(|child| child.last_key.as_bytes() < key);
        (index < children.len()).then_some(index)
    }

    /// What the child at `index` must be like. `after` is the bound this node itself was expected with.
    pub fn expected_child(&self, index: usize, after: Option<&PathKey>) -> Option<Expected> {
        let Self::Interior { level, children } = self else {
            return None;
        };
        let child = children.get(index)?;
        let before = index.checked_sub(1).and_then(|index| children.get(index));
        Some(Expected {
            id: child.id,
            level: level.checked_sub(1),
            after: before.map(|child| &child.last_key).or(after).cloned(),
            last_key: Some(child.last_key.clone()),
            sums: Some((child.entries, child.bytes)),
        })
    }

    pub(super) fn first_key(&self) -> Option<&PathKey> {
        match self {
            Self::Leaf(entries) => entries.first().map(Entry::key),
            Self::Interior { children, .. } => children.first().map(|child| &child.last_key),
        }
    }
}

impl Expected {
    /// A root of which nothing but its address is known.
    pub fn root(id: NodeId) -> Self {
        Self { id, level: None, after: None, last_key: None, sums: None }
    }

    /// A root with the sums that a signed head gives.
    pub fn root_with_sums(id: NodeId, entries: u64, bytes: u64) -> Self {
        Self { sums: Some((entries, bytes)), ..Self::root(id) }
    }

    /// Hashes, decodes and checks.
    pub fn decode(&self, bytes: &[u8]) -> Result<Node, NodeError> {
        if bytes.len() > MAX_NODE_BYTES {
            return Err(NodeError::TooLarge(bytes.len()));
        }
        if NodeId::of(bytes) != self.id {
            return Err(NodeError::WrongHash);
        }
        let node = Node::decode(bytes)?;
        self.check(&node)?;
        Ok(node)
    }

    /// Compares a decoded node with what is expected, all but its address.
    pub fn check(&self, node: &Node) -> Result<(), NodeError> {
        let found = node.level();
        if let Some(expected) = self.level.filter(|level| *level != found) {
            return Err(NodeError::WrongLevel { expected, found });
        }
        if self.last_key.is_some() && node.last_key() != self.last_key.as_ref() {
            return Err(NodeError::WrongKeys);
        }
        // Of an interior node the first key is not known, but its first child ends above everything before it.
        if self.after.as_ref().zip(node.first_key()).is_some_and(|(after, first)| first <= after) {
            return Err(NodeError::WrongKeys);
        }
        if self.sums.is_some() && node.sums() != self.sums {
            return Err(NodeError::WrongSums);
        }
        Ok(())
    }
}
