//! The directories of browsed drives, and what is known of them in memory.
//!
//! `browsed/<drive>/head`, `browsed/<drive>/packs/<n>.pack` and `browsed/<drive>/large/<hash>.{data,outboard}`. The store
//! of rows says where in the packs an item lies (by drive and hash), which groups of a larger blob are here (likewise),
//! and when a drive was last looked at (by drive alone). Readers only read; the writer alone makes, adds and removes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use p2p_identity::{ContentId, DriveId};

use super::BrowseCounters;
use super::large::{Large, Piece};
use crate::blob::GroupRanges;
use crate::head::{HeadEnvelope, MAX_HEAD_BYTES};
use crate::store::{Batch, Cache, CacheTable, MAX_BATCH_OPERATIONS, PackError, PackLocation, Packs};
use crate::{DriveError, MAX_BITMAP_BYTES};

/// Drives whose packs are kept open.
const MAX_OPEN_PACKS: usize = 32;
/// Larger blobs that are kept open, two files each.
const MAX_OPEN_LARGE: usize = 64;
/// Prefix of directories that are being removed.
const GONE: &str = "gone-";
/// How far the time of the last look may be behind on disk.
const LOOK_RESOLUTION: Duration = Duration::from_secs(60);
/// Bytes that an item in a pack takes beside its own, its row included.
const ITEM_OVERHEAD: u64 = 128;

/// What is held of all drives.
pub(super) struct Disk {
    directory: PathBuf,
    cache: Arc<dyn Cache>,
    counters: Arc<BrowseCounters>,
    inner: Mutex<Inner>,
    /// Held while packs are opened or removed; taken before `inner`.
    opening: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<DriveId, Held>,
    /// The last used at the back.
    packs: VecDeque<(DriveId, Arc<Packs>)>,
    /// The last used at the back.
    large: VecDeque<(DriveId, ContentId, Arc<Large>)>,
    removed: u64,
}

/// What is known of a drive.
#[derive(Clone, Copy)]
struct Held {
    bytes: u64,
    looked_at: SystemTime,
    /// What the row says.
    noted: SystemTime,
    /// Whether its newest head is here: without one, nothing of it can be read without peers.
    has_head: bool,
}

impl Disk {
    pub(super) fn open(
        directory: &Path,
        cache: Arc<dyn Cache>,
        counters: Arc<BrowseCounters>,
    ) -> Result<Self, DriveError> {
        let failed = |doing: &str| DriveError::io(format!("{doing} {}", directory.display()));
        fs::create_dir_all(directory).map_err(failed("make"))?;
        let mut held = HashMap::new();
        for entry in fs::read_dir(directory).map_err(failed("list"))? {
            let name = entry.map_err(failed("list"))?.file_name();
            let Some(drive) = name.to_str().and_then(|name| name.parse::<DriveId>().ok()) else { continue };
            let row = cache.get(CacheTable::Browsed, drive.as_bytes())?;
            let Some(looked_at) = row.and_then(|row| read_time(&row)) else {
                // The rows were lost, or never written: without them nothing in it can be found.
                // If even that fails, the next start tries again: nothing here is worth not starting.
                let _ = fs::rename(directory.join(&name), directory.join(format!("{GONE}0-{drive}")));
                continue;
            };
            let has_head = directory.join(&name).join("head").exists();
            held.insert(drive, Held { bytes: 0, looked_at, noted: looked_at, has_head });
        }
        let inner = Mutex::new(Inner { held, ..Inner::default() });
        Ok(Self { directory: directory.to_owned(), cache, counters, inner, opening: Mutex::default() })
    }

    /// Counts what is held, and removes what an interrupted removal has left.
    pub(super) fn take_stock(&self) {
        let held: Vec<DriveId> = self.lock().held.keys().copied().collect();
        for drive in &held {
            let bytes = bytes_under(&self.of(drive));
            if let Some(held) = self.lock().held.get_mut(drive) {
                held.bytes += bytes;
            }
        }
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(GONE)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        self.remove_orphaned_rows(&held.into_iter().collect());
    }

