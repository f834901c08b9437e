//! Content of files that is kept for earlier versions (specs/drives.md, 11, rule 3).
//!
//! A drive is shared in place, so an edited file takes its old content with it. What is to be kept must therefore be kept
//! before: as a reflink where the file system has them (no bytes are copied and none are used until the file changes),
//! else as a copy of files up to [`MAX_COPY_BYTES`] within a quota. Both are made in the background after a version was
//! published. Whoever reads checks the hash, so a copy that did not survive a crash is as good as none.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use p2p_identity::ContentId;

use crate::content::WHOLE_FILE_BYTES;
use crate::entry::Version;
use crate::folder::{Folder, Found};

/// Largest file that is copied, in bytes; larger ones are kept only where reflinks work.
pub(crate) const MAX_COPY_BYTES: u64 = 64 * 1024 * 1024;
/// One part in so many of the disk stays free: what is kept for history must never fill it. On a large disk that would be
/// a lot to ask of somebody whose disk is nearly full, so [`MAX_LEFT_FREE_BYTES`] are enough.
const LEFT_FREE_PART: u64 = 20;
/// So much free space is always enough, in bytes: sixteen times the largest copy, and room for the databases to grow.
const MAX_LEFT_FREE_BYTES: u64 = 1024 * 1024 * 1024;
/// Most files kept: each is an inode, and 50 bytes of memory.
const MAX_FILES: usize = 100_000;
/// End of the names of reflinks, which do not count towards the quota.
const REFLINK: &str = ".reflink";

/// What became of content that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It is kept, from now on or already. `copied` bytes were read for it.
    Kept { copied: u64 },
    /// The file changed since the version was made: that content is gone.
    Gone,
    /// Too large to be copied, and the file system has no reflinks.
    TooLarge,
    /// Within the quota there is no more room.
    Full,
}

/// Kept content of all drives, by hash.
pub(crate) struct KeptContent {
    directory: PathBuf,
    quota_bytes: u64,
    index: Mutex<Option<Index>>,
}

#[derive(Default)]
struct Index {
    files: HashMap<ContentId, Item>,
    /// Bytes of those that are copies.
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Item {
    size: u64,
    is_reflink: bool,
    since: SystemTime,
}

impl Index {
    fn insert(&mut self, hash: ContentId, item: Item) {
        if !item.is_reflink {
            self.bytes += item.size;
        }
        if let Some(old) = self.files.insert(hash, item).filter(|old| !old.is_reflink) {
            self.bytes -= old.size;
        }
    }

    fn remove(&mut self, hash: &ContentId) -> Option<Item> {
        let item = self.files.remove(hash)?;
        if !item.is_reflink {
            self.bytes -= item.size;
        }
        Some(item)
    }
}

impl KeptContent {
    pub(crate) fn new(directory: PathBuf, quota_bytes: u64) -> Self {
        Self { directory, quota_bytes, index: Mutex::default() }
    }

    /// Opens what is kept under a hash, and says its size. Its bytes are still to be checked.
    pub(crate) fn find(&self, hash: &ContentId) -> Option<(File, u64)> {
        let open = |is_reflink| File::open(self.path(hash, is_reflink)).ok();
        let file = open(false).or_else(|| open(true))?;
        let size = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
        Some((file, size))
    }

    /// As [`Self::find`], if it has that size.
    pub(crate) fn open(&self, hash: &ContentId, size: u64) -> Option<File> {
        self.find(hash).filter(|(_, found)| *found == size).map(|(file, _)| file)
    }

    /// Whether something is kept under a hash.
    pub(crate) fn has(&self, hash: &ContentId, size: u64) -> bool {
        self.open(hash, size).is_some()
    }

    /// Whether nothing is kept at all.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        self.with_index(|index| Ok(index.files.is_empty()))
    }

