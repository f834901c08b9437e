//! Where the paths of a drive lie in one folder on disk (specs/drives.md, 14.3 and the table `names` of 17).
//!
//! A name that the file system cannot hold lies there as an escape, which says by itself what it stands for
//! ([`p2p_identity::local_name`]). Three kinds of names need to be remembered: those on disk that no rule gives (another
//! Unicode form), those set apart because they differ from another in case only, and those that had to be cut. All that lie
//! otherwise than they are called are in the ledger, so that people can be told; what is lost of it is read from the disk
//! again.

mod probe;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Mutex};

use p2p_identity::{
    DriveId, NameRules, case_apart, folded_name, foreign_bytes, is_cut_name, is_plain_name, local_name, stored_name,
};

use crate::DriveError;
use crate::content::walk_error;
use crate::folder::Folder;
use crate::heads::Snapshot;
use crate::key::PathKey;
use crate::lock::lock;
use crate::nodes::NodeStore;
use crate::publish::LocalPath;
use crate::store::{Batch, Ledger, LedgerTable};
use crate::tree::Tree;

/// Most names of one folder that lie otherwise than they are called and are remembered: about 200 bytes each. Escapes
/// beyond are still read; names that only memory tells are left out.
const MAX_ROWS: usize = 100_000;
/// Rows read from the ledger at a time.
const SCAN_ROWS: usize = 1_024;
/// Rows that wait for the ledger: what is lost in a crash is read from the disk again.
const MAX_WAITING: usize = 1_000;

/// What a folder's file system can hold besides the content of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Names.
    pub(crate) rules: NameRules,
    /// Whether permission bits stay as they are set.
    pub(crate) keeps_modes: bool,
    /// Times are told apart in steps of this, in nanoseconds.
    pub(crate) mtime_grain_ns: i64,
}

impl Traits {
    /// Everything, to the nanosecond.
    pub(crate) const ALL: Self = Self { rules: NameRules::UNIX, keeps_modes: true, mtime_grain_ns: 1 };

    /// Whether a time on disk may be what became of `ns`.
    pub(crate) fn is_time(&self, ns: i64, on_disk_ns: i64) -> bool {
        ns == on_disk_ns || ns.abs_diff(on_disk_ns) < self.mtime_grain_ns.unsigned_abs() && self.mtime_grain_ns > 1
    }
}

/// A name that lies otherwise than it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedName {
    /// The path in the drive.
    pub path: String,
    /// The path below the folder; of bytes that are no text an approximation.
    pub local: String,
}

/// The names of one folder.
#[derive(Default)]
pub(crate) struct Names {
    /// Where they are remembered; nowhere for a copy that nobody keeps.
    ledger: Mutex<Option<(Arc<dyn Ledger>, DriveId)>>,
    table: Mutex<Table>,
    traits: Mutex<Option<Arc<Traits>>>,
    /// One at a time looks what the file system is like.
    probing: Mutex<()>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Names({})", lock(&self.table).rows.len())
    }
}

#[derive(Default)]
struct Table {
    /// By path in the drive: the last component on disk.
    rows: HashMap<String, Row>,
    /// Changes that the ledger lacks: its keys, and values or `None` where a row goes.
    waiting: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the ledger has a list of this folder at all.
    is_kept: bool,
    /// What is to be said of the file system, in place of what it says itself.
    #[cfg(test)]
    forced: Option<Traits>,
}

struct Row {
    name: OsString,
    /// Its key in the ledger without the drive: the path on disk.
    key: Vec<u8>,
}