    /// A small blob or index node, checked.
    pub(super) fn small(&self, drive: &DriveId, hash: &ContentId) -> Option<Bytes> {
        let location = self.location(drive, hash)?;
        let packs = self.packs(drive, false).ok()??;
        match packs.read(hash, location) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                tracing::debug!(%drive, %error, "a browsed block is damaged, and dropped");
                self.counters.damaged.fetch_add(1, Ordering::Relaxed);
                let _ = self.cache.remove(CacheTable::Browsed, &key(drive, hash));
                let _ = packs.turn_from(location.pack);
                None
            }
        }
    }

    /// Bytes of a larger blob, checked.
    pub(super) fn range(&self, drive: &DriveId, hash: &ContentId, size: u64, start: u64, end: u64) -> Option<Bytes> {
        let large = self.large(drive, hash, size, false).ok()??;
        match large.read(start, end) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%drive, %hash, ?error, "a browsed block is damaged, and dropped");
                self.counters.damaged.fetch_add(1, Ordering::Relaxed);
                let _ = self.note_proven(drive, hash, &large);
                None
            }
        }
    }

    /// The newest head that was seen.
    pub(super) fn head(&self, drive: &DriveId) -> Option<HeadEnvelope> {
        if !self.lock().held.contains_key(drive) {
            return None;
        }
        let path = self.of(drive).join("head");
        let is_sane = fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_HEAD_BYTES as u64);
        let bytes = is_sane.then(|| fs::read(&path).ok()).flatten()?;
        let head = HeadEnvelope::decode(bytes.into()).ok()?;
        Some(head).filter(|head| head.body().drive == *drive && head.body().is_by_owner())
    }

    /// Adds items that are not here yet, or damaged; returns the bytes by which the drive grew.
    pub(super) fn add_small(&self, drive: &DriveId, items: &[(ContentId, Bytes)]) -> Result<u64, DriveError> {
        let new: Vec<(ContentId, &[u8])> = items
            .iter()
            .filter(|(hash, _)| self.small(drive, hash).is_none())
            .map(|(hash, bytes)| (*hash, bytes.as_ref()))
            .collect();
        if new.is_empty() {
            return Ok(0);
        }
        let packs = self.packs(drive, true)?.ok_or(DriveError::Stopped)?;
        let locations = packs.append(&new)?;
        for rows in new.iter().zip(locations).collect::<Vec<_>>().chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new();
            for ((hash, _), location) in rows {
                batch.put(CacheTable::Browsed, key(drive, hash), location.to_bytes());
            }
            self.cache.apply(&batch)?;
        }
        let bytes = new.iter().map(|(_, bytes)| bytes.len() as u64 + ITEM_OVERHEAD).sum();
        self.grow(drive, bytes);
        Ok(bytes)
    }

    /// Adds a proven part of a larger blob; returns the bytes by which the drive grew.
    pub(super) fn add_piece(&self, drive: &DriveId, piece: &Piece) -> Result<u64, DriveError> {
        let failed = || DriveError::io(format!("keep {} of a drive that is looked at", piece.hash));
        let Some(large) = self.large(drive, &piece.hash, piece.size, true).map_err(failed())? else { return Ok(0) };
        let bytes = large.add(piece).map_err(failed())?;
        if bytes > 0 {
            self.note_proven(drive, &piece.hash, &large)?;
            self.grow(drive, bytes);
        }
        Ok(bytes)
    }

    /// Remembers a head.
    pub(super) fn set_head(&self, drive: &DriveId, head: &[u8]) -> Result<(), DriveError> {
        let directory = self.of(drive);
        let write = || {
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("head.new"), head)?;
            fs::rename(directory.join("head.new"), directory.join("head"))
        };
        write().map_err(DriveError::io("keep the head of a drive that is looked at"))?;
        self.grow(drive, 0);
        if let Some(held) = self.lock().held.get_mut(drive) {
            held.has_head = true;
        }
        self.touch(drive, SystemTime::now());
        Ok(())
    }

    pub(super) fn has_head(&self, drive: &DriveId) -> bool {
        self.lock().held.get(drive).is_some_and(|held| held.has_head)
    }

    /// Notes that a drive is looked at. Cheap: the disk is told once a minute.
    pub(super) fn touch(&self, drive: &DriveId, now: SystemTime) {
        {
            let mut inner = self.lock();
            let Some(held) = inner.held.get_mut(drive) else { return };
            held.looked_at = now;
            if now.duration_since(held.noted).is_ok_and(|age| age < LOOK_RESOLUTION) {
                return;
            }
            held.noted = now;
        }
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let row = millis.to_be_bytes();
        let _ = self.cache.apply(Batch::new().put(CacheTable::Browsed, *drive.as_bytes(), row));
    }

    /// Removes what is held of a drive; returns its bytes.
    pub(super) fn remove(&self, drive: &DriveId) -> Result<u64, DriveError> {
        let (bytes, gone) = {
            // While nobody can open any of its files.
            let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            let mut inner = self.lock();
            let Some(held) = inner.held.remove(drive) else { return Ok(0) };
            inner.packs.retain(|(of, _)| of != drive);
            inner.large.retain(|(of, _, _)| of != drive);
            inner.removed += 1;
            let gone = self.directory.join(format!("{GONE}{}-{drive}", inner.removed));
            match fs::rename(self.of(drive), &gone) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(DriveError::io("free a drive that was looked at")(error)),
            }
            (held.bytes, gone)
        };
        self.remove_rows(drive)?;
        match fs::remove_dir_all(&gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DriveError::io("free a drive that was looked at")(error))
            }
            _ => Ok(bytes),
        }
    }

    /// Drives, their bytes and when they were looked at, the longest ago first.
    pub(super) fn drives(&self) -> Vec<(DriveId, u64, SystemTime)> {
        let mut all: Vec<_> =
            self.lock().held.iter().map(|(drive, held)| (*drive, held.bytes, held.looked_at)).collect();
        all.sort_by_key(|(drive, _, looked_at)| (*looked_at, *drive));
        all
    }

    pub(super) fn flush(&self) -> Result<(), DriveError> {
        Ok(self.cache.flush()?)
    }

    fn grow(&self, drive: &DriveId, bytes: u64) {
        let is_new = {
            let mut inner = self.lock();
            let is_new = !inner.held.contains_key(drive);
            let new = Held { bytes: 0, looked_at: SystemTime::now(), noted: UNIX_EPOCH, has_head: false };
            inner.held.entry(*drive).or_insert(new).bytes += bytes;
            is_new
        };
        if is_new {
            self.touch(drive, SystemTime::now());
        }
    }

    fn packs(&self, drive: &DriveId, may_make: bool) -> Result<Option<Arc<Packs>>, PackError> {
        if let Some(packs) = self.open_packs(drive) {
            return Ok(Some(packs));
        }
        if !may_make && !self.lock().held.contains_key(drive) {
            return Ok(None);
        }
        // Opening reads the newest pack: only who opens another one waits for that, and nothing is opened twice.
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packs) = self.open_packs(drive) {
            return Ok(Some(packs));
        }
        if !may_make && !self.lock().held.contains_key(drive) {
            return Ok(None);
        }
        let packs = Arc::new(Packs::open(&self.of(drive).join("packs"))?.0);
        let mut inner = self.lock();
        inner.packs.push_back((*drive, packs.clone()));
        while inner.packs.len() > MAX_OPEN_PACKS {
            inner.packs.pop_front();
        }
        Ok(Some(packs))
    }

    /// Packs that are open; they count as just used.
    fn open_packs(&self, drive: &DriveId) -> Option<Arc<Packs>> {
        let mut inner = self.lock();
        let at = inner.packs.iter().position(|(of, _)| of == drive)?;
        let found = inner.packs.remove(at)?;
        let packs = found.1.clone();
        inner.packs.push_back(found);
        Some(packs)
    }

    fn large(&self, drive: &DriveId, hash: &ContentId, size: u64, may_make: bool) -> io::Result<Option<Arc<Large>>> {
        let mut inner = self.lock();
        if let Some(at) = inner.large.iter().position(|(of, known, _)| of == drive && known == hash)
            && let Some(found) = inner.large.remove(at)
        {
            let large = found.2.clone();
            inner.large.push_back(found);
            return Ok(Some(large).filter(|large| large.size() == size));
        }
        if !may_make && !inner.held.contains_key(drive) {
            return Ok(None);
        }
        let row = self.cache.get(CacheTable::Bitmap, &key(drive, hash)).ok().flatten();
        let proven = row.and_then(|row| GroupRanges::from_bytes(&row).ok());
        if !may_make && proven.is_none() {
            return Ok(None);
        }
        let directory = self.of(drive).join("large");
        let large =
            Arc::new(Large::open(&directory, *hash, size, &proven.unwrap_or_else(GroupRanges::empty), may_make)?);
        inner.large.push_back((*drive, *hash, large.clone()));
        while inner.large.len() > MAX_OPEN_LARGE {
            inner.large.pop_front();
        }
        Ok(Some(large))
    }

    /// Writes down which groups are here; of a set with too many holes, as many as a row can hold.
    fn note_proven(&self, drive: &DriveId, hash: &ContentId, large: &Large) -> Result<(), DriveError> {
        let mut proven = large.proven();
        let mut row = proven.to_bytes();
        while row.len() > MAX_BITMAP_BYTES {
            let runs = proven.run_lengths().len() * 3 / 4;
            proven = proven.first_runs(runs);
            row = proven.to_bytes();
        }
        Ok(self.cache.apply(Batch::new().put(CacheTable::Bitmap, key(drive, hash), row))?)
    }

    fn location(&self, drive: &DriveId, hash: &ContentId) -> Option<PackLocation> {
        let row = self.cache.get(CacheTable::Browsed, &key(drive, hash)).ok()??;
        <[u8; PackLocation::BYTES]>::try_from(row).ok().map(PackLocation::from_bytes)
    }

    /// The time of the last look goes last: what an interrupted removal leaves is found by it.
    fn remove_rows(&self, drive: &DriveId) -> Result<(), DriveError> {
        for (table, after) in [(CacheTable::Bitmap, None), (CacheTable::Browsed, Some(drive.as_bytes().as_slice()))] {
            loop {
                let rows = self.cache.scan(table, drive.as_bytes(), after, MAX_BATCH_OPERATIONS)?;
                let mut batch = Batch::new();
                for (key, _) in rows.iter().filter(|(key, _)| key.len() == 64) {
                    batch.delete(table, key.clone());
                }
                if batch.is_empty() {
                    break;
                }
                self.cache.apply(&batch)?;
            }
        }
        Ok(self.cache.remove(CacheTable::Browsed, drive.as_bytes())?)
    }

    fn remove_orphaned_rows(&self, held: &HashSet<DriveId>) {
        let mut after: Option<Vec<u8>> = None;
        while let Ok(rows) = self.cache.scan(CacheTable::Browsed, &[], after.as_deref(), 1)
            && let Some((key, _)) = rows.first()
            && let Some(Ok(drive)) = key.get(..32).map(<[u8; 32]>::try_from)
        {
            let drive = DriveId::from(drive);
            if !held.contains(&drive) && !self.lock().held.contains_key(&drive) && self.remove_rows(&drive).is_err() {
                return;
            }
            // Behind all rows of that drive.
            after = Some([drive.as_bytes().as_slice(), &[0xff; 33]].concat());
        }
    }

    fn of(&self, drive: &DriveId) -> PathBuf {
        self.directory.join(drive.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(drive: &DriveId, hash: &ContentId) -> Vec<u8> {
    [drive.as_bytes().as_slice(), hash.as_bytes()].concat()
}

fn read_time(row: &[u8]) -> Option<SystemTime> {
    let millis = u64::from_be_bytes(row.try_into().ok()?);
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Bytes that the files below a directory take on the disk.
pub(crate) fn bytes_under(directory: &Path) -> u64 {
    /// What the system counts in.
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => directories.push(entry.path()),
                Ok(meta) => bytes += meta.blocks() * BLOCK_BYTES,
                Err(_) => {}
            }
        }
    }
    bytes
}
