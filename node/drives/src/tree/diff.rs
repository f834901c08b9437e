//! What differs between two trees (specs/drives.md, 6, rule 2). Subtrees with one address are equal and never read.

use super::{
    node::{Expected, Node},
    walk::{NodeSource, WalkError, load},
};
use crate::entry::Entry;

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the newer tree has it.
    Added(Entry),
    /// Only the older tree has it.
    Removed(Entry),
    /// Both have it, differently.
    Changed {
        /// In the older tree.
        before: Entry,
        /// In the newer tree.
        after: Entry,
    },
}

/// Differences in key order.
pub struct Diff<'s, S: ?Sized> {
    old: Side<'s, S>,
    new: Side<'s, S>,
    failed: bool,
}

/// What is still to be read of one tree.
struct Side<'s, S: ?Sized> {
    source: &'s S,
    stack: Vec<Frame>,
}

struct Frame {
    expected: Expected,
    node: Node,
    index: usize,
}

/// The next thing of one tree: a subtree not read yet, or an entry.
enum Head {
    Subtree(Expected),
    Entry(Entry),
}

/// What to do with the two heads.
enum Step {
    SkipBoth,
    ExpandOld,
    ExpandNew,
    ExpandBoth,
    TakeOld,
    TakeNew,
    TakeBoth,
    End,
}

impl<'s, S: NodeSource + ?Sized> Diff<'s, S> {
    pub(super) fn new(
        old_source: &'s S,
        old: &Expected,
        new_source: &'s S,
        new: &Expected,
    ) -> Result<Self, WalkError<S::Error>> {
        let mut diff = Self {
            old: Side { source: old_source, stack: Vec::new() },
            new: Side { source: new_source, stack: Vec::new() },
            failed: false,
        };
        if old.id != new.id {
            diff.old.push(old.clone())?;
            diff.new.push(new.clone())?;
        }
        Ok(diff)
    }

    fn advance(&mut self) -> Result<Option<Change>, WalkError<S::Error>> {
        loop {
            match step(self.old.head().as_ref(), self.new.head().as_ref()) {
                Step::End => return Ok(None),
                Step::SkipBoth => {
                    self.old.skip();
                    self.new.skip();
                }
                Step::ExpandOld => self.old.expand()?,
                Step::ExpandNew => self.new.expand()?,
                Step::ExpandBoth => {
                    self.old.expand()?;
                    self.new.expand()?;
                }
                Step::TakeOld => return Ok(self.old.take().map(Change::Removed)),
                Step::TakeNew => return Ok(self.new.take().map(Change::Added)),
                Step::TakeBoth => {
                    let both = self.old.take().zip(self.new.take());
                    if let Some((before, after)) = both.filter(|(before, after)| before != after) {
                        return Ok(Some(Change::Changed { before, after }));
                    }
                }
            }
        }
    }
}

impl<S: NodeSource + ?Sized> Iterator for Diff<'_, S> {
    type Item = Result<Change, WalkError<S::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn step(old: Option<&Head>, new: Option<&Head>) -> Step {
    match (old, new) {
        (None, None) => Step::End,
        (Some(Head::Subtree(_)), None) => Step::ExpandOld,
        (Some(Head::Entry(_)), None) => Step::TakeOld,
        (None, Some(Head::Subtree(_))) => Step::ExpandNew,
        (None, Some(Head::Entry(_))) => Step::TakeNew,
        (Some(Head::Entry(old)), Some(Head::Entry(new))) => match old.key().cmp(new.key()) {
            std::cmp::Ordering::Less => Step::TakeOld,
            std::cmp::Ordering::Greater => Step::TakeNew,
            std::cmp::Ordering::Equal => Step::TakeBoth,
        },
        // An entry that lies before all of the other side's subtree has no partner; else the subtree must be read.
        (Some(Head::Entry(old)), Some(Head::Subtree(new))) => {
            if new.after.as_ref().is_some_and(|after| old.key() <= after) { Step::TakeOld } else { Step::ExpandNew }
        }
        (Some(Head::Subtree(old)), Some(Head::Entry(new))) => {
            if old.after.as_ref().is_some_and(|after| new.key() <= after) { Step::TakeNew } else { Step::ExpandOld }
        }
        (Some(Head::Subtree(old)), Some(Head::Subtree(new))) => step_of_subtrees(old, new),
    }
}

fn step_of_subtrees(old: &Expected, new: &Expected) -> Step {
    let ends_before =
        |a: &Expected, b: &Expected| a.last_key.as_ref().zip(b.after.as_ref()).is_some_and(|(a, b)| a <= b);
    if old.id == new.id {
        Step::SkipBoth
    } else if ends_before(old, new) {
        Step::ExpandOld
    } else if ends_before(new, old) {
        Step::ExpandNew
    } else {
        match old.level.cmp(&new.level) {
            std::cmp::Ordering::Greater => Step::ExpandOld,
            std::cmp::Ordering::Less => Step::ExpandNew,
            std::cmp::Ordering::Equal => Step::ExpandBoth,
        }
    }
}

impl<S: NodeSource + ?Sized> Side<'_, S> {
    fn head(&mut self) -> Option<Head> {
        while self.stack.pop_if(|frame| frame.index >= frame.node.item_count()).is_some() {}
        let frame = self.stack.last()?;
        match &frame.node {
            Node::Leaf(entries) => entries.get(frame.index).cloned().map(Head::Entry),
            Node::Interior { .. } => {
                frame.node.expected_child(frame.index, frame.expected.after.as_ref()).map(Head::Subtree)
            }
        }
    }

    fn skip(&mut self) {
        if let Some(frame) = self.stack.last_mut() {
            frame.index += 1;
        }
    }

    fn take(&mut self) -> Option<Entry> {
        let Some(Head::Entry(entry)) = self.head() else {
            return None;
        };
        self.skip();
        Some(entry)
    }

    fn expand(&mut self) -> Result<(), WalkError<S::Error>> {
        let Some(Head::Subtree(expected)) = self.head() else {
            return Ok(());
        };
        self.skip();
        self.push(expected)
    }

    fn push(&mut self, expected: Expected) -> Result<(), WalkError<S::Error>> {
        let node = load(self.source, &expected)?;
        self.stack.push(Frame { expected, node, index: 0 });
        Ok(())
    }
}
