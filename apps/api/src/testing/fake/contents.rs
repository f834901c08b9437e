//! One version of a fake drive: entries that point at the files they were made from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use p2p_identity::ContentId;

use super::disk;
use crate::{ApiError, Change, Content, EntryKind, ErrorKind, ReadRange, Result, Stream, TreeEntry, TreeQuery};

/// Bytes per piece of a read.
const PIECE_BYTES: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Contents {
    /// In path order: components compare as if joined by byte 1, which sorts below all others.
    entries: BTreeMap<String, TreeEntry>,
    sources: BTreeMap<String, PathBuf>,
}

fn key(path: &str) -> String {
    path.replace('/', "\u{1}")
}

impl Contents {
    /// Reads all that `changes` name below `folder`.
    pub(super) async fn import(folder: &Path, mut changes: Stream<Change>) -> Result<Self> {
        let mut contents = Self::default();
        let mut last = None;
        while let Some(change) = changes.next().await {
            let change = change?;
            check_path(&change.path)?;
            let key = key(&change.path);
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(ApiError::invalid(format!("{:?} is not in path order", change.path)));
            }
            let source = folder.join(change.at.as_deref().unwrap_or(Path::new(&change.path)));
            contents.entries.insert(key.clone(), entry(&change.path, &source)?);
            contents.sources.insert(key.clone(), source);
            last = Some(key);
        }
        Ok(contents)
    }

    pub(super) fn entries(&self) -> &BTreeMap<String, TreeEntry> {
        &self.entries
    }

    pub(super) fn files(&self) -> u64 {
        self.of_kind(EntryKind::File).count() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.of_kind(EntryKind::File).map(|entry| entry.size).sum()
    }

    fn of_kind(&self, kind: EntryKind) -> impl Iterator<Item = &TreeEntry> {
        self.entries.values().filter(move |entry| entry.kind == kind)
    }

    pub(super) fn list(&self, query: &TreeQuery) -> Vec<TreeEntry> {
        let prefix = query.prefix.trim_matches('/');
        let levels_below = |path: &str| match path.strip_prefix(prefix) {
            Some("") => Some(0),
            Some(rest) if prefix.is_empty() => Some(rest.split('/').count()),
            Some(rest) => rest.strip_prefix('/').map(|rest| rest.split('/').count()),
            None => None,
        };
        let depth = query.depth.map_or(usize::MAX, |depth| depth as usize);
        let is_wanted = |entry: &&TreeEntry| levels_below(&entry.path).is_some_and(|levels| levels <= depth);
        self.entries.values().filter(is_wanted).cloned().collect()
    }

    pub(super) fn read(&self, path: &str, range: ReadRange) -> Result<Content> {
        let key = key(path.trim_matches('/'));
        let (Some(entry), Some(source)) = (self.entries.get(&key), self.sources.get(&key)) else {
            return Err(ApiError::not_found(format!("there is no {path:?} in this drive")));
        };
        let bytes = match entry.kind {
            EntryKind::Directory => return Err(ApiError::invalid(format!("{path:?} is a folder"))),
            EntryKind::File => Bytes::from(fs::read(source).map_err(|error| disk("read", source, &error))?),
            EntryKind::Symlink => target_text(source)?,
        };
        if ContentId::of(&bytes) != entry.hash {
            return Err(ApiError::new(ErrorKind::Corrupt, format!("{path:?} changed on disk")));
        }
        let end = range.end.unwrap_or(entry.size).min(entry.size);
        if range.start > entry.size || range.end.is_some_and(|end| end < range.start) {
            return Err(ApiError::invalid(format!("{path:?} has {} bytes, not the range asked for", entry.size)));
        }
        let bytes = bytes.slice(range.start as usize..end as usize);
        let pieces: Vec<Result<Bytes>> = bytes.chunks(PIECE_BYTES).map(|piece| Ok(bytes.slice_ref(piece))).collect();
        Ok(Content {
            entry: entry.clone(),
            start: range.start,
            len: end - range.start,
            stream: stream::iter(pieces).boxed(),
        })
    }

    pub(super) fn copy_to(&self, target: &Path) -> Result<()> {
        fs::create_dir_all(target).map_err(|error| disk("make", target, &error))?;
        for (key, entry) in &self.entries {
            let (source, place) = (&self.sources[key], target.join(&entry.path));
            let made = match entry.kind {
                EntryKind::Directory => fs::create_dir_all(&place),
                EntryKind::File => fs::copy(source, &place).map(drop),
                EntryKind::Symlink if place.is_symlink() => Ok(()),
                EntryKind::Symlink => fs::read_link(source).and_then(|to| symlink(to, &place)),
            };
            made.map_err(|error| disk("make", &place, &error))?;
        }
        Ok(())
    }
}

fn check_path(path: &str) -> Result<()> {
    let is_bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(['\0', '\u{1}']);
    match path.split('/').any(is_bad) {
        true => Err(ApiError::invalid(format!("{path:?} is not a path of a drive"))),
        false => Ok(()),
    }
}

fn target_text(source: &Path) -> Result<Bytes> {
    let target = fs::read_link(source).map_err(|error| disk("read", source, &error))?;
    Ok(Bytes::copy_from_slice(target.as_os_str().as_bytes()))
}

fn entry(path: &str, source: &Path) -> Result<TreeEntry> {
    let found = fs::symlink_metadata(source).map_err(|error| disk("look at", source, &error))?;
    let (kind, content) = if found.is_dir() {
        (EntryKind::Directory, Bytes::new())
    } else if found.is_symlink() {
        (EntryKind::Symlink, target_text(source)?)
    } else {
        (EntryKind::File, fs::read(source).map_err(|error| disk("read", source, &error))?.into())
    };
    Ok(TreeEntry {
        path: path.to_owned(),
        kind,
        size: content.len() as u64,
        mtime: found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()),
        mode: (found.permissions().mode() & 0o777) as u16,
        hash: ContentId::of(&content),
    })
}
