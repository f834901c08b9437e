//! From a folder to a signed version: read what changed, build the index, sign, store
//! (specs/drives.md, sections 2, 4 and 14).

mod part;

pub use self::part::MAX_PART_PATHS;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use p2p_identity::{DriveId, SecretKey, WriterKey};

use crate::blob::ImportError;
use crate::content::{Outboards, WHOLE_FILE_BYTES, load};
use crate::entry::{Dot, Entry, Kind, Version};
use crate::folder::{Fingerprint, Folder, Found, Status};
use crate::head::{Head, HeadEnvelope, MAX_PREV, VersionVector};
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::local_names::{Traits, is_parallel};
use crate::nodes::NodeStore;
use crate::signed::Signed;
use crate::store::{Batch, Cache, CacheTable};
use crate::tree::{BuildError, BuiltNode, Expected, Node, NodeId, Root, TreeBuilder};
use crate::{DriveError, MAX_MESSAGE_BYTES};

/// Lines taken together: read by all cores at once, then built in order.
const BATCH_LINES: usize = 2_048;
/// Files above this size are hashed by all cores one after the other, not side by side.
const LARGE_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Nodes written to the packs together.
const BATCH_NODES: usize = 64;
/// How far ahead of this node's clock another writer's may be and still be followed, in milliseconds.
const MAX_AHEAD_MS: u64 = 600_000;
/// How often a file that changes while it is read is tried.
const TRIES: usize = 3;

/// One path to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath {
    /// The path in the drive.
    pub key: PathKey,
    /// The path below the folder, where it differs.
    pub at: Option<String>,
    /// What it stands for; looked at with [`Extent::Part`] only.
    pub named: Named,
}

/// What a path of a partial import stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Itself.
    Entry,
    /// Itself and everything below it: what lies there in the drive and is not named is deleted.
    Everything,
    /// Nothing is there any more, nor below it.
    Gone,
}

/// How much the paths of an import stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// They name everything there is.
    Everything,
    /// What they do not name stays as it is.
    Part,
}

/// A path that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The path in the drive.
    pub path: String,
    /// Why, in words.
    pub reason: String,
}

/// How far an import is. Read while it runs.
#[derive(Debug, Default)]
pub struct ImportProgress {
    /// Files read or found unchanged.
    pub files: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

/// A finished import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The owner's counter.
    pub version: u64,
    /// Files in the version.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether a new version was made.
    pub changed: bool,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
}

/// What an import works with.
pub(crate) struct Import {
    pub(crate) drive: DriveId,
    pub(crate) author: Author,
    /// The folder, where paths are what they are on disk.
    pub(crate) folder: Arc<Folder>,
    /// The folder, where paths are those of the drive.
    pub(crate) named: Arc<Folder>,
    /// What its file system can hold.
    pub(crate) traits: Arc<Traits>,
    pub(crate) nodes: Arc<NodeStore>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) outboards: Arc<Outboards>,
    /// The state in the folder: what the import starts from.
    pub(crate) old: Option<Snapshot>,
    /// Files in it.
    pub(crate) old_files: u64,
    pub(crate) header: p2p_identity::ContentId,
    /// Keys of what is not in the folder because it cannot be: it stays as it is.
    pub(crate) absent: HashSet<Vec<u8>>,
    pub(crate) message: String,
    pub(crate) progress: Arc<ImportProgress>,
}

/// Who writes.
pub(crate) struct Author {
    pub(crate) key: SecretKey,
    pub(crate) writer: WriterKey,
    /// Where it may write; `None` for everywhere.
    pub(crate) prefix: Option<PathKey>,
}

impl Author {
    fn may_write(&self, key: &PathKey) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.is_under(prefix))
    }
}

/// The new version, before it is committed.
pub(crate) struct Built {
    /// `None` if nothing changed.
    pub(crate) head: Option<HeadEnvelope>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) left_out: Vec<LeftOut>,
}

/// What a path became.
enum Read {
    Entry(Entry, Fingerprint),
    LeftOut(LeftOut),
}

