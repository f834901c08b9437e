//! Earlier versions, call by call.

use async_trait::async_trait;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{
    Content, DiffEntry, Follow, HistoryContract, LogQuery, NewTag, ReadRange, Restore, Restored, Result, Stream, Tag,
    TransferEvent, TreeEntry, TreeQuery, VersionInfo, routes,
};
use p2p_identity::DriveId;

use crate::Client;
use crate::contract::{of_drive, tree_path};

#[async_trait]
impl HistoryContract for Client {
    async fn log(&self, drive: DriveId, query: LogQuery) -> Result<Vec<VersionInfo>> {
        let limit = query.limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let before = query.before.map(|before| format!("&before={before}")).unwrap_or_default();
        self.get(&format!("{}?{limit}{before}", of_drive(routes::LOG, drive))).await?.json().await
    }

    async fn diff(&self, drive: DriveId, from: &str, to: Option<&str>) -> Result<Stream<DiffEntry>> {
        let to = to.map(|to| format!("&to={}", encode_component(to))).unwrap_or_default();
        let path = format!("{}?from={}{to}", of_drive(routes::DIFF, drive), encode_component(from));
        Ok(self.get(&path).await?.lines())
    }

    async fn tree(&self, drive: DriveId, query: TreeQuery, at: &str) -> Result<Stream<TreeEntry>> {
        Ok(self.get(&format!("{}&at={}", tree_path(drive, &query), encode_component(at))).await?.lines())
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange, at: &str) -> Result<Content> {
        self.read_file(drive, path, range, Some(at)).await
    }

    async fn copy(&self, follow: Follow, at: &str) -> Result<Stream<TransferEvent>> {
        Ok(self.post(&format!("{}?at={}", routes::FOLLOW, encode_component(at)), &follow).await?.lines())
    }

    async fn restore(&self, drive: DriveId, restore: Restore) -> Result<Restored> {
        self.post(&of_drive(routes::RESTORE, drive), &restore).await?.json().await
    }

    async fn tags(&self, drive: DriveId) -> Result<Vec<Tag>> {
        self.list(&of_drive(routes::TAGS, drive)).await
    }

    async fn set_tag(&self, drive: DriveId, tag: NewTag) -> Result<Tag> {
        self.post(&of_drive(routes::TAGS, drive), &tag).await?.json().await
    }

    async fn remove_tag(&self, drive: DriveId, name: &str) -> Result<()> {
        let path = format!("{}?name={}", of_drive(routes::TAGS, drive), encode_component(name));
        self.call(Method::DELETE, &path).await.map(drop)
    }
}
