//! Changing a tree: only nodes that differ are made, and the root is that of a tree built anew.
//!
//! Level by level. A change begins at the old node that holds its key, since all nodes before it end where they did. One
//! exception: a node may have ended only because the next item did not fit, so when the first item of a node may change the
//! work begins one node earlier. From there old items and changes go through the rules again until a new node ends where an old
//! one ends and no change is left before the next; what lies between is skipped. The nodes that came and went are the
//! changes of the level above.

use std::{
    collections::{BTreeMap, HashMap},
    iter::Peekable,
};

use thiserror::Error;

use super::{
    MAX_LEVELS,
    boundary::{Chunker, child_nominal_bytes},
    builder::{BuildError, BuiltNode, Root, built},
    cursor::Cursor,
    node::{Child, Expected, Node, NodeId},
    walk::{NodeSource, WalkError, load},
};
use crate::{entry::Entry, key::PathKey};

/// Why a tree could not be changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError<R, W> {
    /// The old tree could not be read.
    #[error("cannot read the index")]
    Walk(#[source] WalkError<R>),
    /// The new tree could not be made.
    #[error("cannot build the index")]
    Build(#[source] BuildError<W>),
    /// A change names one key and holds the entry of another.
    #[error("a change of {key} holds the entry of another path")]
    WrongKey {
        /// The key of the change.
        key: PathKey,
    },
}

/// Applies changes in key order, each a key with its new entry or `None` to remove it, and hands the new nodes to `sink`, those
/// below before those above. Leaves are handed over as they are made; new interior nodes are kept until the end.
pub fn update<S, F, W>(
    root: &Expected,
    source: &S,
    changes: impl IntoIterator<Item = (PathKey, Option<Entry>)>,
    mut sink: F,
) -> Result<Root, UpdateError<S::Error, W>>
where
    S: NodeSource + ?Sized,
    F: FnMut(BuiltNode) -> Result<(), W>,
{
    let old_root = load(source, root).map_err(UpdateError::Walk)?;
    let top = old_root.level();
    let leaf_edits = changes.into_iter().map(|(key, entry)| match &entry {
        Some(entry) if *entry.key() != key => Err(UpdateError::WrongKey { key }),
        _ => Ok((key, entry)),
    });
    let mut emit = |node: BuiltNode| sink(node).map_err(|error| UpdateError::Build(BuildError::Sink(error)));
    let mut level_pass = Pass::new(Cursor::new(source, root.clone(), 0), 0, leaf_edits, &mut emit);
    let mut edits = level_pass.run()?;
    let mut fresh: Vec<BuiltNode> = Vec::new();
    for level in 1..=top {
        let mut keep = |node: BuiltNode| {
            fresh.push(node);
            Ok(())
        };
        let cursor = Cursor::new(source, root.clone(), level);
        edits = Pass::<Child, _, _, _>::new(cursor, level, edits.into_iter().map(Ok), &mut keep).run()?;
    }
    if edits.is_empty() {
        return unchanged(root, &old_root);
    }
    // Where the old root is still one of the nodes of its level, it is not among the changes.
    let old_root_stays = old_root.last_key().filter(|last| edits.iter().all(|(key, _)| key != *last));
    let old_root_child = old_root_stays.zip(old_root.sums()).map(|(last_key, (entries, bytes))| Child {
        last_key: last_key.clone(),
        id: root.id,
        entries,
        bytes,
    });
    let mut nodes: Vec<Child> =
        old_root_child.into_iter().chain(edits.into_iter().filter_map(|(_, child)| child)).collect();
    nodes.sort_by(|a, b| a.last_key.cmp(&b.last_key));
    if nodes.is_empty() {
        let empty = built(&Node::Leaf(Vec::new())).ok_or(UpdateError::Build(BuildError::SumOverflow))?;
        let new_root = Root { id: empty.id, level: 0, entries: 0, bytes: 0 };
        emit(empty)?;
        return Ok(new_root);
    }
    let mut level = top;
    while nodes.len() > 1 {
        level += 1;
        if level >= MAX_LEVELS {
            return Err(UpdateError::Build(BuildError::TooDeep));
        }
        nodes = chunk_level(level, nodes, &mut fresh).ok_or(UpdateError::Build(BuildError::SumOverflow))?;
    }
    let [single] = nodes.as_slice() else {
        return unchanged(root, &old_root);
    };
    let new_root = lowest_single(source, single.clone(), level, &fresh).map_err(UpdateError::Walk)?;
    for node in fresh.into_iter().filter(|node| node.level <= new_root.level) {
        emit(node)?;
    }
    Ok(new_root)
}

/// An item of a node: an entry of a leaf, or a child of an interior node.
trait Item: Clone {
    fn key(&self) -> &PathKey;
    fn nominal(&self) -> usize;
    fn of(node: &Node) -> &[Self];
    fn node_of(level: u8, items: Vec<Self>) -> Node;
}

impl Item for Entry {
    fn key(&self) -> &PathKey {
        self.key()
    }

    fn nominal(&self) -> usize {
        self.nominal_bytes()
    }

    fn of(node: &Node) -> &[Self] {
        match node {
            Node::Leaf(entries) => entries,
            Node::Interior { .. } => &[],
        }
    }

    fn node_of(_level: u8, items: Vec<Self>) -> Node {
        Node::Leaf(items)
    }
}

impl Item for Child {
    fn key(&self) -> &PathKey {
        &self.last_key
    }

    fn nominal(&self) -> usize {
        child_nominal_bytes(self.last_key.as_bytes().len())
    }

    fn of(node: &Node) -> &[Self] {
        match node {
            Node::Leaf(_) => &[],
            Node::Interior { children, .. } => children,
        }
    }

    fn node_of(level: u8, items: Vec<Self>) -> Node {
        Node::Interior { level, children: items }
    }
}

/// A change of one level: the key of an item and what it becomes.
type Edit<I> = (PathKey, Option<I>);
/// Changes of one level, in key order.
type Edits<I> = Vec<Edit<I>>;

/// The work on one level.
struct Pass<'a, 's, I, S: ?Sized, T: Iterator, F> {
    cursor: Cursor<'s, S>,
    level: u8,
    edits: Peekable<T>,
    last_edit: Option<PathKey>,
    emit: &'a mut F,
    chunker: Chunker,
    open: Vec<I>,
    /// Nodes that this stretch has read, by last key.
    old: BTreeMap<PathKey, NodeId>,
    /// What becomes of them.
    outcome: BTreeMap<PathKey, Option<Child>>,
}

impl<'a, 's, I, S, T, F, W> Pass<'a, 's, I, S, T, F>
where
    I: Item,
    S: NodeSource + ?Sized,
    T: Iterator<Item = Result<Edit<I>, UpdateError<S::Error, W>>>,
    F: FnMut(BuiltNode) -> Result<(), UpdateError<S::Error, W>>,
{
    fn new(cursor: Cursor<'s, S>, level: u8, edits: T, emit: &'a mut F) -> Self {
        Self {
            cursor,
            level,
            edits: edits.peekable(),
            last_edit: None,
            emit,
            chunker: Chunker::new(level),
            open: Vec::new(),
            old: BTreeMap::new(),
            outcome: BTreeMap::new(),
        }
    }

    /// Goes through all changes; gives those of the level above.
    fn run(&mut self) -> Result<Edits<Child>, UpdateError<S::Error, W>> {
        let mut above = Vec::new();
        while let Some(key) = self.next_edit_key()? {
            self.cursor.seek(key.as_bytes()).map_err(UpdateError::Walk)?;
            let first = self.cursor.node().and_then(|node| I::of(node).first());
            if first.is_some_and(|first| key <= *first.key()) {
                self.cursor.go_left().map_err(UpdateError::Walk)?;
            }
            self.stretch()?;
            let old = std::mem::take(&mut self.old);
            for (key, child) in std::mem::take(&mut self.outcome) {
                let is_same = child.as_ref().is_some_and(|child| old.get(&key) == Some(&child.id));
                if !is_same {
                    above.push((key, child));
                }
            }
        }
        Ok(above)
    }

    /// Makes nodes anew from the current one on, until they end where old ones end.
    fn stretch(&mut self) -> Result<(), UpdateError<S::Error, W>> {
        loop {
            let items = self.cursor.node().map(|node| I::of(node).to_vec()).unwrap_or_default();
            if let Some((last, id)) = items.last().zip(self.cursor.expected().map(|expected| expected.id)) {
                self.old.insert(last.key().clone(), id);
                self.outcome.entry(last.key().clone()).or_insert(None);
            }
            for item in items {
                self.feed_edits(|key| key < item.key())?;
                let is_replaced = self.next_edit_key()?.is_some_and(|key| key == *item.key());
                if !is_replaced {
                    self.feed(item)?;
                } else if let Some((_, Some(new))) = self.take_edit()? {
                    self.feed(new)?;
                }
            }
            if !self.cursor.go_right().map_err(UpdateError::Walk)? {
                self.feed_edits(|_| true)?;
                return self.close();
            }
            if self.is_in_step()? {
                return self.close();
            }
        }
    }

    /// Whether the next old node may stay: no change lies in it, and the open node ends before it.
    fn is_in_step(&mut self) -> Result<bool, UpdateError<S::Error, W>> {
        let edit = self.next_edit_key()?;
        let items = self.cursor.node().map(I::of).unwrap_or_default();
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Ok(false);
        };
        let is_untouched = edit.is_none_or(|edit| edit > *last.key());
        Ok(is_untouched && (self.chunker.is_empty() || self.chunker.closes_before(first.nominal())))
    }

    fn feed_edits(&mut self, wanted: impl Fn(&PathKey) -> bool) -> Result<(), UpdateError<S::Error, W>> {
        while self.next_edit_key()?.is_some_and(|key| wanted(&key)) {
            if let Some((_, Some(item))) = self.take_edit()? {
                self.feed(item)?;
            }
        }
        Ok(())
    }

    fn feed(&mut self, item: I) -> Result<(), UpdateError<S::Error, W>> {
        let nominal = item.nominal();
        if self.chunker.closes_before(nominal) {
            self.close()?;
        }
        let closes = self.chunker.push(item.key().as_bytes(), nominal);
        self.open.push(item);
        if closes { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), UpdateError<S::Error, W>> {
        self.chunker.reset();
        if self.open.is_empty() {
            return Ok(());
        }
        let node = I::node_of(self.level, std::mem::take(&mut self.open));
        let built = built(&node).ok_or(UpdateError::Build(BuildError::SumOverflow))?;
        let Some(last_key) = built.last_key.clone() else {
            return Ok(());
        };
        let child = Child { last_key: last_key.clone(), id: built.id, entries: built.entries, bytes: built.bytes };
        let is_same = self.old.get(&last_key) == Some(&built.id);
        self.outcome.insert(last_key, Some(child));
        if is_same { Ok(()) } else { (self.emit)(built) }
    }

    fn next_edit_key(&mut self) -> Result<Option<PathKey>, UpdateError<S::Error, W>> {
        match self.edits.peek() {
            None => Ok(None),
            Some(Ok((key, _))) => {
                if self.last_edit.as_ref().is_some_and(|last| last >= key) {
                    return Err(UpdateError::Build(BuildError::Unsorted));
                }
                Ok(Some(key.clone()))
            }
            Some(Err(_)) => self.take_edit().map(|_| None),
        }
    }

    fn take_edit(&mut self) -> Result<Option<Edit<I>>, UpdateError<S::Error, W>> {
        let edit = self.edits.next().transpose()?;
        self.last_edit = edit.as_ref().map(|(key, _)| key.clone());
        Ok(edit)
    }
}

/// Builds one more level over `children`; `None` when sums exceed 64 bits.
fn chunk_level(level: u8, children: Vec<Child>, fresh: &mut Vec<BuiltNode>) -> Option<Vec<Child>> {
    let mut chunker = Chunker::new(level);
    let mut groups: Vec<Vec<Child>> = vec![Vec::new()];
    for child in children {
        let nominal = child.nominal();
        if chunker.closes_before(nominal) {
            chunker.reset();
            groups.push(Vec::new());
        }
        let closes = chunker.push(child.last_key.as_bytes(), nominal);
        groups.last_mut()?.push(child);
        if closes {
            chunker.reset();
            groups.push(Vec::new());
        }
    }
    let mut above = Vec::new();
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let node = built(&Node::Interior { level, children: group })?;
        above.push(Child { last_key: node.last_key.clone()?, id: node.id, entries: node.entries, bytes: node.bytes });
        fresh.push(node);
    }
    Some(above)
}

