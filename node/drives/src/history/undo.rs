//! Undoing what one writer did: `p2p restore --before-writer` (specs/drives.md, 5.3 and 10.3).
//!
//! The state from before is the merge of the newest kept head of every other writer that has seen nothing of what is to be
//! undone, with what others wrote since then and it wrote over or deleted. Path by path it is compared with the state of
//! now: what shows a version of that writer, and what its head dropped, comes back; what others wrote since stays. The files are placed first, then one head of the owner says so, so
//! a crash in between leaves edits in the folder, which the next import publishes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use p2p_identity::{DriveId, WriterKey};

use super::restore::{Restored, one};
use crate::DriveError;
use crate::browse::View;
use crate::content::walk_error;
use crate::engine::{DriveEvent, Drives, Shared};
use crate::entry::{Dot, Entry, Kind, Version};
use crate::folder::Folder;
use crate::head::{Head, HeadEnvelope, MAX_PREV};
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::merge::{Source, merge};
use crate::nodes::NodeStore;
use crate::publish::{Author, LeftOut, next_of};
use crate::registry::{Drive, DriveRow, HeadNote, Role};
use crate::rights::{header_of, with_own_head};
use crate::signed::Signed;
use crate::tree::{BuildError, BuiltNode, Change, Expected, Root, Tree, UpdateError, update};

/// Most paths that one undoing changes; what is beyond is left for the next, and said.
const MAX_PATHS: usize = 100_000;
/// Most versions that are looked through for what a writer wrote, where no head tells.
const MAX_LOOKED_THROUGH: usize = 64;
/// Nodes handed over together.
const BATCH_NODES: usize = 64;
/// Most heads of one writer that are asked who dropped something first.
const MAX_WITNESSES: usize = 1_024;

/// What is to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Whose versions.
    pub writer: WriterKey,
    /// From this counter of that writer on; 1 for all it ever did.
    pub since: u64,
    /// Only at and under this path; `None` for everywhere.
    pub path: Option<PathKey>,
    /// Whether files that were not there before are removed; else they stay and are told.
    pub remove_added: bool,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

impl Undo {
    /// Whether a version is among what is to be undone.
    fn undoes(&self, version: &Version) -> bool {
        version.dot.writer == self.writer.prefix() && version.dot.counter >= self.since
    }
}

/// What an undoing did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// The owner's version that the files are from; the newest that knows nothing of what was undone.
    pub from: u64,
    /// The owner's new version; 0 where none was made.
    pub version: u64,
    /// Files and links that were written; what was so already is not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and links that were so already in the folder.
    pub unchanged: u64,
    /// Paths that came back.
    pub restored: Vec<String>,
    /// Paths that were not there before, and were removed.
    pub removed: Vec<String>,
    /// What stays as it is although that writer touched it, and why.
    pub kept: Vec<LeftOut>,
    /// What could not be brought back, and what was moved out of the way.
    pub left_out: Vec<LeftOut>,
}

/// What is to become of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It gets this version.
    Restore(Box<Version>),
    /// It was not there before.
    Added,
    /// It stays, for this reason.
    Keep(&'static str),
}

