//! Bringing files of an earlier version back into the folder.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use p2p_identity::{ContentId, DriveId};
use tokio::sync::mpsc;

use super::At;
use crate::DriveError;
use crate::browse::{Listing, View};
use crate::content::WHOLE_FILE_BYTES;
use crate::engine::{Drives, Shared};
use crate::entry::{Entry, Kind};
use crate::folder::{Folder, Found, Meta, temporary_name};
use crate::key::PathKey;
use crate::publish::LeftOut;
use crate::registry::{Drive, Role};

/// Pieces of a file on their way to the disk.
const PIECES_AHEAD: usize = 4;

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The version that was restored from; 0 where the owner did not make it.
    pub version: u64,
    /// Files and links that were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and links that were as they should be.
    pub unchanged: u64,
    /// What could not be brought back, and what was moved out of the way: each with a sentence.
    pub left_out: Vec<LeftOut>,
}

impl Drives {
    /// Brings a path, and all that is below it, back into the drive's folder as an earlier version has it; everything
    /// without a path. Deletes nothing: what only the newest version has stays. What stands in the way and is kept nowhere
    /// is moved to a free name. The next import makes it a version.
    ///
    /// # Errors
    /// This node does not write to the drive, the version or path is not there, or the disk failed.
    pub async fn restore(&self, id: &DriveId, path: Option<&PathKey>, at: &At) -> Result<Restored, DriveError> {
        let drive = self.known(id)?;
        if drive.state().row.role != Role::Owner {
            return Err(DriveError::Invalid(
                "only a folder that this node writes to the drive can be restored; `p2p clone LINK DIR --at` copies an \
                 earlier version into another folder"
                    .into(),
            ));
        }
        let view = self.past_view(id, at).await?;
        let work = drive.work.clone().lock_owned().await;
        let shared = self.shared().clone();
        let folder = shared.folder_of(&drive)?;
        folder.look_again();
        let listing = Listing { prefix: path.cloned(), depth: None };
        let own = match path {
            Some(path) => {
                let entry = view.lookup(path).await?;
                Some(entry.ok_or_else(|| DriveError::NoSuchPath(path.to_path()))?)
            }
            None => None,
        };
        let mut restored = Restored { version: view.version(), ..Restored::default() };
        let mut entries = view.clone().entries(listing);
        let mut directories = Vec::new();
        if let Some(entry) = own {
            one(&shared, &drive, &folder, &view, &entry, &mut restored, &mut directories).await?;
        }
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if path != Some(entry.key()) {
                one(&shared, &drive, &folder, &view, &entry, &mut restored, &mut directories).await?;
            }
        }
        tokio::task::spawn_blocking(move || {
            for (path, meta) in directories.into_iter().rev() {
                let _ = folder.set_meta(&path, meta);
            }
            let synced = folder.sync().map_err(DriveError::io("sync the folder"));
            drop(work);
            synced
        })
        .await??;
        Ok(restored)
    }
}

