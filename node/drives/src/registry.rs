//! What the ledger says of each drive, and the same in memory.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId, PeerId, WriterKey};
use serde::{Deserialize, Serialize};

use tokio::sync::watch;

use crate::DriveError;
use crate::content::ContentIndex;
use crate::head::HeadEnvelope;
use crate::heads::{SignedSet, Snapshot};
use crate::incoming::Incoming;
use crate::local_names::Names;
use crate::lock::lock;
use crate::signed::Signed;
use crate::store::{Batch, Ledger, LedgerTable};
use crate::topic::ReadKey;
use crate::tree::NodeId;

/// First byte of a row: its format.
const ROW_FORMAT: u8 = 2;
/// The format before there were several writers.
const ROW_FORMAT_ONE_WRITER: u8 = 1;
/// Most paths of a state that cannot be in the folder.
pub(crate) const MAX_ABSENT: usize = 10_000;
/// Most drives remembered as looked at.
const MAX_READERS: usize = 1_024;
/// Rows read from the ledger at a time.
const SCAN_ROWS: usize = 256;

/// What this node does for a drive. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Holds the drive's key.
    Owner,
    /// Holds a copy in a folder.
    Mirror,
    /// Only looks at it; never in the ledger.
    Reader,
}

/// What is known of a drive; as it lies in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriveRow {
    pub(crate) role: Role,
    /// Whether it is served and listed. A stopped drive keeps its row, so the same folder gives the same link again.
    pub(crate) active: bool,
    pub(crate) folder: Option<Vec<u8>>,
    pub(crate) title: String,
    /// The signed header as received; empty until it is known.
    pub(crate) header: Vec<u8>,
    /// Hash of the newest head; the envelope lies in its own row.
    pub(crate) head: Option<ContentId>,
    /// Files in that version.
    pub(crate) files: u64,
    /// Whether all of that version is in the folder.
    pub(crate) complete: bool,
    /// The signed writer set that the newest head names, as received; empty without one.
    pub(crate) writer_set: Vec<u8>,
    /// Hashes of the newest heads of other writers; the envelopes lie in their own rows.
    pub(crate) others: Vec<ContentId>,
    /// Root, entries and bytes of what all heads make together, where that is not the newest head's own tree.
    pub(crate) merged: Option<(ContentId, u64, u64)>,
    /// Whether this node brings its edits of a copy back to the drive.
    pub(crate) syncs: bool,
    /// The link it was copied by, whose hints lead to peers; empty where it is not needed again.
    pub(crate) link: String,
    /// Keys of entries of the state that are not in the folder because they cannot be there: that they are missing is
    /// nobody's edit. At most [`MAX_ABSENT`].
    pub(crate) absent: Vec<Vec<u8>>,
}

/// A row of format 1.
#[derive(Serialize, Deserialize)]
struct OneWriterRow {
    role: Role,
    active: bool,
    folder: Option<Vec<u8>>,
    title: String,
    header: Vec<u8>,
    head: Option<ContentId>,
    files: u64,
    complete: bool,
}

impl From<OneWriterRow> for DriveRow {
    fn from(row: OneWriterRow) -> Self {
        let OneWriterRow { role, active, folder, title, header, head, files, complete } = row;
        let empty = Self::new(role, None, title);
        Self { active, folder, header, head, files, complete, ..empty }
    }
}

impl DriveRow {
    pub(crate) fn new(role: Role, folder: Option<&Path>, title: String) -> Self {
        let folder = folder.map(|path| path.as_os_str().as_bytes().to_vec());
        Self {
            role,
            active: true,
            folder,
            title,
            header: Vec::new(),
            head: None,
            files: 0,
            complete: false,
            writer_set: Vec::new(),
            others: Vec::new(),
            merged: None,
            syncs: false,
            link: String::new(),
            absent: Vec::new(),
        }
    }