impl Drives {
    /// Brings back what a writer changed or deleted, as one version of the owner. Durable when this returns.
    ///
    /// # Errors
    /// This node does not own the drive, it is the owner's own writing, no version from before is kept, or the disk failed.
    pub async fn undo_writer(&self, id: &DriveId, undo: Undo) -> Result<Undone, DriveError> {
        let drive = self.known(id)?;
        if drive.state().row.role != Role::Owner {
            return Err(DriveError::Invalid("only the owner of a drive can undo what a writer did".into()));
        }
        if undo.writer.as_bytes() == id.as_bytes() {
            return Err(DriveError::Invalid(
                "this is the owner's own key; `p2p restore DRIVE PATH --at VERSION` brings back what the owner changed"
                    .into(),
            ));
        }
        let work = drive.work.clone().lock_owned().await;
        let asking = self.ask_for_own_head(&drive, WriterKey::from(*id.as_bytes()))?;
        match self.continue_above(&drive, asking).await {
            Ok(()) | Err(DriveError::Behind { .. }) => {}
            Err(error) => return Err(error),
        }
        let now = drive.snapshot().ok_or_else(|| DriveError::NoSuchVersion("there is no version yet".into()))?;
        let (shared, of, at, wanted) = (self.shared().clone(), drive.clone(), now.clone(), undo.clone());
        let (base, verdicts) = tokio::task::spawn_blocking(move || plan(&shared, &of, &at, &wanted)).await??;
        let mut undone = Undone { from: base.body().counter, ..Undone::default() };
        let mut wanted = Vec::new();
        for (key, verdict) in verdicts {
            match verdict {
                Verdict::Keep(reason) => {
                    undone.kept.push(LeftOut { path: key.to_path(), reason: reason.into() });
                }
                Verdict::Added if !undo.remove_added => {
                    let reason = "that writer made it, and it was not there before".to_owned();
                    undone.kept.push(LeftOut { path: key.to_path(), reason });
                }
                Verdict::Added => wanted.push((key, None)),
                Verdict::Restore(version) => wanted.push((key, Some(*version))),
            }
        }
        if undo.dry_run {
            for (key, version) in wanted {
                let paths = if version.is_some() { &mut undone.restored } else { &mut undone.removed };
                paths.push(key.to_path());
            }
            return Ok(undone);
        }
        let changes = self.place(&drive, &base, wanted, &mut undone).await?;
        if changes.is_empty() {
            return Ok(undone);
        }
        let (shared, of) = (self.shared().clone(), drive.clone());
        let message = message(&undo);
        let made = tokio::task::spawn_blocking(move || {
            let version = commit(&shared, &of, &now, changes, message)?;
            drop(work);
            Ok::<_, DriveError>(version)
        });
        undone.version = made.await??;
        self.shared().changed();
        self.shared().published.notify_one();
        let _ = self.shared().events.send(DriveEvent::Head { drive: *id, version: undone.version });
        Ok(undone)
    }

    /// Brings the files into the folder. Returns what the index gets; on disk when this returns.
    async fn place(
        &self,
        drive: &Arc<Drive>,
        base: &HeadEnvelope,
        wanted: Vec<(PathKey, Option<Version>)>,
        undone: &mut Undone,
    ) -> Result<Vec<(PathKey, Option<Version>)>, DriveError> {
        let shared = self.shared().clone();
        let folder = shared.folder_of(drive)?;
        folder.look_again();
        let view = View::past(shared.clone(), drive.clone(), base.clone(), None);
        let (mut done, mut directories) = (Restored::default(), Vec::new());
        let mut changes = Vec::new();
        let (removed, restored): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, version)| version.is_none());
        for (key, version) in restored {
            let Some(version) = version else { continue };
            let entry = Entry::new(key.clone(), vec![version.clone()]);
            let entry = entry.map_err(|error| DriveError::Corrupt(error.to_string()))?;
            self.keep_undone(drive, &folder, &key).await?;
            let before = (done.files + done.unchanged, directories.len());
            one(&shared, drive, &folder, &view, &entry, &mut done, &mut directories).await?;
            if (done.files + done.unchanged, directories.len()) != before {
                undone.restored.push(key.to_path());
                changes.push((key, Some(version)));
            }
        }
        let now = drive.snapshot();
        let left = tokio::task::spawn_blocking(move || {
            let mut left = Vec::new();
            // Deepest first, so that a folder is empty when its turn comes.
            for (key, _) in removed.into_iter().rev() {
                let gone = match &now {
                    Some(now) => remove(&shared, &folder, now, &key)?,
                    None => false,
                };
                left.push((key, gone));
            }
            for (path, meta) in directories.into_iter().rev() {
                let _ = folder.set_meta(&path, meta);
            }
            folder.sync().map_err(DriveError::io("sync the folder"))?;
            Ok::<_, DriveError>(left)
        });
        for (key, is_gone) in left.await?? {
            if is_gone {
                undone.removed.push(key.to_path());
                changes.push((key, None));
            } else {
                let reason = "it was not there before, but it was changed here or something lies in it".to_owned();
                undone.kept.push(LeftOut { path: key.to_path(), reason });
            }
        }
        undone.removed.reverse();
        (undone.files, undone.bytes, undone.unchanged) = (done.files, done.bytes, done.unchanged);
        undone.left_out = done.left_out;
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(changes)
    }
}

