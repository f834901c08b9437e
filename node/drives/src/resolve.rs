//! Settling conflicts: writing the losers out beside the file, and merging texts that two wrote at once
//! (specs/drives.md, section 5, rules 5 and 8).

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use p2p_identity::{ContentId, DriveId, Hints, WriterKey};

use crate::DriveError;
use crate::browse::View;
use crate::engine::{Drives, Shared};
use crate::entry::{Dot, Entry, Kind, Version};
use crate::folder::{Folder, Found, Meta, temporary_name};
use crate::head::{HeadEnvelope, VersionVector};
use crate::history::{day_text, place_content};
use crate::key::PathKey;
use crate::registry::Drive;
use crate::sync::{Conflict, conflicts_of};
use crate::tree::{Expected, Tree};
use crate::viewer::Viewer;

/// Largest text that is merged, in bytes …
const MAX_TEXT_BYTES: u64 = 1024 * 1024;
/// … and its lines: comparing takes the square of them at worst.
const MAX_TEXT_LINES: usize = 10_000;
/// Conflicts that are looked at after each new state.
const MAX_MERGES: usize = 100;
/// Conflicts that are remembered as tried.
const MAX_TRIED: usize = 10_000;
/// Earlier heads that are looked through for what both writers had before.
const MAX_ANCESTORS: usize = 256;

/// A conflict of two versions.
pub(crate) type Tried = (PathKey, [Dot; 2]);

/// A loser of a conflict that was written out, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenOut {
    /// The path that several wrote.
    pub path: String,
    /// The new file.
    pub name: String,
    /// Why it could not be written; `None` where it was.
    pub failure: Option<String>,
}

impl Drives {
    /// Writes the losers of all conflicts into the folder, each as `name (conflict WRITER DATE).ext` beside the file. One
    /// that is there already is left alone. The conflicts stay until their paths are written.
    ///
    /// # Errors
    /// This node does not write to the drive, or the disk failed.
    pub async fn write_out_conflicts(&self, id: &DriveId) -> Result<Vec<WrittenOut>, DriveError> {
        let drive = self.known(id)?;
        self.shared().author_of(&drive)?;
        let (shared, of) = (self.shared().clone(), drive.clone());
        let found = tokio::task::spawn_blocking(move || conflicts_of(&shared, &of, usize::MAX)).await??;
        let folder = self.shared().folder_of(&drive)?;
        let view = view_of(self.shared(), &drive)?;
        let _work = drive.work.clone().lock_owned().await;
        let mut done = Vec::new();
        for Conflict { entry, writers } in &found {
            for hidden in entry.hidden().into_iter().filter(|hidden| hidden.kind == Kind::File) {
                let author = entry.versions().iter().zip(writers).find(|(v, _)| v.dot == hidden.dot);
                let key = conflict_key(entry.key(), hidden, author.and_then(|(_, writer)| *writer));
                let Some(key) = key else { continue };
                let (path, name) = (entry.key().to_path(), key.to_path());
                if folder.status(&name).is_ok() {
                    continue;
                }
                let written = match Entry::new(key, vec![hidden.clone()]) {
                    Ok(entry) => place_content(&folder, &view, &entry).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                done.push(WrittenOut { path, name, failure: written.err() });
            }
        }
        Ok(done)
    }
}

/// `dir/name (conflict abcdefgh 2026-11-25).ext`.
fn conflict_key(key: &PathKey, version: &Version, writer: Option<WriterKey>) -> Option<PathKey> {
    let name = key.name();
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => (stem, format!(".{end}")),
        _ => (name, String::new()),
    };
    let writer: String = writer.map_or_else(|| "unknown".into(), |writer| writer.to_string().chars().take(8).collect());
    let name = format!("{stem} (conflict {writer} {}){end}", day_text(version.hlc >> 16));
    match key.parent() {
        Some(parent) => parent.join(&name).ok(),
        None => PathKey::from_path(&name).ok(),
    }
}

/// Merges texts of which two wrote different parts at once, where this node's writer is the lower-keyed of the two: then
/// one of them does it. The result goes into the folder as an edit, and out with the next import. What was tried once is
/// in `tried` and not tried again.
pub(crate) async fn merge_texts(
    shared: &Arc<Shared>,
    drive: &Arc<Drive>,
    tried: &mut HashSet<Tried>,
) -> Result<(), DriveError> {
    let Ok(author) = shared.author_of(drive) else { return Ok(()) };
    let (looking, of) = (shared.clone(), drive.clone());
    let found = tokio::task::spawn_blocking(move || conflicts_of(&looking, &of, MAX_MERGES)).await??;
    if found.is_empty() {
        return Ok(());
    }
    let view = view_of(shared, drive)?;
    for Conflict { entry, writers } in found {
        let lowest = writers.iter().flatten().min();
        if lowest != Some(&author.writer) {
            continue;
        }
        let [left, right] = entry.versions() else { continue };
        let is_text = |v: &Version| v.kind == Kind::File && v.size <= MAX_TEXT_BYTES && v.mode == left.mode;
        if !is_text(left) || !is_text(right) {
            continue;
        }
        let (looking, of, key) = (shared.clone(), drive.clone(), entry.key().clone());
        let dots = [left.dot, right.dot];
        if tried.len() >= MAX_TRIED {
            tried.clear();
        }
        let attempt = (entry.key().clone(), dots);
        if !tried.insert(attempt.clone()) {
            continue;
        }
        let ancestor = tokio::task::spawn_blocking(move || ancestor(&looking, &of, &key, dots)).await??;
        let Some(ancestor) = ancestor.filter(|v| v.kind == Kind::File && v.size <= MAX_TEXT_BYTES) else { continue };
        let mut texts = Vec::new();
        for version in [&ancestor, left, right] {
            texts.push(text(&view, entry.key(), version).await);
        }
        let [Some(base), Some(ours), Some(theirs)] = texts.as_slice() else {
            // No text, or not to be had now: perhaps with the next state.
            tried.remove(&attempt);
            continue;
        };
        let (base, ours, theirs) = (base.clone(), ours.clone(), theirs.clone());
        let merged = tokio::task::spawn_blocking(move || diffy::merge(&base, &ours, &theirs).ok()).await?;
        let Some(merged) = merged else { continue };
        let _work = drive.work.clone().lock_owned().await;
        let (folder, path, shown) = (shared.folder_of(drive)?, entry.key().to_path(), entry.shown().clone());
        let placed = tokio::task::spawn_blocking(move || place_text(&folder, &path, &shown, &merged)).await?;
        placed.map_err(DriveError::io(format!("write {:?}", entry.key().to_path())))?;
    }
    Ok(())
}