    /// Keeps the content that a version has at `path` of the folder. Where the quota is full, content goes for which
    /// `is_spare` holds, the oldest first. Blocks.
    pub(crate) fn keep(
        &self,
        folder: &Folder,
        path: &str,
        version: &Version,
        is_spare: &dyn Fn(&ContentId) -> bool,
    ) -> io::Result<Keeping> {
        if self.has(&version.hash, version.size) {
            return Ok(Keeping::Kept { copied: 0 });
        }
        let Ok((mut source, before)) = folder.open_file(path) else { return Ok(Keeping::Gone) };
        if before.found != Found::File || before.fingerprint.size != version.size {
            return Ok(Keeping::Gone);
        }
        fs::create_dir_all(&self.directory)?;
        // Looks through the directory, if nobody has yet, and removes what an earlier run was copying: so not ours.
        self.with_index(|_| Ok(()))?;
        let temporary = self.directory.join(format!("new-{}", version.hash));
        let mut copy = File::options().read(true).write(true).create(true).truncate(true).open(&temporary)?;
        let _remove = RemoveOnDrop(&temporary);
        let is_reflink = reflink(&copy, &source);
        if !is_reflink {
            if version.size > MAX_COPY_BYTES {
                return Ok(Keeping::TooLarge);
            }
            if !self.leaves_space(version.size)? || !self.make_room(version.size, is_spare)? {
                return Ok(Keeping::Full);
            }
            // The file may grow while it is read.
            io::copy(&mut io::Read::take(&mut source, version.size + 1), &mut copy)?;
        }
        // Never keep under a hash what is not that content: it would only take up room.
        let size = copy.metadata()?.len();
        let hash = if size == version.size { hash_of(&copy, size) } else { None };
        if hash != Some(version.hash) {
            return Ok(Keeping::Gone);
        }
        let place = self.path(&version.hash, is_reflink);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(&temporary, &place)?;
        let item = Item { size, is_reflink, since: SystemTime::now() };
        self.with_index(|index| {
            index.insert(version.hash, item);
            Ok(())
        })?;
        Ok(Keeping::Kept { copied: if is_reflink { 0 } else { size } })
    }

    /// Everything that is kept, and since when.
    pub(crate) fn all(&self) -> io::Result<Vec<(ContentId, SystemTime)>> {
        self.with_index(|index| Ok(index.files.iter().map(|(hash, item)| (*hash, item.since)).collect()))
    }

    /// Bytes of the copies.
    pub(crate) fn copied_bytes(&self) -> io::Result<u64> {
        self.with_index(|index| Ok(index.bytes))
    }

    /// Where the content of a hash is kept, for who wants to damage it.
    #[cfg(test)]
    pub(crate) fn path_of(&self, hash: &ContentId) -> Option<PathBuf> {
        [false, true].into_iter().map(|is_reflink| self.path(hash, is_reflink)).find(|path| path.exists())
    }

    /// Removes what nobody needs any more; returns the bytes that became free. Blocks.
    pub(crate) fn remove_one(&self, hash: &ContentId) -> io::Result<u64> {
        self.with_index(|index| self.remove(index, hash))
    }