impl Drives {
    /// What is undone is a version as well: it is kept, so that it need not be moved aside.
    async fn keep_undone(&self, drive: &Arc<Drive>, folder: &Arc<Folder>, key: &PathKey) -> Result<(), DriveError> {
        let (shared, drive, folder, key) = (self.shared().clone(), drive.clone(), folder.clone(), key.clone());
        tokio::task::spawn_blocking(move || {
            let Some(at) = drive.snapshot() else { return Ok(()) };
            let entry = Tree::new(&*shared.nodes, at.expected()).lookup(&key).map_err(walk_error)?;
            if let Some(entry) = entry.filter(|entry| entry.shown().kind == Kind::File) {
                let kept = shared.kept.keep(&folder, &key.to_path(), entry.shown(), &|_| false);
                kept.map_err(DriveError::io("keep content for history"))?;
            }
            Ok(())
        })
        .await?
    }
}

fn message(undo: &Undo) -> String {
    match undo.since {
        0 | 1 => format!("restored from before {}", undo.writer),
        since => format!("restored from before version {since} of {}", undo.writer),
    }
}

/// Removes a path if it is what the state says. Blocks.
fn remove(shared: &Shared, folder: &Folder, now: &Snapshot, key: &PathKey) -> Result<bool, DriveError> {
    let path = key.to_path();
    let tree = Tree::new(&*shared.nodes, now.expected());
    let Some(entry) = tree.lookup(key).map_err(walk_error)? else { return Ok(false) };
    let removed = match entry.shown().kind {
        Kind::Directory => folder.remove_directory(&path),
        Kind::Symlink => match folder.read_link(&path) {
            Ok(target) if p2p_identity::ContentId::of(&target) == entry.shown().hash => folder.remove_file(&path),
            Ok(_) => return Ok(false),
            Err(error) => Err(error),
        },
        Kind::File => match super::restore::content_of(folder, &path) {
            Ok(Some(hash)) if hash == entry.shown().hash => folder.remove_file(&path),
            Ok(_) => return Ok(false),
            Err(error) => Err(error),
        },
    };
    match removed {
        Ok(()) => Ok(true),
        // Somebody was quicker.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(_) => Ok(false),
    }
}

/// The owner's head of before, and what is to become of each path that differs. Blocks.
fn plan(
    shared: &Shared,
    drive: &Drive,
    now: &Snapshot,
    undo: &Undo,
) -> Result<(HeadEnvelope, Vec<(PathKey, Verdict)>), DriveError> {
    let history = History::read(shared, drive, now, undo)?;
    let nodes = &*shared.nodes;
    let before = history.state_before(now, nodes)?;
    let mut newer = history.newer(&before, nodes, undo);
    let (old, new) = (Tree::new(nodes, before), Tree::new(nodes, now.expected()));
    let mut verdicts = Vec::new();
    for change in old.diff(&new).map_err(walk_error)? {
        let (before, after) = match change.map_err(walk_error)? {
            Change::Added(after) => (None, Some(after)),
            Change::Removed(before) => (Some(before), None),
            Change::Changed { before, after } => (Some(before), Some(after)),
        };
        let Some(key) = after.as_ref().or(before.as_ref()).map(|entry| entry.key().clone()) else { continue };
        let before = newer.remove(&key).or(before);
        if undo.path.as_ref().is_some_and(|path| !key.is_under(path)) {
            continue;
        }
        let verdict = match (before, after) {
            (before, Some(after)) => of_changed(before.as_ref(), &after, undo),
            (Some(before), None) => history.of_missing(&before, nodes)?,
            (None, None) => None,
        };
        if let Some(verdict) = verdict {
            verdicts.push((key, verdict));
        }
        if verdicts.len() >= MAX_PATHS {
            break;
        }
    }
    // What came after the state before and is gone again differs from it in nothing.
    for (key, entry) in newer {
        let is_wanted = undo.path.as_ref().is_none_or(|path| key.is_under(path)) && verdicts.len() < MAX_PATHS;
        if is_wanted
            && new.lookup(&key).map_err(walk_error)?.is_none()
            && let Some(verdict) = history.of_missing(&entry, nodes)?
        {
            verdicts.push((key, verdict));
        }
    }
    verdicts.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok((history.owner, verdicts))
}

