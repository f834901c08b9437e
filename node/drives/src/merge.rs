//! The state of a drive with several writers: the merge of the newest head of each (specs/drives.md, 5.2).
//!
//! Pure. A version is in the state iff it *counts* (its writer's own tree has it, where that writer may write, or the
//! owner's has it) and *nobody who saw it dropped it* (it stands in the tree of every writer whose version vector covers
//! it, where that writer may write). What a path holds follows from the entries that the trees have there, so only paths
//! are looked at where a tree differs from the owner's.

use std::collections::BTreeMap;
use std::iter::Peekable;

use p2p_identity::WriterKey;

use crate::entry::{Dot, Entry, MAX_VERSIONS, Version};
use crate::head::VersionVector;
use crate::key::PathKey;
use crate::tree::{BuiltNode, Change, Diff, Expected, NodeSource, Range, Root, Tree, UpdateError, WalkError, update};

/// The newest accepted head of a writer, as far as merging is concerned.
#[derive(Clone, Debug)]
pub struct Source {
    /// Who made it.
    pub writer: WriterKey,
    /// Its counter.
    pub counter: u64,
    /// What it has merged.
    pub vv: VersionVector,
    /// Where its writer may write; `None` for everywhere.
    pub prefix: Option<PathKey>,
    /// Its tree.
    pub root: Expected,
}

/// Decides, path by path, which versions are in the state.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The owner first.
    writers: Vec<Writer>,
    /// Writers that may no longer write, with the last counter that counts.
    revoked: BTreeMap<[u8; 8], u64>,
}

#[derive(Clone, Debug)]
struct Writer {
    name: [u8; 8],
    counter: u64,
    prefix: Option<PathKey>,
    /// Of each writer the counter up to which this one has seen what it wrote; already cut (5.2, rule 3).
    covers: BTreeMap<[u8; 8], u64>,
}

impl Writer {
    fn may_write(&self, key: &PathKey) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.is_under(prefix))
    }
}

impl Judge {
    /// `others` are all writers but the owner whose heads count; `revoked` those of the writer set.
    pub fn new(owner: &Source, others: &[Source], revoked: &[(WriterKey, u64)]) -> Self {
        let sources = || std::iter::once(owner).chain(others);
        let covers = |of: &Source| {
            let is_owner = of.writer == owner.writer;
            let covered = of.vv.counters().iter().map(|(writer, counter)| {
                if let Some((_, last)) = revoked.iter().find(|(revoked, _)| revoked == writer) {
                    return (writer.prefix(), *counter.min(last));
                }
                let newest = sources().find(|source| source.writer == *writer).map_or(0, |source| source.counter);
                let covered = match counter {
                    counter if *counter <= newest => *counter,
                    _ if is_owner => newest,
                    // Cut as well, it would erase what that writer writes next.
                    _ => 0,
                };
                (writer.prefix(), covered)
            });
            covered.collect()
        };
        let writers = sources().map(|source| Writer {
            name: source.writer.prefix(),
            counter: source.counter,
            prefix: source.prefix.clone(),
            covers: covers(source),
        });
        let writers: Vec<_> = writers.collect();
        let is_writer = |name: &[u8; 8]| writers.iter().any(|writer| writer.name == *name);
        let revoked =
            revoked.iter().map(|(writer, last)| (writer.prefix(), *last)).filter(|(name, _)| !is_writer(name));
        Self { revoked: revoked.collect(), writers }
    }

    /// What the state has at a path; `entries` are those of the trees, in the order of the writers.
    pub fn judge(&self, key: &PathKey, entries: &[Option<&Entry>]) -> Option<Entry> {
        let owners = entries.first().copied().flatten();
        let mut found: BTreeMap<Dot, &Version> =
            owners.into_iter().flat_map(Entry::versions).map(|v| (v.dot, v)).collect();
        for (writer, entry) in self.writers.iter().zip(entries) {
            let own = |version: &&Version| version.dot.writer == writer.name && version.dot.counter <= writer.counter;
            if writer.may_write(key) {
                let versions = entry.iter().flat_map(|entry| entry.versions()).filter(own);
                // Where the two differ, the writer's own word counts.
                found.extend(versions.map(|version| (version.dot, version)));
            }
        }
        let mut versions: Vec<Version> = found
            .into_values()
            .filter(|version| !self.is_after_revocation(version.dot) && !self.is_dropped(key, entries, version.dot))
            .cloned()
            .collect();
        if versions.len() > MAX_VERSIONS {
            versions.sort_by_key(|version| std::cmp::Reverse((version.hlc, version.dot)));
            versions.truncate(MAX_VERSIONS);
        }
        Entry::new(key.clone(), versions).ok()
    }

    fn is_after_revocation(&self, dot: Dot) -> bool {
        self.revoked.get(&dot.writer).is_some_and(|last| dot.counter > *last)
    }

    /// Whether a writer who has seen it has it no more.
    fn is_dropped(&self, key: &PathKey, entries: &[Option<&Entry>], dot: Dot) -> bool {
        self.writers.iter().zip(entries).any(|(writer, entry)| {
            writer.may_write(key)
                && writer.covers.get(&dot.writer).is_some_and(|seen| dot.counter <= *seen)
                && !entry.is_some_and(|entry| entry.versions().iter().any(|version| version.dot == dot))
        })
    }
}