    pub(crate) fn folder_path(&self) -> Option<PathBuf> {
        let bytes = self.folder.clone()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
}

/// A drive in memory.
pub(crate) struct Drive {
    pub(crate) id: DriveId,
    pub(crate) read_key: ReadKey,
    state: Mutex<DriveState>,
    /// Counts the heads this drive had, so that whoever serves it can tell its peers of the next one.
    pub(crate) head_count: watch::Sender<u64>,
    /// A version that is on its way into the folder.
    pub(crate) incoming: watch::Sender<Option<Arc<Incoming>>>,
    /// Whether peers were asked for what this node wrote before it started; see [`crate::own_head`].
    pub(crate) knows_own_head: AtomicBool,
    /// Where its paths lie in its folder.
    pub(crate) names: Arc<Names>,
    /// Held while the drive is imported or copied.
    pub(crate) work: Arc<tokio::sync::Mutex<()>>,
    /// Where content of the newest version lies; made when it is first asked for.
    pub(crate) content: Mutex<Option<Arc<ContentIndex>>>,
    /// Peers with a session for the drive: who looks for peers may try them as well.
    pub(crate) visitors: Mutex<BTreeMap<PeerId, usize>>,
    /// The heads in the ledger, oldest first; read when they are first asked for.
    history: Mutex<Option<Arc<Vec<HeadNote>>>>,
}

/// A head that is kept, without its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadNote {
    pub(crate) hash: ContentId,
    pub(crate) writer: WriterKey,
    pub(crate) counter: u64,
    pub(crate) hlc: u64,
    /// Whether the owner made it: then its counter is a version.
    pub(crate) is_by_owner: bool,
    pub(crate) root: NodeId,
}

impl HeadNote {
    fn of(head: &HeadEnvelope) -> Self {
        let body = head.body();
        let is_by_owner = body.is_by_owner();
        Self {
            hash: head.hash(),
            writer: body.writer,
            counter: body.counter,
            hlc: body.hlc,
            is_by_owner,
            root: body.root,
        }
    }

    /// When it was made, in milliseconds since 1970.
    pub(crate) fn time_ms(&self) -> u64 {
        self.hlc >> 16
    }

    fn rank(&self) -> (u64, WriterKey, u64) {
        (self.hlc, self.writer, self.counter)
    }
}

#[derive(Clone)]
pub(crate) struct DriveState {
    pub(crate) row: DriveRow,
    /// What is served, and lies in the folder if there is one.
    pub(crate) at: Option<Snapshot>,
}

impl Drive {
    pub(crate) fn new(id: DriveId, row: DriveRow, at: Option<Snapshot>) -> Self {
        Self {
            id,
            read_key: ReadKey::of_public(&id),
            state: Mutex::new(DriveState { row, at }),
            head_count: watch::Sender::new(0),
            incoming: watch::Sender::new(None),
            knows_own_head: AtomicBool::new(false),
            names: Arc::default(),
            work: Arc::default(),
            content: Mutex::default(),
            history: Mutex::default(),
            visitors: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> DriveState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The owner's newest head.
    pub(crate) fn head(&self) -> Option<HeadEnvelope> {
        lock(&self.state).at.as_ref().map(|at| at.head.clone())
    }

    /// The state that is served, and lies in the folder if there is one.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        lock(&self.state).at.clone()
    }

    /// What others may be told of: the state that is here, before there is one the one that is on its way.
    pub(crate) fn shown(&self) -> Option<Snapshot> {
        self.snapshot().or_else(|| self.incoming.borrow().as_ref().map(|incoming| incoming.at.clone()))
    }

    /// Adds a head that has just been stored, if the others were read already.
    fn note(&self, note: HeadNote) {
        if let Some(known) = &mut *lock(&self.history)
            && !known.iter().rev().any(|other| other.hash == note.hash)
        {
            let known = Arc::make_mut(known);
            let place = known.partition_point(|other| other.rank() < note.rank());
            known.insert(place, note);
        }
    }
}

/// All drives this node knows.
pub(crate) struct Registry {
    ledger: Arc<dyn Ledger>,
    drives: Mutex<HashMap<DriveId, Arc<Drive>>>,
    /// Drives that are only looked at: in memory, and never in the way of what the ledger says of the same drive.
    readers: Mutex<HashMap<DriveId, Arc<Drive>>>,
    /// Whether heads, tags or drives were dropped since this was last asked.
    has_dropped: AtomicBool,
}

impl Registry {
    /// Reads the ledger. A row that cannot be read is left alone and reported.
    pub(crate) fn open(ledger: Arc<dyn Ledger>) -> Result<(Self, Vec<String>), DriveError> {
        let mut drives = HashMap::new();
        let mut notices = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = ledger.scan(LedgerTable::Drive, &[], after.as_deref(), SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, value) in rows {
                match read_drive(&*ledger, &key, &value)? {
                    Some(drive) => drop(drives.insert(drive.id, Arc::new(drive))),
                    None => notices.push("a drive in the ledger cannot be read and was left out".to_owned()),
                }
            }
        }
        let (drives, readers, has_dropped) = (Mutex::new(drives), Mutex::default(), AtomicBool::new(true));
        Ok((Self { ledger, drives, readers, has_dropped }, notices))
    }