/// A path that is there now. What does not show that writer's word is of no concern.
fn of_changed(before: Option<&Entry>, after: &Entry, undo: &Undo) -> Option<Verdict> {
    let is_undone = |version: &Version| undo.undoes(version);
    if !is_undone(after.shown()) {
        let is_touched = after.versions().iter().any(is_undone);
        return is_touched.then_some(Verdict::Keep("another version of it is the one that is shown"));
    }
    // What somebody else wrote at the same time, and was outshone, is newer than what was before.
    let outshone = after.versions().iter().filter(|version| !is_undone(version)).max_by_key(|v| (v.hlc, v.dot));
    match outshone.or(before.map(Entry::shown)) {
        Some(version) if version.same_value(after.shown()) && version.mtime_ns == after.shown().mtime_ns => None,
        Some(version) => Some(Verdict::Restore(Box::new(version.clone()))),
        None => Some(Verdict::Added),
    }
}

/// The kept heads, as far as they tell who did what.
struct History {
    drive: DriveId,
    /// The owner's newest from before.
    owner: HeadEnvelope,
    /// The newest of the other writers from before.
    others: Vec<HeadEnvelope>,
    /// Those that are to be undone, oldest first.
    undone: Vec<HeadEnvelope>,
    /// Those that others made knowing of them, oldest first.
    since: Vec<HeadEnvelope>,
}

impl History {
    fn read(shared: &Shared, drive: &Drive, now: &Snapshot, undo: &Undo) -> Result<Self, DriveError> {
        let notes = shared.registry.history(drive)?;
        let first = first_witnesses(shared, drive, &notes, undo)?;
        let owner_key = now.head.body().writer;
        // Where a writer was let out, later heads do not name it any more: who has seen it once has seen it ever since,
        // and so has who has seen such a head of the owner.
        let has_seen = |body: &Head| {
            let seen = |writer: &WriterKey, counter: u64| first.get(writer).is_some_and(|first| counter >= *first);
            seen(&body.writer, body.counter) || seen(&owner_key, body.vv.counter(&owner_key))
        };
        let (mut owner, mut others, mut undone, mut since) = (None, Vec::<HeadEnvelope>::new(), Vec::new(), Vec::new());
        for note in notes.iter().rev() {
            let Some(head) = shared.registry.head(&drive.id, &note.hash)? else { continue };
            let body = head.body();
            if body.writer == undo.writer {
                if body.counter >= undo.since && undone.len() < MAX_WITNESSES {
                    undone.push(head);
                }
                continue;
            }
            if has_seen(body) {
                if since.len() < MAX_WITNESSES {
                    since.push(head);
                }
            } else if body.is_by_owner() {
                owner.get_or_insert(head);
            } else if !others.iter().any(|other| other.body().writer == body.writer) {
                others.push(head);
            }
        }
        let owner = owner.ok_or_else(|| {
            DriveError::VersionNotKept(format!(
                "no version is kept from before {} wrote; `--since COUNTER` undoes only what it did from then on",
                undo.writer
            ))
        })?;
        let is_writer = |head: &HeadEnvelope| {
            let set = now.set.as_ref().map(Signed::body);
            set.is_some_and(|set| set.certificate(&head.body().writer).is_some())
        };
        others.retain(is_writer);
        undone.reverse();
        since.reverse();
        Ok(Self { drive: drive.id, owner, others, undone, since })
    }

    /// What they make together. Where a tree of another writer is gone, the owner's alone.
    fn state_before(&self, now: &Snapshot, nodes: &NodeStore) -> Result<Expected, DriveError> {
        let set = now.set.as_ref().map(Signed::body);
        let source = |head: &HeadEnvelope| {
            let body = head.body();
            let certificate = set.and_then(|set| set.certificate(&body.writer));
            Source {
                writer: body.writer,
                counter: body.counter,
                vv: body.vv.clone(),
                prefix: certificate.and_then(|certificate| certificate.prefix.clone()),
                root: root_of(head),
            }
        };
        if self.others.is_empty() {
            return Ok(root_of(&self.owner));
        }
        let others: Vec<_> = self.others.iter().map(source).collect();
        let mut made = Made::new(nodes);
        match merge(&source(&self.owner), &others, &[], nodes, |node| made.take(node)) {
            Ok(root) => {
                made.finish()?;
                Ok(Expected::root_with_sums(root.id, root.entries, root.bytes))
            }
            Err(error) => {
                tracing::debug!(drive = %self.drive, %error, "the state from before cannot be merged");
                Ok(root_of(&self.owner))
            }
        }
    }

