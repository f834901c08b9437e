//! What a copy has to do: walks the index in order, makes folders, finds what is there, queues what is missing; and at
//! the end links, times and modes.

mod names;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use p2p_identity::ContentId;

use super::large::Partial;
use super::pieces::PieceCounter;
use super::small::SmallFile;
use super::{ExternalLinks, Job, Scope, Work};
use crate::DriveError;
use crate::content::{ContentIndex, LeafCache, Located, WHOLE_FILE_BYTES, open_unchanged, read_whole, walk_error};
use crate::entry::{Entry, Kind, Version};
use crate::folder::{Found, Meta, is_temporary_name, temporary_name};
use crate::heads::Snapshot;
use crate::kept::Keeping;
use crate::key::PathKey;
use crate::tree::{Change, Tree};
use crate::wire::{MAX_FILE_BYTES_PER_REQUEST, MAX_FILES_PER_REQUEST};

/// The plan of one copy.
pub(super) struct Plan {
    job: Arc<Job>,
    at: Snapshot,
    /// The state that is in the folder already.
    old: Option<Snapshot>,
    scope: Scope,
    /// Folders of which names that differ in case only were set apart.
    told_apart: Mutex<HashSet<[u8; 16]>>,
    /// Nothing was in the folder at the start, so nothing need be looked for.
    fresh: bool,
    /// Where this node's edits go to the drive, if they do anywhere; `None` for everywhere.
    prefix: Option<PathKey>,
}

impl Plan {
    pub(super) fn new(job: Arc<Job>, at: Snapshot, old: Option<Snapshot>, scope: Scope) -> Self {
        job.folder.look_again();
        let fresh = job.folder.is_empty().unwrap_or(false);
        let prefix = job.shared.author_of(&job.drive).ok().and_then(|author| author.prefix);
        Self { job, at, old, scope, told_apart: Mutex::default(), fresh, prefix }
    }

    /// Files in the version, and their bytes. Blocks.
    pub(super) fn totals(&self) -> Result<(u64, u64), DriveError> {
        self.prepare_names()?;
        let is_file = |entry: &Entry| u64::from(entry.shown().kind == Kind::File);
        let mut files = 0;
        match &self.old {
            Some(old) if self.scope == Scope::Changes => {
                files = self.job.drive.state().row.files;
                for change in self.tree(old).diff(&self.tree(&self.at)).map_err(walk_error)? {
                    let (before, after) = sides(change.map_err(walk_error)?);
                    files += after.as_ref().map_or(0, is_file);
                    files = files.saturating_sub(before.as_ref().map_or(0, is_file));
                }
            }
            _ => {
                for entry in self.tree(&self.at).range(&[]) {
                    files += is_file(&entry.map_err(walk_error)?);
                }
            }
        }
        Ok((files, self.at.bytes))
    }