impl Names {
    /// Reads what is remembered; once.
    pub(crate) fn load(&self, ledger: &Arc<dyn Ledger>, drive: &DriveId) -> Result<(), DriveError> {
        let mut place = lock(&self.ledger);
        if place.is_some() {
            return Ok(());
        }
        let mut table = lock(&self.table);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = ledger.scan(LedgerTable::Names, drive.as_bytes(), after.as_deref(), SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, value) in rows {
                let key = key.get(drive.as_bytes().len()..).unwrap_or_default().to_vec();
                if key.is_empty() {
                    table.is_kept = true;
                    continue;
                }
                let name = key.rsplit(|byte| *byte == b'/').next().map(|name| OsString::from_vec(name.to_vec()));
                if let (Some(name), Ok(path)) = (name, String::from_utf8(value))
                    && table.rows.len() < MAX_ROWS
                {
                    table.rows.insert(path, Row { name, key });
                }
            }
        }
        *place = Some((ledger.clone(), *drive));
        Ok(())
    }

    /// The name on disk of the last component `name` of `path`; `is_there` looks into its directory.
    pub(crate) fn local<'a>(&self, path: &str, name: &'a str, is_there: impl Fn(&OsStr) -> bool) -> Cow<'a, OsStr> {
        if let Some(row) = lock(&self.table).rows.get(path) {
            return Cow::Owned(row.name.clone());
        }
        if is_plain_name(name) {
            return Cow::Borrowed(OsStr::new(name));
        }
        if let Some(traits) = self.known_traits()
            && let Cow::Owned(local) = local_name(name, &traits.rules)
        {
            // It may lie there as it is called, from before anybody knew.
            let is_as_called = !is_there(OsStr::new(&local)) && is_there(OsStr::new(name));
            return if is_as_called { Cow::Borrowed(OsStr::new(name)) } else { Cow::Owned(local.into()) };
        }
        if let Some(bytes) = foreign_bytes(name).map(OsString::from_vec)
            && !is_there(OsStr::new(name))
            && is_there(&bytes)
        {
            return Cow::Owned(bytes);
        }
        Cow::Borrowed(OsStr::new(name))
    }

    /// What the file system is like, as far as anybody has looked.
    pub(crate) fn known_traits(&self) -> Option<Arc<Traits>> {
        lock(&self.traits).clone()
    }

    /// What the file system is like: tried out now, if nobody has yet. A folder that cannot be written to is taken for one
    /// that holds everything. Blocks.
    pub(crate) fn traits(&self, folder: &Folder) -> Arc<Traits> {
        let _one = lock(&self.probing);
        if let Some(known) = self.known_traits() {
            return known;
        }
        #[cfg(test)]
        let forced = lock(&self.table).forced.clone();
        #[cfg(not(test))]
        let forced: Option<Traits> = None;
        let found = forced.map_or_else(|| probe::probe(folder), Ok);
        let traits = Arc::new(found.unwrap_or_else(|error| {
            tracing::debug!(%error, "what names a folder can hold was not found out");
            Traits::ALL
        }));
        *lock(&self.traits) = Some(traits.clone());
        traits
    }

    /// As [`Self::traits`]; and reads from the disk what each name stands for, where no list of this folder is kept any
    /// more. `at` is what lies in it. Blocks.
    pub(crate) fn prepare(&self, folder: &Folder, at: Option<&Snapshot>, nodes: &NodeStore) -> Result<(), DriveError> {
        let traits = self.traits(folder);
        // One after the other: whoever writes holds the ledger first.
        let is_kept = lock(&self.table).is_kept;
        let is_nowhere = lock(&self.ledger).is_none();
        if is_kept || is_nowhere {
            return Ok(());
        }
        let found = read_names(folder).map_err(DriveError::io("read the names in the folder"))?;
        let mut cut: HashMap<String, String> = HashMap::new();
        for (path, name) in found {
            match name.to_str().filter(|name| is_cut_name(name)) {
                Some(name) => drop(cut.insert(path, name.to_owned())),
                None => self.set(&path, Some(&name)),
            }
        }
        if let Some(at) = at.filter(|_| !cut.is_empty()) {
            for entry in Tree::new(nodes, at.expected()).range(&[]) {
                let entry = entry.map_err(walk_error)?;
                let key = entry.key();
                let Cow::Owned(local) = local_name(key.name(), &traits.rules) else { continue };
                let beside = join(key.parent().map(|parent| parent.to_path()).as_deref(), &local);
                if cut.get(&beside) == Some(&local) {
                    self.set(&key.to_path(), Some(OsStr::new(&local)));
                }
            }
        }
        self.flush()
    }

    /// Remembers where a path lies, or that it lies where it is called. On disk with the next [`Self::flush`].
    fn set(&self, path: &str, name: Option<&OsStr>) {
        let mut table = lock(&self.table);
        let known = table.rows.get(path).map(|row| row.name.as_os_str());
        if known == name || name.is_some() && known.is_none() && table.rows.len() >= MAX_ROWS {
            return;
        }
        if let Some(old) = table.rows.remove(path) {
            table.waiting.push((old.key, None));
        }
        if let Some(name) = name {
            let key = self.key(&table, path, name);
            table.waiting.push((key.clone(), Some(path.as_bytes().to_vec())));
            tracing::info!(path, local = %String::from_utf8_lossy(&key), "a name lies otherwise in the folder");
            table.rows.insert(path.to_owned(), Row { name: name.to_owned(), key });
        }
    }

    /// The path on disk, as far as rows tell.
    fn key(&self, table: &Table, path: &str, name: &OsStr) -> Vec<u8> {
        let traits = self.known_traits();
        let mut key = Vec::with_capacity(path.len() + name.len());
        let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
        let mut end = 0;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            end += part.len();
            let row = parent.get(..end).and_then(|path| table.rows.get(path));
            match (row, &traits) {
                (Some(row), _) => key.extend_from_slice(row.name.as_bytes()),
                (None, Some(traits)) => key.extend_from_slice(local_name(part, &traits.rules).as_bytes()),
                (None, None) => key.extend_from_slice(part.as_bytes()),
            }
            key.push(b'/');
            end += 1;
        }
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// What an import was told: the names of these paths on disk. Blocks.
    pub(crate) fn note(&self, paths: &[LocalPath]) -> Result<(), DriveError> {
        let has_rows = !lock(&self.table).rows.is_empty();
        for LocalPath { key, at, .. } in paths {
            match at {
                Some(at) if is_parallel(key, at) => {
                    let name = at.rsplit('/').next().unwrap_or(at);
                    self.set(&key.to_path(), (name != key.name()).then(|| OsStr::new(name)));
                }
                None if has_rows => self.set(&key.to_path(), None),
                _ => {}
            }
        }
        let is_much = lock(&self.table).waiting.len() >= MAX_WAITING;
        if is_much { self.flush() } else { Ok(()) }
    }

    /// Gives an entry that is to be placed its name on disk, where that is another one.
    pub(crate) fn assign(&self, key: &PathKey) {
        let Some(traits) = self.known_traits() else { return };
        let path = key.to_path();
        if lock(&self.table).rows.contains_key(&path) {
            return;
        }
        if let Cow::Owned(local) = local_name(key.name(), &traits.rules) {
            self.set(&path, Some(OsStr::new(&local)));
        }
    }

    /// Whether entries of one folder that differ in case only must be set apart.
    pub(crate) fn folds_case(&self) -> bool {
        self.known_traits().is_some_and(|traits| traits.rules.folds_case)
    }

    /// Sets apart what differs in case only among the entries of one folder of the drive. Those in `old` lie there already;
    /// of the others the first that comes keeps its name.
    pub(crate) fn set_apart(&self, folder: Option<&PathKey>, old: &[String], new: &[String]) {
        let Some(traits) = self.known_traits() else { return };
        let folder = folder.map(PathKey::to_path);
        let plain = |name: &str| folded_name(&local_name(name, &traits.rules));
        let has_row =
            |name: &str| lock(&self.table).rows.get(&join(folder.as_deref(), name)).map(|row| row.name.clone());
        let mut taken: HashSet<String> = HashSet::new();
        let mut open = Vec::new();
        let known: HashSet<&str> = old.iter().map(String::as_str).collect();
        for name in old {
            match has_row(name) {
                Some(local) => drop(taken.insert(folded_name(&local.to_string_lossy()))),
                None => drop(taken.insert(plain(name))),
            }
        }
        for name in new.iter().filter(|name| !known.contains(name.as_str())) {
            match has_row(name) {
                Some(local) => drop(taken.insert(folded_name(&local.to_string_lossy()))),
                None => open.push(name),
            }
        }
        for name in open {
            if !taken.insert(plain(name)) {
                let local = case_apart(name, &traits.rules);
                self.set(&join(folder.as_deref(), name), Some(OsStr::new(&local)));
            }
        }
    }

    /// Everything that lies otherwise than it is called, by path.
    pub(crate) fn list(&self) -> Vec<MappedName> {
        let table = lock(&self.table);
        let mapped = |(path, row): (&String, &Row)| MappedName {
            path: path.clone(),
            local: String::from_utf8_lossy(&row.key).into_owned(),
        };
        let mut list: Vec<_> = table.rows.iter().map(mapped).collect();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        list
    }

    /// Makes durable what was noted. Blocks.
    pub(crate) fn flush(&self) -> Result<(), DriveError> {
        let place = lock(&self.ledger);
        let Some((ledger, drive)) = &*place else { return Ok(()) };
        let (waiting, was_kept) = {
            let mut table = lock(&self.table);
            (std::mem::take(&mut table.waiting), std::mem::replace(&mut table.is_kept, true))
        };
        let mut batch = Batch::new();
        let key = |path: &[u8]| [drive.as_bytes().as_slice(), path].concat();
        if !was_kept {
            batch.put(LedgerTable::Names, key(&[]), Vec::new());
        }
        for (path, value) in waiting {
            match value {
                Some(value) => batch.put(LedgerTable::Names, key(&path), value),
                None => batch.delete(LedgerTable::Names, key(&path)),
            };
        }
        if batch.is_empty() { Ok(()) } else { Ok(ledger.commit(&batch)?) }
    }

    /// The drive goes into another folder: nothing that was known counts there. Blocks.
    pub(crate) fn forget(&self) -> Result<(), DriveError> {
        *lock(&self.traits) = None;
        let paths: Vec<String> = lock(&self.table).rows.keys().cloned().collect();
        paths.iter().for_each(|path| self.set(path, None));
        self.flush()
    }

    /// The folder was moved, perhaps to another file system.
    pub(crate) fn look_again(&self) {
        *lock(&self.traits) = None;
    }

    /// From now on the folder is like this, whatever it is.
    #[cfg(test)]
    pub(crate) fn force(&self, traits: Traits) {
        *lock(&self.traits) = None;
        lock(&self.table).forced = Some(traits);
    }
}

/// Whether a path on disk has a name for each component of a path in the drive.
pub(crate) fn is_parallel(key: &PathKey, at: &str) -> bool {
    at.split('/').count() == key.components().count()
}

fn join(folder: Option<&str>, name: &str) -> String {
    folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"))
}

/// Paths in the drive of all that lies otherwise in a folder than it is called, with the last component on disk. Cut names
/// are taken for their own. A folder comes before what is in it.
fn read_names(folder: &Folder) -> std::io::Result<Vec<(String, OsString)>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.path().to_owned(), None::<String>)];
    while let Some((at, path)) = folders.pop() {
        for entry in std::fs::read_dir(&at)? {
            let (name, entry) = {
                let entry = entry?;
                (entry.file_name(), entry)
            };
            let stored = stored_name(name.as_bytes());
            let path = join(path.as_deref(), &stored);
            let is_cut = name.to_str().is_some_and(is_cut_name);
            if (stored.as_bytes() != name.as_bytes() || is_cut) && found.len() < MAX_ROWS {
                found.push((path.clone(), name));
            }
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), Some(path)));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
