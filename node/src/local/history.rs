//! Earlier versions, served by the engine in this process.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use p2p_api::{
    ApiError, Content, DEFAULT_LOG, DiffEntry, DiffKind, Follow, HistoryContract, LogQuery, MAX_LOG, NewTag, ReadRange,
    Restore, Restored, Result, Stream, Tag, TransferEvent, TreeEntry, TreeQuery, VersionInfo,
};
use p2p_drives::{At, Change, Listing, Logged, Undo};
use p2p_identity::{ContentId, DriveId, VersionRef, WriterKey};

use super::convert::{api_error, left_out, tree_entry};
use super::{LocalNode, path_key};

#[async_trait]
impl HistoryContract for LocalNode {
    async fn log(&self, drive: DriveId, query: LogQuery) -> Result<Vec<VersionInfo>> {
        let limit = query.limit.unwrap_or(DEFAULT_LOG).min(MAX_LOG) as usize;
        let versions = self.drives.log(&drive, query.before, limit).await.map_err(api_error)?;
        Ok(versions.into_iter().map(version_info).collect())
    }

    async fn diff(&self, drive: DriveId, from: &str, to: Option<&str>) -> Result<Stream<DiffEntry>> {
        let (from, to) = (at(from)?, to.map(at).transpose()?);
        let changes = self.drives.diff(&drive, &from, to.as_ref()).await.map_err(api_error)?;
        Ok(changes.map(|change| change.map(|change| diff_entry(&change)).map_err(api_error)).boxed())
    }

    async fn tree(&self, drive: DriveId, query: TreeQuery, text: &str) -> Result<Stream<TreeEntry>> {
        let at = at(text)?;
        let prefix = path_key(&query.prefix)?;
        let own = match &prefix {
            None => None,
            Some(prefix) => match self.drives.entry_at(&drive, prefix, &at).await.map_err(api_error)? {
                None => return Ok(stream::empty().boxed()),
                Some(entry) if entry.shown().kind != p2p_drives::Kind::Directory => {
                    return Ok(stream::iter([Ok(tree_entry(&entry))]).boxed());
                }
                Some(entry) => Some(Ok(tree_entry(&entry))),
            },
        };
        let listing = Listing { prefix, depth: query.depth };
        let entries = self.drives.list_entries_at(&drive, listing, &at).await.map_err(api_error)?;
        let below = entries.map(|entry| entry.map(|entry| tree_entry(&entry)).map_err(api_error));
        Ok(stream::iter(own).chain(below).boxed())
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange, text: &str) -> Result<Content> {
        let key = path_key(path)?.ok_or_else(|| ApiError::invalid("the drive's root is a folder"))?;
        let content = self.drives.read_file_at(&drive, &key, range.start, range.end, &at(text)?).await;
        content.map(super::content).map_err(api_error)
    }

    async fn copy(&self, follow: Follow, text: &str) -> Result<Stream<TransferEvent>> {
        self.copy_past(follow, at(text)?).await
    }

    async fn restore(&self, drive: DriveId, restore: Restore) -> Result<Restored> {
        if let Some(writer) = restore.before_writer {
            return self.undo_writer(drive, writer, restore).await;
        }
        if restore.since.is_some() || restore.remove_added || restore.dry_run {
            return Err(ApiError::invalid("`since`, `remove_added` and `dry_run` belong to `before_writer`"));
        }
        let (path, at) = (path_key(&restore.path)?, at(&restore.at)?);
        let done = self.drives.restore(&drive, path.as_ref(), &at).await.map_err(api_error)?;
        Ok(Restored {
            drive,
            version: (done.version > 0).then_some(done.version),
            files: done.files,
            bytes: done.bytes,
            unchanged: done.unchanged,
            skipped: left_out(done.left_out),
            made: None,
            restored: Vec::new(),
            removed: Vec::new(),
            kept: Vec::new(),
        })
    }

    async fn tags(&self, drive: DriveId) -> Result<Vec<Tag>> {
        let drives = self.drives.clone();
        let tags = tokio::task::spawn_blocking(move || drives.tags(&drive)).await;
        let tags = tags.map_err(|error| api_error(error.into()))?.map_err(api_error)?;
        Ok(tags.into_iter().map(|(name, head)| Tag { name, head: head_text(&head) }).collect())
    }

    async fn set_tag(&self, drive: DriveId, tag: NewTag) -> Result<Tag> {
        let at = tag.at.as_deref().map(at).transpose()?;
        let head = self.drives.set_tag(&drive, &tag.name, at.as_ref()).await.map_err(api_error)?;
        Ok(Tag { name: tag.name, head: head_text(&head) })
    }

    async fn remove_tag(&self, drive: DriveId, name: &str) -> Result<()> {
        let (drives, name) = (self.drives.clone(), name.to_owned());
        let removed = tokio::task::spawn_blocking(move || drives.remove_tag(&drive, &name)).await;
        removed.map_err(|error| api_error(error.into()))?.map_err(api_error)
    }
}

impl LocalNode {
    async fn undo_writer(&self, drive: DriveId, writer: WriterKey, restore: Restore) -> Result<Restored> {
        if !restore.at.is_empty() {
            return Err(ApiError::invalid("`at` and `before_writer` are two ways to say what to bring back"));
        }
        if restore.since == Some(0) {
            return Err(ApiError::invalid("a writer's versions are counted from 1"));
        }
        let undo = Undo {
            writer,
            since: restore.since.unwrap_or(1),
            path: path_key(&restore.path)?,
            remove_added: restore.remove_added,
            dry_run: restore.dry_run,
        };
        let done = self.drives.undo_writer(&drive, undo).await.map_err(api_error)?;
        Ok(Restored {
            drive,
            version: (done.from > 0).then_some(done.from),
            files: done.files,
            bytes: done.bytes,
            unchanged: done.unchanged,
            skipped: left_out(done.left_out),
            made: (done.version > 0).then_some(done.version),
            restored: done.restored,
            removed: done.removed,
            kept: left_out(done.kept),
        })
    }
}

/// What a text names, as of now.
pub(super) fn at(text: &str) -> Result<At> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    At::parse(text, now_ms).ok_or_else(|| {
        ApiError::invalid(format!("{text:?} names no version and no time")).with_hint(
            "a version is a number, 16 or more characters of its hash, or a tag; a time is `yesterday`, `2 days ago` or \
             `2026-11-25 14:30` (UTC)",
        )
    })
}

fn head_text(hash: &ContentId) -> String {
    VersionRef::of_head(hash.as_bytes()).to_string()
}

fn version_info(logged: Logged) -> VersionInfo {
    VersionInfo {
        version: logged.is_by_owner.then_some(logged.counter),
        head: head_text(&logged.head),
        writer: logged.writer,
        counter: logged.counter,
        time: logged.time_ms,
        entries: logged.entries,
        bytes: logged.bytes,
        message: logged.message,
        tags: logged.tags,
        not_kept: logged.not_kept,
    }
}

fn diff_entry(change: &Change) -> DiffEntry {
    let (kind, before, after) = match change {
        Change::Added(after) => (DiffKind::Added, None, Some(tree_entry(after))),
        Change::Removed(before) => (DiffKind::Removed, Some(tree_entry(before)), None),
        Change::Changed { before, after } => (DiffKind::Changed, Some(tree_entry(before)), Some(tree_entry(after))),
    };
    let path = after.as_ref().or(before.as_ref()).map(|entry| entry.path.clone()).unwrap_or_default();
    DiffEntry { path, change: kind, before, after }
}
