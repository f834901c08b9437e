//! A version from what changed: the paths that somebody who watches the folder names, and nothing else. What an edit costs
//! does not depend on how much else the drive holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use bytes::Bytes;

use super::{BATCH_NODES, Built, Import, Known, LeafRow, LeftOut, LocalPath, Named, Read, Stamp, leaf_key, next_of};
use crate::DriveError;
use crate::content::{load, walk_error};
use crate::entry::{Dot, Entry, Kind};
use crate::folder::Fingerprint;
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::store::{Batch, CacheTable};
use crate::tree::{BuildError, BuiltNode, Expected, Node, NodeId, Tree, UpdateError, update};

/// Most paths of a partial import: with what lies below them in the drive they are in memory.
pub const MAX_PART_PATHS: usize = 20_000;
/// Most entries that it may change.
const MAX_PART_CHANGES: usize = 100_000;

/// What is known to change.
#[derive(Default)]
struct Changes {
    entries: BTreeMap<PathKey, Option<Entry>>,
    fingerprints: HashMap<PathKey, Fingerprint>,
    /// Files more, or fewer, than before.
    files: i64,
}

impl Changes {
    fn set(&mut self, key: PathKey, before: Option<&Entry>, after: Option<Entry>) -> Result<(), DriveError> {
        let is_file = |entry: &Entry| i64::from(entry.shown().kind == Kind::File);
        // A path may be named twice; the last word counts.
        let before = match self.entries.get(&key) {
            Some(changed) => changed.as_ref(),
            None => before,
        };
        self.files += after.as_ref().map_or(0, is_file) - before.map_or(0, is_file);
        self.entries.insert(key, after);
        match self.entries.len() {
            ..=MAX_PART_CHANGES => Ok(()),
            _ => Err(too_many("change", MAX_PART_CHANGES)),
        }
    }
}

impl Import {
    /// As [`Import::run`], of the paths that are given, in any order; all else stays as it is. Blocks.
    pub(crate) fn run_part(&self, mut next: impl FnMut() -> Option<Vec<LocalPath>>) -> Result<Built, DriveError> {
        let mut paths: Vec<LocalPath> = Vec::new();
        while let Some(more) = next() {
            paths.extend(more);
            if paths.len() > MAX_PART_PATHS {
                return Err(too_many("are named", MAX_PART_PATHS));
            }
        }
        let nothing = || DriveError::Invalid("there is no version yet that a part could be changed of".into());
        let old = self.old.as_ref().ok_or_else(nothing)?;
        let (writer, counter, hlc) = next_of(Some(old), self.author.writer);
        let stamp = Stamp { dot: Dot { writer: writer.prefix(), counter }, hlc };
        let mut looker = Looker { import: self, root: old.expected(), leaf: None };
        let (mut changes, mut left_out) = (Changes::default(), Vec::new());
        paths.sort_by_key(|path| path.named == Named::Gone);
        let there = paths.partition_point(|path| path.named != Named::Gone);
        self.named.names().note(paths.get(..there).unwrap_or_default())?;
        for path in paths.iter().take(there) {
            let known = looker.find(&path.key)?;
            self.look(path, known.as_ref(), stamp, &mut changes, &mut left_out)?;
        }
        self.named.names().flush()?;
        let named: HashSet<&PathKey> = paths.iter().take(there).map(|path| &path.key).collect();
        for path in paths.iter().filter(|path| path.named != Named::Entry) {
            self.remove_below(old, &path.key, &named, &mut changes)?;
        }
        let files = self.old_files.saturating_add_signed(changes.files);
        if changes.entries.is_empty() {
            return Ok(Built { head: None, files, bytes: old.bytes, left_out });
        }
        let mut sink = Sink { looker, fingerprints: changes.fingerprints, nodes: Vec::new(), rows: Batch::new() };
        let root = update(&old.expected(), &*self.nodes, changes.entries, |node| sink.on_node(node));
        let root = root.map_err(|error| match error {
            UpdateError::Walk(error) => walk_error(error),
            UpdateError::Build(BuildError::Sink(error)) => error,
            error => DriveError::Invalid(error.to_string()),
        })?;
        sink.write()?;
        if root.id == old.root {
            return Ok(Built { head: None, files, bytes: root.bytes, left_out });
        }
        let head = self.head(&root, files)?;
        self.nodes.sync()?;
        Ok(Built { head: Some(head), files, bytes: root.bytes, left_out })
    }

