//! A folder on disk, touched only through directory handles and never through a symlink inside it
//! (specs/drives.md, 14.3).
//!
//! Paths are relative, components joined by `/`. Every step down opens the next directory with `O_NOFOLLOW`, so neither
//! a hostile drive nor somebody who swaps a directory for a symlink at the right moment can make us leave the folder.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};

use crate::local_names::Names;

/// End of the names of files that are still being written.
pub(crate) const TEMPORARY_SUFFIX: &str = ".p2ptmp";

/// What tells that a file was not touched since (specs/drives.md, 14.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
}

impl Fingerprint {
    /// One that no file ever has: the file is read again.
    pub(crate) fn never() -> Self {
        Self { size: u64::MAX, ..Self::default() }
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File,
    Directory,
    Symlink,
    /// A FIFO, socket or device.
    Special(&'static str),
}

/// The state of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) found: Found,
    pub(crate) mode: u16,
    pub(crate) fingerprint: Fingerprint,
}

/// A folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Where paths of a drive lie: callers say what they are called.
    names: Arc<Names>,
    root: Mutex<Handle>,
    /// The directory used last: files come in index order, so the next one is mostly in the same.
    last: Mutex<Option<(String, Handle)>>,
}

/// An open directory. People move and replace directories while they are used, and a handle follows what was moved: so it
/// counts only for a moment, then its path is looked at again.
#[derive(Clone, Debug)]
struct Handle {
    fd: Arc<OwnedFd>,
    at: Instant,
    is_stale: bool,
}

/// How long a handle is believed: long enough for the files of a batch, too short for a person.
const HANDLE_FOR: Duration = Duration::from_millis(20);

impl Handle {
    fn new(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), at: Instant::now(), is_stale: false }
    }

    fn is_fresh(&self) -> bool {
        !self.is_stale && self.at.elapsed() < HANDLE_FOR
    }
}