impl Import {
    /// Takes batches of paths in key order until there are no more. Nodes and rows are on disk when this returns;
    /// committing the head is the caller's. Blocks.
    pub(crate) fn run(&self, mut next: impl FnMut() -> Option<Vec<LocalPath>>) -> Result<Built, DriveError> {
        let (writer, counter, hlc) = next_of(self.old.as_ref(), self.author.writer);
        let stamp = Stamp { dot: Dot { writer: writer.prefix(), counter }, hlc };
        let mut old = OldVersion::new(self)?;
        let sink = Sink { import: self, nodes: Vec::new(), rows: Batch::new(), fingerprints: VecDeque::new() };
        let sink = std::cell::RefCell::new(sink);
        let mut builder = TreeBuilder::new(|node: BuiltNode| sink.borrow_mut().on_node(node));
        let mut left_out = Vec::new();
        let mut files = 0;
        while let Some(paths) = next() {
            for paths in paths.chunks(BATCH_LINES) {
                self.named.names().note(paths)?;
                for (passed, read) in self.read_batch(paths, &mut old, stamp)? {
                    for (entry, fingerprint) in passed {
                        files += u64::from(entry.shown().kind == Kind::File);
                        sink.borrow_mut().fingerprints.push_back(fingerprint.unwrap_or_else(Fingerprint::never));
                        builder.push(entry).map_err(build_error)?;
                    }
                    match read {
                        Read::LeftOut(path) => left_out.push(path),
                        Read::Entry(entry, fingerprint) => {
                            files += u64::from(entry.shown().kind == Kind::File);
                            sink.borrow_mut().fingerprints.push_back(fingerprint);
                            builder.push(entry).map_err(build_error)?;
                        }
                    }
                }
            }
        }
        for (entry, fingerprint) in old.rest()? {
            files += u64::from(entry.shown().kind == Kind::File);
            sink.borrow_mut().fingerprints.push_back(fingerprint.unwrap_or_else(Fingerprint::never));
            builder.push(entry).map_err(build_error)?;
        }
        let root = builder.finish().map_err(build_error)?;
        sink.into_inner().finish()?;
        self.named.names().flush()?;
        if self.old.as_ref().is_some_and(|at| at.root == root.id) {
            return Ok(Built { head: None, files, bytes: root.bytes, left_out });
        }
        let head = self.head(&root, files)?;
        self.nodes.sync()?;
        Ok(Built { head: Some(head), files, bytes: root.bytes, left_out })
    }

    /// Whether anything may stay that is not named.
    fn keeps_unnamed(&self) -> bool {
        self.author.prefix.is_some() || !self.absent.is_empty()
    }

    /// A head of the author with this tree, which has so many files, made from the old state.
    fn head(&self, root: &Root, files: u64) -> Result<HeadEnvelope, DriveError> {
        let (writer, counter, hlc) = next_of(self.old.as_ref(), self.author.writer);
        let set = self.old.as_ref().and_then(|at| at.set.as_ref());
        let corrupt = |error: crate::SignedError| DriveError::Corrupt(error.to_string());
        let vv = match &self.old {
            Some(at) => at.vv_for(writer, counter),
            None => VersionVector::new(vec![(writer, counter)]),
        };
        let mut message = self.message.clone();
        while message.len() > MAX_MESSAGE_BYTES {
            message.pop();
        }
        let head = Head {
            drive: self.drive,
            writer,
            counter,
            vv: vv.map_err(corrupt)?,
            root: root.id,
            header: self.header,
            writer_set: set.map(Signed::hash),
            epoch: set.map_or(0, |set| set.body().epoch),
            files: root.entries,
            bytes: root.bytes,
            prev: self.old.iter().flat_map(Snapshot::heads).map(Signed::hash).take(MAX_PREV).collect(),
            change_list: None,
            hlc,
            message,
            ext: Head::ext_of_files(files),
        };
        HeadEnvelope::sign(&head, &self.author.key).map_err(corrupt)
    }