fn view_of(shared: &Arc<Shared>, drive: &Arc<Drive>) -> Result<View, DriveError> {
    let head = drive.head().ok_or(DriveError::UnknownDrive(drive.id))?;
    let viewer = Viewer::of(shared, &shared.registry.reader(drive.id), &Hints::default(), None);
    Ok(View::past(shared.clone(), drive.clone(), head, Some(viewer)))
}

/// What a version holds, if it is text and can be had.
async fn text(view: &View, key: &PathKey, version: &Version) -> Option<String> {
    let entry = Entry::new(key.clone(), vec![version.clone()]).ok()?;
    let mut content = view.clone().content(&entry, 0, version.size);
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await {
        bytes.extend_from_slice(&piece.ok()?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0') && text.lines().count() <= MAX_TEXT_LINES).then_some(text)
}

/// What both writers had seen at a path before they wrote their versions: the newest that both their heads cover. Blocks.
fn ancestor(shared: &Shared, drive: &Drive, key: &PathKey, dots: [Dot; 2]) -> Result<Option<Version>, DriveError> {
    let notes = shared.registry.history(drive)?;
    let mut seen: Vec<VersionVector> = Vec::new();
    for dot in dots {
        let note = notes.iter().find(|note| note.writer.prefix() == dot.writer && note.counter == dot.counter);
        let Some(note) = note else { return Ok(None) };
        let Some(head) = shared.registry.head(&drive.id, &note.hash)? else { return Ok(None) };
        seen.push(head.body().vv.clone());
    }
    let covers = |vv: &VersionVector, dot: Dot| {
        vv.counters().iter().any(|(writer, counter)| writer.prefix() == dot.writer && dot.counter <= *counter)
    };
    for note in notes.iter().rev().take(MAX_ANCESTORS) {
        let Some(head) = shared.registry.head(&drive.id, &note.hash)? else { continue };
        let tree = Tree::new(&*shared.nodes, root_of(&head));
        // A part of an old tree that is gone is no reason to stop.
        let Ok(Some(entry)) = tree.lookup(key) else { continue };
        let both = |v: &&Version| !dots.contains(&v.dot) && seen.iter().all(|vv| covers(vv, v.dot));
        if let Some(version) = entry.versions().iter().filter(both).max_by_key(|v| (v.hlc, v.dot)) {
            return Ok(Some(version.clone()));
        }
    }
    Ok(None)
}

fn root_of(head: &HeadEnvelope) -> Expected {
    let body = head.body();
    Expected::root_with_sums(body.root, body.files, body.bytes)
}

/// Puts a merged text in place of what is shown, unless somebody has edited it meanwhile. Blocks.
fn place_text(folder: &Folder, path: &str, shown: &Version, text: &str) -> std::io::Result<()> {
    folder.look_again();
    let (file, status) = folder.open_file(path)?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&file, MAX_TEXT_BYTES + 1), &mut bytes)?;
    if status.found != Found::File || ContentId::of(&bytes) != shown.hash {
        return Ok(());
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mtime_ns = now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    let meta = Meta { mode: status.mode, mtime_ns };
    folder.place_bytes(path, &temporary_name(path.as_bytes()), text.as_bytes(), meta)?;
    folder.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loser_gets_a_name_that_says_whose_and_when() {
        let version = |ms: u64| {
            let dot = Dot { writer: [1; 8], counter: 1 };
            Version::blob(dot, Kind::File, 0o644, 0, ms << 16, 0, ContentId::of(b""))
        };
        let name = |path: &str, writer| {
            conflict_key(&PathKey::from_path(path).unwrap(), &version(951_827_415_000), writer).unwrap().to_path()
        };
        let writer = WriterKey::from([0; 32]);
        assert_eq!(name("d/a.txt", Some(writer)), "d/a (conflict yyyyyyyy 2000-02-29).txt");
        assert_eq!(name(".hidden", None), ".hidden (conflict unknown 2000-02-29)");
        assert!(conflict_key(&PathKey::from_path(&"x".repeat(255)).unwrap(), &version(0), None).is_none());
    }
}