    /// Looks at one path on disk.
    fn look(
        &self,
        path: &LocalPath,
        known: Option<&Known>,
        stamp: Stamp,
        changes: &mut Changes,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<(), DriveError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (folder, at) = self.place(path);
        let before = known.map(|(entry, _)| entry);
        let gone = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        // It went since it was named: as if it had not been.
        let is_gone = folder.status(&at).err().as_ref().is_some_and(gone);
        let read = if is_gone { None } else { self.read(path, known, stamp, threads) };
        match read {
            Some(Read::Entry(entry, _)) if before == Some(&entry) => Ok(()),
            Some(Read::Entry(entry, fingerprint)) => {
                changes.fingerprints.insert(path.key.clone(), fingerprint);
                changes.set(path.key.clone(), before, Some(entry))
            }
            Some(Read::LeftOut(path_left_out)) => {
                left_out.push(path_left_out);
                self.remove(&path.key, before, changes)
            }
            None => self.remove(&path.key, before, changes),
        }
    }

    fn remove(&self, key: &PathKey, before: Option<&Entry>, changes: &mut Changes) -> Result<(), DriveError> {
        let stays = !self.author.may_write(key) || self.absent.contains(key.as_bytes());
        match before.filter(|_| !stays) {
            Some(before) => changes.set(key.clone(), Some(before), None),
            None => Ok(()),
        }
    }

    /// Removes what the drive has at a path and below it and nobody named.
    fn remove_below(
        &self,
        old: &Snapshot,
        top: &PathKey,
        named: &HashSet<&PathKey>,
        changes: &mut Changes,
    ) -> Result<(), DriveError> {
        for entry in Tree::new(&*self.nodes, old.expected()).range(top.as_bytes()) {
            let entry = entry.map_err(walk_error)?;
            if !entry.key().is_under(top) {
                break;
            }
            if !named.contains(entry.key()) && !matches!(changes.entries.get(entry.key()), Some(None)) {
                self.remove(entry.key(), Some(&entry), changes)?;
            }
        }
        Ok(())
    }
}

/// Reads the version before at any path; the leaf it read last stays in memory, as paths that lie together come together.
struct Looker<'a> {
    import: &'a Import,
    root: Expected,
    leaf: Option<(NodeId, Vec<Known>)>,
}

impl Looker<'_> {
    fn find(&mut self, key: &PathKey) -> Result<Option<Known>, DriveError> {
        let mut expected = self.root.clone();
        loop {
            if let Some((_, entries)) = self.leaf.as_ref().filter(|(id, _)| *id == expected.id) {
                let found = entries.binary_search_by(|(entry, _)| entry.key().cmp(key)).ok();
                return Ok(found.and_then(|at| entries.get(at).cloned()));
            }
            match load(&self.import.nodes, &expected)? {
                Node::Leaf(entries) => self.leaf = Some((expected.id, self.with_fingerprints(&expected, entries)?)),
                node @ Node::Interior { .. } => {
                    let index = node.child_index_for(key.as_bytes());
                    let child = index.and_then(|index| node.expected_child(index, expected.after.as_ref()));
                    let Some(child) = child else { return Ok(None) };
                    expected = child;
                }
            }
        }
    }

    fn with_fingerprints(&self, expected: &Expected, entries: Vec<Entry>) -> Result<Vec<Known>, DriveError> {
        let row = match entries.last() {
            None => None,
            Some(last) => self.import.cache.get(CacheTable::Leaf, &leaf_key(&self.import.drive, last.key()))?,
        };
        let row = row.and_then(|bytes| postcard::from_bytes::<LeafRow>(&bytes).ok());
        let row = row.filter(|row| row.leaf == expected.id && row.fingerprints.len() == entries.len());
        let mut fingerprints = row.map(|row| row.fingerprints.into_iter());
        Ok(entries.into_iter().map(|entry| (entry, fingerprints.as_mut().and_then(Iterator::next))).collect())
    }
}