    /// Reads a batch with all cores: small files side by side, large ones one after the other.
    fn read_batch(
        &self,
        paths: &[LocalPath],
        old: &mut OldVersion<'_>,
        stamp: Stamp,
    ) -> Result<Vec<(Vec<Known>, Read)>, DriveError> {
        let mut known: Vec<Option<Known>> = Vec::with_capacity(paths.len());
        let mut passed: Vec<Vec<Known>> = Vec::with_capacity(paths.len());
        for path in paths {
            known.push(old.find(&path.key)?);
            passed.push(std::mem::take(&mut old.passed));
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let (Some(path), Some(known)) = (paths.get(index), known.get(index)) else { break };
                done.push((index, self.read(path, known.as_ref(), stamp, 1)));
            }
            done
        };
        let mut done = if paths.len() < 8 {
            work()
        } else {
            std::thread::scope(|scope| {
                let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                let mut done = work();
                for helper in helpers {
                    match helper.join() {
                        Ok(part) => done.extend(part),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                done
            })
        };
        done.sort_unstable_by_key(|(index, _)| *index);
        let mut results = Vec::with_capacity(done.len());
        for (index, read) in done {
            let read = match (read, paths.get(index), known.get(index)) {
                (None, Some(path), Some(known)) => self.read(path, known.as_ref(), stamp, threads),
                (read, ..) => read,
            };
            let passed = passed.get_mut(index).map(std::mem::take).unwrap_or_default();
            results.extend(read.map(|read| (passed, read)));
        }
        Ok(results)
    }

    /// Where a path lies: in a folder, and how it is called there.
    fn place(&self, path: &LocalPath) -> (&Folder, String) {
        match &path.at {
            Some(at) if !is_parallel(&path.key, at) => (&self.folder, at.clone()),
            _ => (&self.named, path.key.to_path()),
        }
    }

    /// Reads one path. `None` if it is a large file and only one thread is offered.
    fn read(
        &self,
        path: &LocalPath,
        known: Option<&(Entry, Option<Fingerprint>)>,
        stamp: Stamp,
        threads: usize,
    ) -> Option<Read> {
        let (folder, at) = self.place(path);
        let left_out = |reason: String| Some(Read::LeftOut(LeftOut { path: path.key.to_path(), reason }));
        if !self.author.may_write(&path.key) {
            // What others have there stays as it is.
            return match known {
                Some((entry, fingerprint)) => {
                    Some(Read::Entry(entry.clone(), fingerprint.unwrap_or_else(Fingerprint::never)))
                }
                None => left_out("this node may not write there, so it stays here".into()),
            };
        }
        let status = match folder.status(&at) {
            Ok(status) => status,
            Err(error) => return left_out(format!("cannot be looked at: {error}")),
        };
        if let Some((entry, Some(fingerprint))) = known
            && *fingerprint == status.fingerprint
            && (entry.shown().mode == status.mode || !self.traits.keeps_modes)
        {
            self.count(entry.shown());
            return Some(Read::Entry(entry.clone(), *fingerprint));
        }
        let made = match status.found {
            Found::Special(what) => return left_out(format!("{what} cannot be shared")),
            Found::Directory => {
                Ok((Version::directory(stamp.dot, status.mode, status.fingerprint.mtime_ns, stamp.hlc), status))
            }
            Found::Symlink => folder.read_link(&at).map(|target| {
                let mtime = status.fingerprint.mtime_ns;
                (Version::with_content(stamp.dot, Kind::Symlink, status.mode, mtime, stamp.hlc, &target), status)
            }),
            Found::File if status.fingerprint.size > LARGE_FILE_BYTES && threads == 1 => return None,
            Found::File => self.read_file(folder, &at, stamp, threads),
        };
        let (mut version, status) = match made {
            Ok(made) => made,
            // Somebody is writing it: the version before stands until that is over, or followers would delete theirs.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && known.is_some() => {
                let (entry, _) = known?;
                return Some(Read::Entry(entry.clone(), Fingerprint::never()));
            }
            Err(error) => return left_out(format!("cannot be read: {error}")),
        };
        if !self.traits.keeps_modes {
            // What the file system says of it is nobody's edit.
            let usual = match version.kind {
                Kind::File => 0o644,
                Kind::Directory => 0o755,
                Kind::Symlink => 0o777,
            };
            version.mode = known.map_or(usual, |(entry, _)| entry.shown().mode);
        }
        if version.kind == Kind::Symlink && version.inline.is_none() && version.size > u64::from(u16::MAX) {
            return left_out("the target of the link is too long".into());
        }
        self.count(&version);
        // The same again keeps its dots: nothing changed. Where several write, the time of a folder is nobody's edit: it
        // follows from what others put there.
        let is_shared = self.old.as_ref().is_some_and(|at| at.set.is_some());
        let is_same = |old: &Version| {
            let is_time_idle = is_shared && old.kind == Kind::Directory;
            old.same_value(&version) && (is_time_idle || self.traits.is_time(old.mtime_ns, version.mtime_ns))
        };
        if let Some((entry, _)) = known
            && is_same(entry.shown())
        {
            return Some(Read::Entry(entry.clone(), status.fingerprint));
        }
        match Entry::new(path.key.clone(), vec![version]) {
            Ok(entry) => Some(Read::Entry(entry, status.fingerprint)),
            Err(error) => left_out(error.to_string()),
        }
    }