/// Merges the trees; new nodes go to `sink`, those below before those above. All nodes where trees differ must be there.
pub fn merge<S, F, W>(
    owner: &Source,
    others: &[Source],
    revoked: &[(WriterKey, u64)],
    nodes: &S,
    sink: F,
) -> Result<Root, UpdateError<S::Error, W>>
where
    S: NodeSource + ?Sized,
    F: FnMut(BuiltNode) -> Result<(), W>,
{
    let judge = Judge::new(owner, others, revoked);
    let base = Tree::new(nodes, owner.root.clone());
    let diffs: Result<Vec<_>, _> =
        others.iter().map(|other| Ok(base.diff(&Tree::new(nodes, other.root.clone()))?.peekable())).collect();
    let suspects = (!judge.revoked.is_empty()).then(|| base.range(&[]).peekable());
    let mut failure = None;
    let changes = Changes { judge: &judge, diffs: diffs.map_err(UpdateError::Walk)?, suspects, failure: &mut failure };
    let root = update(&owner.root, nodes, changes, sink)?;
    failure.map_or(Ok(root), |error| Err(UpdateError::Walk(error)))
}

/// A path, and the entries that the trees have there, the owner's first.
type Disputed = (PathKey, Vec<Option<Entry>>);

/// What the merge changes of the owner's tree, in key order. Ends early when a tree cannot be read.
struct Changes<'a, 's, S: NodeSource + ?Sized> {
    judge: &'a Judge,
    /// From the owner's tree to that of each other writer.
    diffs: Vec<Peekable<Diff<'s, S>>>,
    /// The owner's tree, looked through for versions that a revoked writer made too late.
    suspects: Option<Peekable<Range<'s, S>>>,
    failure: &'a mut Option<WalkError<S::Error>>,
}

impl<S: NodeSource + ?Sized> Changes<'_, '_, S> {
    /// The next path where anything may have to change, with the entries of all trees.
    fn next_path(&mut self) -> Result<Option<Disputed>, WalkError<S::Error>> {
        self.skip_innocent()?;
        let mut lowest: Option<PathKey> = None;
        let mut lower = |key: &PathKey| {
            if lowest.as_ref().is_none_or(|lowest| key < lowest) {
                lowest = Some(key.clone());
            }
        };
        for diff in &mut self.diffs {
            match diff.peek() {
                Some(Ok(change)) => lower(key_of(change)),
                Some(Err(_)) => return diff.next().transpose().map(|_| None),
                None => {}
            }
        }
        if let Some(Some(Ok(entry))) = self.suspects.as_mut().map(Peekable::peek) {
            lower(entry.key());
        }
        let Some(key) = lowest else { return Ok(None) };
        let mut owners: Option<Entry> = None;
        let mut theirs: Vec<Option<Option<Entry>>> = Vec::with_capacity(self.diffs.len());
        for diff in &mut self.diffs {
            let is_here = matches!(diff.peek(), Some(Ok(change)) if *key_of(change) == key);
            let change = if is_here { diff.next().transpose()? } else { None };
            theirs.push(match change {
                None => None,
                Some(Change::Added(after)) => Some(Some(after)),
                Some(Change::Removed(before)) => {
                    owners = Some(before);
                    Some(None)
                }
                Some(Change::Changed { before, after }) => {
                    owners = Some(before);
                    Some(Some(after))
                }
            });
        }
        if let Some(suspects) = &mut self.suspects
            && let Some(Ok(entry)) = suspects.next_if(|entry| entry.as_ref().is_ok_and(|entry| *entry.key() == key))
        {
            owners = Some(entry);
        }
        let entries = std::iter::once(owners.clone());
        // A tree that does not differ here has what the owner's has.
        let entries = entries.chain(theirs.into_iter().map(|theirs| theirs.unwrap_or_else(|| owners.clone())));
        Ok(Some((key, entries.collect())))
    }

    fn skip_innocent(&mut self) -> Result<(), WalkError<S::Error>> {
        let Some(suspects) = &mut self.suspects else { return Ok(()) };
        loop {
            match suspects.peek() {
                Some(Ok(entry)) if entry.versions().iter().all(|v| !self.judge.is_after_revocation(v.dot)) => {
                    suspects.next();
                }
                Some(Err(_)) => return suspects.next().transpose().map(drop),
                _ => return Ok(()),
            }
        }
    }
}

impl<S: NodeSource + ?Sized> Iterator for Changes<'_, '_, S> {
    type Item = (PathKey, Option<Entry>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.failure.is_none() {
            match self.next_path() {
                Ok(None) => return None,
                Err(error) => *self.failure = Some(error),
                Ok(Some((key, entries))) => {
                    let borrowed: Vec<Option<&Entry>> = entries.iter().map(Option::as_ref).collect();
                    let state = self.judge.judge(&key, &borrowed);
                    if borrowed.first().copied().flatten() != state.as_ref() {
                        return Some((key, state));
                    }
                }
            }
        }
        None
    }
}

fn key_of(change: &Change) -> &PathKey {
    match change {
        Change::Added(entry) | Change::Removed(entry) | Change::Changed { after: entry, .. } => entry.key(),
    }
}

#[cfg(test)]
mod tests;