    /// Hands over the entries of the version that this plan looks at, in index order; stops when `take` says so.
    fn entries(&self, mut take: impl FnMut(Entry) -> Result<Going, DriveError>) -> Result<(), DriveError> {
        let after = self.tree(&self.at);
        match &self.old {
            Some(old) if self.scope == Scope::Changes => {
                for change in self.tree(old).diff(&after).map_err(walk_error)? {
                    if let (_, Some(entry)) = sides(change.map_err(walk_error)?)
                        && take(entry)? == Going::Stop
                    {
                        break;
                    }
                }
            }
            _ => {
                for entry in after.range(&[]) {
                    if take(entry.map_err(walk_error)?)? == Going::Stop {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Queues everything that is missing, then closes the queue. Blocks.
    pub(super) fn run(&self) -> Result<(), DriveError> {
        let result = self.queue_all();
        self.job.queue.close();
        result
    }

    fn queue_all(&self) -> Result<(), DriveError> {
        let mut batch = Batch::default();
        let mut count = Count::default();
        let mut blocked: Option<String> = None;
        if self.scope == Scope::Changes {
            // What the version before said of all files that are not looked at again.
            let unchanged = self.at.bytes.saturating_sub(self.changed_bytes()?);
            self.job.progress.bytes.fetch_add(unchanged, Ordering::Relaxed);
        }
        self.entries(|entry| {
            let of = self.number(&entry, &mut count, &mut batch);
            let before = (batch.files.len(), self.job.left_out_count());
            let going = self.queue_entry(&entry, &mut batch, &mut blocked, of)?;
            count.is_missing |= (batch.files.len(), self.job.left_out_count()) != before;
            Ok(going)
        })?;
        self.end_piece(&mut count, &mut batch);
        Ok(())
    }

    /// The pieces that an entry's content belongs to, where the whole version is gone through and they can be counted. One
    /// that is shared with the entries before ends where another begins.
    fn number(&self, entry: &Entry, count: &mut Count, batch: &mut Batch) -> Option<Range<u64>> {
        let version = entry.shown();
        if self.scope != Scope::Everything || version.kind == Kind::Directory || version.inline.is_some() {
            return None;
        }
        let pieces = count.pieces.add(version.size);
        let shared = (version.size <= WHOLE_FILE_BYTES).then_some(pieces.start);
        if count.shared != shared {
            self.end_piece(count, batch);
            count.shared = shared;
        }
        Some(pieces)
    }

    /// Queues what is missing of a shared piece; one of which nothing is missing is here.
    fn end_piece(&self, count: &mut Count, batch: &mut Batch) -> bool {
        let (number, is_missing) = (count.shared.take(), std::mem::take(&mut count.is_missing));
        if let Some(number) = number.filter(|_| !is_missing) {
            self.job.hold(number);
        }
        batch.number = number;
        self.flush(batch)
    }

    fn changed_bytes(&self) -> Result<u64, DriveError> {
        let mut bytes = 0;
        self.entries(|entry| {
            bytes += entry.shown().size;
            Ok(Going::On)
        })?;
        Ok(bytes)
    }

    fn queue_entry(
        &self,
        entry: &Entry,
        batch: &mut Batch,
        blocked: &mut Option<String>,
        of: Option<Range<u64>>,
    ) -> Result<Going, DriveError> {
        let path = entry.key().to_path();
        if blocked.as_ref().is_some_and(|prefix| is_below(&path, prefix)) {
            self.job.leave_out(&path, "the folder it belongs in could not be made");
            return Ok(Going::On);
        }
        if is_temporary_name(entry.key().name()) {
            self.job.leave_out(&path, "this name is kept for files that are being written");
            return Ok(Going::On);
        }
        self.name(entry.key())?;
        if self.scope == Scope::Changes {
            self.make_parents(&path).map_err(DriveError::io(format!("make the folder of {path:?}")))?;
        }
        let version = entry.shown();
        match version.kind {
            // Short targets lie in the index and come last; long ones are content.
            Kind::Symlink if version.inline.is_some() => {}
            Kind::Symlink if version.size > MAX_TARGET_BYTES => {
                self.job.leave_out(&path, "the target of the link is too long");
            }
            Kind::Symlink if self.has_link(&path, version) => {}
            Kind::Symlink => {
                if !self.queue_small(&path, version, batch) {
                    return Ok(Going::Stop);
                }
            }
            Kind::Directory => {
                if let Err(error) = self.make_directory(&path) {
                    self.job.leave_out(&path, format!("the folder cannot be made: {error}"));
                    *blocked = Some(path);
                }
            }
            Kind::File => {
                if !self.queue_file(&path, entry, batch, of)? {
                    return Ok(Going::Stop);
                }
            }
        }
        Ok(Going::On)
    }

    /// False when nobody works any more.
    fn queue_file(
        &self,
        path: &str,
        entry: &Entry,
        batch: &mut Batch,
        of: Option<Range<u64>>,
    ) -> Result<bool, DriveError> {
        let version = entry.shown();
        let meta = meta_of(version);
        // A large file's pieces are its own.
        let own = of.filter(|_| version.size > WHOLE_FILE_BYTES);
        let hold_all = || own.clone().into_iter().flatten().for_each(|number| self.job.hold(number));
        match self.look(path, entry, meta) {
            Ok(There::Right) => {
                hold_all();
                self.count(version);
                return Ok(true);
            }
            // It is imported first, and then looked at again.
            Ok(There::Edited) => {
                self.job.local_change.store(true, Ordering::Relaxed);
                return Ok(true);
            }
            Ok(There::Replaceable) => {}
            Err(error) => {
                self.job.leave_out(path, format!("cannot be placed: {error}"));
                return Ok(true);
            }
        }
        if let Some(inline) = &version.inline {
            let placed = self.job.folder.place_bytes(path, &temporary_name(path.as_bytes()), inline.as_bytes(), meta);
            placed.map_err(DriveError::io(format!("write {path:?}")))?;
            self.count(version);
            return Ok(true);
        }
        if self.copy_from_old(path, version, meta)? {
            hold_all();
            self.count(version);
            return Ok(true);
        }
        if version.size <= WHOLE_FILE_BYTES {
            return Ok(self.queue_small(path, version, batch));
        }
        let partial = Arc::new(Partial::open(&self.job, path, version.hash, version.size, meta)?);
        if partial.place_if_complete()? {
            hold_all();
            self.job.progress.files.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        self.job.add_partial(&partial);
        for (at, missing) in partial.pieces().into_iter().enumerate() {
            let number = own.as_ref().map(|own| own.start + at as u64);
            if missing.is_empty() {
                number.into_iter().for_each(|number| self.job.hold(number));
            } else if !self.job.queue.push(number, Work::Large(partial.clone(), missing)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the link of a long target is there already.
    fn has_link(&self, path: &str, version: &Version) -> bool {
        self.job.folder.read_link(path).is_ok_and(|target| ContentId::of(&target) == version.hash)
    }

    fn queue_small(&self, path: &str, version: &Version, batch: &mut Batch) -> bool {
        // Where pieces are counted, they end elsewhere.
        if self.scope == Scope::Changes && batch.is_full(version.size) && !self.flush(batch) {
            return false;
        }
        let (hash, size) = (version.hash, version.size);
        batch.add(SmallFile { path: path.to_owned(), kind: version.kind, hash, size, meta: meta_of(version) });
        true
    }

    fn flush(&self, batch: &mut Batch) -> bool {
        let Batch { files, number, .. } = std::mem::take(batch);
        files.is_empty() || self.job.queue.push(number, Work::Small(files.into()))
    }

    /// What stands at the path of a file. Somebody's work is moved aside, or left alone where it goes to the drive.
    fn look(&self, path: &str, entry: &Entry, meta: Meta) -> io::Result<There> {
        if self.fresh {
            return Ok(There::Replaceable);
        }
        let version = entry.shown();
        let folder = &self.job.folder;
        let status = match folder.status(path) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Replaceable),
            Err(error) => return Err(error),
        };
        if status.found == Found::File {
            let content = self.content_at(path)?;
            if content == Some(version.hash) {
                if (status.mode, status.fingerprint.mtime_ns) != (meta.mode, meta.mtime_ns) {
                    folder.set_meta(path, meta)?;
                }
                return Ok(There::Right);
            }
            // The content of the version before may be replaced; anything else is somebody's work.
            let before = self.old_entry(path);
            if let Some(before) = before.filter(|entry| Some(entry.shown().hash) == content) {
                // The loser of a conflict is still a version of the file: its content must be somewhere.
                let lost = entry.hidden().into_iter().find(|hidden| hidden.hash == before.shown().hash);
                let is_safe = lost.is_none_or(|lost| {
                    let kept = self.job.shared.kept.keep(folder, path, lost, &|_| false);
                    matches!(kept, Ok(Keeping::Kept { .. })) || lost.inline.is_some()
                });
                if is_safe {
                    return Ok(There::Replaceable);
                }
            }
        }
        if self.job.two_way && self.may_write(path) && status.found == Found::File {
            return Ok(There::Edited);
        }
        self.job.move_aside(path)?;
        Ok(There::Replaceable)
    }

    /// Whether what stands in the folder, where this version changes something, is not what the state before says: an edit
    /// that was not imported yet. Blocks.
    pub(super) fn has_local_change(&self) -> Result<bool, DriveError> {
        let Some(old) = self.old.as_ref().filter(|_| self.scope == Scope::Changes) else { return Ok(false) };
        self.prepare_names()?;
        let absent = self.job.drive.state().row.absent;
        for change in self.tree(old).diff(&self.tree(&self.at)).map_err(walk_error)? {
            let (before, after) = sides(change.map_err(walk_error)?);
            let Some(entry) = after.as_ref().or(before.as_ref()) else { continue };
            if after.is_some() {
                self.name(entry.key())?;
            }
            let (before, after) = (before.as_ref().map(Entry::shown), after.as_ref().map(Entry::shown));
            let is_same = before.zip(after).is_some_and(|(before, after)| before.same_value(after));
            let path = entry.key().to_path();
            let cannot_be_here = absent.iter().any(|key| key == entry.key().as_bytes());
            if is_same || cannot_be_here || !self.may_write(&path) {
                continue;
            }
            let there = self.value_at(&path).map_err(DriveError::io(format!("look at {path:?}")))?;
            let is = |version: Option<&Version>| there == version.map(|version| (version.kind, version.hash));
            if !is(before) && !is(after) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Kind and content of what stands at a path; `None` where nothing does.
    fn value_at(&self, path: &str) -> io::Result<Option<(Kind, ContentId)>> {
        let status = match self.job.folder.status(path) {
            Ok(status) => status,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(match status.found {
            Found::Directory => Some((Kind::Directory, ContentId::of(b""))),
            Found::Symlink => Some((Kind::Symlink, ContentId::of(&self.job.folder.read_link(path)?))),
            Found::File => self.content_at(path)?.map(|hash| (Kind::File, hash)),
            Found::Special(_) => None,
        })
    }

    /// Whether this node's edits of a path go to the drive.
    fn may_write(&self, path: &str) -> bool {
        let key = PathKey::from_path(path).ok();
        key.is_some_and(|key| self.prefix.as_ref().is_none_or(|prefix| key.is_under(prefix)))
    }

    /// Takes content that the version before had under some path: renames and copies move nothing over the network.
    fn copy_from_old(&self, path: &str, version: &Version, meta: Meta) -> Result<bool, DriveError> {
        if self.old.as_ref().is_none_or(|old| old.root == self.at.root) {
            return Ok(false);
        }
        let (nodes, folder) = (&self.job.shared.nodes, &self.job.folder);
        let index = ContentIndex::of(&self.job.drive, nodes)?;
        for at in index.locate(&version.hash, nodes, &mut LeafCache::default())? {
            if at.size != version.size || at.path == path || at.kind != Kind::File {
                continue;
            }
            let temporary = temporary_name(path.as_bytes());
            let placed = if version.size <= WHOLE_FILE_BYTES {
                match read_whole(folder, &at, &version.hash) {
                    Ok(bytes) => folder.place_bytes(path, &temporary, &bytes, meta).map(|()| true),
                    Err(_) => Ok(false),
                }
            } else {
                self.copy_large(path, &temporary, &at, version, meta)
            };
            if placed.map_err(DriveError::io(format!("write {path:?}")))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn copy_large(&self, path: &str, temporary: &str, at: &Located, version: &Version, meta: Meta) -> io::Result<bool> {
        let folder = &self.job.folder;
        let Ok(mut source) = open_unchanged(folder, &at.path, at.size) else { return Ok(false) };
        let mut copy = folder.open_temporary(path, temporary)?;
        copy.set_len(0)?;
        io::copy(&mut source, &mut copy)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        if self.job.shared.outboards.make(&copy, version.size, threads).ok() != Some(version.hash) {
            return Ok(false);
        }
        copy.sync_data()?;
        folder.place_temporary(path, temporary, &copy, meta)?;
        Ok(true)
    }

    fn content_at(&self, path: &str) -> io::Result<Option<ContentId>> {
        let (file, status) = self.job.folder.open_file(path)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let size = status.fingerprint.size;
        let hash = if size > WHOLE_FILE_BYTES {
            self.job.shared.outboards.make(&file, size, threads).ok()
        } else {
            crate::hash_file(&file, size, 1).ok().map(|(hash, _)| hash)
        };
        Ok(hash)
    }

    fn old_entry(&self, path: &str) -> Option<Entry> {
        let old = self.old.as_ref()?;
        let key = PathKey::from_path(path).ok()?;
        self.tree(old).lookup(&key).ok()?
    }

    /// Folders on the way to a path, where somebody has moved or removed them: nothing says so in what has changed.
    fn make_parents(&self, path: &str) -> io::Result<()> {
        let Some((parent, _)) = path.rsplit_once('/') else { return Ok(()) };
        if self.job.folder.status(parent).is_ok_and(|status| status.found == Found::Directory) {
            return Ok(());
        }
        self.make_parents(parent)?;
        self.make_directory(parent)
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        match self.job.folder.make_directory(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.job.move_aside(path)?;
                self.job.folder.make_directory(path)
            }
            result => result,
        }
    }

    /// The last pass, when all content is in place. Blocks.
    pub(super) fn finish(&self) -> Result<(), DriveError> {
        self.job.folder.look_again();
        let mut directories = BTreeMap::new();
        for path in self.remove_old()? {
            self.add_parent(&path, &mut directories)?;
        }
        self.entries(|entry| {
            let (path, version) = (entry.key().to_path(), entry.shown());
            match version.kind {
                Kind::File => {}
                Kind::Symlink => {
                    if let Some(target) = &version.inline {
                        self.job.place_symlink(&path, target.as_bytes(), version.mtime_ns);
                    }
                }
                Kind::Directory => drop(directories.insert(path.clone(), meta_of(version))),
            }
            if self.scope == Scope::Changes {
                self.add_parent(&path, &mut directories)?;
            }
            Ok(Going::On)
        })?;
        let folder = &self.job.folder;
        // Deepest first: a folder's time must not change any more after it was set.
        for (path, meta) in directories.into_iter().rev() {
            let _ = folder.sweep_temporaries(&path, |_| false);
            if let Err(error) = folder.set_meta(&path, meta) {
                self.job.leave_out(&path, format!("mode and time of the folder cannot be set: {error}"));
            }
        }
        let _ = folder.sweep_temporaries("", |_| false);
        folder.names().flush()
    }

    /// The folder that a path lies in: its time changed when something was placed there or removed.
    fn add_parent(&self, path: &str, directories: &mut BTreeMap<String, Meta>) -> Result<(), DriveError> {
        let Some((parent, _)) = path.rsplit_once('/') else { return Ok(()) };
        if directories.contains_key(parent) {
            return Ok(());
        }
        let Ok(key) = PathKey::from_path(parent) else { return Ok(()) };
        if let Some(entry) = self.tree(&self.at).lookup(&key).map_err(walk_error)?
            && entry.shown().kind == Kind::Directory
        {
            directories.insert(parent.to_owned(), meta_of(entry.shown()));
        }
        Ok(())
    }

    /// Removes what the version before had and this one has not, if nobody changed it. Returns the paths.
    fn remove_old(&self) -> Result<Vec<String>, DriveError> {
        let Some(old) = self.old.as_ref().filter(|old| old.root != self.at.root) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        let (before, after) = (self.tree(old), self.tree(&self.at));
        for change in before.diff(&after).map_err(walk_error)? {
            if let Change::Removed(entry) = change.map_err(walk_error)? {
                removed.push(entry);
            }
        }
        for entry in removed.iter().rev() {
            let path = entry.key().to_path();
            let unchanged = match entry.shown().kind {
                Kind::File => self.content_at(&path).is_ok_and(|content| content == Some(entry.shown().hash)),
                Kind::Symlink => self.job.folder.read_link(&path).is_ok(),
                Kind::Directory => {
                    let _ = self.job.folder.remove_directory(&path);
                    continue;
                }
            };
            if unchanged {
                let _ = self.job.folder.remove_file(&path);
            }
        }
        Ok(removed.iter().map(|entry| entry.key().to_path()).collect())
    }

    fn tree(&self, at: &Snapshot) -> Tree<'_, crate::nodes::NodeStore> {
        Tree::new(&self.job.shared.nodes, at.expected())
    }

    fn count(&self, version: &Version) {
        self.job.progress.files.fetch_add(1, Ordering::Relaxed);
        self.job.progress.bytes.fetch_add(version.size, Ordering::Relaxed);
    }
}

/// What stands at the path of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// The file that should be there.
    Right,
    /// Nothing, or what the version before has and is kept elsewhere if need be.
    Replaceable,
    /// An edit that goes to the drive.
    Edited,
}

/// Whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    On,
    Stop,
}

/// What stood at a path before and after.
fn sides(change: Change) -> (Option<Entry>, Option<Entry>) {
    match change {
        Change::Added(after) => (None, Some(after)),
        Change::Removed(before) => (Some(before), None),
        Change::Changed { before, after } => (Some(before), Some(after)),
    }
}

/// Longest target of a symlink, in bytes: what Linux allows.
const MAX_TARGET_BYTES: u64 = 4_096;

impl Job {
    /// Makes a link, or reports why not.
    pub(super) fn place_symlink(&self, path: &str, target: &[u8], mtime_ns: i64) {
        if self.links == ExternalLinks::LeaveOut && !stays_inside(path, target) {
            let target = String::from_utf8_lossy(target).into_owned();
            self.leave_out(path, format!("a link that leaves the folder, to {target:?}"));
            return;
        }
        let folder = &self.folder;
        if folder.read_link(path).is_ok_and(|there| there == target) {
            return;
        }
        let in_the_way = folder.status(path).is_ok_and(|status| status.found != Found::Symlink);
        let free = if in_the_way { self.move_aside(path) } else { Ok(()) };
        let temporary = temporary_name(path.as_bytes());
        let placed = free.and_then(|()| folder.place_symlink(path, &temporary, target, mtime_ns));
        if let Err(error) = placed {
            self.leave_out(path, format!("the link cannot be made: {error}"));
        }
    }

    /// Gives what stands at a path, and was changed here, another name.
    fn move_aside(&self, path: &str) -> io::Result<()> {
        let aside = self.folder.move_to_free_name(path)?;
        self.leave_out(path, format!("what stood there was changed here and is kept as {aside:?}"));
        Ok(())
    }
}

fn meta_of(version: &Version) -> Meta {
    Meta { mode: version.mode, mtime_ns: version.mtime_ns }
}

/// Small files of one request.
#[derive(Default)]
struct Batch {
    files: Vec<SmallFile>,
    bytes: u64,
    number: Option<u64>,
}

/// Where a plan is among the pieces of a version.
#[derive(Default)]
struct Count {
    pieces: PieceCounter,
    /// The piece that entries share at the moment.
    shared: Option<u64>,
    /// Whether anything of it is missing.
    is_missing: bool,
}

impl Batch {
    fn is_full(&self, next: u64) -> bool {
        self.files.len() >= MAX_FILES_PER_REQUEST || self.bytes + next > MAX_FILE_BYTES_PER_REQUEST
    }

    fn add(&mut self, file: SmallFile) {
        self.bytes += file.size;
        self.files.push(file);
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a link at `path` points into the folder: relative, `..` only at the front and no more of them than the link
/// is deep (specs/drives.md, 14.3).
fn stays_inside(path: &str, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return false };
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let depth = path.matches('/').count();
    let mut components = target.split('/').filter(|component| !component.is_empty() && *component != ".").peekable();
    let mut ups = 0;
    while components.next_if(|component| *component == "..").is_some() {
        ups += 1;
    }
    ups <= depth && components.all(|component| component != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_judged_by_where_they_point() {
        for (path, target, inside) in [
            ("a", "b", true),
            ("a", "../b", false),
            ("d/a", "../b", true),
            ("d/a", "../../b", false),
            ("d/e/a", "../../b", true),
            ("a", "/etc/passwd", false),
            ("d/a", "x/../../../etc", false),
            ("d/a", "./../b", true),
            ("a", "", false),
            ("a", "b/./c", true),
        ] {
            assert_eq!(stays_inside(path, target.as_bytes()), inside, "{path} -> {target}");
        }
    }
}