    /// A drive that is shared or mirrored here, or was.
    pub(crate) fn get(&self, id: &DriveId) -> Option<Arc<Drive>> {
        lock(&self.drives).get(id).cloned()
    }

    /// A drive that is shared, mirrored or looked at now.
    pub(crate) fn active(&self, id: &DriveId) -> Option<Arc<Drive>> {
        let is_active = |drive: &Arc<Drive>| drive.state().row.active;
        self.get(id).filter(is_active).or_else(|| lock(&self.readers).get(id).cloned().filter(is_active))
    }

    /// How many there are, and the most that will be.
    pub(crate) fn readers_room(&self) -> (&'static str, usize, usize) {
        ("drives that are only looked at", lock(&self.readers).len(), MAX_READERS)
    }

    /// All drives that are shared or mirrored here, or were.
    pub(crate) fn all(&self) -> Vec<Arc<Drive>> {
        lock(&self.drives).values().cloned().collect()
    }

    /// All drives that are shared, mirrored or looked at now; each once.
    pub(crate) fn all_active(&self) -> Vec<Arc<Drive>> {
        let mut drives: HashMap<DriveId, Arc<Drive>> = lock(&self.readers).clone();
        drives.extend(self.all().into_iter().filter(|drive| drive.state().row.active).map(|drive| (drive.id, drive)));
        drives.into_values().filter(|drive| drive.state().row.active).collect()
    }

    /// Reads which names lie otherwise in a drive's folder, if nobody has yet. Blocks.
    pub(crate) fn load_names(&self, drive: &Drive) -> Result<(), DriveError> {
        drive.names.load(&self.ledger, &drive.id)
    }

    /// The drive that a folder belongs to, also one that is stopped.
    pub(crate) fn of_folder(&self, folder: &Path) -> Option<Arc<Drive>> {
        self.all().into_iter().find(|drive| drive.state().row.folder_path().as_deref() == Some(folder))
    }

    /// A drive to look at; not listed until it was found and stored as active.
    pub(crate) fn reader(&self, id: DriveId) -> Arc<Drive> {
        let mut readers = lock(&self.readers);
        if readers.len() >= MAX_READERS
            && !readers.contains_key(&id)
            && let Some(other) = readers.keys().next().copied()
        {
            readers.remove(&other);
        }
        let row = DriveRow { active: false, ..DriveRow::new(Role::Reader, None, String::new()) };
        readers.entry(id).or_insert_with(|| Arc::new(Drive::new(id, row, None))).clone()
    }

    /// Whether heads, tags or drives were dropped since this was last asked.
    pub(crate) fn take_drops(&self) -> bool {
        self.has_dropped.swap(false, Ordering::Relaxed)
    }

    /// Removes a drive's row.
    pub(crate) fn forget(&self, id: &DriveId) -> Result<(), DriveError> {
        let mut batch = Batch::new();
        batch.delete(LedgerTable::Drive, *id.as_bytes());
        self.ledger.commit(&batch)?;
        lock(&self.drives).remove(id);
        Ok(())
    }

    /// Forgets a drive that was looked at.
    pub(crate) fn forget_reader(&self, id: &DriveId) {
        lock(&self.readers).remove(id);
    }

    /// Takes in a new drive, or gives an existing one a new row. On disk when this returns.
    pub(crate) fn insert(&self, id: DriveId, row: DriveRow) -> Result<Arc<Drive>, DriveError> {
        let drive = match self.get(&id) {
            Some(drive) => drive,
            None => Arc::new(Drive::new(id, row.clone(), None)),
        };
        let at = drive.snapshot();
        self.store(&drive, row, at)?;
        lock(&self.drives).insert(id, drive.clone());
        self.forget_reader(&id);
        Ok(drive)
    }

