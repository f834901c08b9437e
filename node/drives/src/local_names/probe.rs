//! Finds out by trying what a folder can hold: in a directory of its own, which is removed again.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use p2p_identity::{NameRules, NameText};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::Traits;
use crate::folder::{Folder, temporary_name};

/// Longest name that is hoped for, in bytes.
const MOST_NAME_BYTES: usize = 255;
/// Steps in which file systems keep times, in nanoseconds: from ext4 to FAT.
const GRAINS_NS: [i64; 6] = [1, 100, 1_000, 10_000_000, 1_000_000_000, 2_000_000_000];

/// How often it is tried to remove what was made: file systems in user space have removed files a little longer, under
/// names of their own. What stays is ignored as all that is being written, and removed by the next look.
const CLEANINGS: usize = 10;
/// Between two of these.
const CLEANING_PAUSE: Duration = Duration::from_millis(5);

/// Tries. Names of the directory and in it are such as are ignored by whoever looks through the folder meanwhile.
pub(super) fn probe(folder: &Folder) -> io::Result<Traits> {
    let root = folder.root()?;
    let name = temporary_name(b"what names can be here");
    let made = rustix::fs::mkdirat(&*root, &name, Mode::from_raw_mode(0o700));
    // An earlier try that was interrupted.
    if !matches!(made, Ok(()) | Err(rustix::io::Errno::EXIST)) {
        made?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let probe = Probe(rustix::fs::openat(&*root, &name, flags, Mode::empty())?);
    probe.clear();
    let traits = probe.traits();
    for _ in 0..CLEANINGS {
        probe.clear();
        if rustix::fs::unlinkat(&*root, &name, AtFlags::REMOVEDIR).is_ok() {
            break;
        }
        std::thread::sleep(CLEANING_PAUSE);
    }
    traits
}

struct Probe(OwnedFd);

impl Probe {
    fn traits(&self) -> io::Result<Traits> {
        // What cannot be done at all says nothing of names.
        self.create("a")?;
        rustix::fs::unlinkat(&self.0, "a", AtFlags::empty())?;
        let (keeps_modes, mtime_grain_ns) = self.meta()?;
        Ok(Traits { rules: self.rules()?, keeps_modes, mtime_grain_ns })
    }

    fn rules(&self) -> io::Result<NameRules> {
        let mut refused = 0_u128;
        let controls = [1_u8, 2, 9, 10, 27, 31];
        if !controls.iter().try_fold(true, |all, code| Ok::<_, io::Error>(all && self.holds_character(*code)?))? {
            refused |= (1..32).map(|code| 1_u128 << code).sum::<u128>();
        }
        for code in (32..128_u8).filter(|code| !code.is_ascii_alphanumeric() && !matches!(code, b'/' | b'%' | b'~')) {
            if !self.holds_character(code)? {
                refused |= 1 << code;
            }
        }
        let refuses_ends = !self.holds("a.")? || !self.holds("a ")?;
        let has_devices = !self.holds("con")? || !self.holds("nul.txt")? || !self.holds("com1")?;
        let text = match (self.holds("é日本")?, self.holds("😀")?) {
            (false, _) => NameText::Ascii,
            (true, false) => NameText::Basic,
            (true, true) => NameText::Any,
        };
        Ok(NameRules {
            refused,
            refuses_ends,
            has_devices,
            folds_case: self.folds_case()?,
            text,
            max_bytes: self.room()?,
        })
    }

    /// Within a name: at its end it may be refused for another reason.
    fn holds_character(&self, code: u8) -> io::Result<bool> {
        self.holds(&format!("a{}b", char::from(code)))
    }

    fn folds_case(&self) -> io::Result<bool> {
        self.create("case")?;
        let folds = rustix::fs::statat(&self.0, "CASE", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        rustix::fs::unlinkat(&self.0, "case", AtFlags::empty())?;
        Ok(folds)
    }

    fn room(&self) -> io::Result<usize> {
        let (mut fits, mut beyond) = (1, MOST_NAME_BYTES + 1);
        let mut next = MOST_NAME_BYTES;
        while fits + 1 < beyond {
            if self.holds(&"n".repeat(next))? {
                fits = next
            } else {
                beyond = next
            }
            next = usize::midpoint(fits, beyond);
        }
        Ok(fits)
    }

    /// Whether a file of this name can be made, and is then called so.
    fn holds(&self, name: &str) -> io::Result<bool> {
        if self.create(name).is_err() {
            return Ok(false);
        }
        let is_so = self.names()?.iter().any(|there| there == name.as_bytes());
        self.clear();
        Ok(is_so)
    }

    fn meta(&self) -> io::Result<(bool, i64)> {
        let file = self.create("meta")?;
        let modes = [0o640, 0o755].into_iter().map(|mode| {
            let is_set = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).is_ok();
            Ok(is_set && rustix::fs::fstat(&file)?.st_mode & 0o777 == mode)
        });
        let keeps_modes = modes.collect::<Result<Vec<bool>, rustix::io::Errno>>()?.into_iter().all(|kept| kept);
        let (seconds, ns) = (1_600_000_001, 987_654_321);
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let time = Timespec { tv_sec: seconds, tv_nsec: ns };
        let is_set = rustix::fs::futimens(&file, &Timestamps { last_access: omit, last_modification: time }).is_ok();
        let stat = rustix::fs::statat(&self.0, "meta", AtFlags::SYMLINK_NOFOLLOW)?;
        #[allow(clippy::unnecessary_cast, reason = "the field types differ between platforms")]
        let off = (seconds as i64 - stat.st_mtime as i64)
            .saturating_mul(1_000_000_000)
            .saturating_add(ns as i64 - stat.st_mtime_nsec as i64)
            .saturating_abs();
        let grain = GRAINS_NS.into_iter().find(|grain| is_set && off < *grain);
        drop(file);
        self.clear();
        Ok((keeps_modes, grain.unwrap_or(2_000_000_000)))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?))
    }

    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes what can be removed.
    fn clear(&self) {
        for name in self.names().unwrap_or_default() {
            let _ = rustix::fs::unlinkat(&self.0, name.as_slice(), AtFlags::empty());
        }
    }
}
