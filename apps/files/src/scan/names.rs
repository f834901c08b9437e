//! Names on disk and names in a drive (specs/drives.md, 4.1 and 14.3).

use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::path::{Path, PathBuf};

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::rules;

/// Longest name in a drive, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Longest path in a drive, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Separates components in the index, hence in no name.
const SEPARATOR: u8 = 0x01;

/// An entry of a folder on disk.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the drive: NFC, or an approximation when the name cannot be there.
    pub(super) name: String,
    /// Its name on disk, where that is another one.
    pub(super) local: Option<OsString>,
    kind: Kind,
    /// Why it cannot be in a drive, if so.
    fault: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Symlink,
    Special(&'static str),
}

impl Found {
    pub(super) fn new(local: &OsStr, kind: FileType) -> Self {
        let kind = kind_of(kind);
        let Some(text) = local.to_str() else {
            let name = local.to_string_lossy().into_owned();
            return Self { name, local: Some(local.into()), kind, fault: Some("the name is not UTF-8") };
        };
        let fault = text.bytes().any(|byte| byte == SEPARATOR || byte == 0);
        let fault = fault.then_some("the name contains a byte that no name in a drive may have (0x01)");
        if is_nfc(text) {
            return Self { name: text.to_owned(), local: None, kind, fault };
        }
        Self { name: text.nfc().collect(), local: Some(local.into()), kind, fault }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Whether it is a file with rules about what to leave out.
    pub(super) fn is_rules(&self) -> bool {
        self.kind == Kind::File && self.name == rules::FILE
    }

    /// Why it is left out, if it is. `path_bytes` is the length of its whole path in the drive.
    pub(super) fn fault(&self, path_bytes: usize) -> Option<String> {
        if let Some(fault) = self.fault {
            return Some(fault.to_owned());
        }
        if let Kind::Special(what) = self.kind {
            return Some(format!("it is {what}, and only files, folders and symbolic links are shared"));
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Some(format!("the name is {} bytes, at most {MAX_NAME_BYTES}", self.name.len()));
        }
        (path_bytes > MAX_PATH_BYTES).then(|| format!("the path is {path_bytes} bytes, at most {MAX_PATH_BYTES}"))
    }
}

fn kind_of(kind: FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Special(special(kind))
    }
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_kind: FileType) -> &'static str {
    "something special"
}

/// Sorts by the bytes of the name in the drive. Of two names that are one text there, the one that is so on disk comes
/// first and is shared; the others are marked.
pub(super) fn sort(entries: &mut [Found]) {
    entries.sort_unstable_by(|a, b| (a.name.as_bytes(), &a.local).cmp(&(b.name.as_bytes(), &b.local)));
    for index in 1..entries.len() {
        let (before, rest) = entries.split_at_mut(index);
        if let (Some(last), Some(this)) = (before.last(), rest.first_mut())
            && last.name == this.name
            && this.fault.is_none()
        {
            this.fault = Some("another name here is the same text in Unicode, and that one is shared");
        }
    }
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The path on disk below the root, where it differs from the one in the drive.
pub(super) fn join_local(folder_at: Option<&Path>, folder: &str, found: &Found) -> Option<PathBuf> {
    match (folder_at, &found.local) {
        (None, None) => None,
        (at, local) => {
            let at = at.unwrap_or(Path::new(folder));
            Some(at.join(local.as_deref().unwrap_or(OsStr::new(&found.name))))
        }
    }
}