/// The root is the lowest node that is alone on its level.
fn lowest_single<S: NodeSource + ?Sized>(
    source: &S,
    mut top: Child,
    mut level: u8,
    fresh: &[BuiltNode],
) -> Result<Root, WalkError<S::Error>> {
    let fresh: HashMap<NodeId, &BuiltNode> = fresh.iter().map(|node| (node.id, node)).collect();
    while level > 0 {
        let bytes = match fresh.get(&top.id) {
            Some(node) => Some(node.encoded.clone()),
            None => source.node(&top.id).map_err(WalkError::Source)?,
        };
        let bytes = bytes.ok_or(WalkError::Missing(top.id))?;
        let node = Expected::root(top.id).decode(&bytes).map_err(|source| WalkError::Bad { id: top.id, source })?;
        match Child::of(&node) {
            [only] => top = only.clone(),
            _ => break,
        }
        level -= 1;
    }
    Ok(Root { id: top.id, level, entries: top.entries, bytes: top.bytes })
}

fn unchanged<R, W>(root: &Expected, node: &Node) -> Result<Root, UpdateError<R, W>> {
    let (entries, bytes) = node.sums().ok_or(UpdateError::Build(BuildError::SumOverflow))?;
    Ok(Root { id: root.id, level: node.level(), entries, bytes })
}