impl Folder {
    /// Opens a folder that exists.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = Handle::new(rustix::fs::open(path, DIRECTORY, Mode::empty())?);
        Ok(Self { path: path.to_owned(), names: Arc::default(), root: Mutex::new(root), last: Mutex::new(None) })
    }

    /// The same folder, whose names are known.
    pub(crate) fn with_names(self, names: Arc<Names>) -> Self {
        Self { names, ..self }
    }

    /// Where the paths of the drive lie.
    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Where the folder is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that is at its path now.
    pub(crate) fn root(&self) -> io::Result<Arc<OwnedFd>> {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if !root.is_fresh() {
            *root = Handle::new(rustix::fs::open(&self.path, DIRECTORY, Mode::empty())?);
        }
        Ok(root.fd.clone())
    }

    /// Opens a folder, making it and its parents first where they are missing.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// What stands at `path`; a symlink is not followed.
    pub(crate) fn status(&self, path: &str) -> io::Result<Status> {
        let (parent, name) = self.parent(path)?;
        let stat = rustix::fs::statat(&*parent, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(status_of(&stat))
    }

    /// Opens a file for reading.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<(File, Status)> {
        let (parent, name) = self.parent(path)?;
        // Not blocking: opening a FIFO that stands here must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&*parent, &*name, flags, Mode::empty())?;
        let status = status_of(&rustix::fs::fstat(&file)?);
        Ok((File::from(file), status))
    }

    /// The target text of a symlink.
    pub(crate) fn read_link(&self, path: &str) -> io::Result<Vec<u8>> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::readlinkat(&*parent, &*name, Vec::new())?.into_bytes())
    }

    /// Makes a directory; one that is there is fine, anything else there is an error.
    pub(crate) fn make_directory(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&*parent, &*name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) if self.status(path)?.found == Found::Directory => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a temporary file in the directory of `path`, for writing and reading. An older one of that name is taken
    /// over with what it holds.
    pub(crate) fn open_temporary(&self, path: &str, temporary: &str) -> io::Result<File> {
        let (parent, _) = self.parent(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&*parent, temporary, flags, Mode::from_raw_mode(0o600))?;
        Ok(File::from(file))
    }

    /// Writes a whole small file beside its place and moves it there. Not synced: the caller syncs many at once.
    pub(crate) fn place_bytes(&self, path: &str, temporary: &str, bytes: &[u8], meta: Meta) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&*parent, temporary, flags, Mode::from_raw_mode(0o600))?);
        let written = io::Write::write_all(&mut &file, bytes)
            .and_then(|()| self.apply(meta, &file))
            .and_then(|()| Ok(rustix::fs::renameat(&*parent, temporary, &*parent, &*name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&*parent, temporary, AtFlags::empty());
        }
        written
    }

    /// Removes a temporary file in the directory of `path`.
    pub(crate) fn remove_beside(&self, path: &str, temporary: &str) -> io::Result<()> {
        let (parent, _) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&*parent, temporary, AtFlags::empty())?)
    }

    /// Moves a finished temporary file to its place.
    pub(crate) fn place_temporary(&self, path: &str, temporary: &str, file: &File, meta: Meta) -> io::Result<()> {
        self.apply(meta, file)?;
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::renameat(&*parent, temporary, &*parent, &*name)?)
    }

    /// Makes a symlink, in place of one that is there.
    pub(crate) fn place_symlink(&self, path: &str, temporary: &str, target: &[u8], mtime_ns: i64) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let _ = rustix::fs::unlinkat(&*parent, temporary, AtFlags::empty());
        rustix::fs::symlinkat(OsStr::from_bytes(target), &*parent, temporary)?;
        let _ = rustix::fs::utimensat(&*parent, temporary, &timestamps(mtime_ns), AtFlags::SYMLINK_NOFOLLOW);
        Ok(rustix::fs::renameat(&*parent, temporary, &*parent, &*name)?)
    }

    /// Moves something out of the way, to another name in the same directory.
    pub(crate) fn move_aside(&self, path: &str, new_name: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let aside = self.local(parent.as_fd(), &format!("{folder}{new_name}"), new_name)?;
        self.forget_last();
        Ok(rustix::fs::renameat(&*parent, &*name, &*parent, &*aside)?)
    }

    /// Moves something out of the way, to a name that nothing else has: `name (local 1)`. Returns the name.
    pub(crate) fn move_to_free_name(&self, path: &str) -> io::Result<String> {
        /// Names tried before giving up.
        const MAX_NAMES: usize = 1_000;
        let name = path.rsplit('/').next().unwrap_or(path);
        let parent = path.strip_suffix(name).unwrap_or_default();
        for number in 1..MAX_NAMES {
            let aside = format!("{name} (local {number})");
            match self.status(&format!("{parent}{aside}")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.move_aside(path, &aside)?;
                    return Ok(aside);
                }
                _ => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name to move the local file to"))
    }

    /// Removes a file or symlink.
    pub(crate) fn remove_file(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&*parent, &*name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        self.forget_last();
        Ok(rustix::fs::unlinkat(&*parent, &*name, AtFlags::REMOVEDIR)?)
    }

    /// Sets mode and time of a directory or file that is in place.
    pub(crate) fn set_meta(&self, path: &str, meta: Meta) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&*parent, &*name, flags, Mode::empty())?);
        self.apply(meta, &file)
    }

    /// Removes temporary files that an earlier run left in the directory `path`, but those named in `keep`.
    pub(crate) fn sweep_temporaries(&self, path: &str, keep: impl Fn(&str) -> bool) -> io::Result<()> {
        let directory = self.directory(path)?;
        for entry in rustix::fs::Dir::read_from(&*directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if is_temporary_name(name) && !keep(name) {
                match rustix::fs::unlinkat(&*directory, name, AtFlags::empty()) {
                    // Where somebody is finding out which names can be here.
                    Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
                    removed => removed?,
                }
            }
        }
        Ok(())
    }

    /// Whether nothing lies in the folder but what an earlier, unfinished run left.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        for entry in rustix::fs::Dir::read_from(&*self.root()?)? {
            let name = entry?;
            let bytes = name.file_name().to_bytes();
            if bytes != b"." && bytes != b".." && !name.file_name().to_str().is_ok_and(is_temporary_name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes everything written to the folder's file system so far survive a power cut: one call for any number of
    /// files.
    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&*self.root()?)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    fn parent<'a>(&self, path: &'a str) -> io::Result<(Arc<OwnedFd>, Cow<'a, OsStr>)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        check_component(name.as_bytes())?;
        let directory = self.directory(parent)?;
        let local = self.local(directory.as_fd(), path, name)?;
        Ok((directory, local))
    }

    /// The name on disk of `name`, the last of `path`.
    fn local<'a>(&self, directory: BorrowedFd<'_>, path: &str, name: &'a str) -> io::Result<Cow<'a, OsStr>> {
        let is_there = |name: &OsStr| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let local = self.names.local(path, name, is_there);
        check_component(local.as_bytes())?;
        Ok(local)
    }

    fn apply(&self, meta: Meta, file: &File) -> io::Result<()> {
        let changed = rustix::fs::fchmod(file, Mode::from_raw_mode((meta.mode & 0o777).into()));
        // A file system that keeps no modes may say so.
        if self.names.known_traits().is_none_or(|traits| traits.keeps_modes) {
            changed?;
        }
        Ok(rustix::fs::futimens(file, &timestamps(meta.mtime_ns))?)
    }

    fn directory(&self, path: &str) -> io::Result<Arc<OwnedFd>> {
        let root = self.root()?;
        if path.is_empty() {
            return Ok(root);
        }
        if let Some((known, handle)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && known == path
            && handle.is_fresh()
        {
            return Ok(handle.fd.clone());
        }
        let mut handle: Option<OwnedFd> = None;
        let mut end = 0;
        for component in path.split('/') {
            check_component(component.as_bytes())?;
            end += component.len();
            let from = handle.as_ref().map_or(root.as_fd(), AsFd::as_fd);
            let local = self.local(from, path.get(..end).unwrap_or(path), component)?;
            handle = Some(rustix::fs::openat(from, &*local, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?);
            end += 1;
        }
        let handle = Handle::new(handle.ok_or(io::ErrorKind::InvalidInput)?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.to_owned(), handle.clone()));
        Ok(handle.fd)
    }

    /// Names in the folder may have changed since: what was opened before counts no more.
    pub(crate) fn look_again(&self) {
        self.root.lock().unwrap_or_else(PoisonError::into_inner).is_stale = true;
        self.forget_last();
    }

    fn forget_last(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a file is given besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Permission bits.
    pub(crate) mode: u16,
    /// Nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
}

/// The name of the temporary file for a path: the same again after a restart.
pub(crate) fn temporary_name(seed: &[u8]) -> String {
    let hash = blake3::hash(seed).to_hex();
    format!(".{}{TEMPORARY_SUFFIX}", &hash.as_str()[..16])
}

/// Whether this is the name of a file that is being written.
pub(crate) fn is_temporary_name(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX));
    inner.is_some_and(|inner| inner.len() == 16 && inner.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn check_component(name: &[u8]) -> io::Result<()> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a file"));
    }
    Ok(())
}

