//! A place in a tree: the nodes from the root down to one level.

use super::{
    node::{Expected, Node},
    walk::{NodeSource, WalkError, load},
};
use crate::key::PathKey;

/// Visits the nodes of one level; the nodes above the current one stay in memory, so going on costs one node.
pub(super) struct Cursor<'s, S: ?Sized> {
    source: &'s S,
    root: Expected,
    floor: u8,
    stack: Vec<Frame>,
}

struct Frame {
    expected: Expected,
    node: Node,
    /// The child that the next frame holds.
    index: usize,
}

impl<'s, S: NodeSource + ?Sized> Cursor<'s, S> {
    /// `floor` is the level to visit, at most that of the root.
    pub(super) fn new(source: &'s S, root: Expected, floor: u8) -> Self {
        Self { source, root, floor, stack: Vec::new() }
    }

    /// Goes to the node that has `key` or else the next key above it; to the last node when there is none.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result<(), WalkError<S::Error>> {
        while self.stack.pop_if(|frame| !frame.covers(key)).is_some() {}
        if self.stack.is_empty() {
            self.push(self.root.clone())?;
        }
        while let Some(frame) = self.above_floor() {
            let last = frame.node.item_count().saturating_sub(1);
            frame.index = frame.node.child_index_for(key).unwrap_or(last);
            self.descend()?;
        }
        Ok(())
    }

    /// The node it is at; `None` before the first `seek` and behind the end.
    pub(super) fn node(&self) -> Option<&Node> {
        self.stack.last().map(|frame| &frame.node)
    }

    /// What is known of the node it is at.
    pub(super) fn expected(&self) -> Option<&Expected> {
        self.stack.last().map(|frame| &frame.expected)
    }

    /// Goes one node to the right; false when there is none, and then it is behind the end.
    pub(super) fn go_right(&mut self) -> Result<bool, WalkError<S::Error>> {
        self.stack.pop();
        while self.stack.pop_if(|frame| frame.index + 1 >= frame.node.item_count()).is_some() {}
        let Some(frame) = self.stack.last_mut() else {
            return Ok(false);
        };
        frame.index += 1;
        while self.above_floor().is_some() {
            self.descend()?;
        }
        Ok(true)
    }

    /// Goes one node to the left, where there is one.
    pub(super) fn go_left(&mut self) -> Result<(), WalkError<S::Error>> {
        let parents = self.stack.get(..self.stack.len().saturating_sub(1)).unwrap_or_default();
        let Some(depth) = parents.iter().rposition(|frame| frame.index > 0) else {
            return Ok(());
        };
        self.stack.truncate(depth + 1);
        if let Some(frame) = self.stack.last_mut() {
            frame.index -= 1;
        }
        self.descend()?;
        while let Some(frame) = self.above_floor() {
            frame.index = frame.node.item_count().saturating_sub(1);
            self.descend()?;
        }
        Ok(())
    }

    fn above_floor(&mut self) -> Option<&mut Frame> {
        let floor = self.floor;
        self.stack.last_mut().filter(|frame| frame.node.level() > floor)
    }

    fn descend(&mut self) -> Result<(), WalkError<S::Error>> {
        let top = self.stack.last();
        let child = top.and_then(|top| top.node.expected_child(top.index, top.expected.after.as_ref()));
        match child {
            Some(child) => self.push(child),
            None => Ok(()),
        }
    }

    fn push(&mut self, expected: Expected) -> Result<(), WalkError<S::Error>> {
        let node = load(self.source, &expected)?;
        self.stack.push(Frame { expected, node, index: 0 });
        Ok(())
    }
}

impl Frame {
    fn covers(&self, key: &[u8]) -> bool {
        let after: Option<&[u8]> = self.expected.after.as_ref().map(PathKey::as_bytes);
        let last = self.node.last_key().map(PathKey::as_bytes);
        after.is_none_or(|after| after < key) && last.is_some_and(|last| key <= last)
    }
}