/// Where new nodes go, with the fingerprints of the leaves' paths.
struct Sink<'a> {
    looker: Looker<'a>,
    fingerprints: HashMap<PathKey, Fingerprint>,
    nodes: Vec<(NodeId, Bytes)>,
    rows: Batch<CacheTable>,
}

impl Sink<'_> {
    fn on_node(&mut self, node: BuiltNode) -> Result<(), DriveError> {
        if node.level == 0 && node.last_key.is_some() {
            self.add_row(&node)?;
        }
        self.nodes.push((node.id, node.encoded));
        // Leaves come in order, so what stood in the rows that are written over is not read again.
        if self.nodes.len() >= BATCH_NODES { self.write() } else { Ok(()) }
    }

    fn add_row(&mut self, node: &BuiltNode) -> Result<(), DriveError> {
        let bad = |error| DriveError::Corrupt(format!("a node that was just made cannot be read: {error}"));
        let Node::Leaf(entries) = Expected::root(node.id).decode(&node.encoded).map_err(bad)? else { return Ok(()) };
        let mut fingerprints = Vec::with_capacity(entries.len());
        for entry in &entries {
            let known = match self.fingerprints.get(entry.key()) {
                Some(new) => Some(*new),
                None => self.looker.find(entry.key())?.and_then(|(_, fingerprint)| fingerprint),
            };
            fingerprints.push(known.unwrap_or_else(Fingerprint::never));
        }
        if let (Some(last), Ok(value)) = (entries.last(), postcard::to_stdvec(&LeafRow { leaf: node.id, fingerprints }))
            && value.len() <= CacheTable::Leaf.max_value_bytes()
        {
            self.rows.put(CacheTable::Leaf, leaf_key(&self.looker.import.drive, last.key()), value);
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), DriveError> {
        let import = self.looker.import;
        import.nodes.keep(&std::mem::take(&mut self.nodes))?;
        Ok(import.cache.apply(&std::mem::take(&mut self.rows))?)
    }
}

