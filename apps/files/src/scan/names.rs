//! Names on disk and names in a drive (specs/drives.md, 4.1 and 14.3).

use std::ffi::{OsStr, OsString};
use std::fs::FileType;

use p2p_identity::{MAX_STORED_NAME_BYTES, is_cut_name, stored_name};
use unicode_normalization::is_nfc;

use super::rules;

/// Longest path in a drive, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// An entry of a folder on disk.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the drive.
    pub(super) name: String,
    /// Its name on disk, where that is another one.
    local: Option<OsString>,
    kind: Kind,
    /// Why it is not shared, if so.
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
    /// `known` says which path of the drive it is, where its name was cut.
    pub(super) fn new<'a>(local: &OsStr, kind: FileType, known: impl FnOnce() -> Option<&'a String>) -> Self {
        let kind = kind_of(kind);
        let is_cut = local.to_str().is_some_and(is_cut_name);
        let known = if is_cut { known() } else { None };
        let known = known.and_then(|path| path.rsplit('/').next());
        let name = known.map_or_else(|| stored_name(local.as_encoded_bytes()), str::to_owned);
        let local = (name.as_bytes() != local.as_encoded_bytes()).then(|| local.into());
        Self { name, local, kind, fault: None }
    }

    /// Its name on disk.
    pub(super) fn on_disk(&self) -> &OsStr {
        self.local.as_deref().unwrap_or(OsStr::new(&self.name))
    }

    /// Whether it is in another Unicode form on disk.
    pub(super) fn is_other_form(&self) -> bool {
        self.local.as_deref().and_then(OsStr::to_str).is_some_and(|local| !is_nfc(local))
    }

    /// Its name on disk as the node is told; of one that no drive can hold its escape, which says what it is.
    fn told(&self) -> &str {
        let local = self.local.as_deref().and_then(OsStr::to_str);
        local.filter(|local| !local.contains('\u{1}')).unwrap_or(&self.name)
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
        if self.name.len() > MAX_STORED_NAME_BYTES {
            return Some(format!("the name is {} bytes, at most {MAX_STORED_NAME_BYTES}", self.name.len()));
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

/// Sorts by the bytes of the name in the drive. Of two names that are one there, the one that is so on disk comes first and
/// is shared; the others are marked.
pub(super) fn sort(entries: &mut [Found]) {
    entries.sort_unstable_by(|a, b| (a.name.as_bytes(), &a.local).cmp(&(b.name.as_bytes(), &b.local)));
    for index in 1..entries.len() {
        let (before, rest) = entries.split_at_mut(index);
        if let (Some(last), Some(this)) = (before.last(), rest.first_mut())
            && last.name == this.name
            && this.fault.is_none()
        {
            this.fault = Some("another name here stands for the same one in a drive, and that one is shared");
        }
    }
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The path below the root as the node is told, where it differs from the one in the drive.
pub(super) fn join_local(folder_at: Option<&str>, folder: &str, found: &Found) -> Option<String> {
    let told = found.told();
    (folder_at.is_some() || told != found.name).then(|| join(folder_at.unwrap_or(folder), told))
}
