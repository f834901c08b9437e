//! Several writers, served by the engine in this process.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use p2p_api::{
    ApiError, ConflictInfo, ConflictVersion, Follow, NewWriter, Open, OwnWriterKey, Result, RevokedWriter, Stream,
    SyncEvent, WriterInfo, Writers, WritersContract, WrittenConflict,
};
use p2p_drives::{Conflict, CopyProgress, Rights, Synced, WriterRight};
use p2p_identity::{DriveId, WriterKey};

use super::convert::{api_error, left_out, parse_link, version_entry};
use super::{LocalNode, drive_of, external_links, moving, path_key, reported};

#[async_trait]
impl WritersContract for LocalNode {
    async fn writers(&self, drive: DriveId) -> Result<Writers> {
        let rights = self.drives.rights(&drive).map_err(api_error)?;
        let mut told = writers(rights);
        for writer in &mut told.writers {
            writer.contact = self.people.contact_of_writer(&drive, &writer.writer_key);
        }
        Ok(told)
    }

    async fn writer_key(&self, open: Open) -> Result<OwnWriterKey> {
        let drive = drive_of(&parse_link(&self.link_of(&open.link, open.timeout).await?)?)?;
        let drives = self.drives.clone();
        let key = tokio::task::spawn_blocking(move || drives.writer_key(&drive)).await;
        let writer_key = key.map_err(|error| api_error(error.into()))?.map_err(api_error)?;
        Ok(OwnWriterKey { drive, writer_key })
    }

    async fn add_writer(&self, drive: DriveId, new: NewWriter) -> Result<Writers> {
        let new = p2p_drives::NewWriter {
            writer: new.writer_key,
            prefix: path_key(&new.prefix)?,
            not_after_ms: new.not_after,
            max_counter: new.max_counter,
        };
        self.drives.add_writer(&drive, new).await.map_err(api_error)?;
        self.writers(drive).await
    }

    async fn remove_writer(&self, drive: DriveId, writer: WriterKey) -> Result<Writers> {
        self.drives.remove_writer(&drive, writer).await.map_err(api_error)?;
        self.writers(drive).await
    }

    async fn sync(&self, follow: Follow) -> Result<Stream<SyncEvent>> {
        let link = self.link_to_copy(&follow).await?;
        if link.version.is_some() {
            return Err(ApiError::invalid("an earlier version does not change: it cannot be synced"));
        }
        let (links, drive) = (external_links(&follow), drive_of(&link)?);
        let progress = Arc::new(CopyProgress::default());
        let (drives, counted) = (self.drives.clone(), progress.clone());
        let synced = async move {
            let synced = drives.sync(&link, &follow.target, links, follow.timeout, counted).await;
            synced.map(|synced| done(drive, synced)).map_err(api_error)
        };
        Ok(reported(stream::once(synced).boxed(), move |rate| Some(SyncEvent::Progress(moving(&progress, rate)))))
    }

    async fn conflicts(&self, drive: DriveId) -> Result<Vec<ConflictInfo>> {
        let drives = self.drives.clone();
        let found = tokio::task::spawn_blocking(move || drives.conflicts(&drive)).await;
        let found = found.map_err(|error| api_error(error.into()))?.map_err(api_error)?;
        Ok(found.iter().map(conflict).collect())
    }

    async fn write_conflicts(&self, drive: DriveId) -> Result<Vec<WrittenConflict>> {
        let written = self.drives.write_out_conflicts(&drive).await.map_err(api_error)?;
        let told = written.into_iter().map(|done| WrittenConflict {
            path: done.path,
            written: done.name,
            failure: done.failure,
        });
        Ok(told.collect())
    }
}

fn writers(rights: Rights) -> Writers {
    let writer = |WriterRight { right, counter }: WriterRight| WriterInfo {
        contact: None,
        writer_key: right.writer,
        prefix: right.prefix.map(|prefix| prefix.to_path()).unwrap_or_default(),
        not_after: right.not_after_ms,
        max_counter: right.max_counter,
        counter,
    };
    Writers {
        epoch: rights.epoch,
        writers: rights.writers.into_iter().map(writer).collect(),
        revoked: rights.revoked.into_iter().map(|(writer_key, last)| RevokedWriter { writer_key, last }).collect(),
        own: rights.own,
    }
}

fn done(drive: DriveId, synced: Synced) -> SyncEvent {
    let Synced { copied, writer, may_write } = synced;
    SyncEvent::Done {
        drive,
        version: copied.version,
        files: copied.files,
        bytes: copied.bytes,
        bytes_fetched: copied.bytes_fetched,
        peers: copied.peers as u32,
        skipped: left_out(copied.left_out),
        writer_key: writer,
        may_write,
    }
}

fn conflict(conflict: &Conflict) -> ConflictInfo {
    let entry = &conflict.entry;
    let versions = entry.versions().iter().zip(&conflict.writers).map(|(version, writer)| ConflictVersion {
        writer: *writer,
        counter: version.dot.counter,
        time: version.hlc >> 16,
        shown: version.dot == entry.shown().dot,
        entry: version_entry(entry.key(), version),
    });
    let mut versions: Vec<_> = versions.collect();
    versions.sort_by_key(|version| !version.shown);
    ConflictInfo { path: entry.key().to_path(), versions }
}