fn too_many(what: &str, most: usize) -> DriveError {
    DriveError::Invalid(format!("more than {most} paths {what}: import the whole folder"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use futures::StreamExt;
    use proptest::prelude::*;

    use super::*;
    use crate::hostile_tests::network::{Net, TestNode};
    use crate::{Extent, ImportProgress, Published};

    /// What somebody does with a folder.
    #[derive(Clone, Debug)]
    enum Act {
        Write(String, u16),
        Remove(String),
        Rename(String, String),
        Mode(String, bool),
    }

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]", 1..4).prop_map(|names| names.join("/"))
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (name(), 0..300_u16).prop_map(|(path, len)| Act::Write(path, len)),
            2 => name().prop_map(Act::Remove),
            2 => (name(), name()).prop_map(|(from, to)| Act::Rename(from, to)),
            1 => (name(), any::<bool>()).prop_map(|(path, open)| Act::Mode(path, open)),
        ]
    }

    /// Does it, if it can be done; the paths that a watcher would name.
    fn act_on(folder: &Path, act: &Act) -> Vec<String> {
        use std::os::unix::fs::PermissionsExt as _;
        match act {
            Act::Write(path, len) => {
                let at = folder.join(path);
                let made = std::fs::create_dir_all(at.parent().unwrap());
                if made.and_then(|()| std::fs::write(&at, vec![b'x'; usize::from(*len)])).is_err() {
                    return Vec::new();
                }
                // Folders that were made on the way are named by their first new one; naming all is as good.
                let mut names: Vec<String> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
                names.push(path.clone());
                names
            }
            Act::Remove(path) => {
                let at = folder.join(path);
                let _ = std::fs::remove_file(&at).or_else(|_| std::fs::remove_dir_all(&at));
                vec![path.clone()]
            }
            Act::Rename(from, to) => {
                let _ = std::fs::rename(folder.join(from), folder.join(to));
                vec![from.clone(), to.clone()]
            }
            Act::Mode(path, open) => {
                let mode = if *open { 0o755 } else { 0o700 };
                let _ = std::fs::set_permissions(folder.join(path), std::fs::Permissions::from_mode(mode));
                vec![path.clone()]
            }
        }
    }

    /// All paths below a path of a folder, itself included, if it is there.
    fn below(folder: &Path, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let Ok(meta) = std::fs::symlink_metadata(folder.join(&path)) else { continue };
            if meta.is_dir() {
                for entry in std::fs::read_dir(folder.join(&path)).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    stack.push(if path.is_empty() { name } else { format!("{path}/{name}") });
                }
            }
            if !path.is_empty() {
                found.push(path);
            }
        }
        found
    }

    fn line(path: &str, named: Named) -> LocalPath {
        LocalPath { key: PathKey::from_path(path).unwrap(), at: None, named }
    }

    async fn import(node: &TestNode, id: &p2p_identity::DriveId, lines: Vec<LocalPath>, extent: Extent) -> Published {
        let paths = futures::stream::iter(lines.into_iter().map(Ok)).boxed();
        let progress = Arc::new(ImportProgress::default());
        node.drives.import(id, paths, extent, String::new(), progress).await.unwrap()
    }

    async fn import_all(node: &TestNode, id: &p2p_identity::DriveId, folder: &Path) -> Published {
        let mut lines: Vec<_> = below(folder, "").iter().map(|path| line(path, Named::Entry)).collect();
        lines.sort_by(|a, b| a.key.cmp(&b.key));
        import(node, id, lines, Extent::Everything).await
    }

    fn lines_of(folder: &Path, touched: &BTreeSet<String>) -> Vec<LocalPath> {
        let mut lines = Vec::new();
        for path in touched {
            if folder.join(path).symlink_metadata().is_err() {
                lines.push(line(path, Named::Gone));
            }
            for there in below(folder, path) {
                let named = if there == *path { Named::Everything } else { Named::Entry };
                lines.push(line(&there, named));
            }
            for (at, _) in path.match_indices('/') {
                if folder.join(&path[..at]).is_dir() {
                    lines.push(line(&path[..at], Named::Entry));
                }
            }
        }
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After any number of edits, each imported as a part, a look at everything finds nothing that differs.
        #[test]
        fn parts_make_the_same_version_as_the_whole(rounds in proptest::collection::vec(proptest::collection::vec(act(), 1..4), 1..8)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let net = Arc::new(Net::default());
                let node = TestNode::start(&net, 1);
                let folder = node.home.path().join("shared");
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("first"), "one").unwrap();
                let id = node.drives.create(Some(&folder), "shared").unwrap().id;
                import_all(&node, &id, &folder).await;
                for acts in &rounds {
                    let touched: BTreeSet<String> = acts.iter().flat_map(|act| act_on(&folder, act)).collect();
                    let part = import(&node, &id, lines_of(&folder, &touched), Extent::Part).await;
                    let whole = import_all(&node, &id, &folder).await;
                    assert!(!whole.changed, "after {acts:?}");
                    assert_eq!((part.version, part.files, part.bytes), (whole.version, whole.files, whole.bytes));
                }
                node.drives.stop();
            });
        }
    }
}