    /// What others wrote since the state before, path by path the newest: it was theirs to write, also where what is to be
    /// undone came later. Looks at the newest heads; one whose tree is not here tells nothing.
    fn newer(&self, before: &Expected, nodes: &NodeStore, undo: &Undo) -> BTreeMap<PathKey, Entry> {
        let mut newer: BTreeMap<PathKey, Entry> = BTreeMap::new();
        for head in self.since.iter().rev().take(MAX_LOOKED_THROUGH) {
            let (old, new) = (Tree::new(nodes, before.clone()), Tree::new(nodes, root_of(head)));
            let Ok(changes) = old.diff(&new) else { continue };
            for change in changes.map_while(Result::ok) {
                let (Change::Added(entry) | Change::Changed { after: entry, .. }) = change else { continue };
                let (version, is_known) = (entry.shown(), newer.get(entry.key()));
                let is_newest = is_known.is_none_or(|known| known.shown().hlc < version.hlc);
                if is_newest && !undo.undoes(version) && (is_known.is_some() || newer.len() < MAX_PATHS) {
                    newer.insert(entry.key().clone(), entry);
                }
            }
        }
        newer
    }

    /// A path that is gone: by that writer's doing, or by somebody else's?
    fn of_missing(&self, before: &Entry, nodes: &NodeStore) -> Result<Option<Verdict>, DriveError> {
        let restore = || Some(Verdict::Restore(Box::new(before.shown().clone())));
        let dot = before.shown().dot;
        if self.undone.is_empty() {
            // None of its heads is kept, so nobody can tell; and a file too many is better than one too few.
            return Ok(restore());
        }
        for head in &self.undone {
            if !dropped(head, before.key(), dot, nodes)? {
                continue;
            }
            // Whoever it had seen may have dropped it first.
            let seen = &head.body().vv;
            let earlier = self.since.iter().filter(|other| {
                let body = other.body();
                body.counter <= seen.counter(&body.writer)
            });
            // What a writer has dropped it never has again: the newest of each tells.
            let mut told: Vec<&HeadEnvelope> = Vec::new();
            for other in earlier.rev() {
                if !told.iter().any(|known| known.body().writer == other.body().writer) {
                    told.push(other);
                }
            }
            for other in told {
                if dropped(other, before.key(), dot, nodes)? {
                    return Ok(None);
                }
            }
            return Ok(restore());
        }
        Ok(None)
    }
}

/// Of each writer the counter of its first kept head that has seen what is to be undone. Where a writer was let out and no
/// head is kept that names it, the owner's first that holds what it wrote. Blocks.
fn first_witnesses(
    shared: &Shared,
    drive: &Drive,
    notes: &[HeadNote],
    undo: &Undo,
) -> Result<HashMap<WriterKey, u64>, DriveError> {
    let mut first: HashMap<WriterKey, u64> = HashMap::new();
    let mut is_seen_by_owner = false;
    let mut own = Vec::new();
    for note in notes.iter().filter(|note| note.writer != undo.writer) {
        let Some(head) = shared.registry.head(&drive.id, &note.hash)? else { continue };
        let body = head.body();
        if body.vv.counter(&undo.writer) >= undo.since.max(1) {
            is_seen_by_owner |= note.is_by_owner;
            let counter = first.entry(body.writer).or_insert(body.counter);
            *counter = body.counter.min(*counter);
        } else if note.is_by_owner {
            own.push((body.counter, root_of(&head)));
        }
    }
    if is_seen_by_owner {
        return Ok(first);
    }
    let is_undone = |version: &Version| version.dot.writer == undo.writer.prefix() && version.dot.counter >= undo.since;
    own.sort_unstable_by_key(|(counter, _)| std::cmp::Reverse(*counter));
    for (counter, root) in own.into_iter().take(MAX_LOOKED_THROUGH) {
        let mut holds = false;
        for entry in Tree::new(&*shared.nodes, root).range(&[]) {
            if entry.map_err(walk_error)?.versions().iter().any(is_undone) {
                holds = true;
                break;
            }
        }
        if !holds {
            break;
        }
        first.insert(WriterKey::from(*drive.id.as_bytes()), counter);
    }
    Ok(first)
}