pub(super) async fn one(
    shared: &Arc<Shared>,
    drive: &Arc<Drive>,
    folder: &Arc<Folder>,
    view: &View,
    entry: &Entry,
    restored: &mut Restored,
    directories: &mut Vec<(String, Meta)>,
) -> Result<(), DriveError> {
    let path = entry.key().to_path();
    let version = entry.shown().clone();
    let meta = Meta { mode: version.mode, mtime_ns: version.mtime_ns };
    let (shared, drive, on_disk, key) = (shared.clone(), drive.clone(), folder.clone(), entry.key().clone());
    let found = tokio::task::spawn_blocking(move || prepare(&shared, &drive, &on_disk, &key, &version)).await?;
    let prepared = match found {
        Ok(prepared) => prepared,
        Err(error) => {
            restored.left_out.push(LeftOut { path, reason: format!("cannot be restored: {error}") });
            return Ok(());
        }
    };
    let version = entry.shown();
    match (prepared, version.kind) {
        (Prepared::Unchanged, Kind::Directory) => directories.push((path, meta)),
        (Prepared::Unchanged, _) => restored.unchanged += 1,
        (Prepared::Free(_), Kind::Directory) => {
            let made = folder.make_directory(&path);
            made.map_err(DriveError::io(format!("make {path:?}")))?;
            directories.push((path, meta));
        }
        (Prepared::Free(way), _) => match write(folder, view, entry, &way).await {
            Ok(aside) => {
                restored.files += 1;
                restored.bytes += version.size;
                if let Some(aside) = aside {
                    let reason = format!("what stood there is kept nowhere else and was moved to {aside:?}");
                    restored.left_out.push(LeftOut { path, reason });
                }
            }
            Err(error @ DriveError::ContentNotKept(_)) => {
                restored.left_out.push(LeftOut { path, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        },
    }
    Ok(())
}

/// What stands at a path before it is restored.
enum Prepared {
    /// What should be there.
    Unchanged,
    /// Nothing, or something else.
    Free(Way),
}

/// How to make way for the file that is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing is there, or what is there is kept elsewhere.
    Replace,
    /// It would be lost for ever.
    MoveAside,
}

/// Makes the folders on the way and looks at what is there. Blocks.
fn prepare(
    shared: &Shared,
    drive: &Drive,
    folder: &Folder,
    key: &PathKey,
    version: &crate::entry::Version,
) -> std::io::Result<Prepared> {
    let path = key.to_path();
    let mut parents = Vec::new();
    let mut parent = key.parent();
    while let Some(above) = parent {
        parent = above.parent();
        parents.push(above.to_path());
    }
    for parent in parents.iter().rev() {
        folder.make_directory(parent)?;
    }
    let status = match folder.status(&path) {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Prepared::Free(Way::Replace)),
        Err(error) => return Err(error),
    };
    let is_same = match (status.found, version.kind) {
        (Found::Directory, Kind::Directory) => true,
        (Found::Symlink, Kind::Symlink) => ContentId::of(&folder.read_link(&path)?) == version.hash,
        (Found::File, Kind::File) => {
            let content = content_of(folder, &path)?;
            if content == Some(version.hash) {
                folder.set_meta(&path, Meta { mode: version.mode, mtime_ns: version.mtime_ns })?;
                true
            } else {
                let size = status.fingerprint.size;
                let is_kept = content
                    .is_some_and(|hash| shared.kept.has(&hash, size) || is_elsewhere(shared, drive, &hash, &path));
                return Ok(Prepared::Free(if is_kept { Way::Replace } else { Way::MoveAside }));
            }
        }
        _ => false,
    };
    Ok(if is_same { Prepared::Unchanged } else { Prepared::Free(Way::MoveAside) })
}

/// Whether the newest version has the same content under another path, or in the index itself.
fn is_elsewhere(shared: &Shared, drive: &Drive, hash: &ContentId, path: &str) -> bool {
    let Ok(index) = crate::content::ContentIndex::of(drive, &shared.nodes) else { return false };
    let found = index.locate(hash, &shared.nodes, &mut crate::content::LeafCache::default());
    found.is_ok_and(|found| found.iter().any(|at| at.path != path || at.inline.is_some()))
}

pub(super) fn content_of(folder: &Folder, path: &str) -> std::io::Result<Option<ContentId>> {
    let (file, status) = folder.open_file(path)?;
    let size = status.fingerprint.size;
    if size <= WHOLE_FILE_BYTES {
        let mut bytes = Vec::with_capacity(size as usize);
        std::io::Read::read_to_end(&mut std::io::Read::take(&file, WHOLE_FILE_BYTES + 1), &mut bytes)?;
        return Ok(Some(ContentId::of(&bytes)));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(crate::hash_file(&file, size, threads).ok().map(|(hash, _)| hash))
}

/// Writes a file as an entry has it, at a path where nothing is.
pub(crate) async fn place_content(folder: &Arc<Folder>, view: &View, entry: &Entry) -> Result<(), DriveError> {
    write(folder, view, entry, &Way::Replace).await.map(drop)
}

/// Writes a file or link beside its place and moves it there when it is whole. Returns the name that what stood there got.
async fn write(folder: &Arc<Folder>, view: &View, entry: &Entry, way: &Way) -> Result<Option<String>, DriveError> {
    let path = entry.key().to_path();
    let version = entry.shown().clone();
    let mut content = view.clone().content(entry, 0, version.size);
    // The first piece before anything is touched: where it is not kept, the folder stays as it is.
    let first = match content.next().await {
        Some(first) => Some(first?),
        None => None,
    };
    let (tx, rx) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let (on_disk, way, at) = (folder.clone(), *way, path.clone());
    let writer = tokio::task::spawn_blocking(move || place(&on_disk, &at, &version, way, rx));
    let mut pieces = futures::stream::iter(first.map(Ok)).chain(content);
    while let Some(piece) = pieces.next().await {
        // On an error the writer sees too few bytes and places nothing.
        if tx.send(piece?).await.is_err() {
            break;
        }
    }
    drop(tx);
    writer.await?.map_err(DriveError::io(format!("write {path:?}")))
}

fn place(
    folder: &Folder,
    path: &str,
    version: &crate::entry::Version,
    way: Way,
    mut pieces: mpsc::Receiver<Bytes>,
) -> std::io::Result<Option<String>> {
    // It may be new here, and its name one that the folder cannot hold.
    folder.names().traits(folder);
    if let Ok(key) = PathKey::from_path(path) {
        folder.names().assign(&key);
    }
    let temporary = temporary_name(path.as_bytes());
    let meta = Meta { mode: version.mode, mtime_ns: version.mtime_ns };
    let make_way = || match way {
        Way::MoveAside => folder.move_to_free_name(path).map(Some),
        Way::Replace => Ok(None),
    };
    if version.kind == Kind::Symlink {
        let mut target = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            target.extend_from_slice(&piece);
        }
        let aside = make_way()?;
        folder.place_symlink(path, &temporary, &target, version.mtime_ns)?;
        return Ok(aside);
    }
    let mut file = folder.open_temporary(path, &temporary)?;
    file.set_len(0)?;
    let mut written = 0;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
        written += piece.len() as u64;
    }
    if written != version.size {
        let _ = folder.remove_beside(path, &temporary);
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    file.sync_data()?;
    let aside = make_way()?;
    folder.place_temporary(path, &temporary, &file, meta)?;
    Ok(aside)
}
