//! Reading a tree: one path, a range, one directory, sums.

use bytes::Bytes;
use thiserror::Error;

use super::{
    cursor::Cursor,
    diff::Diff,
    node::{Expected, Node, NodeError, NodeId},
};
use crate::{
    entry::Entry,
    key::{AFTER_SEPARATOR, PathKey, SEPARATOR},
};

/// Where nodes come from. Their bytes need not be trusted: every node is hashed and checked against its parent.
pub trait NodeSource {
    /// Why reading failed.
    type Error;

    /// The bytes of a node; `None` when it is not there.
    fn node(&self, id: &NodeId) -> Result<Option<Bytes>, Self::Error>;
}

/// Why a tree could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalkError<E> {
    /// The source failed.
    #[error("cannot read an index node")]
    Source(#[source] E),
    /// A node is not there.
    #[error("index node {0} is not here")]
    Missing(NodeId),
    /// A node is not what it should be.
    #[error("index node {id} is bad")]
    Bad {
        /// Which node.
        id: NodeId,
        /// What is wrong.
        source: NodeError,
    },
}

/// A tree to read.
#[derive(Debug)]
pub struct Tree<'s, S: ?Sized> {
    source: &'s S,
    root: Expected,
}

/// What a directory holds under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// An entry.
    Entry(Entry),
    /// A directory that has no entry of its own, only entries under it.
    Implied(PathKey),
}

/// Counts of a part of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Entries.
    pub entries: u64,
    /// Bytes of files, as they are shown.
    pub bytes: u64,
}

/// Entries in key order.
pub struct Range<'s, S: ?Sized> {
    cursor: Cursor<'s, S>,
    index: usize,
    state: RangeState,
}

enum RangeState {
    /// The next entry is the first at or above these bytes.
    Seek(Vec<u8>),
    /// The next entry is at `index` of the cursor's leaf.
    Here,
    /// Nothing more: the end, or an error was given out.
    Done,
}

impl<'s, S: NodeSource + ?Sized> Tree<'s, S> {
    /// The tree of this root. With sums from a signed head (`Expected::root_with_sums`) these are checked as well.
    pub fn new(source: &'s S, root: Expected) -> Self {
        Self { source, root }
    }

    /// The entry of a path.
    pub fn lookup(&self, key: &PathKey) -> Result<Option<Entry>, WalkError<S::Error>> {
        let mut expected = self.root.clone();
        loop {
            let node = load(self.source, &expected)?;
            if let Node::Leaf(entries) = node {
                let found = entries.binary_search_by(|entry| entry.key().cmp(key)).ok();
                return Ok(found.and_then(|index| entries.into_iter().nth(index)));
            }
            let index = node.child_index_for(key.as_bytes());
            let Some(child) = index.and_then(|index| node.expected_child(index, expected.after.as_ref())) else {
                return Ok(None);
            };
            expected = child;
        }
    }