/// Whether a head's writer has seen a version and has it no more. A tree that is gone says nothing. Blocks.
fn dropped(head: &HeadEnvelope, key: &PathKey, dot: Dot, nodes: &NodeStore) -> Result<bool, DriveError> {
    let counters = head.body().vv.counters();
    if !counters.iter().any(|(writer, counter)| writer.prefix() == dot.writer && dot.counter <= *counter) {
        return Ok(false);
    }
    match Tree::new(nodes, root_of(head)).lookup(key).map_err(walk_error) {
        Ok(entry) => Ok(!entry.is_some_and(|entry| entry.versions().iter().any(|version| version.dot == dot))),
        Err(DriveError::Corrupt(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn root_of(head: &HeadEnvelope) -> Expected {
    let body = head.body();
    Expected::root_with_sums(body.root, body.files, body.bytes)
}

/// Nodes on their way to the packs.
struct Made<'a> {
    nodes: &'a NodeStore,
    waiting: Vec<(crate::tree::NodeId, Bytes)>,
}

impl<'a> Made<'a> {
    fn new(nodes: &'a NodeStore) -> Self {
        Self { nodes, waiting: Vec::new() }
    }

    fn take(&mut self, node: BuiltNode) -> Result<(), DriveError> {
        self.waiting.push((node.id, node.encoded));
        if self.waiting.len() >= BATCH_NODES { self.nodes.keep(&std::mem::take(&mut self.waiting)) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<(), DriveError> {
        self.nodes.keep(&std::mem::take(&mut self.waiting))
    }
}

/// A head of the owner with the changes, durable. Returns its version. Blocks.
fn commit(
    shared: &Shared,
    drive: &Arc<Drive>,
    now: &Snapshot,
    changes: Vec<(PathKey, Option<Version>)>,
    message: String,
) -> Result<u64, DriveError> {
    // Nodes come before the head that speaks of them.
    let _writing = shared.holds.writing();
    let author = shared.author_of(drive)?;
    let (writer, counter, hlc) = next_of(Some(now), author.writer);
    let dot = Dot { writer: writer.prefix(), counter };
    let old = Tree::new(&*shared.nodes, now.expected());
    let is_file = |version: &Version| i64::from(version.kind == Kind::File);
    let mut entries = Vec::with_capacity(changes.len());
    let mut more_files = 0;
    for (key, version) in changes {
        let before = old.lookup(&key).map_err(walk_error)?;
        more_files -= before.as_ref().map_or(0, |entry| is_file(entry.shown()));
        more_files += version.as_ref().map_or(0, is_file);
        let entry = match version {
            Some(version) => {
                let entry = Entry::new(key.clone(), vec![Version { dot, hlc, ..version }]);
                Some(entry.map_err(|error| DriveError::Corrupt(error.to_string()))?)
            }
            None => None,
        };
        entries.push((key, entry));
    }
    let mut made = Made::new(&shared.nodes);
    let root =
        update(&now.expected(), &*shared.nodes, entries, |node| made.take(node)).map_err(|error| match error {
            UpdateError::Walk(error) => walk_error(error),
            UpdateError::Build(BuildError::Sink(error)) => error,
            error => DriveError::Corrupt(error.to_string()),
        })?;
    made.finish()?;
    let state = drive.state();
    let files = state.row.files.saturating_add_signed(more_files);
    let head = head(drive, now, &author, &root, (counter, hlc, files), message)?;
    let at = with_own_head(shared, &drive.id, Some(now), head)?;
    let version = at.version();
    let row = DriveRow { files, complete: true, ..drive.state().row };
    shared.registry.store(drive, row, Some(at))?;
    Ok(version)
}

fn head(
    drive: &Drive,
    now: &Snapshot,
    author: &Author,
    root: &Root,
    (counter, hlc, files): (u64, u64, u64),
    message: String,
) -> Result<HeadEnvelope, DriveError> {
    let corrupt = |error: crate::SignedError| DriveError::Corrupt(error.to_string());
    let set = now.set.as_ref();
    let head = Head {
        drive: drive.id,
        writer: author.writer,
        counter,
        vv: now.vv_for(author.writer, counter).map_err(corrupt)?,
        root: root.id,
        header: header_of(&drive.state()),
        writer_set: set.map(Signed::hash),
        epoch: set.map_or(0, |set| set.body().epoch),
        files: root.entries,
        bytes: root.bytes,
        prev: now.heads().map(Signed::hash).take(MAX_PREV).collect(),
        change_list: None,
        hlc,
        message,
        ext: Head::ext_of_files(files),
    };
    HeadEnvelope::sign(&head, &author.key).map_err(corrupt)
}

#[cfg(test)]
mod tests;
