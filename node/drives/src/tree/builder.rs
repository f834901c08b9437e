//! Building a tree from entries in key order, with one open node per level in memory.

use bytes::Bytes;
use thiserror::Error;

use super::{
    MAX_LEVELS,
    boundary::{Chunker, child_nominal_bytes},
    node::{Child, Node, NodeId},
};
use crate::{entry::Entry, key::PathKey};

/// The root of a finished tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Its address.
    pub id: NodeId,
    /// Levels below it.
    pub level: u8,
    /// Entries in the tree.
    pub entries: u64,
    /// Bytes of all files, as they are shown.
    pub bytes: u64,
}

/// A finished node. Nodes below it were handed over before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltNode {
    /// Its address.
    pub id: NodeId,
    /// Its bytes.
    pub encoded: Bytes,
    /// 0 for a leaf.
    pub level: u8,
    /// Its last key; `None` for the one leaf of an empty drive.
    pub last_key: Option<PathKey>,
    /// Entries of a leaf, children of an interior node.
    pub items: usize,
    /// Entries under it.
    pub entries: u64,
    /// File bytes under it.
    pub bytes: u64,
}

/// Why a tree could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// Keys must rise.
    #[error("entries are not pushed in key order")]
    Unsorted,
    /// More than [`MAX_LEVELS`]: only keys made for that purpose do this.
    #[error("the tree would have more than {MAX_LEVELS} levels")]
    TooDeep,
    /// Sums beyond 64 bits.
    #[error("the sizes of all files exceed 64 bits")]
    SumOverflow,
    /// The callback failed.
    #[error("cannot hand over a node")]
    Sink(#[source] E),
}

/// Takes entries in key order and hands finished nodes to `sink`.
#[derive(Debug)]
pub struct TreeBuilder<F> {
    sink: F,
    last_key: Option<PathKey>,
    leaf: Vec<Entry>,
    leaf_chunker: Chunker,
    leaves: u64,
    root: Option<Root>,
    upper: Vec<Level>,
}

/// The open node of one interior level.
#[derive(Debug)]
struct Level {
    chunker: Chunker,
    children: Vec<Child>,
    finished: u64,
}

impl<F, E> TreeBuilder<F>
where
    F: FnMut(BuiltNode) -> Result<(), E>,
{
    /// An empty tree.
    pub fn new(sink: F) -> Self {
        let leaf_chunker = Chunker::new(0);
        Self { sink, last_key: None, leaf: Vec::new(), leaf_chunker, leaves: 0, root: None, upper: Vec::new() }
    }

    /// Adds the next entry; its key must be above the one before.
    pub fn push(&mut self, entry: Entry) -> Result<(), BuildError<E>> {
        if self.last_key.as_ref().is_some_and(|last| last >= entry.key()) {
            return Err(BuildError::Unsorted);
        }
        let nominal = entry.nominal_bytes();
        if self.leaf_chunker.closes_before(nominal) {
            self.close_leaf()?;
        }
        let closes = self.leaf_chunker.push(entry.key().as_bytes(), nominal);
        self.last_key = Some(entry.key().clone());
        self.leaf.push(entry);
        if closes {
            self.close_leaf()?;
        }
        Ok(())
    }

    /// Closes what is open and gives the root.
    pub fn finish(mut self) -> Result<Root, BuildError<E>> {
        if !self.leaf.is_empty() || self.leaves == 0 {
            self.close_leaf()?;
        }
        // A level with a single node has the root; what its parent level holds is that node alone, and is dropped.
        let mut finished = self.leaves;
        let mut level = 0;
        while finished != 1 {
            let open = self.upper.get(level).is_some_and(|upper| !upper.children.is_empty());
            if open {
                self.close_interior(level)?;
            }
            finished = self.upper.get(level).map_or(1, |upper| upper.finished);
            level += 1;
        }
        Ok(self.root.expect("the node that was finished last is the root"))
    }

    fn close_leaf(&mut self) -> Result<(), BuildError<E>> {
        self.leaf_chunker.reset();
        self.leaves += 1;
        let leaf = Node::Leaf(std::mem::take(&mut self.leaf));
        self.emit(&leaf)
    }

    fn close_interior(&mut self, index: usize) -> Result<(), BuildError<E>> {
        let Some(upper) = self.upper.get_mut(index) else {
            return Ok(());
        };
        upper.chunker.reset();
        upper.finished += 1;
        let level = level_of(index).ok_or(BuildError::TooDeep)?;
        let node = Node::Interior { level, children: std::mem::take(&mut upper.children) };
        self.emit(&node)
    }

    /// Hands a finished node over and enters it into the level above, which may finish a node there.
    fn emit(&mut self, node: &Node) -> Result<(), BuildError<E>> {
        let built = built(node).ok_or(BuildError::SumOverflow)?;
        let BuiltNode { id, level, entries, bytes, .. } = built;
        self.root = Some(Root { id, level, entries, bytes });
        let child = built.last_key.clone().map(|last_key| Child { last_key, id, entries, bytes });
        (self.sink)(built).map_err(BuildError::Sink)?;
        match child {
            Some(child) => self.push_child(usize::from(level), child),
            None => Ok(()),
        }
    }

    fn push_child(&mut self, index: usize, child: Child) -> Result<(), BuildError<E>> {
        if self.upper.len() <= index {
            // The single node of a full eighth level is a root and needs no parent; a second one has none.
            let Some(level) = level_of(index) else {
                return self.no_parent();
            };
            self.upper.push(Level { chunker: Chunker::new(level), children: Vec::new(), finished: 0 });
        }
        let nominal = child_nominal_bytes(child.last_key.as_bytes().len());
        if self.upper.get(index).is_some_and(|upper| upper.chunker.closes_before(nominal)) {
            self.close_interior(index)?;
        }
        let Some(upper) = self.upper.get_mut(index) else {
            return Ok(());
        };
        let closes = upper.chunker.push(child.last_key.as_bytes(), nominal);
        upper.children.push(child);
        if closes { self.close_interior(index) } else { Ok(()) }
    }

    fn no_parent(&self) -> Result<(), BuildError<E>> {
        match self.upper.last() {
            Some(top) if top.finished > 1 => Err(BuildError::TooDeep),
            _ => Ok(()),
        }
    }
}

/// The level of interior nodes that are parents of level `index`.
fn level_of(index: usize) -> Option<u8> {
    u8::try_from(index + 1).ok().filter(|level| *level < MAX_LEVELS)
}

/// Encodes a node and sums it up; `None` when the sums exceed 64 bits.
pub(super) fn built(node: &Node) -> Option<BuiltNode> {
    let (entries, bytes) = node.sums()?;
    let encoded = node.encode();
    Some(BuiltNode {
        id: NodeId::of(&encoded),
        encoded,
        level: node.level(),
        last_key: node.last_key().cloned(),
        items: node.item_count(),
        entries,
        bytes,
    })
}
