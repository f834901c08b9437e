//! A drive with a past and several writers, for pages that show such things.

use async_trait::async_trait;
use p2p_api::testing::FakeNode;
use p2p_api::*;

/// When the newest of its versions was made, in milliseconds since 1970.
const NEWEST_MS: u64 = 1_790_000_000_000;

#[derive(Clone)]
pub(crate) struct Past {
    pub(crate) fake: FakeNode,
}

fn key(byte: u8) -> WriterKey {
    WriterKey::from([byte; 32])
}

fn not_here<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "only what a page shows is here"))
}

#[async_trait]
impl HistoryContract for Past {
    async fn log(&self, drive: DriveId, _: LogQuery) -> Result<Vec<VersionInfo>> {
        let newest = self.fake.drive(drive).await?;
        let version = |number: u64, writer: u8, message: &str, tag: Option<&str>, not_kept| VersionInfo {
            version: (writer == 1).then_some(number),
            head: "y".repeat(52),
            writer: key(writer),
            counter: number,
            time: NEWEST_MS - (4 - number) * 86_400_000,
            entries: newest.files + 2,
            bytes: newest.bytes * number,
            message: message.to_owned(),
            tags: tag.map(str::to_owned).into_iter().collect(),
            not_kept,
        };
        Ok(vec![
            version(3, 1, "pictures of the summer", None, Some(0)),
            version(2, 2, "", None, Some(0)),
            version(2, 1, "", Some("as-printed"), Some(0)),
            version(
                1,
                1,
                "the first, with a message that is rather long and has to find room on a phone",
                None,
                Some(4),
            ),
        ])
    }
    async fn diff(&self, _: DriveId, _: &str, _: Option<&str>) -> Result<Stream<DiffEntry>> {
        not_here()
    }
    async fn tree(&self, _: DriveId, _: TreeQuery, _: &str) -> Result<Stream<TreeEntry>> {
        not_here()
    }
    async fn read(&self, _: DriveId, _: &str, _: ReadRange, _: &str) -> Result<Content> {
        not_here()
    }
    async fn copy(&self, _: Follow, _: &str) -> Result<Stream<TransferEvent>> {
        not_here()
    }
    async fn restore(&self, _: DriveId, _: Restore) -> Result<Restored> {
        not_here()
    }
    async fn tags(&self, _: DriveId) -> Result<Vec<Tag>> {
        Ok(Vec::new())
    }
    async fn set_tag(&self, _: DriveId, _: NewTag) -> Result<Tag> {
        not_here()
    }
    async fn remove_tag(&self, _: DriveId, _: &str) -> Result<()> {
        not_here()
    }
}

#[async_trait]
impl WritersContract for Past {
    async fn writers(&self, _: DriveId) -> Result<Writers> {
        let writer = |byte, contact: Option<&str>, prefix: &str| WriterInfo {
            writer_key: key(byte),
            contact: contact.map(str::to_owned),
            prefix: prefix.to_owned(),
            not_after: None,
            max_counter: None,
            counter: 2,
        };
        let writers = vec![writer(1, None, ""), writer(2, Some("bob"), ""), writer(3, None, "translations/german")];
        Ok(Writers {
            epoch: 3,
            writers,
            revoked: vec![RevokedWriter { writer_key: key(4), last: 9 }],
            own: Some(key(1)),
        })
    }
    async fn writer_key(&self, _: Open) -> Result<OwnWriterKey> {
        not_here()
    }
    async fn add_writer(&self, _: DriveId, _: NewWriter) -> Result<Writers> {
        not_here()
    }
    async fn remove_writer(&self, _: DriveId, _: WriterKey) -> Result<Writers> {
        not_here()
    }
    async fn sync(&self, _: Follow) -> Result<Stream<SyncEvent>> {
        not_here()
    }
    async fn conflicts(&self, drive: DriveId) -> Result<Vec<ConflictInfo>> {
        let mut entries = self.fake.tree(drive, TreeQuery::default()).await?;
        let mut conflicts = Vec::new();
        while let Some(entry) = futures::StreamExt::next(&mut entries).await {
            let entry = entry?;
            if entry.kind != EntryKind::File || conflicts.len() == 2 {
                continue;
            }
            let version = |byte: u8| ConflictVersion {
                writer: Some(key(byte)),
                counter: 2,
                time: NEWEST_MS,
                shown: byte == 2,
                entry: entry.clone(),
            };
            conflicts.push(ConflictInfo { path: entry.path.clone(), versions: vec![version(2), version(1)] });
        }
        Ok(conflicts)
    }
    async fn write_conflicts(&self, _: DriveId) -> Result<Vec<WrittenConflict>> {
        not_here()
    }
}