    fn read_file(&self, folder: &Folder, at: &str, stamp: Stamp, threads: usize) -> io::Result<(Version, Status)> {
        for _ in 0..TRIES {
            let (file, status) = folder.open_file(at)?;
            let size = status.fingerprint.size;
            let (mtime, mode) = (status.fingerprint.mtime_ns, status.mode);
            let version = if size > WHOLE_FILE_BYTES {
                match self.outboards.make(&file, size, threads) {
                    Ok(hash) => Version::blob(stamp.dot, Kind::File, mode, mtime, stamp.hlc, size, hash),
                    Err(ImportError::ChangedWhileReading { .. }) => continue,
                    Err(ImportError::Read(error) | ImportError::WriteOutboard(error)) => return Err(error),
                }
            } else {
                let mut bytes = Vec::with_capacity(size as usize + 1);
                read_to_end(&file, &mut bytes)?;
                if bytes.len() as u64 != size {
                    continue;
                }
                Version::with_content(stamp.dot, Kind::File, mode, mtime, stamp.hlc, &bytes)
            };
            if folder.status(at)?.fingerprint == status.fingerprint {
                return Ok((version, status));
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changes while it is read"))
    }

    fn count(&self, version: &Version) {
        if version.kind == Kind::File {
            self.progress.files.fetch_add(1, Ordering::Relaxed);
            self.progress.bytes.fetch_add(version.size, Ordering::Relaxed);
        }
    }
}

/// Reads a small file, but never more than one byte beyond what is small.
fn read_to_end(file: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
    use std::io::Read as _;
    file.take(WHOLE_FILE_BYTES + 1).read_to_end(bytes).map(drop)
}

/// What every new version of this import carries.
#[derive(Clone, Copy)]
struct Stamp {
    dot: Dot,
    hlc: u64,
}

/// The next head of a writer: its key, its counter, its clock.
pub(crate) fn next_of(at: Option<&Snapshot>, writer: WriterKey) -> (WriterKey, u64, u64) {
    let own = at.and_then(|at| at.head_of(&writer));
    let ahead = now_ms().saturating_add(MAX_AHEAD_MS) << 16;
    // A clock that others set too far ahead is not followed (specs/drives.md, 5, rule 6).
    let seen = at.iter().flat_map(|at| at.heads()).map(|head| head.body().hlc).filter(|hlc| *hlc <= ahead).max();
    let own_hlc = own.map_or(0, |head| head.body().hlc);
    (writer, own.map_or(0, |head| head.body().counter) + 1, next_hlc(seen.unwrap_or(0).max(own_hlc)))
}

/// The next value of the hybrid logical clock: 48 bits of milliseconds, 16 of counter.
fn next_hlc(last: u64) -> u64 {
    let now = now_ms() << 16;
    now.max(last.saturating_add(1))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn build_error(error: BuildError<DriveError>) -> DriveError {
    match error {
        BuildError::Sink(error) => error,
        BuildError::Unsorted => DriveError::Invalid("paths must come in index order, each once".into()),
        other => DriveError::Invalid(other.to_string()),
    }
}

/// Where finished nodes go, with the fingerprints of the leaves' paths.
struct Sink<'a> {
    import: &'a Import,
    nodes: Vec<(NodeId, Bytes)>,
    rows: Batch<CacheTable>,
    fingerprints: VecDeque<Fingerprint>,
}

impl Sink<'_> {
    fn on_node(&mut self, node: BuiltNode) -> Result<(), DriveError> {
        if node.level == 0
            && let Some(last_key) = &node.last_key
        {
            let mut fingerprints = Vec::with_capacity(node.items);
            fingerprints.extend(self.fingerprints.drain(..node.items.min(self.fingerprints.len())));
            if let Some((key, value)) = leaf_row(&self.import.drive, last_key, node.id, fingerprints) {
                self.rows.put(CacheTable::Leaf, key, value);
            }
        }
        self.nodes.push((node.id, node.encoded));
        if self.nodes.len() >= BATCH_NODES { self.write() } else { Ok(()) }
    }

    fn finish(mut self) -> Result<(), DriveError> {
        self.write()
    }

    fn write(&mut self) -> Result<(), DriveError> {
        self.import.nodes.keep(&std::mem::take(&mut self.nodes))?;
        Ok(self.import.cache.apply(&std::mem::take(&mut self.rows))?)
    }
}

/// Fingerprints of the paths of one leaf, in order.
#[derive(serde::Serialize, serde::Deserialize)]
struct LeafRow {
    leaf: NodeId,
    fingerprints: Vec<Fingerprint>,
}

/// The row of a leaf's fingerprints, with its key; `None` if it is longer than a row may be.
pub(crate) fn leaf_row(
    drive: &DriveId,
    last_key: &PathKey,
    leaf: NodeId,
    fingerprints: Vec<Fingerprint>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = postcard::to_stdvec(&LeafRow { leaf, fingerprints }).ok()?;
    (value.len() <= CacheTable::Leaf.max_value_bytes()).then(|| (leaf_key(drive, last_key), value))
}

/// What the files of a leaf looked like when they were last read, if that is known.
pub(crate) fn fingerprints_of(
    cache: &dyn Cache,
    drive: &DriveId,
    leaf: NodeId,
    entries: &[Entry],
) -> Result<Option<Vec<Fingerprint>>, DriveError> {
    let Some(last) = entries.last() else { return Ok(None) };
    let row = cache.get(CacheTable::Leaf, &leaf_key(drive, last.key()))?;
    let row = row.and_then(|bytes| postcard::from_bytes::<LeafRow>(&bytes).ok());
    Ok(row.filter(|row| row.leaf == leaf && row.fingerprints.len() == entries.len()).map(|row| row.fingerprints))
}

/// The leaf that a row of fingerprints belongs to.
pub(crate) fn leaf_of_row(row: &[u8]) -> Option<NodeId> {
    postcard::take_from_bytes(row).ok().map(|(leaf, _)| leaf)
}

fn leaf_key(drive: &DriveId, last_key: &PathKey) -> Vec<u8> {
    let hash = blake3::hash(last_key.as_bytes());
    [drive.as_bytes().as_slice(), &hash.as_bytes()[..8]].concat()
}

/// The version before, read alongside: one leaf in memory.
struct OldVersion<'a> {
    import: &'a Import,
    /// Nodes still to be read, the next one last.
    stack: Vec<Expected>,
    leaf: VecDeque<Known>,
    /// Entries that were not named and that the author may not delete.
    passed: Vec<Known>,
}