    /// Changes what is known of a drive. On disk when this returns, unless the drive is only looked at.
    pub(crate) fn store(&self, drive: &Drive, row: DriveRow, at: Option<Snapshot>) -> Result<(), DriveError> {
        let mut row = row;
        self.has_dropped.fetch_or(!row.active, Ordering::Relaxed);
        row.head = at.as_ref().map(|at| at.head.hash());
        row.others = at.iter().flat_map(|at| at.others.iter().map(Signed::hash)).collect();
        let set = at.as_ref().and_then(|at| at.set.as_ref());
        row.writer_set = set.map(|set| set.as_bytes().to_vec()).unwrap_or_default();
        let own = |at: &Snapshot| at.root == at.head.body().root;
        row.merged =
            at.as_ref().filter(|at| !own(at)).map(|at| (ContentId::from(*at.root.as_bytes()), at.entries, at.bytes));
        if row.role != Role::Reader {
            let mut value = vec![ROW_FORMAT];
            value.extend(postcard::to_stdvec(&row).map_err(|error| DriveError::Corrupt(error.to_string()))?);
            let mut batch = Batch::new();
            batch.put(LedgerTable::Drive, *drive.id.as_bytes(), value);
            for head in at.iter().flat_map(Snapshot::heads) {
                batch.put(LedgerTable::Head, head_key(&drive.id, &head.hash()), head.as_bytes().to_vec());
            }
            self.ledger.commit(&batch)?;
        }
        for head in at.iter().flat_map(Snapshot::heads) {
            drive.note(HeadNote::of(head));
        }
        let before = {
            let mut state = drive.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, DriveState { row, at })
        };
        let is_same = match (&before.at, &drive.snapshot()) {
            (Some(before), Some(after)) => before.has_heads_of(after),
            (before, after) => before.is_none() && after.is_none(),
        };
        if !is_same {
            drive.head_count.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

/// What the ledger keeps of earlier versions.
impl Registry {
    /// All heads of a drive in the ledger, oldest first. Blocks.
    pub(crate) fn history(&self, drive: &Drive) -> Result<Arc<Vec<HeadNote>>, DriveError> {
        let mut history = lock(&drive.history);
        if let Some(known) = &*history {
            return Ok(known.clone());
        }
        let mut notes = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.ledger.scan(LedgerTable::Head, drive.id.as_bytes(), after.as_deref(), SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            notes.extend(rows.into_iter().filter_map(|(_, value)| {
                let head = HeadEnvelope::decode(Bytes::from(value)).ok()?;
                (head.body().drive == drive.id).then(|| HeadNote::of(&head))
            }));
        }
        notes.sort_by_key(HeadNote::rank);
        let notes = Arc::new(notes);
        *history = Some(notes.clone());
        Ok(notes)
    }

    /// A head that is in the ledger. Blocks.
    pub(crate) fn head(&self, drive: &DriveId, hash: &ContentId) -> Result<Option<HeadEnvelope>, DriveError> {
        let bytes = self.ledger.get(LedgerTable::Head, &head_key(drive, hash))?;
        Ok(bytes.and_then(|bytes| HeadEnvelope::decode(Bytes::from(bytes)).ok()))
    }

    /// Removes heads from the ledger; never those of the version that stands. Blocks.
    pub(crate) fn forget_heads(&self, drive: &Drive, hashes: &[ContentId]) -> Result<(), DriveError> {
        let current: Vec<ContentId> = drive.snapshot().iter().flat_map(Snapshot::heads).map(Signed::hash).collect();
        let mut batch = Batch::new();
        for hash in hashes.iter().filter(|hash| !current.contains(hash)) {
            batch.delete(LedgerTable::Head, head_key(&drive.id, hash));
        }
        self.ledger.commit(&batch)?;
        self.has_dropped.store(true, Ordering::Relaxed);
        *lock(&drive.history) = None;
        Ok(())
    }

    /// Names that people gave to heads, in order. Blocks.
    pub(crate) fn tags(&self, drive: &DriveId) -> Result<Vec<(String, ContentId)>, DriveError> {
        let mut tags = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.ledger.scan(LedgerTable::Tag, drive.as_bytes(), after.as_deref(), SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { return Ok(tags) };
            after = Some(last.clone());
            tags.extend(rows.iter().filter_map(|(key, value)| {
                let name = std::str::from_utf8(key.get(32..)?).ok()?.to_owned();
                Some((name, ContentId::from(<[u8; 32]>::try_from(value.as_slice()).ok()?)))
            }));
        }
    }

    /// Gives a head a name, or takes the name away. On disk when this returns. Blocks.
    pub(crate) fn set_tag(&self, drive: &DriveId, name: &str, head: Option<&ContentId>) -> Result<(), DriveError> {
        let key = [drive.as_bytes().as_slice(), name.as_bytes()].concat();
        let mut batch = Batch::new();
        match head {
            Some(head) => batch.put(LedgerTable::Tag, key, *head.as_bytes()),
            None => batch.delete(LedgerTable::Tag, key),
        };
        self.has_dropped.fetch_or(head.is_none(), Ordering::Relaxed);
        Ok(self.ledger.commit(&batch)?)
    }
}

fn read_drive(ledger: &dyn Ledger, key: &[u8], value: &[u8]) -> Result<Option<Drive>, DriveError> {
    let Ok(id) = <[u8; 32]>::try_from(key) else { return Ok(None) };
    let id = DriveId::from(id);
    let row = match value.split_first() {
        Some((&ROW_FORMAT, bytes)) => postcard::from_bytes::<DriveRow>(bytes).ok(),
        Some((&ROW_FORMAT_ONE_WRITER, bytes)) => postcard::from_bytes::<OneWriterRow>(bytes).ok().map(DriveRow::from),
        _ => None,
    };
    let Some(row) = row else { return Ok(None) };
    let Some(head) = row.head else { return Ok(Some(Drive::new(id, row, None))) };
    let envelope = |hash: &ContentId| -> Result<Option<HeadEnvelope>, DriveError> {
        let bytes = ledger.get(LedgerTable::Head, &head_key(&id, hash))?;
        Ok(bytes.and_then(|bytes| HeadEnvelope::decode(Bytes::from(bytes)).ok()))
    };
    let Some(head) = envelope(&head)? else { return Ok(None) };
    let mut at = Snapshot::from(head);
    if !row.writer_set.is_empty() {
        let Ok(set) = SignedSet::decode(row.writer_set.clone().into()) else { return Ok(None) };
        at.set = Some(set);
    }
    for hash in &row.others {
        let Some(head) = envelope(hash)? else { return Ok(None) };
        at.others.push(head);
    }
    if let Some((root, entries, bytes)) = row.merged {
        (at.root, at.entries, at.bytes) = ((*root.as_bytes()).into(), entries, bytes);
    }
    Ok(Some(Drive::new(id, row, Some(at))))
}

fn head_key(drive: &DriveId, head: &ContentId) -> Vec<u8> {
    [drive.as_bytes().as_slice(), head.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryLedger;

    #[test]
    fn a_row_from_before_there_were_several_writers_is_read() {
        let ledger = MemoryLedger::default();
        let id = DriveId::from([7; 32]);
        let row = OneWriterRow {
            role: Role::Owner,
            active: true,
            folder: Some(b"/home/ada/site".to_vec()),
            title: "site".into(),
            header: vec![1, 2, 3],
            head: None,
            files: 3,
            complete: true,
        };
        let value = [vec![ROW_FORMAT_ONE_WRITER], postcard::to_stdvec(&row).unwrap()].concat();
        assert_eq!(&value[..4], [1, 0, 1, 1], "the bytes of format 1: role, active, a folder");
        let mut batch = Batch::new();
        batch.put(LedgerTable::Drive, *id.as_bytes(), value);
        ledger.commit(&batch).unwrap();
        let (registry, notices) = Registry::open(Arc::new(ledger)).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        let drive = registry.get(&id).unwrap();
        let read = drive.state().row;
        assert_eq!((read.title.as_str(), read.files, read.complete, read.syncs), ("site", 3, true, false));
        assert_eq!(read.folder_path().unwrap(), Path::new("/home/ada/site"));
        // Stored again it has format 2, and is read as well.
        registry.store(&drive, DriveRow { syncs: true, ..read.clone() }, None).unwrap();
        let (again, _) = Registry::open(registry.ledger.clone()).unwrap();
        assert_eq!(again.get(&id).unwrap().state().row, DriveRow { syncs: true, ..read });
    }
}