    /// All entries whose key is at or above `from`; the empty slice for all.
    pub fn range(&self, from: &[u8]) -> Range<'s, S> {
        let cursor = Cursor::new(self.source, self.root.clone(), 0);
        Range { cursor, index: 0, state: RangeState::Seek(from.to_vec()) }
    }

    /// What lies directly in a directory, `None` for the top. Subtrees are skipped (specs/drives.md, 4.1, rule 1).
    pub fn list_dir(
        &self,
        dir: Option<&PathKey>,
    ) -> impl Iterator<Item = Result<Listed, WalkError<S::Error>>> + use<'s, S> {
        let prefix = dir.map_or_else(Vec::new, |dir| [dir.as_bytes(), &[SEPARATOR]].concat());
        let mut range = self.range(&prefix);
        std::iter::from_fn(move || {
            let entry = match range.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let key = entry.key().as_bytes();
            let name = key.strip_prefix(prefix.as_slice())?;
            let name_len = name.iter().position(|byte| *byte == SEPARATOR);
            let child = key.get(..prefix.len() + name_len.unwrap_or(name.len())).unwrap_or(key);
            range.seek([child, &[AFTER_SEPARATOR]].concat());
            match name_len {
                None => Some(Ok(Listed::Entry(entry))),
                Some(_) => {
                    let implied =
                        PathKey::from_bytes(child).expect("the beginning of a key up to a separator is a key");
                    Some(Ok(Listed::Implied(implied)))
                }
            }
        })
    }

    /// Counts what is at and under `prefix`, or in the whole tree. Reads the nodes at both edges only.
    pub fn sum_under(&self, prefix: Option<&PathKey>) -> Result<Sum, WalkError<S::Error>> {
        let Some(prefix) = prefix else {
            let node = load(self.source, &self.root)?;
            return Ok(node.sums().map(|(entries, bytes)| Sum { entries, bytes }).unwrap_or_default());
        };
        let mut sum = Sum::default();
        self.add_sums(&self.root, prefix.as_bytes(), &prefix.after_subtree(), &mut sum)?;
        Ok(sum)
    }

    /// What changed from this tree to `newer`. Equal subtrees are not read.
    pub fn diff(&self, newer: &Self) -> Result<Diff<'s, S>, WalkError<S::Error>> {
        Diff::new(self.source, &self.root, newer.source, &newer.root)
    }

    fn add_sums(&self, expected: &Expected, from: &[u8], to: &[u8], sum: &mut Sum) -> Result<(), WalkError<S::Error>> {
        let node = load(self.source, expected)?;
        match &node {
            Node::Leaf(entries) => {
                for entry in entries.iter().filter(|entry| (from..to).contains(&entry.key().as_bytes())) {
                    sum.add(1, entry.shown().file_bytes());
                }
            }
            Node::Interior { children, .. } => {
                for (index, child) in children.iter().enumerate() {
                    let Some(below) = node.expected_child(index, expected.after.as_ref()) else {
                        continue;
                    };
                    let after = below.after.as_ref().map(PathKey::as_bytes);
                    if child.last_key.as_bytes() < from {
                        continue;
                    }
                    // Keys under the child are above `after`; one that follows `to` directly is not in the range either.
                    if after.is_some_and(|after| after >= to) {
                        break;
                    }
                    if after.is_some_and(|after| after >= from) && child.last_key.as_bytes() < to {
                        sum.add(child.entries, child.bytes);
                    } else {
                        self.add_sums(&below, from, to, sum)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Sum {
    fn add(&mut self, entries: u64, bytes: u64) {
        // The sums of all children were checked not to overflow; a part of them does not either.
        self.entries = self.entries.saturating_add(entries);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl<S: NodeSource + ?Sized> Range<'_, S> {
    /// Goes on with the first entry at or above `key`, which must not be below what was given out.
    pub fn seek(&mut self, key: Vec<u8>) {
        if !matches!(self.state, RangeState::Done) {
            self.state = RangeState::Seek(key);
        }
    }

    fn advance(&mut self) -> Result<Option<Entry>, WalkError<S::Error>> {
        if let RangeState::Seek(key) = &self.state {
            self.cursor.seek(key)?;
            self.index = match self.cursor.node() {
                Some(Node::Leaf(entries)) => entries.partition_point(|entry| entry.key().as_bytes() < key.as_slice()),
                _ => 0,
            };
            self.state = RangeState::Here;
        }
        loop {
            let Some(Node::Leaf(entries)) = self.cursor.node() else {
                return Ok(None);
            };
            if let Some(entry) = entries.get(self.index) {
                self.index += 1;
                return Ok(Some(entry.clone()));
            }
            self.index = 0;
            if !self.cursor.go_right()? {
                return Ok(None);
            }
        }
    }
}

impl<S: NodeSource + ?Sized> Iterator for Range<'_, S> {
    type Item = Result<Entry, WalkError<S::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, RangeState::Done) {
            return None;
        }
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.state = RangeState::Done;
        }
        next
    }
}

/// Reads one node and checks it.
pub(super) fn load<S: NodeSource + ?Sized>(source: &S, expected: &Expected) -> Result<Node, WalkError<S::Error>> {
    let bytes = source.node(&expected.id).map_err(WalkError::Source)?;
    let bytes = bytes.ok_or(WalkError::Missing(expected.id))?;
    expected.decode(&bytes).map_err(|source| WalkError::Bad { id: expected.id, source })
}