/// An old entry, and what its file looked like when it was read.
type Known = (Entry, Option<Fingerprint>);

impl<'a> OldVersion<'a> {
    fn new(import: &'a Import) -> Result<Self, DriveError> {
        let stack = import.old.iter().map(|at| Expected::root(at.root)).collect();
        Ok(Self { import, stack, leaf: VecDeque::new(), passed: Vec::new() })
    }

    /// The old entry of a key; keys must come in order. Nodes that are gone are as if there had been nothing.
    fn find(&mut self, key: &PathKey) -> Result<Option<(Entry, Option<Fingerprint>)>, DriveError> {
        loop {
            while let Some((entry, _)) = self.leaf.front() {
                match entry.key().cmp(key) {
                    std::cmp::Ordering::Less => self.pass(),
                    std::cmp::Ordering::Equal => return Ok(self.leaf.pop_front()),
                    std::cmp::Ordering::Greater => return Ok(None),
                }
            }
            let Some(expected) = self.stack.pop() else { return Ok(None) };
            // What lies before is deleted, and need not be read; unless the author may not delete it.
            let is_before = expected.last_key.as_ref().is_some_and(|last| last < key);
            if is_before && !self.import.keeps_unnamed() {
                continue;
            }
            self.descend(&expected)?;
        }
    }

    fn pass(&mut self) {
        let passed = self.leaf.pop_front();
        let stays = |(entry, _): &Known| {
            !self.import.author.may_write(entry.key()) || self.import.absent.contains(entry.key().as_bytes())
        };
        self.passed.extend(passed.filter(stays));
    }

    /// What is left at the end and was not named, as far as the author may not delete it.
    fn rest(&mut self) -> Result<Vec<Known>, DriveError> {
        if self.import.keeps_unnamed() {
            while self.find_above()? {}
        }
        Ok(std::mem::take(&mut self.passed))
    }

    /// Passes one more leaf; false at the end.
    fn find_above(&mut self) -> Result<bool, DriveError> {
        while !self.leaf.is_empty() {
            self.pass();
        }
        let Some(expected) = self.stack.pop() else { return Ok(false) };
        self.descend(&expected)?;
        Ok(true)
    }

    /// Opens a node: a leaf's entries come next, or the nodes below it, in order.
    fn descend(&mut self, expected: &Expected) -> Result<(), DriveError> {
        match load(&self.import.nodes, expected) {
            Ok(Node::Leaf(entries)) => self.open_leaf(expected, entries)?,
            Ok(node @ Node::Interior { .. }) => {
                let children = (0..node.item_count()).rev();
                self.stack.extend(children.filter_map(|i| node.expected_child(i, expected.after.as_ref())));
            }
            Err(DriveError::Corrupt(reason)) => tracing::debug!(%reason, "part of the version before is gone"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn open_leaf(&mut self, expected: &Expected, entries: Vec<Entry>) -> Result<(), DriveError> {
        let fingerprints = fingerprints_of(&*self.import.cache, &self.import.drive, expected.id, &entries)?;
        let mut fingerprints = fingerprints.map(Vec::into_iter);
        self.leaf = entries.into_iter().map(|entry| (entry, fingerprints.as_mut().and_then(Iterator::next))).collect();
        Ok(())
    }
}
