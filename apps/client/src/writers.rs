//! Several writers, call by call.

use async_trait::async_trait;
use http::Method;
use p2p_api::{
    ConflictInfo, Follow, NewWriter, Open, OwnWriterKey, Result, Stream, SyncEvent, Writers, WritersContract,
    WrittenConflict, routes,
};
use p2p_identity::{DriveId, WriterKey};

use crate::Client;
use crate::contract::of_drive;

#[async_trait]
impl WritersContract for Client {
    async fn writers(&self, drive: DriveId) -> Result<Writers> {
        self.get(&of_drive(routes::WRITERS, drive)).await?.json().await
    }

    async fn writer_key(&self, open: Open) -> Result<OwnWriterKey> {
        self.post(routes::WRITER_KEY, &open).await?.json().await
    }

    async fn add_writer(&self, drive: DriveId, new: NewWriter) -> Result<Writers> {
        self.post(&of_drive(routes::WRITERS, drive), &new).await?.json().await
    }

    async fn remove_writer(&self, drive: DriveId, writer: WriterKey) -> Result<Writers> {
        let path = of_drive(routes::WRITER, drive).replace("{writer}", &writer.to_string());
        self.call(Method::DELETE, &path).await?.json().await
    }

    async fn sync(&self, follow: Follow) -> Result<Stream<SyncEvent>> {
        Ok(self.post(routes::SYNC, &follow).await?.lines())
    }

    async fn conflicts(&self, drive: DriveId) -> Result<Vec<ConflictInfo>> {
        self.list(&of_drive(routes::CONFLICTS, drive)).await
    }

    async fn write_conflicts(&self, drive: DriveId) -> Result<Vec<WrittenConflict>> {
        self.call(Method::POST, &of_drive(routes::CONFLICTS, drive)).await?.json().await
    }
}