    /// Whether the disk has room enough that copies for history do no harm.
    fn leaves_space(&self, size: u64) -> io::Result<bool> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        let unit = disk.f_frsize;
        let (free, all) = (disk.f_bavail.saturating_mul(unit), disk.f_blocks.saturating_mul(unit));
        Ok(free.saturating_sub(size) >= left_free(all))
    }

    /// Makes room for `size` bytes; false where that is not possible.
    fn make_room(&self, size: u64, is_spare: &dyn Fn(&ContentId) -> bool) -> io::Result<bool> {
        self.with_index(|index| {
            let fits =
                |index: &Index| index.bytes.saturating_add(size) <= self.quota_bytes && index.files.len() < MAX_FILES;
            if fits(index) {
                return Ok(true);
            }
            let mut spare: Vec<_> =
                index.files.iter().filter(|(hash, _)| is_spare(hash)).map(|(hash, item)| (item.since, *hash)).collect();
            spare.sort_unstable();
            for (_, hash) in spare {
                self.remove(index, &hash)?;
                if fits(index) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn remove(&self, index: &mut Index, hash: &ContentId) -> io::Result<u64> {
        let Some(item) = index.remove(hash) else { return Ok(0) };
        match fs::remove_file(self.path(hash, item.is_reflink)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(item.size),
        }
    }

    fn path(&self, hash: &ContentId, is_reflink: bool) -> PathBuf {
        let text = hash.to_string();
        let end = if is_reflink { REFLINK } else { "" };
        self.directory.join(&text[..2]).join(&text[2..4]).join(format!("{text}{end}"))
    }

    fn with_index<T>(&self, work: impl FnOnce(&mut Index) -> io::Result<T>) -> io::Result<T> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.is_none() {
            *index = Some(read_index(&self.directory)?);
        }
        match index.as_mut() {
            Some(index) => work(index),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// How many bytes of a disk of `all` bytes history leaves free.
fn left_free(all: u64) -> u64 {
    MAX_LEFT_FREE_BYTES.min(all / LEFT_FREE_PART)
}

/// Looks through the directory: once, when it is first needed.
fn read_index(directory: &Path) -> io::Result<Index> {
    let mut index = Index::default();
    for outer in list(directory)? {
        // What an interrupted run was copying.
        if outer.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"new-")) {
            let _ = fs::remove_file(outer);
            continue;
        }
        for inner in list(&outer)? {
            for file in list(&inner)? {
                let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
                let (name, is_reflink) = name.strip_suffix(REFLINK).map_or((name, false), |name| (name, true));
                let (Ok(hash), Ok(meta)) = (name.parse(), file.metadata()) else { continue };
                let since = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                index.insert(hash, Item { size: meta.len(), is_reflink, since });
            }
        }
    }
    Ok(index)
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn hash_of(file: &File, size: u64) -> Option<ContentId> {
    if size <= WHOLE_FILE_BYTES {
        let mut bytes = vec![0; size as usize];
        crate::blob::ReadAt::read_exact_at(file, &mut bytes, 0).ok()?;
        return Some(ContentId::of(&bytes));
    }
    // One thread: this is work for later, others have work for now.
    crate::hash_file(file, size, 1).ok().map(|(hash, _)| hash)
}

/// Lets `to` share the blocks of `from`, where the file system can.
#[cfg(target_os = "linux")]
fn reflink(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_to: &File, _from: &File) -> bool {
    false
}

struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Dot, Kind};

    struct Scene {
        _dir: tempfile::TempDir,
        path: PathBuf,
        folder: Folder,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("shared");
            fs::create_dir(&path).unwrap();
            let folder = Folder::open(&path).unwrap();
            Self { _dir: dir, path, folder }
        }

        fn kept(&self, quota_bytes: u64) -> KeptContent {
            KeptContent::new(self.path.with_file_name("blobs"), quota_bytes)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> Version {
            fs::write(self.path.join(name), bytes).unwrap();
            let dot = Dot { writer: [0; 8], counter: 1 };
            Version::blob(dot, Kind::File, 0o644, 0, 0, bytes.len() as u64, ContentId::of(bytes))
        }
    }

    fn read(kept: &KeptContent, version: &Version) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut kept.open(&version.hash, version.size)?, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_kept_outlives_the_file_and_a_restart() {
        let scene = Scene::new();
        let kept = scene.kept(1_000_000);
        let old = scene.write("a", &[1; 5_000]);
        assert!(matches!(kept.keep(&scene.folder, "a", &old, &|_| false).unwrap(), Keeping::Kept { .. }));
        assert_eq!(kept.keep(&scene.folder, "a", &old, &|_| false).unwrap(), Keeping::Kept { copied: 0 });
        scene.write("a", &[2; 5_000]);
        assert_eq!(read(&kept, &old), Some(vec![1; 5_000]));
        let again = scene.kept(1_000_000);
        assert!(!again.is_empty().unwrap());
        assert_eq!(again.all().unwrap().iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [old.hash]);
        assert_eq!(again.remove_one(&old.hash).unwrap(), 5_000);
        assert_eq!(read(&again, &old), None);
        assert!(again.is_empty().unwrap());
    }

    #[test]
    fn a_twentieth_of_a_small_disk_stays_free_and_a_gibibyte_of_a_large_one() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(left_free(2_000 * MIB), 100 * MIB);
        assert_eq!(left_free(20_480 * MIB), 1_024 * MIB);
        assert_eq!(left_free(u64::MAX), 1_024 * MIB);
    }

    #[test]
    fn a_file_that_changed_is_not_kept_under_the_old_hash() {
        let scene = Scene::new();
        let kept = scene.kept(1_000_000);
        let old = scene.write("a", &[1; 5_000]);
        scene.write("a", &[2; 5_000]);
        assert_eq!(kept.keep(&scene.folder, "a", &old, &|_| false).unwrap(), Keeping::Gone);
        scene.write("a", &[1; 6_000]);
        assert_eq!(kept.keep(&scene.folder, "a", &old, &|_| false).unwrap(), Keeping::Gone);
        fs::remove_file(scene.path.join("a")).unwrap();
        assert_eq!(kept.keep(&scene.folder, "a", &old, &|_| false).unwrap(), Keeping::Gone);
        assert!(kept.is_empty().unwrap());
        assert_eq!(fs::read_dir(scene.path.with_file_name("blobs")).unwrap().count(), 0, "nothing is left lying");
    }

    #[test]
    fn the_quota_holds_and_only_what_is_spare_makes_room() {
        let scene = Scene::new();
        let kept = scene.kept(10_000);
        let first = scene.write("a", &[1; 4_000]);
        let is_reflink = {
            kept.keep(&scene.folder, "a", &first, &|_| false).unwrap();
            kept.path(&first.hash, true).exists()
        };
        if is_reflink {
            return; // Reflinks take no room: there is nothing to be full.
        }
        let second = scene.write("b", &[2; 4_000]);
        let third = scene.write("c", &[3; 4_000]);
        assert_eq!(kept.keep(&scene.folder, "b", &second, &|_| false).unwrap(), Keeping::Kept { copied: 4_000 });
        assert_eq!(kept.keep(&scene.folder, "c", &third, &|_| false).unwrap(), Keeping::Full);
        assert_eq!(
            kept.keep(&scene.folder, "c", &third, &|hash| *hash == second.hash).unwrap(),
            Keeping::Kept { copied: 4_000 }
        );
        assert_eq!((read(&kept, &first).is_some(), read(&kept, &second).is_some()), (true, false));
    }
}