fn timestamps(mtime_ns: i64) -> Timestamps {
    let mtime =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) as _ };
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access: omit, last_modification: mtime }
}

fn status_of(stat: &rustix::fs::Stat) -> Status {
    let ns = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    #[allow(clippy::unnecessary_cast, reason = "the field types differ between platforms")]
    let fingerprint = Fingerprint {
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        size: stat.st_size as u64,
        mtime_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    };
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Found::File,
        FileType::Directory => Found::Directory,
        FileType::Symlink => Found::Symlink,
        FileType::Fifo => Found::Special("a FIFO"),
        FileType::Socket => Found::Special("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Found::Special("a device"),
        _ => Found::Special("not a file"),
    };
    Status { found, mode: (stat.st_mode & 0o777) as u16, fingerprint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { mode: 0o640, mtime_ns: 1_234_567_890 };

    #[test]
    fn bytes_are_placed_with_mode_and_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(dir.path()).expect("opens");
        folder.make_directory("a").expect("made");
        folder.place_bytes("a/b", ".x.p2ptmp", b"text", META).expect("placed");
        let status = folder.status("a/b").expect("there");
        assert_eq!((status.found, status.mode, status.fingerprint.mtime_ns), (Found::File, 0o640, 1_234_567_890));
        assert_eq!(std::fs::read(dir.path().join("a/b")).expect("read"), b"text");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).expect("listed").count(), 1);
    }

    #[test]
    fn no_symlink_inside_is_followed() {
        let outside = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).expect("linked");
        std::fs::write(outside.path().join("secret"), b"s").expect("written");
        let folder = Folder::open(dir.path()).expect("opens");
        assert!(folder.place_bytes("out/x", ".x.p2ptmp", b"text", META).is_err());
        assert!(folder.open_file("out/secret").is_err());
        assert!(folder.make_directory("out/dir").is_err());
        assert!(folder.make_directory("out").is_err());
        assert_eq!(std::fs::read_dir(outside.path()).expect("listed").count(), 1);
    }

    #[test]
    fn paths_that_leave_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::open(dir.path()).expect("opens");
        for path in ["", "..", "../x", "/etc/passwd", "a/../../x", "a\0b", "./x"] {
            assert!(folder.place_bytes(path, ".x.p2ptmp", b"", META).is_err(), "{path:?}");
        }
    }

    #[test]
    fn sweeping_removes_what_an_earlier_run_left() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in [".0123456789abcdef.p2ptmp", ".fedcba9876543210.p2ptmp", "kept"] {
            std::fs::write(dir.path().join(name), b"x").expect("written");
        }
        let folder = Folder::open(dir.path()).expect("opens");
        folder.sweep_temporaries("", |name| name.starts_with(".fedc")).expect("swept");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}
